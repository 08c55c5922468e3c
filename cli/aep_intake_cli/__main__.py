"""`python -m aep_intake_cli`, as `aep-intake`."""

import sys

from aep_intake_cli.command import main

if __name__ == "__main__":
    sys.exit(main())
