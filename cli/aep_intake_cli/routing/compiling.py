"""What publishing writes into a routing table, by the schemas of its datasets.

Its maps are compiled, and it says which datasets are lookup (dimension) datasets, since functions
read no schema.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from aep_intake.adapters.adobe.schemas import SchemaForbidden, Schemas
from aep_intake.content.xdm import Schema
from aep_intake.model.batches import Target
from aep_intake.model.errors import CredentialUnusable, IntakeError, TryAgain
from aep_intake.routing import routes
from aep_intake.routing.targets import credential_arn

from aep_intake_cli import datasets
from aep_intake_cli.documents import DocumentProblem
from aep_intake_cli.routing.maps import compiled_map, problems_of
from aep_intake_cli.versions import as_written, route_as_written

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.content.compile_map import CompiledMap
    from aep_intake.model.organizations import Organizations
    from aep_intake.routing.table import Route


@dataclass(frozen=True)
class CompiledTable:
    """A routing table whose routes name their compiled maps, and lookup datasets; and the maps, by
    name. `notes`: what whoever publishes it should know.
    """

    document: bytes
    maps: Mapping[str, bytes]
    problems: tuple[DocumentProblem, ...]
    notes: tuple[str, ...] = ()


def compile_table(
    document: bytes,
    live: Callable[[], bytes],
    adobe: Adobe,
    credentials: Credentials,
    organizations: Organizations,
) -> CompiledTable:
    """Compile a routing table without problems, by what AEP says of the datasets of its routes.

    Where AEP does not answer for an organization, a route that is as in the `live` table keeps what
    was written into it there; another one with a map is a problem. Without a map, a route whose
    dataset cannot be read stays as it is.
    """
    table, maps = as_written(document), dict[str, bytes]()
    asking = _Asking(adobe, credentials, organizations, Schemas(adobe))
    live_routes = cache(lambda: json.loads(live())["routes"])
    problems, kept = list[DocumentProblem](), defaultdict[str, list[str]](list)
    silence: TryAgain | None = None  # of an AEP that is down: it is not asked for each route
    for index, route in enumerate(routes.parse(document, "draft").routes):
        written, field = table["routes"][index], f"routes[{index}].map"
        if "ignore" in written:
            continue
        try:
            arn = credential_arn(written.get("credential"), organizations.credentials)
            if silence is not None and "map" not in written:
                raise silence
            lookup, compiled = asking.told(route, arn)
        except (TryAgain, SchemaForbidden) as why:
            if isinstance(why, TryAgain) and not isinstance(why, CredentialUnusable):
                silence = why
            same = (one for one in live_routes() if route_as_written(one) == written)
            before = next(same, written)
            if before != written:
                kept[f"{datasets.secret_name(arn)}: {why}"].append(route.name)
            elif "map" in written:
                text = f"it is new or changed, and AEP does not say what its dataset holds: {why}"
                problems.append(DocumentProblem(route.name, field, text))
            written |= before
        except (IntakeError, ValueError) as why:
            if "map" in written:  # whoever publishes is told so besides, if it has none
                text = f"the schema of its dataset cannot be read: {why}"
                problems.append(DocumentProblem(route.name, field, text))
        else:
            written |= {"lookup": lookup} if lookup else {}
            if compiled is not None:
                problems += problems_of(index, route, compiled)
                maps[compiled.name] = compiled.text
                written["compiledMap"] = compiled.name
    if table != json.loads(document):
        document = json.dumps(table, ensure_ascii=False, indent=1).encode()
    notes = tuple(
        f"AEP did not describe the datasets of some routes, so the routes {', '.join(names)} keep "
        f"what the live table has of them ({why})"
        for why, names in kept.items()
    )
    return CompiledTable(document, maps, tuple(problems), notes)


@dataclass(frozen=True)
class _Asking:
    """Asks AEP what the datasets of routes are."""

    adobe: Adobe
    credentials: Credentials
    organizations: Organizations
    schemas: Schemas

    def told(self, route: Route, arn: str) -> tuple[bool | list[str], CompiledMap | None]:
        """Whether the dataset of a route, by a credential, is a lookup dataset, and its map.

        Where its dataset depends on the key: the lookup datasets that it may be. Raises
        IntakeError and ValueError.
        """
        ims_org = self.credentials.ims_org(arn)
        organizations = self.organizations
        try:
            found = datasets.dataset_of_route(self.adobe, route, organizations, {arn: ims_org})
        except datasets.CannotLookUp:  # then it has no map
            return self._lookups(route, arn, ims_org), None
        target, compiled = found.target, None
        schema = self.schemas.of_dataset(target)
        if "map" in route.written:
            identities = self.schemas.identities(target, schema.id)
            primary = [one.path for one in identities if one.primary]
            compiled = compiled_map(route, Schema(schema.document), primary)
        return schema.lookup, compiled

    def _lookups(self, route: Route, arn: str, ims_org: str) -> list[str]:
        """The lookup datasets of each sandbox in which the dataset of a route may be."""
        allowed = self.organizations.of(arn).sandboxes
        sandbox = route.written.get("sandbox", allowed[0])
        places = allowed if "{" in sandbox else (sandbox,)
        found = (self.schemas.lookup_datasets(Target(arn, ims_org, one, "")) for one in places)
        return sorted(dataset_id for some in found for dataset_id in some)
