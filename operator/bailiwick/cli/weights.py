"""`bailiwick weights verify|manifest|digest`: what a folder of weights holds. Needs files, and no cluster or network.

Exit codes: 0 when all is as it must be, 1 when it is not, 2 when something given cannot be used. The last line of
standard error is ``Reason: message``; an operator of any release reads it, so the form of it stays.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bailiwick.weights import folder, manifest
from bailiwick.weights.kinds import WEIGHTS
from bailiwick.weights.problems import WeightsError
from bailiwick.weights.signature import Key
from bailiwick.weights.verification import Expected, verify

if TYPE_CHECKING:
    import argparse

DONE, REFUSED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line below `bailiwick weights`. What pods are started with stays valid from release to release."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    verifying = actions.add_parser("verify", help="say whether a folder holds what it must")
    verifying.set_defaults(action=_verify)
    verifying.add_argument("--weights", choices=WEIGHTS, default=WEIGHTS[0], help="kind of the files with the weights")
    verifying.add_argument("--digest", help="sha256:..., of the manifest that `bailiwick weights manifest` writes")
    verifying.add_argument("--manifest", type=Path, help="file in the format of sha256sum")
    verifying.add_argument("--signature", type=Path, help="file with a signature of OpenSSF Model Signing")
    verifying.add_argument(
        "--key", dest="keys", type=Key.read, action="append", default=[], metavar="BASE64[@TIME]",
        help="a public key that may have signed, without its PEM frame, and until when it counts; may be repeated",
    )  # fmt: skip
    for name, action, about in (
        ("manifest", _manifest, "write the manifest of a folder to standard output"),
        ("digest", _digest, "write the digest of a folder, for spec.model.digest"),
    ):
        actions.add_parser(name, help=about).set_defaults(action=action)
    for each in actions.choices.values():
        each.add_argument("folder", type=Path, metavar="FOLDER")


def main(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    try:
        arguments.action(arguments)
    except WeightsError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    return DONE


def _verify(arguments: argparse.Namespace) -> None:
    expected = Expected(
        weights=arguments.weights,
        digest=arguments.digest,
        manifest=arguments.manifest,
        signature=arguments.signature,
        keys=tuple(arguments.keys),
    )
    found = verify(arguments.folder, expected, datetime.now(UTC))
    sys.stdout.write(f"{found.files} files, {found.digest or 'of allowed kinds; nothing says what they must hold'}\n")


def _manifest(arguments: argparse.Namespace) -> None:
    sys.stdout.buffer.write(manifest.write(_digests(arguments.folder)))


def _digest(arguments: argparse.Namespace) -> None:
    sys.stdout.write(f"{manifest.digest(_digests(arguments.folder))}\n")


def _digests(where: Path) -> dict[str, str]:
    paths = [path for path in folder.files(where) if path not in folder.BESIDE]
    return dict(folder.digests(where, paths))
