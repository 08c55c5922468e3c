"""A process that has loaded boto3 and requests, to be copied where a worker of a function starts.

`python original.py DOOR LAYERS MARGIN`: for each message that comes through the socket DOOR (a
command, a directory, an environment, and three streams) it answers with the process id of a copy
of itself, by `fork`, that runs the command. What it has loaded comes from LAYERS first, as in a new
process.
"""

import ctypes
import gc
import json
import os
import runpy
import socket
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# What functions talk to.
SERVICES = ("appconfigdata", "dynamodb", "events", "s3", "secretsmanager", "sqs")
MESSAGE_BYTES = 1 << 17


def main(door: socket.socket, layers: list[str]) -> None:
    """Until the other side of the door is closed; each copy leaves when its command has ended."""
    usual = sys.path[1:]
    sys.path[:] = [place for layer in layers for place in (layer, f"{layer}/python")] + usual
    _load()
    gc.collect()
    gc.freeze()
    while True:
        message, streams, *_ = socket.recv_fds(door, MESSAGE_BYTES, 3)
        if not message:
            return
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not (copy := os.fork()):
            door.close()
            _become(**json.loads(message), streams=streams, path=usual)
            return
        for stream in streams:
            os.close(stream)
        door.send(str(copy).encode())


def _load() -> None:
    """Import what functions do of others' packages, and read what botocore reads for SERVICES."""
    # From the layers, if they have it, or what it needs.
    import boto3  # noqa: PLC0415

    with suppress(ImportError):
        import aws_lambda_powertools.metrics  # noqa: F401, PLC0415
        import requests  # noqa: F401, PLC0415
    read_once()
    session = boto3.Session("none", "none", region_name="us-east-1")
    for service in SERVICES:
        session.client(service)  # type: ignore[call-overload]  # no literal


def read_once() -> None:
    """Let sessions of boto3 share what each would find out of botocore: most of their time."""
    from botocore import hooks  # noqa: PLC0415
    from botocore.loaders import JSONFileLoader, Loader  # noqa: PLC0415

    _keep(JSONFileLoader, "load_file")
    _keep(Loader, "list_available_services")
    _keep(hooks.EventAliaser, "_alias_event_name")
    # Of a hundred handlers for each session, which are the same ones.
    vars(hooks)["accepts_kwargs"] = lru_cache(500)(vars(hooks)["accepts_kwargs"])


def _keep(owner: type, name: str) -> None:
    """Let all instances share what a method gave for the same arguments."""
    method: Callable[..., Any] = getattr(owner, name)
    kept: dict[tuple[object, ...], Any] = {}

    def known(self: object, *arguments: object) -> Any:
        if arguments not in kept:
            kept[arguments] = method(self, *arguments)
        return kept[arguments]

    setattr(owner, name, known)


def _become(
    command: list[str],
    directory: str,
    environment: dict[str, str],
    streams: list[int],
    path: list[str],
) -> None:
    """Run `command`, a Python script, as if this process had been started for it."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    _show(command)
    sys.argv[:] = command[1:]
    sys.path[:] = [str(Path(sys.argv[0]).parent), *path]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _show(command: list[str]) -> None:
    """Let `ps` and /proc name the command, where the original's arguments are: MARGIN is room."""
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: arg_start and arg_end.
    fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    start, end = map(int, fields[45:47])
    shown = b"\0".join(map(os.fsencode, command))[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    _, number, places, _ = sys.argv
    main(socket.socket(fileno=int(number)), places.split(os.pathsep))
