"""`bailiwick weights verify|compare|import|manifest|digest`: what a folder of weights holds, and how it comes there.

Needs files and no cluster; only `import` opens connections, to the source that it is given.

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
from bailiwick.weights.profile import compare
from bailiwick.weights.signature import Key, read_root
from bailiwick.weights.verification import Expected, verify

if TYPE_CHECKING:
    import argparse

DONE, REFUSED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line below `bailiwick weights`. What pods are started with stays valid from release to release."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    verifying = actions.add_parser("verify", help="say whether a folder holds what it must")
    verifying.set_defaults(action=_verify)
    _add_import(actions.add_parser("import", help="fetch a folder from a bucket or hub, and verify it"))
    for each in actions.choices.values():
        _add_expected(each)
    verifying.add_argument("folder", type=Path, metavar="FOLDER", help="where the files of the model are")
    verifying.add_argument("--profile", type=Path, help="profile that should have been written from the files")
    comparing = actions.add_parser("compare", help="say whether a profile was written from the files of a folder")
    comparing.set_defaults(action=_compare)
    comparing.add_argument("--profile", type=Path, required=True, help="profile that should have been")
    comparing.add_argument("folder", type=Path, metavar="FOLDER", help="where the files of the model are")
    for name, action, about in (
        ("manifest", _manifest, "write the manifest of a folder to standard output"),
        ("digest", _digest, "write the digest of a folder, for spec.model.digest"),
    ):
        parser_of = actions.add_parser(name, help=about)
        parser_of.set_defaults(action=action)
        parser_of.add_argument("folder", type=Path, metavar="FOLDER", help="where the files of the model are")


def _add_expected(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", choices=WEIGHTS, default=WEIGHTS[0], help="kind of the files with the weights")
    parser.add_argument("--digest", help="sha256:..., of the manifest that `bailiwick weights manifest` writes")
    parser.add_argument("--manifest", type=Path, help="file in the format of sha256sum")
    parser.add_argument("--signature", type=Path, help="file with a signature of OpenSSF Model Signing")
    parser.add_argument(
        "--key", dest="keys", type=Key.read, action="append", default=[], metavar="BASE64[@TIME]",
        help="a public key that may have signed, without its PEM frame, and until when it counts; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--root", dest="roots", type=read_root, action="append", default=[], metavar="BASE64[@SIGNERS]",
        help="a CA whose certificates may have signed, without its PEM frame, and who of them, as a JSON list of "
        "objects with subject, email or uri; may be repeated",
    )  # fmt: skip


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_import)
    parser.add_argument("--endpoint", required=True, help="URL of the storage or hub")
    parser.add_argument("--bucket", help="of S3-compatible storage")
    parser.add_argument("--prefix", default="", help="folder in the bucket")
    parser.add_argument("--region", default="", help="that requests are signed for")
    parser.add_argument("--repository", help="of a hub: organisation/name")
    parser.add_argument("--revision", help="its commit")
    parser.add_argument(
        "--credentials", type=Path, help="folder with the files accessKeyId and secretAccessKey, or token"
    )
    parser.add_argument("--into", type=Path, required=True, help="folder that the result is put into")
    parser.add_argument("--name", required=True, help="name of the result there")
    parser.add_argument(
        "--share", type=int, choices=range(1, 101), default=100, metavar="PERCENT",
        help="stop when so much of all bytes is there; less than 100 leaves the rest, and the result, to another run",
    )  # fmt: skip
    parser.add_argument("--progress", type=Path, help="file for how far it is, as JSON")


def main(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    try:
        arguments.action(arguments)
    except WeightsError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    return DONE


def _expected(arguments: argparse.Namespace) -> Expected:
    return Expected(
        weights=arguments.weights,
        digest=arguments.digest,
        manifest=arguments.manifest,
        signature=arguments.signature,
        keys=tuple(arguments.keys),
        roots=tuple(arguments.roots),
        profile=getattr(arguments, "profile", None),
    )


def _import(arguments: argparse.Namespace) -> None:
    # Only an import speaks HTTP, and verifying should not wait for its libraries.
    from bailiwick.weights.fetching import fetch  # noqa: PLC0415

    told = fetch(arguments, _expected(arguments))
    if arguments.progress:
        arguments.progress.write_text(told)
    sys.stdout.write(f"{told}\n")


def _verify(arguments: argparse.Namespace) -> None:
    found = verify(arguments.folder, _expected(arguments), datetime.now(UTC))
    sys.stdout.write(f"{found.files} files, {found.digest or 'of allowed kinds; nothing says what they must hold'}\n")


def _compare(arguments: argparse.Namespace) -> None:
    compare(arguments.folder, arguments.profile)
    sys.stdout.write("the profile differs from no file that it was written from\n")


def _manifest(arguments: argparse.Namespace) -> None:
    sys.stdout.buffer.write(manifest.write(_digests(arguments.folder)))


def _digest(arguments: argparse.Namespace) -> None:
    sys.stdout.write(f"{manifest.digest(_digests(arguments.folder))}\n")


def _digests(where: Path) -> dict[str, str]:
    paths = [path for path in folder.files(where) if path not in folder.BESIDE]
    return dict(folder.digests(where, paths))
