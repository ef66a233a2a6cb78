"""Writes what follows from models and chart, or says where it differs: `python -m bailiwick.cli.generate [--check]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bailiwick.api.reference import reference
from bailiwick.api.resource import GROUP
from bailiwick.api.schema import KINDS, crd
from bailiwick.cli.reference.chart import chart_reference
from bailiwick.cli.reference.commands import command_reference
from bailiwick.cli.reference.metrics import metrics_reference
from bailiwick.cli.reference.reasons import reasons_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "# Generated from operator/bailiwick/api by `make generate`; edit the models, not this file.\n"


CRD_FOLDERS = (Path("crds"), Path("charts/bailiwick/files/crds"))  # Helm packs nothing from outside the chart


CHART = Path("charts/bailiwick")


def generated(root: Path = Path()) -> dict[Path, str]:
    """Every generated file, by its path in the repository, which is at ``root``."""
    crds = {f"{GROUP}_{kind.presents.plural}.yaml": HEADER + _as_yaml(crd(kind)) for kind in KINDS}
    files = {folder / name: text for folder in CRD_FOLDERS for name, text in crds.items()}
    values, schema = ((root / CHART / name).read_text() for name in ("values.yaml", "values.schema.json"))
    policies = {path.stem: path.read_text() for path in sorted((root / CHART / "policies").glob("*.yaml"))}
    return files | {
        Path("docs/reference/api.md"): reference(),
        Path("docs/reference/chart.md"): chart_reference(values, schema),
        Path("docs/reference/cli.md"): command_reference(),
        Path("docs/reference/metrics.md"): metrics_reference(),
        Path("docs/reference/reasons.md"): reasons_reference(policies),
    }


def differences(root: Path, files: Mapping[Path, str]) -> list[Path]:
    """Files below ``root`` that are missing, differ from ``files``, or are CRDs of no kind any more."""
    stale = [path for path, text in files.items() if not (root / path).exists() or (root / path).read_text() != text]
    there = [path.relative_to(root) for folder in CRD_FOLDERS for path in sorted((root / folder).glob("*"))]
    return stale + [path for path in there if path not in files]


def write(root: Path, files: Mapping[Path, str]) -> list[Path]:
    """Make the files below ``root`` right, and return those that were not."""
    wrong = differences(root, files)
    for path in wrong:
        target = root / path
        if path not in files:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path])
    return wrong


def main() -> int:
    """Command line; 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m bailiwick.cli.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not as generated")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository (default: the working directory)")
    options = parser.parse_args()
    files = generated(options.root)
    found = differences(options.root, files) if options.check else write(options.root, files)
    for path in found:
        sys.stdout.write(f"{path} {'is not as generated: run `make generate`' if options.check else 'written'}\n")
    return 1 if options.check and found else 0


class _Dumper(yaml.SafeDumper):
    """Block style without aliases; long sentences stay on one line, so that a changed word is a changed line."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _as_yaml(manifest: dict[str, object]) -> str:
    text: str = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    return text


if __name__ == "__main__":
    sys.exit(main())
