"""The entry point of the gate's image."""

import sys

from gatekeeper.keeper import main

if __name__ == "__main__":
    sys.exit(main())
