"""The services behind the gateway: Batch Ingestion's create and actions, Catalog's reads.

Files are in `uploads`, Data Access is in `diagnostics`, Schema Registry is in `registry`, Data Prep
is in `mapping_sets`; notifications are not simulated. What is not simulated answers 501.
"""

import random
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from .agenda import Agenda
from .batches import ACTIONS, COMPLETED, TERMINAL, BadRequest, Batch, Batches, read_body
from .catalog import BATCH_FIELDS, DATASET_FIELDS, BadFilter, project, select
from .diagnostics import Diagnostics
from .ims import Client
from .mapping_sets import OPERATIONS as MAPPING_SETS
from .mapping_sets import TAG, MappingSets
from .messages import Refused, Request, Response, catalog_error, json_response
from .promotion import Promotion
from .registry import OPERATIONS as REGISTRY
from .registry import Registry
from .rules import Rules
from .switches import Switches
from .uploads import Uploads
from .visit import Visit

HOST = "https://platform.adobe.io"
LONGEST_URL = 2000
_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Foundation:
    """Sandboxes, datasets and batches of all organizations.

    `visibility`, where set, decides whether Catalog shows a batch now, on top of the lag.
    """

    def __init__(self, switches: Switches, rng: random.Random, agenda: Agenda) -> None:
        self._switches = switches
        self._random = rng
        # (organization, name) → its type
        self.sandboxes: dict[tuple[str, str], str] = {}
        self.datasets: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self._closed: set[tuple[str, str, str]] = set()
        self.batches = Batches(lambda: switches.abandon_after_ms)
        self.promotion = Promotion(self.batches, agenda, switches, self._ulid)
        self.registry = Registry(switches)
        self.mapping_sets = MappingSets(lambda: f"{rng.getrandbits(128):032x}")
        self.uploads = Uploads(switches, self._rules)
        self._diagnostics = Diagnostics(switches)
        self.visibility: Callable[[Batch, int], bool] | None = None

    def add_sandbox(self, org: str, name: str, kind: str | None) -> None:
        """Make a sandbox known. `kind`: by default, `prod` is a production sandbox."""
        default = "production" if name == self._switches.default_sandbox else "development"
        self.sandboxes[org, name] = kind or self.sandboxes.get((org, name), default)

    def add_dataset(
        self,
        org: str,
        sandbox: str,
        dataset_id: str,
        name: str,
        now: int,
        *,
        tags: Mapping[str, list[str]] | None = None,
        profile_enabled: bool = False,
        managed_by: Literal["CUSTOMER", "SYSTEM"] = "CUSTOMER",
        closed: bool = False,
        schema: str | None = None,
    ) -> None:
        """Make a dataset known in one sandbox, and the sandbox. Names need not be unique.

        `closed`: Catalog shows it, but access control lets nobody make a batch for it. `schema`:
        the `$id` of its schema; None leaves `schemaRef` out, and rows are not validated.
        """
        place = (org, sandbox, dataset_id)
        (self._closed.add if closed else self._closed.discard)(place)
        all_tags = {"adobe/pqs/table": [re.sub(r"\W", "_", name).lower()], **(tags or {})}
        if profile_enabled:
            all_tags |= {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]}
        self.add_sandbox(org, sandbox, None)
        self.datasets.setdefault((org, sandbox), {})[dataset_id] = {
            "name": name,
            "imsOrg": org,
            "tags": all_tags,
            "version": "1.0.0",
            "created": now,
            "updated": now,
            "createdClient": "acp_ui_platform",
            "createdUser": "simulated@AdobeID",
            "updatedUser": "simulated@AdobeID",
            "fileDescription": {
                "persisted": True,
                "containerFormat": "parquet",
                "format": "parquet",
            },
            "files": f"@/dataSetFiles?dataSetId={dataset_id}",
            "classification": {"dataBehavior": "time-series", "managedBy": managed_by},
        }
        if schema is not None:
            reference = {"id": schema, "contentType": "application/vnd.adobe.xed+json;version=1"}
            self.datasets[org, sandbox][dataset_id]["schemaRef"] = reference

    def _rules(self, batch: Batch) -> Rules | None:
        """What the rows of a batch must look like; None where nothing is validated."""
        dataset = self.datasets[batch.org, batch.sandbox][batch.dataset_id]
        unchecked = "disabled" in dataset["tags"].get("acp_validationContext", ())
        mapped = TAG in batch.members["tags"] and self._switches.mapping_tag == "read"
        if unchecked or mapped or self._switches.row_validation == "disabled":
            return None
        schema_id = dataset.get("schemaRef", {}).get("id")
        return self.registry.rules(batch.org, batch.sandbox, schema_id) if schema_id else None

    def serve(self, route: str, request: Request, client: Client, now: int) -> Response:
        """Carry out a request of `client`. Raises Refused."""
        sandbox = request.headers.get("x-sandbox-name") or self._switches.default_sandbox
        visit = Visit(request, client, sandbox, now)
        if (client.org, sandbox) not in self.sandboxes:
            status = self._switches.unknown_sandbox
            title = "Sandbox not found" if status == 404 else "Forbidden"
            raise visit.refusal(f"SIMULATED-1000-{status}", title, f"No sandbox {sandbox} for you.")
        if len(HOST) + len(request.path) + len(request.query) + 1 > LONGEST_URL:
            raise visit.refusal("SIMULATED-1001-414", "URI too long", "At most 2000 characters.")
        if route in REGISTRY:
            return self.registry.serve(route, visit)
        if route in MAPPING_SETS:
            return self.mapping_sets.serve(route, visit)
        return self._answer(route, visit)

    def _answer(self, route: str, visit: Visit) -> Response:
        request = visit.request
        datasets = self.datasets.get((visit.client.org, visit.sandbox), {})
        match route:
            case "create":
                answer = self._create(visit)
            case "action":
                answer = self._act(visit)
            case "list-batches":
                answer = self._list_batches(visit)
            case "get-batch":
                answer = self._get_batch(visit)
            case "list-sandboxes":
                answer = self._list_sandboxes(visit)
            case "list-datasets":
                answer = self._page(visit, datasets.items(), DATASET_FIELDS)
            case "get-dataset":
                wanted = request.segment(4)
                answer = _one(visit, wanted, datasets.get(wanted))
            case "put-file" | "patch-file" | "head-file" | "file-action":
                answer = self.uploads.serve(route, visit, self._batch(visit))
            case "list-meta" | "list-failed" | "list-files":
                answer = self._diagnostics.serve(route, visit, self._batch(visit))
            case "get-file":
                batch_id, _, number = request.segment(4).rpartition("-")
                batch = self._found(visit, batch_id, f"File {request.segment(4)}")
                answer = self._diagnostics.file(visit, batch, number)
            case _:
                what = f"{request.method} {request.path} is not simulated"
                raise Refused(catalog_error(501, what))
        return answer

    def _create(self, visit: Visit) -> Response:
        kind = visit.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(catalog_error(400, "A valid content-type must be specified"))
        try:
            wanted = read_body(
                visit.request.body, format_required=self._switches.input_format_required
            )
        except BadRequest as bad:
            raise visit.refusal("SIMULATED-1002-400", "Bad request", str(bad)) from None
        dataset_id, client = wanted["datasetId"], visit.client
        if dataset_id not in self.datasets.get((client.org, visit.sandbox), {}):
            status = self._switches.unknown_dataset
            detail = f"Dataset {dataset_id} not found in sandbox {visit.sandbox}."
            raise visit.refusal(f"SIMULATED-1003-{status}", "Dataset not found", detail)
        if (client.org, visit.sandbox, dataset_id) in self._closed:
            # The words are from Adobe's tutorials; in what they come wrapped is not documented.
            detail = (
                "PALM Access Denied. POST access is denied for this resource from access control"
            )
            raise visit.refusal("SIMULATED-1008-403", "Forbidden", detail)
        if "externalId" in wanted and self._switches.external_id_reuse != "accepted":
            same = self.batches.by_external_id(client.org, wanted["externalId"], visit.now)
            if same:
                return self._reused(visit, same[0])
        batch = self._new_batch(visit, wanted)
        batch.replay_form = wanted.get("replayForm", "")
        read = self._switches.mapping_tag == "read"
        if read and (tag := wanted["tags"].get(TAG)) is not None:
            known = self.mapping_sets.knows(client.org, visit.sandbox, tag)
            batch.unknown_mapping_set = not known
        self.batches.add(batch)
        return _created(batch)

    def _reused(self, visit: Visit, batch: Batch) -> Response:
        reuse = self._switches.external_id_reuse
        if reuse == "returned":
            return _created(batch)
        status = 409 if reuse == "refused" else 400
        detail = f"externalId {batch.members['externalId']} is in use."
        raise visit.refusal(f"SIMULATED-1004-{status}", "externalId in use", detail)

    def _new_batch(self, visit: Visit, wanted: Mapping[str, Any]) -> Batch:
        now, client = visit.now, visit.client
        batch_id = self._ulid(now)
        members = {
            "imsOrg": client.org,
            "updated": now,
            "status": "loading",
            "created": now,
            "relatedObjects": [{"type": "dataSet", "id": wanted["datasetId"]}],
            "version": "1.0.0",
            "tags": {
                **wanted["tags"],
                "acp_producer": [client.client_id],
                "acp_stagePath": [f"{client.client_id}/stage/{batch_id}"],
                "use_plan_b_batch_status": ["false"],
            },
            "createdUser": client.user,
            "updatedUser": client.user,
            "externalId": wanted.get("externalId", batch_id),
            "createdClient": client.client_id,
            "inputFormat": wanted["inputFormat"],
        }
        if "replay" in wanted:
            members["replay"] = wanted["replay"]
        visible_from = now + self._switches.catalog_lag_ms
        return Batch(batch_id, client.org, visit.sandbox, members, visible_from, touched=now)

    def _ulid(self, now: int) -> str:
        number = now << 80 | self._random.getrandbits(80)
        return "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))

    def _act(self, visit: Visit) -> Response:
        action = (visit.request.parameter("action") or "").upper()
        if action not in ACTIONS:
            raise visit.refusal("SIMULATED-1005-400", "Bad request", f"Unknown action {action!r}.")
        batch = self._batch(visit)
        allowed, status = ACTIONS[action]
        lenient = action == "ABORT" and self._switches.abort == "lenient"
        if batch.status in allowed or (lenient and batch.status not in TERMINAL):
            batch.become(status, visit.now)
            if action == "COMPLETE":
                self.promotion.begin(batch, visit.now)
            elif action == "REVERT":
                self.promotion.revert(batch, visit.now)
        elif action != "COMPLETE" or batch.status not in COMPLETED:
            detail = f"{action} is not possible: batch {batch.id} is {batch.status}."
            raise visit.refusal("SIMULATED-1007-400", "Bad request", detail)
        return Response(200)

    def _batch(self, visit: Visit) -> Batch:
        batch_id = visit.request.segment(4)
        return self._found(visit, batch_id, f"Batch {batch_id}")

    def _found(self, visit: Visit, batch_id: str, what: str) -> Batch:
        batch = self.batches.get(batch_id, visit.now)
        if batch is None or (batch.org, batch.sandbox) != (visit.client.org, visit.sandbox):
            raise visit.refusal("SIMULATED-1006-404", "Not found", f"{what} not found.")
        return batch

    def _shown(self, batch: Batch, now: int) -> bool:
        if now < batch.visible_from:
            return False
        return self.visibility is None or self.visibility(batch, now)

    def _list_sandboxes(self, visit: Visit) -> Response:
        """Those of the caller (Adobe's page "Available sandboxes", and its appendix on paging)."""
        if self._switches.sandbox_list == "denied":
            detail = "The credential may not list sandboxes."
            raise visit.refusal("SIMULATED-1017-403", "Forbidden", detail)
        given = [visit.request.parameter(name) for name in ("limit", "offset")]
        numbers = [int(one) for one in given if one and one.isdecimal()]
        if given != [None, None] and len(numbers) != 2:
            detail = "limit and offset, both whole numbers, or neither."
            raise visit.refusal("SIMULATED-1018-400", "Bad request", detail)
        limit, offset = numbers or (50, 0)
        own = [
            {
                "name": name,
                "title": name.capitalize(),
                "state": "active",
                "type": kind,
                "region": "VA7",
                "isDefault": name == self._switches.default_sandbox,
                "eTag": 1,
            }
            for (org, name), kind in self.sandboxes.items()
            if org == visit.client.org
        ]
        page = own[offset : offset + limit]
        return json_response(
            200, {"sandboxes": page, "_page": {"limit": limit, "count": len(page)}, "_links": {}}
        )

    def _list_batches(self, visit: Visit) -> Response:
        by = self._switches.external_id_filter
        given = [
            (name, value)
            for name, value in visit.request.parameters
            if name != "externalId" or by == "works"
        ]
        sought = len(given) == len(visit.request.parameters)
        found = self.batches.candidates(visit.client.org, visit.sandbox, dict(given), visit.now)
        if by == "finds-nothing" and not sought:
            found = ()
        shown = ((each.id, in_catalog(each)) for each in found if self._shown(each, visit.now))
        return self._page(visit, shown, BATCH_FIELDS, given)

    def _get_batch(self, visit: Visit) -> Response:
        batch_id = visit.request.segment(4)
        batch = self.batches.get(batch_id, visit.now)
        if (
            batch is None
            or (batch.org, batch.sandbox) != (visit.client.org, visit.sandbox)
            or not self._shown(batch, visit.now)
        ):
            return _one(visit, batch_id, None)
        return _one(visit, batch_id, in_catalog(batch))

    def _page(
        self,
        visit: Visit,
        objects: Iterable[tuple[str, Any]],
        fields: frozenset[str],
        parameters: Sequence[tuple[str, str]] | None = None,
    ) -> Response:
        refuse = self._switches.unknown_filter == "refused"
        given = visit.request.parameters if parameters is None else parameters
        try:
            found = select(objects, given, fields, refuse_unknown=refuse)
        except BadFilter as bad:
            raise Refused(catalog_error(400, str(bad))) from None
        if not found and self._switches.nothing_found == "not-found":
            raise Refused(catalog_error(404, "No objects found"))
        return json_response(200, found)


def in_catalog(batch: Batch) -> dict[str, Any]:
    """A batch as Catalog shows it, with members that the answer to its creation does not have."""
    sandbox_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{batch.org} {batch.sandbox}"))
    return {"sandboxId": sandbox_id, "errors": [], **batch.members}


def _created(batch: Batch) -> Response:
    return json_response(201, {"id": batch.id, **batch.members})


def _one(visit: Visit, wanted: str, members: Mapping[str, Any] | None) -> Response:
    if members is None:
        raise Refused(catalog_error(404, f"Object {wanted} not found"))
    return json_response(200, {wanted: project(members, visit.request.parameter("properties"))})
