"""`make release`: what people install who have neither this checkout, nor Python 3.13, nor make.

    python -m local.release     after `sam build`; writes dist/aep-intake-VERSION.zip

The archive holds the template with its code already built, for `unzip && sam deploy`; the same as
plain CloudFormation, which needs no SAM; the operator's command as a wheel; schemas, policies,
pages, and the checksum of each file. The same checkout makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from aep_intake import __version__
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
NAME = f"aep-intake-{__version__}"
COPIED = (
    *("README.md", "CHANGELOG.md", "LICENSE", "samconfig.toml", "docs", "events", "policies"),
    "layers/intake/aep_intake/routing/routes.schema.json",
    "layers/intake/aep_intake/model/limits.schema.json",
)
_URI = re.compile(r"(?P<member>(?:Code|Content)Uri): (?P<folder>\S+)")
_BUILD_METHOD = "    Metadata: {BuildMethod: makefile}\n"
# A zip needs a time; a fixed one makes the same bytes. It knows none before this.
_TIME = (1980, 1, 1, 0, 0, 0)


def release(built: Path, to: Path) -> Path:
    """Write the archive of what `sam build` left in `built` into the folder `to`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / NAME
        (folder / "code").mkdir(parents=True)
        template = (ROOT / "template.yaml").read_text("utf-8")
        code = {source: _code(built / name, folder) for source, name in _folders(template).items()}
        (folder / "template.yaml").write_text(_with_code(template, code), "utf-8")
        text = json.dumps(plain(template, code), indent=1)
        (folder / "cloudformation.json").write_text(text, "utf-8")
        for name in COPIED:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / source.name)
        _wheel(folder)
        sums = [f"{_digest(file)}  {file.relative_to(folder)}\n" for file in _files(folder)]
        (folder / "SHA256SUMS").write_text("".join(sums), "utf-8")
        to.mkdir(parents=True, exist_ok=True)
        archive = to / f"{NAME}.zip"
        _zip(folder, archive, prefix=NAME)
    return archive


def _folders(template: str) -> dict[str, str]:
    """The folders with code, as the template names them; which of `sam build`'s folders has it.

    Functions of a folder share their code.
    """
    parsed = yaml_parse(template)
    usual = parsed["Globals"]["Function"]
    found = {}
    for name, resource in parsed["Resources"].items():
        about = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            found[(usual | about)["CodeUri"]] = name
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            found[about["ContentUri"]] = name
    return found


def _code(folder: Path, release: Path) -> str:
    """Where in the release the code of a folder is. Its name changes with it, so that a stack that
    is updated takes the new one."""
    packed = release / "code" / "new.zip"
    _zip(folder, packed)
    named = packed.with_name(f"{_digest(packed)[:32]}.zip")
    packed.replace(named)
    return str(named.relative_to(release))


def _with_code(template: str, code: Mapping[str, str]) -> str:
    """The template as people read it, with code that is built already."""
    template = template.replace(_BUILD_METHOD, "")
    return _URI.sub(lambda found: f"{found['member']}: {code[found['folder']]}", template)


def plain(template: str, code: Mapping[str, str]) -> dict[str, Any]:
    """A template as CloudFormation itself takes it, with code in a bucket of the account."""
    # It takes half a second, of whoever makes releases.
    from samtranslator.translator.transform import (  # type: ignore[import-untyped]  # noqa: PLC0415
        transform,
    )

    parsed = yaml_parse(template)
    parsed["Parameters"]["CodeBucket"] = {
        "Type": "String",
        "Description": "Bucket with the folder code/ of this release, in the region of the stack.",
    }
    about = list(parsed.get("Globals", {}).values())
    about += [resource["Properties"] for resource in parsed["Resources"].values()]
    for properties in about:
        for member in properties.keys() & {"CodeUri", "ContentUri"}:
            properties[member] = {"Bucket": {"Ref": "CodeBucket"}, "Key": code[properties[member]]}
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1"}):
        plain: dict[str, Any] = transform(parsed, {}, _NoManagedPolicies())
    return plain


class _NoManagedPolicies:
    """The template names none."""

    def load(self) -> dict[str, str]:
        return {}


def _wheel(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", folder, ROOT], check=True)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _zip(folder: Path, to: Path, prefix: str = "") -> None:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files(folder):
            about = zipfile.ZipInfo(str(Path(prefix) / file.relative_to(folder)), _TIME)
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(about, file.read_bytes())


if __name__ == "__main__":
    print(release(ROOT / ".aws-sam" / "build", ROOT / "dist").relative_to(ROOT))
