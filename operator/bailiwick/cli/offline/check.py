"""`bailiwick check`: what the border would refuse of manifests, before they are merged. Needs files, and no cluster.

Exit codes: 0 when nothing would be refused, 1 when something would, 2 when something given cannot be used.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.api.resource import API_VERSION, GROUP
from bailiwick.api.territory import Territory
from bailiwick.cli.files.chart import chosen, open_chart
from bailiwick.cli.files.intree import in_tree
from bailiwick.cli.files.located import documents
from bailiwick.cli.files.manifests import STANDARD_INPUT, UnusableError, read, texts
from bailiwick.cli.offline.contents import Given
from bailiwick.cli.offline.reports import REPORTS
from bailiwick.cli.offline.violations import LEVELS, Level, Result, Thing, Unjudged, Unusable, Violation, taken_apart
from bailiwick.preview.defaults import default_class
from bailiwick.preview.judging import Border, Finding, MalformedError, Measure, measure
from bailiwick.preview.requests import is_of_the_cluster
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy, exempt_namespaces
from bailiwick.residency.territories import compile_territory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from bailiwick.api.residencypolicy import ResidencyPolicy
    from bailiwick.cli.files.chart import Chart
    from bailiwick.cli.files.located import Located

FINE, VIOLATED, UNUSABLE = 0, 1, 2
_OWN = "bailiwick-system"
_WEBHOOK = "bailiwick-admission"
_MEASURES: Final = frozenset({"ResidencyPolicy", "AcceleratorClass"})
_TOOLS: Final = frozenset({"kustomize.config.k8s.io"})
"""Groups of files that steer programs and are never applied."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line below `bailiwick check`."""
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE",
        help="manifests to judge; folders of *.yaml, also below; or - for what kustomize build or helm template prints",
    )  # fmt: skip
    parser.add_argument(
        "--with", type=Path, action="append", default=[], metavar="FILE", dest="known",
        help="what is in the cluster besides, read and not judged: ResidencyPolicies, Jurisdictions, Namespaces, "
        "AcceleratorClasses, Territories, default classes; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--governed-by", action="append", default=[], metavar="POLICY",
        help="take this policy to govern every namespace that is not given; may be repeated",
    )  # fmt: skip
    parser.add_argument("-n", "--namespace", default="default", help="of objects that name none")
    parser.add_argument("--as", dest="who", metavar="USER", help="who will apply them, as kubectl auth whoami tells it")
    parser.add_argument(
        "--chart", type=Path, help="the chart whose policies judge (default: the one beside this program)"
    )
    parser.add_argument(
        "--no-pin", action="store_false", dest="pin",
        help="pods must bring their nodeSelector themselves, as where the chart is installed with pin=false",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="fail also for policies in mode Warn or Audit")
    parser.add_argument("-o", "--output", choices=tuple(REPORTS), default="text", help="how the findings are written")


def main(arguments: argparse.Namespace) -> int:
    """Judge and print; returns the exit code."""
    result = Result()
    try:
        _check(arguments, result)
    except UnusableError as error:
        result.unusable.append(Unusable(file="command line", line=1, message=str(error)))
    sys.stdout.writelines(f"{line}\n" for line in REPORTS[arguments.output](result))
    sys.stderr.writelines(f"bailiwick check: {each.message}\n" for each in result.unusable)
    if result.unusable:
        return UNUSABLE
    return VIOLATED if result.failing(strict=arguments.strict) else FINE


def _check(arguments: argparse.Namespace, result: Result) -> None:
    chart = open_chart(chosen(arguments.chart))
    known = Known(chart)
    judged = [each for each in _read(arguments.files, result) if known.add(each, result)]
    for each in _read(arguments.known, result):
        known.add(each, result, behind=True)
    border = known.border(arguments)
    if not border.measures:
        result.notes.append(
            "no ResidencyPolicy is given, so only what holds everywhere was judged; give some by --with"
        )
    for each in judged:
        _judge(each, border, known, result)


def _read(paths: Sequence[Path], result: Result) -> Iterator[Located]:
    """The objects of files. What is none is noted in a folder, and unusable in a file that somebody named."""
    named = {str(path) for path in paths if not path.is_dir()}
    for where, text in texts(paths, deep=True):
        try:
            found = list(documents(text, where))
        except UnusableError as error:
            result.unusable.append(Unusable(file=where, line=1, message=str(error)))
            continue
        for each in found:
            wrong = objection_to(each.raw)
            if wrong is None:
                yield each
            elif wrong and (where in named or where == STANDARD_INPUT):
                message = f"{where}:{each.line}: {wrong}"
                result.unusable.append(Unusable(file=where, line=each.line, message=message))
            elif wrong:
                result.notes.append(f"{where}:{each.line} was left out: {wrong}")


def objection_to(raw: Any) -> str | None:
    """Why something is no manifest; empty for files of tools, None for a manifest."""
    if not isinstance(raw, dict) or not all(isinstance(raw.get(key), str) for key in ("apiVersion", "kind")):
        return "this has no apiVersion and kind, so it is no manifest"
    if raw["apiVersion"].partition("/")[0] in _TOOLS:
        return ""
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name") or metadata.get("generateName"), str):
        return f"{raw['kind']} has no metadata.name"
    if not isinstance(metadata.get("namespace"), str | None):
        return f"metadata.namespace of {raw['kind']} {metadata.get('name')} is no text"
    for key in ("labels", "annotations"):
        held = metadata.get(key)
        if held is not None and not (isinstance(held, dict) and all(isinstance(each, str) for each in held.values())):
            return f"metadata.{key} of {raw['kind']} {metadata.get('name')} must hold texts alone; quote numbers"
    return None


