"""`python -m e2e.cluster COMMAND`: a real cluster, and what it is made of."""

from __future__ import annotations

import argparse
import sys

from e2e.cluster.binaries import PROGRAMS, binaries
from e2e.cluster.steps import ClusterError, say


def main() -> int:
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("binaries", help="build the missing programs, print all paths")
    build.add_argument("names", nargs="*", metavar="NAME", choices=[*PROGRAMS, []])
    build.set_defaults(run=_binaries)
    return parser


def _binaries(arguments: argparse.Namespace) -> None:
    for path in binaries(arguments.names or PROGRAMS).values():
        say(str(path))


if __name__ == "__main__":
    sys.exit(main())
