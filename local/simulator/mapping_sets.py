"""Data Prep's mapping sets: kept, validated, and previewed as far as they only copy.

Sources: `data-prep.yaml` and Adobe's guide to mapping sets (paths, bodies, POST answers 200, a list
needs `limit` and `start`), Adobe's `aepp` client (the tag that names a set on a batch). Inferred:
ids, words of errors, that a version counts up with each PUT, that the rows of a batch with a set
are not validated by the schema, as the mapping makes others of them. Not simulated: functions and
operators; a mapping with an expression is previewed as an error.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from .messages import Refused, Response, json_response
from .visit import Visit

OPERATIONS = frozenset(
    f"{what}-mapping-set" for what in ("make", "get", "put", "validate", "preview")
) | {"list-mapping-sets"}
TAG = "aep_sip_mapper"
_COPIES = {"ATTRIBUTE", "text/x.schema-path"}
_KNOWN = _COPIES | {"EXPRESSION", "STATIC", "text/x.aep-xl"}


class MappingSets:
    """The mapping sets of all organizations. `new_id`: of the next one."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._sets: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    def knows(self, org: str, sandbox: str, tag: object) -> bool:
        """Whether what a batch's tag names is there: a set, in a version up to the newest."""
        values = tag if isinstance(tag, list) else [tag]
        named = dict(str(value).rpartition(":")[::2] for value in values)
        found = self._sets.get((org, sandbox), {}).get(named.get("mapping-set-id", ""))
        version = named.get("mapping-set-version", "0")
        return found is not None and version.isdecimal() and int(version) <= found["version"]

    def serve(self, route: str, visit: Visit) -> Response:
        """Carry out a request. Raises Refused."""
        here = self._sets.setdefault((visit.client.org, visit.sandbox), {})
        match route:
            case "list-mapping-sets":
                return _listed(visit, here)
            case "get-mapping-set":
                version = visit.request.parameter("version") or "0"
                if not self.knows(visit.client.org, visit.sandbox, _named(visit, version)):
                    raise _not_found(visit)
                return json_response(200, _found(visit, here))
            case "validate-mapping-set":
                told = [_validated(one) for one in _mappings(visit, _body(visit))]
                return json_response(200, {"validationResponse": told})
            case "preview-mapping-set":
                return _preview(visit)
            case "put-mapping-set":
                known = _found(visit, here)
                changed = {"version": known["version"] + 1, "modifiedDate": visit.now}
                known |= {**_set(visit), **changed}
                return json_response(200, _about(known))
        made = {
            **_set(visit),
            "id": self._new_id(),
            "version": 0,
            "createdDate": visit.now,
            "modifiedDate": visit.now,
            "createdBy": visit.client.user,
            "modifiedBy": visit.client.user,
        }
        here[made["id"]] = made
        return json_response(200, _about(made))


def _about(one: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "version", "createdDate", "modifiedDate", "createdBy", "modifiedBy")
    return {name: one[name] for name in names}


def _found(visit: Visit, here: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    wanted = visit.request.segment(4)
    if wanted not in here:
        raise _not_found(visit)
    return here[wanted]


def _not_found(visit: Visit) -> Refused:
    wanted = visit.request.segment(4)
    return visit.refusal("SIMULATED-3001-404", "Not found", f"Mapping set {wanted} not found.")


def _named(visit: Visit, version: str) -> list[str]:
    return [f"mapping-set-id:{visit.request.segment(4)}", f"mapping-set-version:{version}"]


def _listed(visit: Visit, here: Mapping[str, dict[str, Any]]) -> Response:
    limit, start = visit.request.parameter("limit"), visit.request.parameter("start")
    if not (limit and limit.isdecimal() and start and start.isdecimal()):
        raise _wrong(visit, "limit and start are required.")
    page = list(here.values())[int(start) : int(start) + int(limit)]
    about = {"count": len(page), "limit": int(limit)}
    return json_response(200, {"data": page, "_page": about, "_links": {}})


def _body(visit: Visit) -> dict[str, Any]:
    try:
        body = json.loads(visit.request.body)
    except ValueError:
        raise _wrong(visit, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise _wrong(visit, "The body is not a JSON object.")
    return body


def _set(visit: Visit) -> dict[str, Any]:
    body = _body(visit)
    return {**body, "mappings": _mappings(visit, body)}


def _mappings(visit: Visit, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = body.get("mappings")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise _wrong(visit, "mappings must be a list of objects.")
    return given


def _validated(mapping: Mapping[str, Any]) -> dict[str, object]:
    missing = [name for name in ("source", "destination") if not mapping.get(name)]
    if mapping.get("sourceType") not in _KNOWN:
        missing.append("sourceType")
    if not missing:
        return {"status": "SUCCESS", "errors": None}
    told = {name: mapping.get(name) for name in ("source", "destination", "sourceType")}
    told |= {"columnName": None, "exception": f"{', '.join(missing)}: missing or unknown"}
    return {"status": "FAILED", "errors": [told]}


def _preview(visit: Visit) -> Response:
    body = _body(visit)
    rows, mapping_set = body.get("data"), body.get("mappingSet")
    if not isinstance(rows, list) or not isinstance(mapping_set, dict):
        raise _wrong(visit, "data and mappingSet are required.")
    mappings = _mappings(visit, mapping_set)
    return json_response(200, [_previewed(row, mappings) for row in rows])


def _previewed(row: Mapping[str, Any], mappings: list[dict[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    errors = []
    for mapping in mappings:
        source, destination = str(mapping.get("source")), str(mapping.get("destination"))
        if mapping.get("sourceType") not in _COPIES:
            errors.append({"source": source, "destination": destination, "exception": "simulated"})
        elif (value := row.get(source)) is not None:
            *above, last = destination.split(".")
            inside = data
            for name in above:
                inside = inside.setdefault(name, {})
            inside[last] = value
    return {"data": data, "errors": errors or None}


def _wrong(visit: Visit, detail: str) -> Refused:
    return visit.refusal("SIMULATED-3002-400", "Bad request", detail)
