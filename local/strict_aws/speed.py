"""What MiniStack does slowly, done quickly; nobody can tell the difference.

It unpacks layers and code for each worker anew, a thousand files, while nobody else is served; on
AWS both are read-only, so workers may share them. It starts each worker as a new process that
imports boto3; a copy of one that has it is as good. It reads templates by a YAML reader in Python;
the one in C gives the same. For each request it reads all policies of the caller twice, once just
to know its name; they are read once, and not for that.
"""

import hashlib
import os
import subprocess
import tempfile
import threading
import zipfile
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from ministack.core import iam_evaluator, lambda_runtime
from ministack.core.responses import _account_from_sts_session, get_account_id
from ministack.core.router import extract_access_key_id
from ministack.services.cloudformation import engine

from local.strict_aws.copies import POSSIBLE, Copy, Original
from local.strict_aws.patches import Function, instead_of

_places: Final[dict[str, Path]] = {}
_unpacking: Final = threading.Lock()


class UnpackedOnce(zipfile.ZipFile):
    """A zip file that is put where it is wanted as a link to where it was unpacked first."""

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()

    def namelist(self) -> list[str]:
        """None, where they were looked at before."""
        return [] if self._digest in _places else super().namelist()

    def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
        """In place of the empty directory `path`."""
        assert (members, pwd) == (None, None)
        with _unpacking:
            if self._digest not in _places:
                place = Path(tempfile.mkdtemp(prefix="unpacked-"))
                super().extractall(place, super().namelist())
                _places[self._digest] = place
        Path(path).rmdir()
        Path(path).symlink_to(_places[self._digest])


vars(lambda_runtime)["zipfile"] = SimpleNamespace(**vars(zipfile) | {"ZipFile": UnpackedOnce})


_starting: Final = threading.Lock()
_original: Final = cache(Original)


def start(command: list[str], **options: Any) -> Copy | subprocess.Popen[str]:
    """A process of MiniStack's; a worker of a function with layers as a copy."""
    environment = options.get("env") or {}
    layers = environment.get("_LAMBDA_LAYERS_DIRS", "")
    if not POSSIBLE or not layers:
        return subprocess.Popen(command, **options)
    # The same whoever unpacked them; MiniStack's worker puts the last one first.
    places = tuple(os.path.realpath(layer) for layer in reversed(layers.split(os.pathsep)))
    with _starting:
        original = _original(places)
    return original.copy(command, options["cwd"], environment)


vars(lambda_runtime)["subprocess"] = SimpleNamespace(**vars(subprocess) | {"Popen": start})


# MiniStack's loader of templates, over libyaml.
_loader: Final = type(
    "QuickLoader",
    (engine.yaml.CSafeLoader,),
    {
        name: getattr(engine.CfnLoader, name)
        for name in ("yaml_constructors", "yaml_multi_constructors", "yaml_implicit_resolvers")
    },
)
vars(engine)["CfnLoader"] = _loader


@instead_of(iam_evaluator, "parse_policy_document", switch=None)
def read_policy_once(read: Function, document: str | dict[str, Any]) -> Any:
    return _policy(read, document) if isinstance(document, str) else read(document)


@cache
def _policy(read: Function, document: str) -> Any:
    return read(document)


@instead_of(iam_evaluator, "request_caller_arn", switch=None)
def caller_by_its_key(_: Function, headers: dict[str, str], query: Any = None) -> str:
    """The ARN of who sent a request; the account's root where that is not known."""
    key = extract_access_key_id(headers, query or {})
    account = _account_from_sts_session(key) or get_account_id()
    credential = iam_evaluator.resolve_credential(key, account) if key else None
    arn: str = getattr(credential, "principal_arn", "")  # an error has none
    return arn or f"arn:aws:iam::{get_account_id()}:root"
