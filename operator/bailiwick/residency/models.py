"""Whose signature and which licence the policies of a namespace ask of a model. Pure.

The API server asks the same when a model is written (charts/bailiwick/policies/models.yaml); this is asked again
whenever the model is planned, because a policy may have come later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.verdict import Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bailiwick.api.modelsource import ModelSignature
    from bailiwick.api.residencypolicy import ModelRule
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.policies import CompiledPolicy


def judge(model: SovereignModel, policies: Iterable[CompiledPolicy]) -> Verdict | None:
    """The first refusal of a policy that is enforced; None when there is none."""
    asked = ((policy.by, policy.spec.models) for policy in policies if policy.mode is Mode.ENFORCE)
    refusals = (_unsigned(model, rule, by) or _licence(model, rule, by) for by, rule in asked if rule)
    return next(filter(None, refusals), None)


def _unsigned(model: SovereignModel, asked: ModelRule, by: str) -> Verdict | None:
    if not asked.signed_by:
        return None
    wanted = ", ".join(sorted(asked.signed_by))
    for where, signature in _signatures(model):
        if signature is None or signature.authority not in asked.signed_by:
            seen = f"Authority {signature.authority}" if signature else "nobody"
            return refuse(
                Reason.SIGNATURE_REQUIRED,
                f"{by} wants models to be signed by one of {wanted}, but {where} is signed by {seen}; have one of "
                f"them sign the files, and name it in {where}.signature.authority",
            )
    return None


def _signatures(model: SovereignModel) -> Iterator[tuple[str, ModelSignature | None]]:
    for weights in model.spec.model.every:
        yield weights.where, weights.signature
    for adapter in model.spec.adapters:
        yield f"spec.adapters[{adapter.name}]", adapter.signature


def _licence(model: SovereignModel, asked: ModelRule, by: str) -> Verdict | None:
    if not asked.licences:
        return None
    for weights in model.spec.model.every:
        if weights.licence not in asked.licences:
            return refuse(
                Reason.LICENCE_NOT_ALLOWED,
                f"{by} allows the licences {', '.join(sorted(asked.licences))}, but {weights.where}.licence is "
                f"{weights.licence or 'absent'}; say under which licence the model is served, or ask for it to be "
                f"added to spec.models.licences of the policy",
            )
    return None
