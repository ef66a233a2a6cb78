"""What a changed policy does to nodes and to models that run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.admission.judgement import some
from bailiwick.residency.rules import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.admission.known import Known
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.policies import CompiledPolicy


def effect_of(before: CompiledPolicy | None, after: CompiledPolicy | None, known: Known) -> list[str]:
    """Warnings: nodes that go outside, models that run there or lose their last node, namespaces that are released.

    ``before`` is None for a new policy, which governs what nobody governed; ``after`` for one that is deleted.
    """
    spaces = known.namespaces()
    was = {name for name, labels in spaces.items() if before and before.governs(name, labels, exempt=known.exempt)}
    becomes = {name for name, labels in spaces.items() if after and after.governs(name, labels, exempt=known.exempt)}
    policy = next((each.name for each in (after, before) if each), "")
    warnings = []
    if released := was - becomes:
        told = [f"{each.metadata.namespace}/{each.metadata.name}" for each in _models(known, released)]
        models = f", and with them the models {some(told)}" if told else ""
        warnings.append(f"policy {policy} no longer governs the namespaces {some(released)}{models}")
    if after is None:
        return warnings
    now, facts = known.now(), known.facts()
    inside = {name for name, each in facts.items() if judge(after, each, now).allowed}
    inside_before = {name for name, each in facts.items() if before and judge(before, each, now).allowed}
    if put_out := inside_before - inside:
        warnings.append(f"policy {policy} puts out the nodes {some(put_out)}")
    stranded = []
    for model in _models(known, becomes):
        placed = {each.node for each in model.status.placements} if model.status else set()
        if placed - inside:
            nodes = some(placed - inside)
            stranded.append(f"{model.metadata.namespace}/{model.metadata.name} (on {nodes})")
    if stranded:
        warnings.append(f"policy {policy} leaves models running outside: {some(stranded)}")
    if becomes and not inside and (inside_before or before is None):
        warnings.append(f"policy {policy} leaves no node inside for {some(becomes)}: what runs there has nowhere to go")
    return warnings


def _models(known: Known, namespaces: set[str]) -> Iterable[SovereignModel]:
    return (model for model in known.models() if model.metadata.namespace in namespaces)
