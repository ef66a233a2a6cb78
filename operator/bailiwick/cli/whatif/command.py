"""`bailiwick what-if`: what changed policies would stop, and what they would let in, before anybody applies them."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.cli import answers
from bailiwick.cli.files.chart import chosen, open_chart
from bailiwick.cli.files.intree import in_tree
from bailiwick.cli.files.located import documents
from bailiwick.cli.files.manifests import UnusableError, read, texts
from bailiwick.cli.live import reaching
from bailiwick.cli.offline.check import objection_to
from bailiwick.cli.tables import harmless
from bailiwick.cli.whatif.differences import compare
from bailiwick.cli.whatif.gathering import from_cluster, from_files, with_changes
from bailiwick.cli.whatif.standing import Scene
from bailiwick.cli.whatif.subjects import sort
from bailiwick.cli.whatif.told import as_json, lines
from bailiwick.cluster.errors import ApiError
from bailiwick.control.world import World
from bailiwick.residency.policies import exempt_namespaces

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bailiwick.cli.files.intree import InTree
    from bailiwick.cli.whatif.differences import Report
    from bailiwick.cli.whatif.gathering import Material
    from bailiwick.cli.whatif.subjects import Sorted

Raw = dict[str, Any]

FINE, FAILED, UNUSABLE, STOPS = 0, 1, 2, 3
_OWN: Final = "bailiwick-system"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = (
        "It exits with 0 when nothing would be stopped, with 3 when something would, with 1 when it could not look, "
        "or not at everything (`not seen` says what), and with 2 when it was called wrongly or a policy is not valid. "
        "What a change lets in does not count; programs read `widens` of -o json."
    )
    parser.add_argument(
        "files", type=Path, nargs="*", metavar="POLICY_FILE",
        help="ResidencyPolicies as they would be, new or changed, and Jurisdictions that they name; or - for what "
        "kustomize build prints; all of them together",
    )  # fmt: skip
    parser.add_argument(
        "--remove", action="append", default=[], metavar="NAME", help="a ResidencyPolicy that would go; may be repeated"
    )
    parser.add_argument(
        "--objects", type=Path, nargs="+", metavar="FILE",
        help="judge what is exported to these files, or folders of *.yaml, and ask no cluster: what kubectl get -A -o "
        "json or -o yaml writes",
    )  # fmt: skip
    parser.add_argument(
        "--chart", type=Path, help="the chart whose policies judge (default: the one beside this program)"
    )
    parser.add_argument(
        "--no-pin", action="store_false", dest="pin",
        help="pods must bring their nodeSelector themselves, as where the chart is installed with pin=false",
    )  # fmt: skip
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="how it is written")
    reaching.add_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Look, compare and print; returns the exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # what cannot be read is told in the report
    if not arguments.files and not arguments.remove:
        arguments.told_by.error("give a POLICY_FILE, or --remove NAME")
    try:
        change = Change.read(arguments.files, arguments.remove)
        brought = in_tree(open_chart(chosen(arguments.chart)))
    except UnusableError as error:
        return _failed(error, UNUSABLE)
    with _progress(sys.stderr) as tell:
        try:
            found = _gather(arguments, brought, tell)
        except (ApiError, UnusableError) as error:
            return _failed(error, UNUSABLE if arguments.objects and isinstance(error, UnusableError) else FAILED)
        try:
            report = what_if(
                change, found, brought, pins=arguments.pin and found.pins, tell=tell, now=datetime.now(UTC)
            )
        except UnusableError as error:
            return _failed(error, UNUSABLE)
    answers.write(arguments.output, lambda: as_json(report), lambda style: lines(report, style))
    return FAILED if report.unseen else STOPS if report.stops else FINE


@dataclass(frozen=True, slots=True)
class Change:
    """What would be applied, and which policies would go."""

    policies: Mapping[str, Raw]
    jurisdictions: Sequence[Raw]
    removed: Sequence[str]

    @classmethod
    def read(cls, paths: Sequence[Path], removed: Sequence[str]) -> Change:
        """From files. Raises UnusableError with what a cluster would say of a policy that is not valid."""
        policies: dict[str, Raw] = {}
        jurisdictions: list[Raw] = []
        for where, text in texts(paths, deep=True):
            for each in documents(text, where):
                at = f"{where}:{each.line}"
                if (wrong := objection_to(each.raw)) is not None:
                    raise UnusableError(f"{at}: {wrong or 'this steers a tool; give what it makes'}")
                name = str(each.raw["metadata"].get("name"))
                match each.raw["kind"]:
                    case "ResidencyPolicy":
                        read(ResidencyPolicy, each.raw, at)
                        if name in policies:
                            raise UnusableError(f"{at}: ResidencyPolicy {name} is given twice; which of them counts?")
                        policies[name] = each.raw
                    case "Jurisdiction":
                        read(Jurisdiction, each.raw, at)
                        jurisdictions.append(each.raw)
                    case kind:
                        raise UnusableError(
                            f"{at}: this is a {kind}, and a change is made of ResidencyPolicies and Jurisdictions; "
                            f"what is in the cluster besides is given by --objects"
                        )
        if both := sorted(policies.keys() & set(removed)):
            raise UnusableError(f"{', '.join(both)} is in a file and in --remove; which of them counts?")
        return cls(policies, jurisdictions, removed)


def what_if(  # noqa: PLR0913 - by keyword
    change: Change, found: Material, brought: InTree, *, pins: bool, tell: Callable[[str], None], now: datetime
) -> Report:
    """Compare what is found with what it would be. Raises UnusableError for a change that could not be made."""
    there = {name for _, name in found.stores.policies.keys()}  # noqa: SIM118 - a Store
    if missing := sorted(set(change.removed) - there):
        raise UnusableError(
            f"--remove names {', '.join(missing)}, and there is no such ResidencyPolicy; there are: "
            f"{', '.join(sorted(there)) or 'none'}"
        )
    changed = with_changes(found.stores, change.policies, change.removed, change.jurisdictions)
    worlds = [World(each, clock=lambda: now, exempt=exempt_namespaces(_OWN)) for each in (found.stores, changed)]
    for name in change.policies:
        if problems := worlds[1].policies()[name].problems:
            raise UnusableError(f"ResidencyPolicy {name} would be refused: {'; '.join(map(str, problems))}")
    before, after = (Scene(each, brought.guards, found.classes, pins=pins) for each in worlds)
    judged = sort(found.objects)
    names = [name for _, name in found.stores.namespaces.keys()]  # noqa: SIM118
    touched = {name for name in names if change.jurisdictions or before.measured(name) != after.measured(name)}
    report = compare(before.stand(judged, only=touched, told=tell), after.stand(judged, only=touched, told=tell))
    unseen = (*found.unseen, *_homeless(judged, set(names)), *report.unseen)
    return replace(report, unseen=unseen, seen=_seen(found, judged))


def _homeless(judged: Sorted, names: set[str]) -> Iterator[str]:
    """Namespaces of objects that are not known themselves, so that nobody knows who governs them."""
    spaces = Counter(str(each.manifest["metadata"].get("namespace") or "") for each in judged.groups)
    for name in sorted(spaces.keys() - names - {""}) if names else ():
        yield f"Namespace {name} is not there, so nobody knows what governs it, and what is in it was not judged"


def _seen(found: Material, judged: Sorted) -> dict[str, int]:
    return {
        "nodes": len(found.stores.nodes), "statements": len(found.stores.statements),
        "namespaces": len(found.stores.namespaces), "policies": len(found.stores.policies),
        "models": len(found.stores.models), "pods": judged.pods,
        "templates": sum(bool(each.pods) for each in judged.groups), "other objects": judged.objects,
    }  # fmt: skip


def _gather(arguments: argparse.Namespace, brought: InTree, tell: Callable[[str], None]) -> Material:
    if arguments.objects:
        return from_files(arguments.objects, brought.raw_jurisdictions, tell)

    async def ask() -> Material:
        async with reaching.reach(arguments) as api:
            return await from_cluster(api, tell)

    return asyncio.run(ask())


def _failed(error: ApiError | UnusableError, code: int) -> int:
    why = reaching.told(error) if isinstance(error, ApiError) else str(error)
    sys.stderr.write(f"bailiwick what-if: {why}\n")
    return code


@contextmanager
def _progress(output: TextIO) -> Iterator[Callable[[str], None]]:
    """Tells what is done at the moment, on a terminal alone, and leaves nothing behind."""
    shown = output.isatty()

    def tell(what: str) -> None:
        if shown:
            output.write(f"\r\033[K{harmless(what)[:100]}")
            output.flush()

    try:
        yield tell
    finally:
        if shown:
            output.write("\r\033[K")
            output.flush()