class Known:
    """What is known of the cluster: by the chart, by the files to judge, and by files that tell of the rest."""

    def __init__(self, chart: Chart) -> None:
        self._given = Given()
        self._behind = Given()
        self._territories: dict[str, dict[str, Any]] = {}
        self._jurisdictions: dict[str, Jurisdiction] = {}
        self._classes: dict[str, str | None] = {}
        brought = in_tree(chart)
        self._guards, self._shipped = brought.guards, brought.jurisdictions
        self.policies: dict[str, Any] = {}

    def add(self, each: Located, result: Result, *, behind: bool = False) -> bool:
        """Whether an object is usable; ``behind``: it counts where the files to judge have no other version of it."""
        raw = each.raw
        where = f"{each.file}:{each.line}"
        try:
            match raw["apiVersion"], raw["kind"]:
                case (version, "Jurisdiction") if version == API_VERSION:
                    found = read(Jurisdiction, raw, where)
                    self._jurisdictions.setdefault(found.name, found)
                case (version, "Territory") if version == API_VERSION:
                    territory = read(Territory, raw, where)
                    if behind:  # nobody but the operator can write one, so one to be judged tells nothing
                        self._territories[territory.metadata.name] = raw
                case ("v1", "Namespace"):
                    (self._behind if behind else self._given).add(raw, where)
                case _ if kind := default_class(raw):
                    self._classes.setdefault(kind, raw["metadata"].get("name"))
                case (version, kind) if version.partition("/")[0] == GROUP:
                    # Only of what others are judged by there may be no two, as overlays have them.
                    kept = self._behind if behind else self._given
                    (kept if kind in _MEASURES else Given()).add(raw, where)
        except UnusableError as error:
            result.unusable.append(Unusable(file=each.file, line=each.line, message=str(error)))
            return False
        return True

    def border(self, arguments: argparse.Namespace) -> Border:
        """All of it. Raises UnusableError for a policy that is named and not there."""
        atlas = Atlas({**self._shipped, **self._jurisdictions}.values())
        policies: dict[str, ResidencyPolicy] = {**self._behind.policies, **self._given.policies}
        classes = {**self._behind.classes, **self._given.classes}.values()
        if unknown := sorted(set(arguments.governed_by) - policies.keys()):
            raise UnusableError(
                f"--governed-by names {', '.join(unknown)}, and no such ResidencyPolicy is given; there are: "
                f"{', '.join(sorted(policies)) or 'none'}"
            )
        self.policies = {name: compile_policy(policy, atlas) for name, policy in sorted(policies.items())}
        schedulers = {each.spec.scheduler_name for each in classes if each.spec.scheduler_name}
        return Border(
            guards=self._guards,
            measures=tuple(self._measure(policy, schedulers) for policy in self.policies.values()),
            namespaces={**self._behind.namespaces, **self._given.namespaces},
            exempt=exempt_namespaces(_OWN),
            default_namespace=arguments.namespace,
            assumed=frozenset(arguments.governed_by),
            pins=arguments.pin,
            classes=self._classes,
            who=arguments.who,
        )

    def _measure(self, policy: Any, schedulers: Iterable[str]) -> Measure:
        # Without nodes no statement is looked at, so the moment does not matter.
        compiled = compile_territory(policy, (), datetime.min.replace(tzinfo=UTC), schedulers=schedulers).manifest
        told = self._territories.get(policy.name)
        if told is None:
            return measure(policy, compiled, nodes_known=False)
        both = sorted({*compiled["spec"]["schedulers"], *told["spec"]["schedulers"]})
        spec = {**compiled["spec"], "nodes": told["spec"]["nodes"], "schedulers": both}
        return measure(policy, {**compiled, "spec": spec}, nodes_known=True)


def _judge(each: Located, border: Border, known: Known, result: Result) -> None:
    thing = _thing(each, border.default_namespace)
    result.judged.append(thing)
    if (thing.api_version, thing.kind) == (API_VERSION, "ResidencyPolicy") and (
        policy := known.policies.get(thing.name)
    ):
        for problem in policy.problems:
            _add(each, thing, Finding(guard=_WEBHOOK, policy=policy, message=str(problem), path=()), result)
    try:
        for finding in border.judge(each.raw):
            _add(each, thing, finding, result)
    except (MalformedError, RecursionError, ValueError, TypeError, AttributeError) as error:
        told = str(error) if isinstance(error, MalformedError) else "the API server would not take it as valid"
        message = f"{each.file}:{each.line}: {thing}: {told}"
        result.unusable.append(Unusable(file=each.file, line=each.line, message=message))


def _add(each: Located, thing: Thing, finding: Finding, result: Result) -> None:
    name = finding.policy.name if finding.policy else ""
    if finding.doubt:
        result.unjudged.append(Unjudged(finding.message, thing, finding.guard, name))
        return
    reason, expected, seen, remedy = taken_apart(finding.message)
    level = LEVELS[finding.policy.mode] if finding.policy and finding.guard != _WEBHOOK else Level.ERROR
    violation = Violation(
        thing=thing, line=each.line_of(finding.path, seen or expected), level=level, guard=finding.guard, policy=name,
        rule=reason, expected=expected, seen=seen, remedy=remedy,
    )  # fmt: skip
    result.violations.append(violation)


def _thing(each: Located, default_namespace: str) -> Thing:
    raw, metadata = each.raw, each.raw["metadata"]
    group = raw["apiVersion"].rpartition("/")[0]
    namespace = "" if is_of_the_cluster(group, raw["kind"]) else metadata.get("namespace") or default_namespace
    name = metadata.get("name") or metadata["generateName"]
    return Thing(each.file, each.line, raw["apiVersion"], raw["kind"], namespace, name)
