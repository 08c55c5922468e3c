"""What Adobe leaves undocumented, or lets differ."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args, get_origin, get_type_hints


@dataclass
class Switches:
    """One member for each thing nobody documents; the defaults are what seems likeliest.

    `expires_in`: seconds a token lives (Adobe's samples: about a day). `catalog_lag_ms`: how long
    a batch made from now on stays out of Catalog's answers. `abandon_after_ms`: Adobe says "the
    expected timeframe" and no more; None is never. `external_id_reuse`: `refused` is 409,
    `refused-400` is 400, `returned` is 201 with the oldest batch of that externalId. `abort`:
    `strict` only while loading, `lenient` until a final state; Adobe's pages contradict each other.
    """

    expires_in: int = 86_399
    default_sandbox: str = "prod"
    unknown_sandbox: Literal[403, 404] = 403
    unknown_dataset: Literal[400, 404] = 400
    input_format_required: bool = False
    external_id_reuse: Literal["accepted", "refused", "refused-400", "returned"] = "accepted"
    abort: Literal["strict", "lenient"] = "strict"
    abandon_after_ms: int | None = 24 * 3_600_000
    catalog_lag_ms: int = 0
    nothing_found: Literal["empty", "not-found"] = "empty"
    unknown_filter: Literal["refused", "ignored"] = "refused"

    def change(self, **values: object) -> None:
        """Set several at once, or none. Raises ValueError: no such switch or position."""
        known = get_type_hints(Switches)
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"no switch {name}")
            kind = known[name]
            if get_origin(kind) is Literal:
                if value not in get_args(kind):
                    raise ValueError(f"{name} must be one of {', '.join(map(str, get_args(kind)))}")
            elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise ValueError(f"{name} must be {kind}")
        for name, value in values.items():
            setattr(self, name, value)

    def positions(self) -> dict[str, object]:
        """Every switch and where it stands."""
        return asdict(self)
