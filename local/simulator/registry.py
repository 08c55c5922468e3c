"""Schema Registry: tenant schemas, descriptors, and what is said to a wrong Accept header.

Sources: Adobe's Schema Registry guide (getting started, schemas, descriptors, appendix, the
tutorial on ad-hoc schemas), `schema-registry.yaml`, its troubleshooting page (codes and words of
errors). Inferred: that a look-up with the id of another sandbox or container is told the same as an
unknown one; that the raw form refers to what `meta:extends` names; that of other containers than
`tenant` nothing is there; which order a page has without `orderby`. Where the guide leaves the body
of an error open, or has two, a switch decides.

Not simulated, so answered 501: changes, classes, field groups, data types, unions, sample data, and
names of standard XDM (`vnd.adobe.xdm-full`), which is not what datasets hold.
"""

import json
import operator
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from .messages import Refused, Response, catalog_error, json_response
from .rules import Rules, rules_of
from .switches import Switches
from .visit import Visit

OPERATIONS = frozenset(
    ["list-schemas", "get-schema", "list-descriptors", "get-descriptor", "registry-stats"]
)
NAMESPACE = "https://ns.adobe.com/"
SAMPLES = Path(__file__).with_name("schemas")
MOST_LISTED = 300
_BEFORE = "application/vnd.adobe."
_ACCEPT = re.compile(r"application/vnd\.adobe\.([a-z0-9-]+)\+json(?:; ?version=(\d+))?")
_LOOKUP = {"xed", "xed-notext", "xed-full", "xed-full-notext", "xed-full-desc"}
_LOOKUP |= {"xed-deprecatefield"}
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"([\w:$@.]+?)(?:(==|!=|<=|>=|<|>)(.*))?", re.DOTALL)

type Document = Mapping[str, Any]


@dataclass
class _Kept:
    """A schema in one sandbox. `created`, `changed`: epoch ms.

    What follows from it is made when somebody asks: most simulators are never asked for a schema.
    """

    given: Document
    org: str
    sandbox: str
    version: str
    created: int
    changed: int
    switches: Switches

    @cached_property
    def document(self) -> Document:
        """The full form."""
        place, revision = f"{self.org} {self.sandbox}", f"{self.given['$id']} {self.version}"
        return {
            **self.given,
            "meta:altId": alt_id(self.given["$id"]),
            "version": self.version,
            "imsOrg": self.org,
            "meta:sandboxId": str(uuid.uuid5(uuid.NAMESPACE_OID, place)),
            "meta:sandboxType": "production" if self.sandbox == "prod" else "development",
            "meta:registryMetadata": {
                "repo:createdDate": self.created,
                "repo:lastModifiedDate": self.changed,
                "xdm:createdClientId": "acp_ui_platform",
                "eTag": uuid.uuid5(uuid.NAMESPACE_OID, revision).hex,
            },
        }

    @cached_property
    def rules(self) -> Rules:
        """What rows must look like by it."""
        return rules_of(self.given, self.switches)


@cache
def sample(name: str) -> Any:
    """One of the documents in `schemas/`: `loyalty-members`, `web-events`, `descriptors` …

    The same object each time, so not to be changed.
    """
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def alt_id(schema_id: str) -> str:
    """`_acme.schemas.0123` of `https://ns.adobe.com/acme/schemas/0123`."""
    return f"_{schema_id.removeprefix(NAMESPACE).replace('/', '.')}"


