"""An organization to start with, used by the local run and by the tests."""

from dataclasses import dataclass, field

from .ims import SCOPES, Client
from .registry import sample
from .simulator import Simulator

LOYALTY = "5c8c3c555033b814b69f947f"
WEB_EVENTS = "5e8b1a2c4d7f9018ac3b55d1"
PRODUCTS = "60f1c2aa9be3d14718c0de42"
PROFILES = "62d4b7e0134fa91c8800ab37"
CLOSED = "63e5c8f1245ab02d9911bc48"
SYSTEM = "64f6d9a2356bc13e0022cd59"
CLICKS = "65a7e0b3467cd24f1133de60"
# By dataset: a file in `schemas/`. `closed` has no `schemaRef`, which Adobe has seen, too.
SCHEMAS = {
    "loyalty": "loyalty-members",
    "profiles": "loyalty-members",
    "clicks": "web-events",
    "web-events": "web-events-adhoc",
    "products": "products-adhoc",
}
# Of a dataset of Adobe's own: a class, where other datasets have a schema.
CLASS = "https://ns.adobe.com/xdm/context/experienceevent"


@dataclass(frozen=True)
class Seed:
    """What a client must be told, and what there is to find.

    `datasets`: name → id, the same in every one of `sandboxes`. `profiles` is Profile-enabled,
    Catalog shows `closed` but no batch may be made for it, `system` is managed by Adobe. Of those
    in SCHEMAS, the rows are validated.
    """

    client_id: str = "c0ffee5a1e7b4d0f9a3e8d2b6c417f05"
    client_secret: str = field(default="p8e-simulated-secret-one", repr=False)
    ims_org: str = "8F3A1C5E60B24D970A495E41@AdobeOrg"
    scopes: tuple[str, ...] = SCOPES
    sandboxes: tuple[str, ...] = ("prod", "dev")
    datasets: tuple[tuple[str, str], ...] = (
        ("loyalty", LOYALTY),
        ("web-events", WEB_EVENTS),
        ("products", PRODUCTS),
        ("profiles", PROFILES),
        ("closed", CLOSED),
        ("system", SYSTEM),
        ("clicks", CLICKS),
    )


def seed_defaults(simulator: Simulator, seed: Seed | None = None) -> Seed:
    """Put `seed` into the simulator; without one, the organization all examples speak of."""
    seed = seed or Seed()
    simulator.add_client(
        Client(
            seed.client_id,
            frozenset({seed.client_secret}),
            seed.ims_org,
            frozenset(seed.scopes),
        )
    )
    documents = {name: sample(name) for name in SCHEMAS.values()}
    ids = {name: documents[schema]["$id"] for name, schema in SCHEMAS.items()} | {"system": CLASS}
    for sandbox in seed.sandboxes:
        simulator.add_sandbox(seed.ims_org, sandbox)
        for document in documents.values():
            simulator.foundation.registry.add_schema(
                seed.ims_org, sandbox, document, simulator.clock()
            )
        for descriptor in sample("descriptors"):
            simulator.add_descriptor(seed.ims_org, sandbox, descriptor)
        for name, dataset_id in seed.datasets:
            simulator.add_dataset(
                seed.ims_org,
                sandbox,
                dataset_id,
                name,
                profile_enabled=name == "profiles",
                managed_by="SYSTEM" if name == "system" else "CUSTOMER",
                closed=name == "closed",
                schema=ids.get(name),
            )
    return seed
