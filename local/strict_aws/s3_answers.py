"""What S3 answers to those who read, and to copies."""

import re
from collections.abc import Mapping
from typing import Final

from ministack import app as ministack
from ministack.core import iam_actions
from ministack.core.iam_evaluator import AuthError, enforce
from ministack.core.responses import get_region
from ministack.core.router import extract_access_key_id
from ministack.services import kms, s3

from local.strict_aws.patches import Answer, Carry, Function, Request, in_front_of, instead_of

type Headers = dict[str, str]
type Query = dict[str, list[str]]

# The version ids that MiniStack gives.
GIVEN: Final = re.compile(r"null|[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
A_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
COPIES_CHANGE: Final = {
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
}
NOTHING_CHANGES: Final = (
    "This copy request is illegal because it is trying to copy an object to itself without "
    "changing the object's metadata, storage class, website redirect location or encryption "
    "attributes."
)


# Who may not list is not told what is missing


@in_front_of(s3, switch="missing-keys")
async def hide_missing(carry: Carry, request: Request) -> Answer:
    answer = await carry()
    bucket, key = s3._parse_bucket_key(request.path, request.headers)
    if not key or not _says_missing(request.method, answer) or s3._buckets.get(bucket) is None:
        return answer
    rights = ["s3:ListBucket"]
    if "versionId" in request.query:
        # AWS documents the first for keys, and nothing for versions: whoever has both is safe.
        rights.append("s3:ListBucketVersions")
    for right in rights:
        if refused := _refused(request, right, f"arn:aws:s3:::{bucket}"):
            return refused
    return answer


def _says_missing(method: str, answer: Answer) -> bool:
    """Whether it says that there is no such key or version; of a HEAD the status has to do."""
    status, _, content = answer
    if status != 404 or method not in ("GET", "HEAD"):
        return False
    return method == "HEAD" or any(code in content for code in (b">NoSuchKey<", b">NoSuchVersion<"))


def _refused(
    request: Request, right: str, resource: str, context: Mapping[str, str] | None = None
) -> Answer | None:
    """S3's answer if the caller has no such right. `resource`: ARN; `context`: of conditions."""
    if not ministack.AUTH:
        return None
    denied = enforce(
        extract_access_key_id(request.headers, request.query),
        right,
        right.partition(":")[0],
        get_region(),
        resource_arn=resource,
        service_context=context,
    )
    if denied is None or isinstance(denied, AuthError):
        return None
    refused: Answer = iam_actions.access_denied_response(
        "s3", right, denied.principal_arn, "", headers=request.headers, resource_arn=resource
    )
    return refused


# Reading by version and by range


@instead_of(s3, "_get_object", switch="ranges")
def get_range(
    get: Function, bucket: str, key: str, headers: Headers, query: Query | None = None
) -> Answer:
    asked = headers.get("range", "")
    matched = A_RANGE.fullmatch(asked)
    if asked and (not matched or _ends_before_it_starts(*matched.groups())):
        headers = {name: value for name, value in headers.items() if name != "range"}
        asked = ""
    status, answered, content = get(bucket, key, headers, query)
    if status != 200 or not asked:
        return status, answered, content
    # MiniStack gives the whole of a version.
    span = s3._parse_range(asked, len(content))
    if span is None:
        error: Answer = s3._error("InvalidRange", "The requested range is not satisfiable", 416)
        return error
    first, last = span
    part = content[first : last + 1]
    # The checksum of the whole would not be that of the part.
    told = {k: v for k, v in answered.items() if not k.lower().startswith("x-amz-checksum")}
    told |= {
        "Content-Range": f"bytes {first}-{last}/{len(content)}",
        "Content-Length": str(len(part)),
    }
    return 206, told, part


def _ends_before_it_starts(first: str, last: str) -> bool:
    return bool(first and last) and int(last) < int(first)


@instead_of(s3, "_get_object", switch="version-forms")
def get_given_version(
    get: Function, bucket: str, key: str, headers: Headers, query: Query | None = None
) -> Answer:
    answer: Answer = _never_given(query) or get(bucket, key, headers, query)
    return answer


@instead_of(s3, "_head_object", switch="version-forms")
def head_given_version(
    head: Function,
    bucket: str,
    key: str,
    headers: Headers | None = None,
    query: Query | None = None,
) -> Answer:
    answer: Answer = _never_given(query) or head(bucket, key, headers, query)
    return answer


def _never_given(query: Query | None) -> Answer | None:
    version = s3._qp(query or {}, "versionId", "")
    if not version or GIVEN.fullmatch(version):
        return None
    refused: Answer = s3._error(
        "InvalidArgument",
        "Invalid version id specified",
        400,
        extra={"ArgumentName": "versionId", "ArgumentValue": version},
    )
    return refused


# Keys of KMS


@in_front_of(s3, switch="kms-keys")
async def ask_for_key(carry: Carry, request: Request) -> Answer:
    bucket, key = s3._parse_bucket_key(request.path, request.headers)
    if request.method in ("GET", "HEAD") and (arn := _key_of(bucket, key, request.query)):
        via = {"kms:ViaService": f"s3.{get_region()}.amazonaws.com"}
        if refused := _unusable(arn) or _refused(request, "kms:Decrypt", arn, via):
            return refused
    return await carry()


def _key_of(bucket: str, key: str, query: Query) -> str | None:
    """ARN of the key of KMS with which a version is encrypted."""
    version = s3._qp(query, "versionId", "")
    stored = (s3._buckets.get(bucket) or {}).get("objects", {}).get(key)
    if version:
        versions = s3._object_versions.get((bucket, key), [])
        stored = next((v for v in versions if v["version_id"] == version), stored)
    headers = (stored or {}).get("preserved_headers") or {}
    named = headers.get("x-amz-server-side-encryption-aws-kms-key-id", "")
    return next((k["Arn"] for name, k in kms._keys.items() if name and name in named), None)


def _unusable(arn: str) -> Answer | None:
    state = next((k["KeyState"] for k in kms._keys.values() if k["Arn"] == arn), None)
    refused: Answer | None = None
    if state == "Disabled":
        refused = s3._error("KMS.DisabledException", f"{arn} is disabled.", 400)
    elif state == "PendingDeletion":
        refused = s3._error("KMS.KMSInvalidStateException", f"{arn} is pending deletion.", 400)
    return refused


# What a listing says of archived objects


@in_front_of(s3, switch="restores")
async def tell_restores(carry: Carry, request: Request) -> Answer:
    status, headers, content = await carry()
    asked = request.headers.get("x-amz-optional-object-attributes", "")
    if status != 200 or "versions" not in request.query or "RestoreStatus" not in asked:
        return status, headers, content
    if not any(b">%b<" % name.encode() in content for name in s3._ARCHIVE_STORAGE_CLASSES):
        return status, headers, content
    bucket, _ = s3._parse_bucket_key(request.path, request.headers)
    objects = s3._buckets[bucket]["objects"]
    page, ours = s3.fromstring(content), f"{{{s3.S3_NS}}}"
    for version in page.iter(f"{ours}Version"):
        key = version.findtext(f"{ours}Key")
        phase = s3._sync_restore(bucket, key, objects.get(key))
        if phase is None or version.findtext(f"{ours}IsLatest") != "true":
            continue
        told = s3.SubElement(version, f"{ours}RestoreStatus")
        under_way = phase == "in_progress"
        s3.SubElement(told, f"{ours}IsRestoreInProgress").text = "true" if under_way else "false"
        if not under_way:
            until = s3._restore_expiry_iso(objects[key]["restore"]["expires_at"])
            s3.SubElement(told, f"{ours}RestoreExpiryDate").text = until
    return status, headers, s3._xml_body(page)


# Configurations of inventories, which MiniStack does not know

_inventories: Final[dict[tuple[str, str], bytes]] = {}


@in_front_of(s3, switch=None)
async def keep_inventory_configurations(carry: Carry, request: Request) -> Answer:
    if "inventory" not in request.query:
        return await carry()
    bucket, _ = s3._parse_bucket_key(request.path, request.headers)
    place = bucket, s3._qp(request.query, "id", "")
    if request.method == "PUT":
        _inventories[place] = request.body
        return 200, {}, b""
    if place not in _inventories:
        said = "The specified configuration does not exist."
        absent: Answer = s3._error("NoSuchConfiguration", said, 404)
        return absent
    return 200, {"Content-Type": "application/xml"}, _inventories[place]


# Copies


@instead_of(s3, "_copy_object", switch="self-copies")
def copy_what_changes(copy: Function, bucket: str, key: str, headers: Headers) -> Answer:
    # An old version on top of itself is a way to restore it; a key may hold an encoded "?".
    source = s3.url_unquote(headers.get("x-amz-copy-source", "").lstrip("/"))
    answer: Answer
    if (
        source == f"{bucket}/{key}"
        and headers.get("x-amz-metadata-directive", "COPY").upper() == "COPY"
        and not COPIES_CHANGE & headers.keys()
        # S3 takes it where the bucket says how to encrypt, though that is what it would do anyway.
        and bucket not in s3._bucket_encryption
    ):
        answer = s3._error("InvalidRequest", NOTHING_CHANGES, 400)
    else:
        answer = copy(bucket, key, headers)
    return answer


# URLs that are signed


@in_front_of(s3, switch="unsigned-headers")
async def want_all_headers_signed(carry: Carry, request: Request) -> Answer:
    # S3's own words, as users quote them: https://github.com/aws/aws-sdk-js/issues/896
    signed = s3._qp(request.query, "X-Amz-SignedHeaders", "").split(";")
    added = {name for name in request.headers if name.startswith("x-amz-")} - {*signed}
    if signed != [""] and added:
        refused: Answer = s3._error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            403,
            extra={"HeadersNotSigned": ", ".join(sorted(added))},
        )
        return refused
    return await carry()
