"""`make down`: end what `make up` started, and wait until it is gone."""

import os
import signal
import sys
import time

from local.up import LOG, keeper


def main() -> int:
    process = keeper()
    if process is None:
        print("Nothing is up.")
        return 0
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while keeper() == process:
        if time.monotonic() > deadline:
            print(f"Process {process} does not end; its log is {LOG}.", file=sys.stderr)
            return 1
        time.sleep(0.1)
    print("All is down.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
