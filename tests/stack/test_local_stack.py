"""The harness itself: what it starts is as locked down as AWS, and nothing outlives it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from local.aws import Aws, Identity
from local.children import Child, ChildFailed, environment
from local.stack import ROOT, LocalStack

LOOPBACK = "https://127.0.0.1:1"


def test_children_are_refused_any_aws_but_ours(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL"):
        environment("https://s3.eu-west-1.amazonaws.com", path=[], more={})
    with pytest.raises(ValueError, match="real AWS"):
        Child(["true"], env={"PATH": os.defpath}, log=tmp_path / "log", cwd=ROOT)


def test_children_do_not_inherit_the_credentials_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_PROFILE", "real")
    env = environment(LOOPBACK, path=[], more={})
    assert {name for name in env if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_EC2_METADATA_DISABLED",
    }


def test_a_bad_end_is_reported_with_its_last_words(tmp_path: Path) -> None:
    env = environment(LOOPBACK, path=[], more={})
    command = ["sh", "-c", "echo out of luck; exit 3"]
    with (
        Child(command, env=env, log=tmp_path / "log", cwd=ROOT) as child,
        pytest.raises(ChildFailed, match=r"(?s)status 3.*out of luck"),
    ):
        child.wait(10)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_its_owner_however_that_one_ends(tmp_path: Path, end: int) -> None:
    # The child ignores SIGTERM and has a child of its own.
    script = "trap '' TERM; sleep 600 & echo $! $$; wait"
    owner = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from collections.abc import Callable
from pathlib import Path
from local.children import Child, ends_with_us, environment
env = environment({LOOPBACK!r}, path=[], more={{}})
log = Path({str(tmp_path / "log")!r})
with ends_with_us(), Child(["sh", "-c", {script!r}], env=env, log=log, cwd=Path("/")):
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", owner])
    started = _wait_for(lambda: (tmp_path / "log").read_text().split())
    process.send_signal(end)
    process.wait(10)
    _wait_for(lambda: not any(_runs(int(pid)) for pid in started))


def test_iam_is_enforced(stack: LocalStack) -> None:
    stranger = Aws(stack.endpoint, stack.authority, Identity("AKIANOBODY0000000000", "none"))
    with pytest.raises(ClientError, match=r"InvalidAccessKeyId|InvalidClientTokenId"):
        stranger.s3.put_object(Bucket=stack.outputs["LandingBucketName"], Key="k", Body=b"x")
    assert stranger.call("POST", f"{stack.api}/batches", {"datasetId": "d"}).status_code == 403
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.sender.s3.list_objects_v2(Bucket=stack.outputs["StateBucketName"])
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.sender.s3.delete_bucket(Bucket=stack.outputs["LandingBucketName"])
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.sender.dynamodb.scan(TableName=stack.outputs["LedgerTable"])


def test_a_layer_is_unpacked_once_for_all_workers(stack: LocalStack) -> None:
    """Or each start keeps MiniStack, and all that wait for it, busy for half a second."""
    for output in ("OnTickFunction", "OnRequestFunction"):
        stack.aws.functions.invoke(FunctionName=stack.outputs[output], Payload=b"{}")
    layers = list(stack.directory.glob("ministack-lambda-*/layer_?"))
    assert len(layers) >= 4
    assert all(layer.is_symlink() for layer in layers)
    assert len({layer.resolve() for layer in layers}) == 2


def test_a_producer_can_do_what_its_tools_do(stack: LocalStack) -> None:
    """aws s3 cp, ls, sync, mv and rm, pyarrow, pandas with s3fs, rclone: as boto3 says it."""
    s3, bucket = stack.sender.s3, stack.outputs["LandingBucketName"]
    folder = f"landing/loyalty/_temporary/{uuid.uuid4().hex}/"  # not for us: no batch comes of it
    in_parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.head_bucket(Bucket=bucket)
    s3.upload_fileobj(BytesIO(bytes(6 << 20)), bucket, f"{folder}large", Config=in_parts)
    s3.put_object(Bucket=bucket, Key=f"{folder}small", Body=b"1", Tagging="by=us")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=folder, Delimiter="/")["Contents"]
    assert [(each["Key"], each["Size"]) for each in listed] == [
        (f"{folder}large", 6 << 20),
        (f"{folder}small", 1),
    ]
    # `mv` is a copy, by parts where it is large, and a delete.
    source: Any = {"Bucket": bucket, "Key": f"{folder}large"}
    s3.copy(source, bucket, f"{folder}moved", Config=in_parts)
    s3.delete_object(**source)
    with pytest.raises(ClientError, match="404"):
        s3.head_object(**source)
    assert s3.head_object(Bucket=bucket, Key=f"{folder}moved")["ContentLength"] == 6 << 20
    left = s3.create_multipart_upload(Bucket=bucket, Key=f"{folder}left")["UploadId"]
    uploads = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert left in [each["UploadId"] for each in uploads]
    assert not s3.list_parts(Bucket=bucket, Key=f"{folder}left", UploadId=left).get("Parts")
    s3.abort_multipart_upload(Bucket=bucket, Key=f"{folder}left", UploadId=left)
    versions = s3.list_object_versions(Bucket=bucket, Prefix=folder)
    objects: Any = [
        {"Key": each["Key"], "VersionId": each["VersionId"]}
        for each in (*versions["Versions"], *versions["DeleteMarkers"])
    ]
    assert s3.get_object(Bucket=bucket, **objects[0])["ContentLength"] in (1, 6 << 20)
    assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert "Versions" not in s3.list_object_versions(Bucket=bucket, Prefix=folder)


def test_a_second_stack_has_everything_of_its_own(stack: LocalStack) -> None:
    outputs = stack.deploy_variant("second", {"RetentionDays": "30"})
    shared = {name for name, value in outputs.items() if stack.outputs[name] == value}
    assert shared == {"Version"}


def _runs(process: int) -> bool:
    # A zombie no longer runs; where nobody reaps orphans, it answers to signals for ever.
    status = Path(f"/proc/{process}/stat")
    if Path("/proc/self").exists():
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for[T](what: Callable[[], T], seconds: float = 60) -> T:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := what():
                return found
        except FileNotFoundError:
            pass
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
