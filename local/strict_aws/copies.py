"""Processes that start as copies of one that has loaded boto3 (`original`): in milliseconds.

On AWS each worker has a processor of its own for its start; here, importing boto3 and reading what
botocore knows of six services was most of what hundreds of workers took of the machine. A copy has
its own command, directory, environment, streams and path for imports; no code of a function has
been imported in it. Linux only.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

ORIGINAL = Path(__file__).with_name("original.py")
POSSIBLE = hasattr(os, "pidfd_open")
# Longer than the command of any worker.
MARGIN = "-" * 1000


class Copy:
    """A copy, as far as a `subprocess.Popen` is used; how it ended is not known.

    A context manager: leaving waits for its end, and closes its streams.
    """

    def __init__(self, pid: int, streams: tuple[IO[str], IO[str], IO[str]]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = streams
        self.returncode: int | None = None
        # A file, so that it is closed with this.
        self._process = os.fdopen(os.pidfd_open(pid), "rb", buffering=0)
        self._end = select.poll()
        self._end.register(self._process, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        for each in (self.stdin, self.stdout, self.stderr, self._process):
            each.close()

    def poll(self) -> int | None:
        """None while it runs."""
        if self._end.poll(0):
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises TimeoutExpired where it runs for longer than `timeout` seconds."""
        if not self._end.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        self.returncode = 0
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process.fileno(), number)


class Original:
    """The process that is copied, with what `layers` (their directories, last one first) have."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._lock = threading.Lock()
        # Messages stay whole, and the other side sees when this process has ended.
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, str(ORIGINAL), str(number), os.pathsep.join(layers), MARGIN],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
            )

    def copy(self, command: Sequence[str], directory: str, environment: Mapping[str, str]) -> Copy:
        """Start `command`: Python, a script, and its arguments."""
        asked = {"command": command, "directory": directory, "environment": dict(environment)}
        (stdin, to), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        theirs = (stdin, stdout, stderr)
        with self._lock:
            socket.send_fds(self._door, [json.dumps(asked).encode()], theirs)
            pid = int(self._door.recv(32))
        for stream in theirs:
            os.close(stream)
        return Copy(pid, (os.fdopen(to, "w", buffering=1), os.fdopen(out), os.fdopen(err)))

    def close(self) -> None:
        """End it; its copies go on."""
        self._door.close()
        self._process.wait()
