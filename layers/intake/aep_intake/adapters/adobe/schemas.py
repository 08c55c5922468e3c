"""Reads the schema of a dataset, and its identities, from Schema Registry.

For the command alone: functions ask no registry. Facts: Adobe's Schema Registry guide (Accept
headers, descriptors, its two families of errors), `catalog.yaml` (`schemaRef`),
`schema-registry.yaml`. Inferred: the container of an id, and that `version` of `contentType` is all
that matters in it. The permission to view datasets includes their schemas.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from aep_intake.adapters.adobe.gateway import AdobeAnswer
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.model.batches import Target
from aep_intake.model.errors import DatasetNotFound, IntakeError, PlatformUnavailable, TryAgain
from aep_intake.model.values import dataclass

_REGISTRY = "/data/foundation/schemaregistry"
_DATA_PREP = "/data/foundation/conversion"
_ADHOC = "https://ns.adobe.com/xdm/data/adhoc"
_RECORD = "https://ns.adobe.com/xdm/data/record"
_PROFILE = "https://ns.adobe.com/xdm/context/profile"
_IDENTITY = "xdm:descriptorIdentity"
# In full form every field of every data type is written out: some schemas have thousands.
_MAX_BYTES = 50_000_000
_TIMEOUTS = (3.05, 60.0)  # seconds to connect and to answer; a person waits
_MAX_PAGES = 50


class SchemaUnavailable(IntakeError):
    """The schema of a dataset cannot be read; the detail says why, and what to do."""


class NoSchema(SchemaUnavailable):
    """Catalog names no schema for the dataset."""


class SchemaNotFound(SchemaUnavailable):
    """Schema Registry has no schema by that id and major version in the sandbox."""


class SchemaForbidden(SchemaUnavailable):
    """The credential may not view schemas."""


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as Schema Registry resolves it.

    `version`: like `1.4`; only the first number is chosen by whoever asks. `etag` changes with
    every change. `document`: Adobe's full form: `properties`, `required` and what belongs to them
    as in JSON Schema, the names those that rows have.
    """

    id: str
    title: str
    version: str
    etag: str
    document: Mapping[str, Any]

    @property
    def adhoc(self) -> bool:
        """Whether it is an ad-hoc schema: flat, and the only kind that takes CSV."""
        return _ADHOC in self.document.get("meta:extends", ())

    @property
    def lookup(self) -> bool:
        """Whether its rows are of neither people nor events, but looked up (a dimension).

        That is a record of a class other than XDM Individual Profile.
        """
        return _is_lookup(self.document)


def _is_lookup(document: Mapping[str, Any]) -> bool:
    extends = document.get("meta:extends", ())
    return _RECORD in extends and document.get("meta:class") != _PROFILE


@dataclass(frozen=True, slots=True)
class Identity:
    """A field that identifies a person. `path` is like `/personalEmail/address`."""

    path: str
    primary: bool


