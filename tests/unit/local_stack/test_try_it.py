"""`local.try_it`: a slip of the pen is told in one line."""

from pathlib import Path

import pytest

from local import try_it


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["put", "missing.json", "a.json"], "no file missing.json"),
        (
            ["call", "GET", "/batches/x", "-H", "x-sandbox-name=dev"],
            "not of the form 'NAME: VALUE'",
        ),
    ],
)
def test_what_cannot_be_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        try_it.main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_header_with_and_without_a_blank() -> None:
    assert try_it.header("X-A: b: c") == try_it.header("X-A:b: c") == ("X-A", "b: c")
