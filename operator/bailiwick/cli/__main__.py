"""`python -m bailiwick.cli`."""

import sys

from bailiwick.cli import main

if __name__ == "__main__":
    sys.exit(main())
