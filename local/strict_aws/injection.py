"""Injects faults into services, as POST /_strict/faults asks; only for those on this machine.

POST /_strict/objects fills a bucket.

Calls that MiniStack makes within itself (a mapping that polls its queue, CloudFormation) meet none.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict
from types import ModuleType
from typing import Any, Final

from ministack.core.iam_evaluator import caller_arn
from ministack.core.responses import error_response_json
from ministack.services import dynamodb, eventbridge, s3, secretsmanager, sqs

from local.strict_aws.faults import Call, Fault, StandingFaults
from local.strict_aws.filling import fill
from local.strict_aws.patches import Answer, Carry, Request, in_front_of

type Application = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

PATH: Final = "/_strict/faults"
OBJECTS: Final = "/_strict/objects"
LOOPBACK: Final = ("127.0.0.1", "::1")
VERBS: Final = {"GET": "Get", "HEAD": "Head", "PUT": "Put", "DELETE": "Delete", "POST": "Post"}
OF_UPLOADS: Final = {
    "GET": "ListParts",
    "PUT": "UploadPart",
    "POST": "CompleteMultipartUpload",
    "DELETE": "AbortMultipartUpload",
}
LISTS: Final = {
    "versions": "ListObjectVersions",
    "uploads": "ListMultipartUploads",
    "list-type": "ListObjectsV2",
}
ASPECTS: Final = ("acl", "attributes", "encryption", "lifecycle", "location", "notification")
MORE_ASPECTS: Final = ("policy", "tagging", "versioning")

faults: Final = StandingFaults()


def befall(service: str, module: ModuleType, call_of: Callable[[Request], Call]) -> None:
    """Let the faults of a service befall its requests."""

    @in_front_of(module, switch=None)
    async def meet(carry: Carry, request: Request) -> Answer:
        fault = faults.met_by(call_of(request))
        if fault is None:
            return await carry()
        await asyncio.sleep(fault.delay_ms / 1000)
        return _refusal(service, fault) if fault.status else await carry()


def _refusal(service: str, fault: Fault) -> Answer:
    answer: Answer
    if service == "s3":
        answer = s3._error(fault.code, "Injected by a test", fault.status)
    else:
        answer = error_response_json(fault.code, "Injected by a test", fault.status)
    return answer


def _caller() -> str:
    """`arn:…:assumed-role/NAME/session` or `arn:…:user/NAME`."""
    return str(caller_arn()).partition("/")[2].partition("/")[0]


def call_of_s3(request: Request) -> Call:
    bucket, key = s3._parse_bucket_key(request.path, request.headers)
    operation = _of_object(request) if key else _of_bucket(request)
    return Call("s3", operation, bucket, key, _caller())


def _of_object(request: Request) -> str:
    query, method = request.query, request.method
    copies = "x-amz-copy-source" in request.headers
    if "uploadId" in query:
        return "UploadPartCopy" if copies else OF_UPLOADS[method]
    if "uploads" in query:
        return "CreateMultipartUpload"
    if copies:
        return "CopyObject"
    return f"{VERBS[method]}Object{_aspect(query)}"


def _of_bucket(request: Request) -> str:
    query, method = request.query, request.method
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    if aspect := _aspect(query):
        return f"{VERBS[method]}Bucket{aspect}"
    if method == "GET":
        return next((name for each, name in LISTS.items() if each in query), "ListObjects")
    return "CreateBucket" if method == "PUT" else f"{VERBS[method]}Bucket"


def _aspect(query: dict[str, list[str]]) -> str:
    return next((each.title() for each in (*ASPECTS, *MORE_ASPECTS) if each in query), "")


def call_of_json(service: str, names: str) -> Callable[[Request], Call]:
    """Of services that take JSON; `names`: the member that names what is called, or its path."""

    def call_of(request: Request) -> Call:
        data = json.loads(request.body or b"{}")
        resource = str(data.get(names, "")).rpartition("/")[2]
        return Call(service, request.action, resource, "", _caller())

    return call_of


befall("s3", s3, call_of_s3)
befall("dynamodb", dynamodb, call_of_json("dynamodb", "TableName"))
befall("sqs", sqs, call_of_json("sqs", "QueueUrl"))
befall("events", eventbridge, call_of_json("events", "EventBusName"))
befall("secretsmanager", secretsmanager, call_of_json("secretsmanager", "SecretId"))


def controlled(application: Application) -> Application:
    """The application, with the paths by which tests inject faults, see and end them, and fill."""

    async def answer(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith((PATH, OBJECTS)):
            await application(scope, receive, send)
        elif (scope.get("client") or ("",))[0] not in LOOPBACK:
            await _send(send, 403, None)
        elif scope["path"] == OBJECTS:
            await fill(**json.loads(await _body(receive)))
            await _send(send, 201, None)
        else:
            number = scope["path"].removeprefix(PATH).strip("/")
            await _send(send, *_control(scope["method"], number, await _body(receive)))

    return answer


def _control(method: str, number: str, body: bytes) -> tuple[int, object]:
    if method == "POST":
        return 201, faults.inject(Fault(**json.loads(body)))
    if method == "GET":
        return 200, {name: asdict(each) for name, each in faults.standing.items()}
    if method == "DELETE":
        for name in [number] if number else list(faults.standing):
            faults.standing.pop(name, None)
        return 200, None
    return 405, None


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _send(send: Any, status: int, told: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
