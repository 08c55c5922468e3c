"""The page of a file: each of its versions."""

from aep_intake.report.html import Html, fill, joined
from aep_intake.report.page import show
from aep_intake.report.page.frame import Frame
from aep_intake.report.today import File, Version


def file_page(file: File, frame: Frame) -> Html:
    """The page of a file."""
    shown = len(file.versions)
    note = show.NONE
    if not file.versions:
        note = show.nothing(
            f"Nothing is known of it: {file.why_unknown}. Look whether the bucket and the key are "
            "right, then run `aep-intake doctor`."
        )
    elif file.count > shown:
        note = fill(
            '<p class="soft">The latest {shown} of {count} versions.</p>',
            shown=shown,
            count=file.count,
        )
    return frame.around(
        joined(
            (
                fill(
                    '<div class="head"><h1>Where is my file?</h1>{back}</div>'
                    '<p><bdi dir="ltr"><code>{uri}</code></bdi></p>{note}',
                    back=frame.ways.button("Today", view="today"),
                    uri=file.uri,
                    note=note,
                ),
                *(_version(version, file.at) for version in file.versions),
                show.ask(frame, uri=file.uri),
            )
        )
    )


def _version(version: Version, now: int) -> Html:
    facts: dict[str, object] = {"Version": version.name, "Why": version.reason}
    facts["What to do"] = version.todo and show.sentence(version.todo)
    facts["Since"] = None if version.since is None else show.time(version.since, now)
    facts["Next"] = None if version.until is None else show.time(version.until, now)
    facts |= version.facts
    return fill(
        '<div class="version"><p><span class="tag {kind}">{state}</span> {means}</p>'
        '<dl class="facts">{facts}</dl></div>',
        kind="bad" if version.todo else "",
        state=version.state,
        means=show.NONE if version.means is None else show.sentence(version.means),
        facts=joined(
            fill("<dt>{name}</dt><dd><bdi>{value}</bdi></dd>", name=name, value=value)
            for name, value in facts.items()
            if value is not None
        ),
    )
