"""`make down`: stop what `make up` started, and wait until it has ended."""

import os
import signal
import sys
import time

from local.up import LOG, keeper


def main() -> int:
    process = keeper()
    if process is None:
        print("Nothing is running.")
        return 0
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while keeper() == process:
        if time.monotonic() > deadline:
            print(f"Process {process} does not end: read its log, {LOG}.", file=sys.stderr)
            return 1
        time.sleep(0.1)
    print("Everything is stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