class Schemas:
    """Schema Registry. Every method may raise TryAgain, TargetNotAllowed or SchemaUnavailable.

    The schema of a dataset is asked for once, and so are the lookup datasets of a sandbox.
    """

    def __init__(self, adobe: Adobe) -> None:
        self._adobe = adobe
        self._known: dict[Target, RegisteredSchema] = {}
        self._lookups: dict[Target, tuple[str, ...]] = {}

    def of_dataset(self, target: Target) -> RegisteredSchema:
        """The schema of the target's dataset, in full form. Raises DatasetNotFound."""
        if target not in self._known:
            self._known[target] = self._of_dataset(target)
        return self._known[target]

    def _of_dataset(self, target: Target) -> RegisteredSchema:
        dataset = self._adobe.dataset(target)
        if dataset is None:
            raise DatasetNotFound(f"no dataset {target.dataset_id!r} in sandbox {target.sandbox}")
        schema_id = _schema_id(dataset)
        if not schema_id:
            raise NoSchema(f"Catalog names no schema for dataset {target.dataset_id}")
        version = re.search(r"version=(\d+)", str(dataset["schemaRef"].get("contentType")))
        return self.schema(target, schema_id, int(version[1]) if version else 1)

    def lookup_datasets(self, target: Target) -> tuple[str, ...]:
        """The ids of all lookup datasets of a sandbox. The target's own dataset does not matter."""
        if target not in self._lookups:
            query = {"orderby": "title"}  # without which there is no second page
            accept = "application/vnd.adobe.xed+json"
            listed = self._listed(target, "/tenant/schemas", query, accept, "schemas")
            lookups = {one.get("$id") for one in listed if _is_lookup(one)}
            found = self._adobe.datasets(target.credential, target.ims_org, target.sandbox)
            self._lookups[target] = tuple(
                sorted(key for key, raw in found if _schema_id(raw) in lookups)
            )
        return self._lookups[target]

    def schema(self, target: Target, schema_id: str, major: int = 1) -> RegisteredSchema:
        """The newest minor version of a schema, by its `$id`, in full form."""
        container = "global" if schema_id.startswith("https://ns.adobe.com/xdm/") else "tenant"
        path = f"/{container}/schemas/{quote(schema_id, safe='')}"
        accept = f"application/vnd.adobe.xed-full+json; version={major}"
        document = self._get(target, path, accept, f"schema {schema_id}, version {major}")
        about = document.get("meta:registryMetadata")
        return RegisteredSchema(
            schema_id,
            str(document.get("title", "")),
            str(document.get("version", major)),
            str(about.get("eTag", "") if isinstance(about, dict) else ""),
            document,
        )

    def check_mapping_set(self, target: Target, set_id: str, version: int) -> None:
        """Raises SchemaNotFound if Data Prep has no such mapping set, in that version."""
        path = f"/mappingSets/{quote(set_id, safe='')}?version={version}"
        what = f"mapping set {set_id}, version {version}"
        self._get(target, path, "application/json", what, _DATA_PREP)

    def identities(self, target: Target, schema_id: str) -> tuple[Identity, ...]:
        """The identities that descriptors of a schema name, in Adobe's order."""
        return tuple(
            Identity(path, one.get("xdm:isPrimary") is True)
            for one in self._descriptors(target, schema_id)
            if one.get("@type") == _IDENTITY and one.get("xdm:sourceSchema") == schema_id
            for path in _paths(one.get("xdm:sourceProperty"))
        )

    def _descriptors(self, target: Target, schema_id: str) -> Iterator[Mapping[str, Any]]:
        # That the list can be filtered is known from Adobe's own client; what comes is looked at.
        query = {"property": f"xdm:sourceSchema=={schema_id}"}
        accept, what = "application/vnd.adobe.xdm-v2+json", f"descriptors of schema {schema_id}"
        return self._listed(target, "/tenant/descriptors", query, accept, what)

    def _listed(
        self, target: Target, path: str, query: Mapping[str, str], accept: str, what: str
    ) -> Iterator[Mapping[str, Any]]:
        """All pages of a list."""
        asked = dict(query)
        for _ in range(_MAX_PAGES):
            found = self._get(target, f"{path}?{urlencode(asked)}", accept, what)
            results, page = found.get("results"), found.get("_page")
            if not isinstance(results, list):
                raise PlatformUnavailable("Schema Registry did not answer with a list")
            yield from (one for one in results if isinstance(one, dict))
            following = page.get("next") if isinstance(page, dict) else None
            if not following:
                return
            asked["start"] = str(following)
        raise PlatformUnavailable(f"Schema Registry has more than {_MAX_PAGES} pages of them")

    def _get(
        self, target: Target, path: str, accept: str, what: str, service: str = _REGISTRY
    ) -> dict[str, Any]:
        answer = self._adobe.gateway.call_repeatable(
            "GET",
            f"{service}{path}",
            target,
            None,
            _TIMEOUTS,
            accept=accept,
            max_bytes=_MAX_BYTES,
        )
        if not answer.ok:
            raise self._error_of(answer, target, what)
        found = answer.http.json()
        if not isinstance(found, dict):
            raise PlatformUnavailable(f"{answer}, not with JSON that Adobe documents")
        return found

    def _error_of(self, answer: AdobeAnswer, target: Target, what: str) -> IntakeError:
        error = self._adobe.gateway.error_of(answer)
        if answer.from_gateway or isinstance(error, TryAgain):
            return error
        if answer.status in (404, 406):
            return SchemaNotFound(
                f"there is no {what} in sandbox {target.sandbox} (AEP answered {answer.status})"
            )
        if answer.status == 403:
            return SchemaForbidden(
                f"the credential may not read {what}: its role in sandbox {target.sandbox} needs "
                f"the permission View Datasets or View Schemas ({error.detail})"
            )
        return SchemaUnavailable(f"{what} cannot be read: {error.detail}")


def _schema_id(dataset: Mapping[str, Any]) -> str:
    """The id of a dataset's schema; empty where Catalog names none."""
    reference = dataset.get("schemaRef")
    found = reference.get("id") if isinstance(reference, dict) else None
    return found if isinstance(found, str) else ""


def _paths(given: object) -> Iterator[str]:
    for one in given if isinstance(given, list) else [given]:
        if isinstance(one, str):
            yield one
