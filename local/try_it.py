"""Use what `make up` started: put a file, send a signed request, watch the events."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.bus import Event, Listener
from local.up import Up, read


def put(up: Up, file: Path, key: str) -> None:
    """Copy `file` into the landing bucket."""
    up.aws(up.sender).s3.put_object(
        Bucket=up.outputs["LandingBucketName"], Key=key, Body=file.read_bytes()
    )


def call(up: Up, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> None:
    """Make a request, and print the answer."""
    answer = up.aws(up.sender).call(method, up.api + path, body, headers)
    print(answer.status_code, answer.reason)
    for name, value in answer.headers.items():
        print(f"{name}: {value}")
    print(f"\n{answer.text}")


def events(up: Up) -> None:
    """Print every event until interrupted."""

    def show(event: Event) -> None:
        print(event["detail-type"], json.dumps(event["detail"], ensure_ascii=False), flush=True)

    with Listener(up.aws(up.root), up.outputs["BusName"], show):
        print("listening; Ctrl-C stops", file=sys.stderr)
        while True:
            time.sleep(60)


def header(text: str) -> tuple[str, str]:
    """Name and value of `NAME: VALUE`. Raises ArgumentTypeError."""
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'NAME: VALUE'")
    return name.strip(), value.strip()


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def main(typed: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.try_it", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    putting = commands.add_parser("put", help="copy a file into the landing bucket")
    putting.add_argument("file", type=_file)
    putting.add_argument("key")
    calling = commands.add_parser("call", help="send a signed request")
    calling.add_argument("method")
    calling.add_argument("path", help="/batches, or /batches/ID")
    calling.add_argument("body", nargs="?")
    calling.add_argument(
        "-H", "--header", action="append", default=[], type=header, metavar="'NAME: VALUE'"
    )
    commands.add_parser("events", help="print every event on the intake bus")
    arguments = parser.parse_args(typed)
    up = read()
    if up is None:
        print("Nothing is running: run `make up` first.", file=sys.stderr)
        return 1
    try:
        match arguments.command:
            case "put":
                put(up, arguments.file, arguments.key)
            case "call":
                given = arguments
                call(up, given.method, given.path, given.body, dict(given.header))
            case "events":
                events(up)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
