"""A copy of a process is as good as a new one, for a script that cannot know how it was started."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.strict_aws.copies import POSSIBLE, Copy, Original

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not POSSIBLE, reason="processes are copied on Linux only"),
]
SCRIPT = """
import json, os, random, sys
def loaded(name):
    return getattr(sys.modules.get(name), "__file__", None)
modules = [loaded("boto3"), loaded("jmespath")]
json.dump({
    "argv": sys.argv, "path": sys.path, "directory": os.getcwd(), "environment": dict(os.environ),
    "name": __name__, "number": random.random(), "line": sys.stdin.readline(), "modules": modules,
}, sys.stdout)
print("", flush=True)
print("on stderr", file=sys.stderr)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with a release of its own of what botocore needs."""
    found = importlib.util.find_spec("jmespath")  # comes with boto3
    assert found
    assert found.origin
    layer = tmp_path_factory.mktemp("layer")
    (layer / "python").mkdir()
    (layer / "python/jmespath").symlink_to(Path(found.origin).parent)
    return layer


@pytest.fixture(scope="module")
def original(layer: Path) -> Iterator[Original]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)  # MiniStack has none
        original = Original([str(layer)])
    yield original
    original.close()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def told(process: Any) -> dict[str, Any]:
    """What the script says of itself."""
    process.stdin.write("a line\n")
    process.stdin.flush()
    said: dict[str, Any] = json.loads(process.stdout.readline())
    assert process.stderr.readline() == "on stderr\n"
    return said


def test_a_copy_is_like_a_new_process(original: Original, script: Path, layer: Path) -> None:
    command, directory = [sys.executable, str(script), "word"], str(script.parent)
    environment = {"ONLY": "this", "LANG": "C.UTF-8"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=directory, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        new = told(process)
        process.communicate("\n")
    with original.copy(command, directory, environment) as copy:
        first = told(copy)
        with original.copy(command, directory, environment) as other:
            second = told(other)
            other.stdin.write("\n")
        copy.kill()
    assert first.pop("number") != second.pop("number") != new.pop("number")
    assert first == second
    # All that is more: boto3 is there already, with what the layer has.
    boto3, jmespath = first.pop("modules")
    assert new.pop("modules") == [None, None]
    assert boto3
    assert jmespath.startswith(str(layer))
    assert first == new


@pytest.mark.parametrize("end", [Copy.kill, Copy.terminate, lambda copy: copy.stdin.write("\n")])
def test_it_is_known_when_a_copy_has_ended(
    original: Original, script: Path, end: Callable[[Copy], object]
) -> None:
    with original.copy([sys.executable, str(script)], str(script.parent), {}) as copy:
        told(copy)
        assert copy.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            copy.wait(0)
        # By this, tests find whom to kill.
        assert os.fsencode(script) in Path(f"/proc/{copy.pid}/cmdline").read_bytes().split(b"\0")
        end(copy)
        assert copy.stdout.read() == ""
        assert copy.wait(60) == copy.poll() == 0
        copy.kill()  # nobody is there any more