class Registry:
    """The schemas and descriptors of all organizations, by organization and sandbox."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._schemas: dict[tuple[str, str], dict[str, _Kept]] = {}
        self._descriptors: dict[tuple[str, str], dict[str, Document]] = {}

    def add_schema(self, org: str, sandbox: str, document: Document, now: int) -> None:
        """Make a schema known, as `Simulator.add_schema` does, but without a look at its fields."""
        schema_id = document.get("$id")
        if not isinstance(schema_id, str) or not schema_id.startswith(NAMESPACE):
            raise ValueError(f"$id must begin with {NAMESPACE}")
        here = self._schemas.setdefault((org, sandbox), {})
        version, created = str(document.get("version", "1.0")), now
        if (before := here.get(schema_id)) is not None:
            major, minor = before.version.split(".")
            version, created = f"{major}.{int(minor) + 1}", before.created
        here[schema_id] = _Kept(document, org, sandbox, version, created, now, self._switches)

    def add_descriptor(self, org: str, sandbox: str, descriptor: Document) -> None:
        """Make a descriptor known, or change it. Raises ValueError: it has no `@id` or `@type`."""
        if not {"@id", "@type", "xdm:sourceSchema"} <= descriptor.keys():
            raise ValueError("a descriptor needs @id, @type and xdm:sourceSchema")
        here = self._descriptors.setdefault((org, sandbox), {})
        here[descriptor["@id"]] = {**descriptor, "imsOrg": org}

    def rules(self, org: str, sandbox: str, schema_id: str) -> Rules | None:
        """What rows must look like by a schema; None: there is no such schema."""
        kept = self._schemas.get((org, sandbox), {}).get(schema_id)
        return None if kept is None else kept.rules

    def serve(self, route: str, visit: Visit) -> Response:
        """Carry out a request. Raises Refused."""
        if self._switches.registry_access == "denied":
            raise visit.refusal("SIMULATED-1017-403", "Forbidden", "You may not view schemas.")
        match route:
            case "list-schemas":
                return self._list(visit)
            case "get-schema":
                return self._schema(visit)
            case "list-descriptors":
                return self._list_descriptors(visit)
            case "get-descriptor":
                return self._descriptor(visit)
        counts = {"schemas": len(self._schemas_of(visit)), "descriptors": len(self._here(visit))}
        told = {"imsOrg": visit.client.org, "tenantId": "acme", "counts": counts}
        return json_response(200, told | {"recentlyCreatedResources": [], "classUsage": {}})

    def _schemas_of(self, visit: Visit) -> Mapping[str, _Kept]:
        if visit.request.segment(3) != "tenant":
            return {}
        return self._schemas.get((visit.client.org, visit.sandbox), {})

    def _here(self, visit: Visit) -> Mapping[str, Document]:
        return self._descriptors.get((visit.client.org, visit.sandbox), {})

    def _schema(self, visit: Visit) -> Response:
        wanted = visit.request.segment(5)
        form, version = self._accepted(visit, 1007, _LOOKUP, versioned=True)
        known = self._schemas_of(visit)
        by_alt_id = {alt_id(schema_id): kept for schema_id, kept in known.items()}
        kept = known.get(wanted) or by_alt_id.get(wanted)
        if kept is None:
            detail = f"Requested resource {wanted} with version {version} is not found"
            raise self._error(visit, 1012, 404, "Resource Not Found", detail)
        if version != kept.version.partition(".")[0]:
            raise self._not_acceptable(visit)
        document = kept.document if "full" in form or "deprecate" in form else _raw(kept.document)
        if form.endswith("notext"):
            document = _without_text(document)
        return json_response(200, document, {"Content-Type": f"{_BEFORE}{form}+json"})

    def _list(self, visit: Visit) -> Response:
        form, _ = self._accepted(visit, 1006, {"xed", "xed-id"}, versioned=False)
        found = [kept.document for kept in self._schemas_of(visit).values()]
        found = list(_filtered(visit, found))
        order, start = visit.request.parameter("orderby"), visit.request.parameter("start")
        if order:
            found.sort(key=lambda document: str(document.get(order, "")))
            found = [one for one in found if start is None or str(one.get(order, "")) >= start]
        # Adobe: `limit` is a hint, and needs `orderby`, as `start` does.
        limit = visit.request.parameter("limit") or ""
        most = min(int(limit), MOST_LISTED) if order and limit.isdecimal() else MOST_LISTED
        page, rest = found[:most], found[most:]
        following = str(rest[0].get(order or "title", "")) if rest else None
        names = ("$id", "meta:altId", "version", "title")
        shown = [{n: d[n] for n in names} if form == "xed-id" else _raw(d) for d in page]
        return json_response(
            200,
            {
                "results": shown,
                "_page": {"orderby": order or "title", "next": following, "count": len(page)},
                "_links": {"next": None},
            },
        )

    def _list_descriptors(self, visit: Visit) -> Response:
        forms = {"xdm", "xdm-id", "xdm-link", "xdm-v2"}
        form, _ = self._accepted(visit, 1008, forms, versioned=False)
        found = list(_filtered(visit, self._here(visit).values()))
        if form == "xdm-v2":
            # Paging comes with it; here it is always one page.
            return json_response(200, {"results": found, "_page": {"next": None}})
        grouped: dict[str, list[object]] = {}
        for one in found:
            link = f"/tenant/descriptors/{one['@id']}"
            shown = {"xdm": one, "xdm-id": one["@id"], "xdm-link": link}[form]
            grouped.setdefault(one["@type"], []).append(shown)
        return json_response(200, grouped)

    def _descriptor(self, visit: Visit) -> Response:
        wanted = visit.request.segment(5)
        found = self._here(visit).get(wanted)
        if found is None:
            detail = f"Requested descriptor {wanted} is not found"
            raise self._error(visit, 1015, 404, "Resource Not Found", detail)
        return json_response(200, found)

    def _accepted(
        self, visit: Visit, number: int, forms: set[str], *, versioned: bool
    ) -> tuple[str, str]:
        """The form that the Accept header wants, and the major version."""
        given = visit.request.headers.get("accept", "")
        named = _ACCEPT.fullmatch(given.strip())
        form, version = (named[1], named[2]) if named else ("", None)
        if versioned and form.startswith("xdm"):
            raise Refused(catalog_error(501, f"{given} is not simulated"))
        if form in forms and (version is not None) == versioned:
            return form, version or ""
        # Adobe's own words, quotes as they are.
        like = "'{xed|xdm'}+json" + ("; version=1 (Version should be specified)" * versioned)
        detail = (
            f"The supplied Accept header is not valid: {given} - A valid Accept value should look "
            f"like {_BEFORE}{like}"
        )
        raise self._error(visit, number, 400, "Accept header invalid", detail)

    def _error(self, visit: Visit, number: int, status: int, title: str, detail: str) -> Refused:
        if self._switches.registry_errors == "older":
            return Refused(catalog_error(status, detail))
        code = f"XDM-{number}-{status}"
        at = datetime.fromtimestamp(visit.now / 1000, UTC)
        report = {
            "registryRequestId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{visit.now}")),
            "timestamp": at.strftime("%m-%d-%Y %H:%M:%S"),
            "detailed-message": detail,
            "sub-errors": [],
        }
        body = {"type": f"http://ns.adobe.com/aep/errors/{code}", "title": title, "status": status}
        headers = {"Content-Type": "application/problem+json"}
        return Refused(json_response(status, {**body, "report": report, "detail": detail}, headers))

    def _not_acceptable(self, visit: Visit) -> Refused:
        if self._switches.registry_errors == "older":
            return Refused(catalog_error(406, "Accept header parameter is required"))
        return Refused(Response(406))


def _filtered(visit: Visit, found: Iterable[Document]) -> Iterable[Document]:
    """What all of the parameters `property` want: `a==x`, `a>=x` …, or just `a`, which is there."""
    for name, condition in visit.request.parameters:
        if name != "property":
            continue
        wanted = _CONDITION.fullmatch(condition)
        if wanted is None:
            raise Refused(catalog_error(400, f"property={condition} is not a condition"))
        found = [one for one in found if _meets(one, *wanted.groups())]
    return found


def _meets(one: Document, name: str, sign: str | None, value: str) -> bool:
    held = one.get(name)
    if sign is None:
        return held is not None
    if isinstance(held, list):
        return (value in held) == (sign == "==")
    text = str(held).lower() if isinstance(held, bool) else str(held or "")
    return _COMPARE[sign](text, value)


def _raw(document: Document) -> Document:
    """As it was composed: instead of fields, references to what it extends."""
    raw = {
        name: value for name, value in document.items() if name not in {"properties", "required"}
    }
    own = [{"$ref": one, "type": "object"} for one in document.get("meta:extends", ())]
    return raw | {"allOf": own}


def _without_text(value: Any) -> Any:
    """Without titles and descriptions, but for fields that are called so."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_text(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: {field: _without_text(one) for field, one in inner.items()}
        if name == "properties"
        else _without_text(inner)
        for name, inner in value.items()
        if name not in {"title", "description"}
    }
