"""Run a command so that nothing of it outlives whoever started it, however that one ends.

`python leash.py COMMAND…` starts the command in a process group of its own and reads standard
input, whose other end the owner holds. When that closes (the owner let go, crashed or was killed)
or the command ends, the group gets SIGTERM and, after a grace, SIGKILL. The leash ends with the
command's own status.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 1.0  # nothing we start has anything to save


def main(command: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler that does nothing, not SIG_IGN: the command would inherit being deaf.
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    while child.poll() is None:
        if select.select([sys.stdin], [], [], 0.1)[0]:
            break
    _signal(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal(child.pid, signal.SIGKILL)
    return child.wait()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
