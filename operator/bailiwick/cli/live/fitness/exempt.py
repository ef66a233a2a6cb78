"""What nobody judges: the namespaces that the border spares by name, and what is in them that should not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.cli.live.fitness.findings import Unseen, bad, doubtful, good, unseen
from bailiwick.residency.border import NAMESPACES_BINDING, policy_of
from bailiwick.residency.policies import exempt_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bailiwick.cli.live.fitness.findings import Finding
    from bailiwick.cli.live.fitness.seen import Raw, Seen

_CHECK: Final = "Exempt namespaces"
_NAME: Final = "kubernetes.io/metadata.name"
_MODEL: Final = "bailiwick.dev/model"
_SOME: Final = 5


def exempt(seen: Seen) -> Iterator[Finding]:
    """Which they are as installed, policies that mean one of them, and workloads that were put there."""
    names = exempt_namespaces(seen.home)
    listed = ", ".join(sorted(names))
    findings = (*_spared(seen, names), *_selected(seen, names), *_workloads(seen, names))
    if not findings:
        yield good(_CHECK, f"{listed}: nothing there that looks like a workload to govern")
    yield from findings


def _spared(seen: Seen, names: frozenset[str]) -> Iterator[Finding]:
    """What the bindings that are in force leave out."""
    if isinstance(seen.bindings, Unseen):
        yield unseen(_CHECK, seen.bindings, expected=f"bindings spare {', '.join(sorted(names))} and no other")
        return
    for binding in seen.bindings:
        name = binding["metadata"]["name"]
        if policy_of(binding) is None and name != NAMESPACES_BINDING:
            continue
        spared = _left_out(binding)
        if more := sorted(spared - names):
            yield bad(
                _CHECK, f"binding {name} also spares {', '.join(more)}",
                expected=f"it spares {', '.join(sorted(names))} and no other",
                remedy="see that the operator runs, which puts it right; and who could edit it, under Grants",
            )  # fmt: skip


def _left_out(binding: Raw) -> frozenset[str]:
    selector = (binding["spec"].get("matchResources") or {}).get("namespaceSelector") or {}
    return frozenset(
        value
        for each in selector.get("matchExpressions") or ()
        if each.get("key") == _NAME and each.get("operator") == "NotIn"
        for value in each.get("values") or ()
    )


def _selected(seen: Seen, names: frozenset[str]) -> Iterator[Finding]:
    """Policies whose selector takes in a namespace that they cannot govern."""
    if isinstance(seen.policies, Unseen) or isinstance(seen.namespaces, Unseen):
        return
    labels = {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in seen.namespaces}
    for raw in seen.policies:
        try:
            policy = ResidencyPolicy.read(raw)
        except ValidationError:
            continue  # told where policies are looked at
        selector = policy.spec.namespace_selector
        if meant := [name for name in sorted(names & labels.keys()) if selector.matches(labels[name])]:
            yield doubtful(
                _CHECK, f"policy {policy.metadata.name} selects {', '.join(meant)}, which it does not govern",
                expected="policies select namespaces of workloads",
                remedy="leave them out by spec.namespaceSelector, and let no workload run there",
            )  # fmt: skip


def _workloads(seen: Seen, names: frozenset[str]) -> Iterator[Finding]:
    expected = "programs of the cluster alone run there"
    if isinstance(seen.system_pods, Unseen):
        yield unseen(_CHECK, seen.system_pods, expected=expected)
        return
    odd = [each for each in seen.system_pods if each["metadata"]["namespace"] in names and _looks_governed(each)]
    if odd:
        yield doubtful(
            _CHECK, f"these ask for accelerators or are of a model, and nobody judges where they run: {_listed(odd)}",
            expected=expected, remedy="move them to a namespace that a policy governs",
        )  # fmt: skip


def _looks_governed(pod: Raw) -> bool:
    """Of a model, or with devices of its own: agents for devices come as DaemonSets."""
    owners = {each["kind"] for each in pod["metadata"].get("ownerReferences") or ()}
    if "DaemonSet" in owners:
        return False
    asked = {
        name
        for container in pod["spec"].get("containers") or ()
        for name in (container.get("resources") or {}).get("limits") or ()
    }
    devices = any("/" in name and not name.startswith("kubernetes.io/") for name in asked)
    return devices or bool(pod["spec"].get("resourceClaims")) or _MODEL in (pod["metadata"].get("labels") or {})


def _listed(pods: Sequence[Raw]) -> str:
    names = sorted(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in pods)
    more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
    return f"{', '.join(names[:_SOME])}{more}"
