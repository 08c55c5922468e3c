"""`python -m local.simulator`: the simulator on a port, with an organization to start with."""

import argparse
import sys
from pathlib import Path

from .app import listen, server
from .seed import seed_defaults
from .simulator import Simulator


def main() -> int:
    """Serve until told to stop. Returns 1 where the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m local.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument("--port-file", type=Path, help="write the port here once it listens")
    parser.add_argument("--empty", action="store_true", help="no organization, until seeded")
    arguments = parser.parse_args()
    simulator = Simulator()
    if not arguments.empty:
        seed_defaults(simulator)
    try:
        listening = listen(arguments.host, arguments.port)
    except OSError as error:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {error}", file=sys.stderr)
        return 1
    port = listening.getsockname()[1]
    if arguments.port_file:
        whole = arguments.port_file.with_suffix(".part")
        whole.write_text(f"{port}\n")
        whole.replace(arguments.port_file)
    print(f"AEP simulator on http://{arguments.host}:{port}", flush=True)
    server(simulator).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
