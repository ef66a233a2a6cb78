"""`python -m e2e.cluster COMMAND`: a real cluster, and what it is made of."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from e2e.cluster import cluster, kind
from e2e.cluster.binaries import OTHER_SERVERS, PROGRAMS, binaries
from e2e.cluster.load import load_image
from e2e.cluster.steps import ClusterError, lasted, say


def main() -> int:
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next run removes what this one left", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("binaries", help="build the missing programs, print all paths")
    build.add_argument("names", nargs="*", metavar="NAME", choices=[*PROGRAMS, []])
    build.set_defaults(run=_binaries)
    for name, what, does in (
        ("up", "have the cluster up and print its kubeconfig's path", _up),
        ("down", "end the cluster that up made; caches stay", _down),
        ("forget", "delete the nodes' image stores, should one be broken", _forget),
        ("status", "show the nodes", _status),
        ("kubeconfig", "print the path of the kubeconfig", _kubeconfig),
    ):
        commands.add_parser(name, help=what).set_defaults(run=does)
    load = commands.add_parser("load", help="load image archives into the nodes, and print their references by digest")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    load.add_argument(
        "--node", action="append", choices=kind.NODES, help="a node to load into; all, when none is named"
    )
    load.set_defaults(run=_load)
    return parser


def _load(arguments: argparse.Namespace) -> None:
    for archive in arguments.archives:
        say(load_image(archive, arguments.node or kind.NODES))


def _up(_: argparse.Namespace) -> None:
    start = time.monotonic()
    path = cluster.up()
    say(f"the cluster is up after {lasted(start)}; export KUBECONFIG={path}")


def _down(_: argparse.Namespace) -> None:
    cluster.down()


def _forget(_: argparse.Namespace) -> None:
    cluster.forget()


def _status(_: argparse.Namespace) -> None:
    say(cluster.status())


def _kubeconfig(_: argparse.Namespace) -> None:
    say(str(cluster.kubeconfig()))


def _binaries(arguments: argparse.Namespace) -> None:
    usual = [name for name in PROGRAMS if name not in OTHER_SERVERS]
    for path in binaries(arguments.names or usual).values():
        say(str(path))


if __name__ == "__main__":
    sys.exit(main())
