"""The variants of a model: what sizing is told of each, and the model with the one that was chosen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.workload.sizing.profile import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.modelsource import ProfileReference, Weights
    from bailiwick.api.sovereignmodel import SovereignModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a model may be served from. ``profile`` is the text that its reference leads to, None where it is gone.

    ``name`` is what measurements and reasons call it: that of the model, and behind a colon that of the variant.
    """

    name: str
    weights: Weights
    profile: str | None


def candidates(model: SovereignModel, profiles: Mapping[ProfileReference, str]) -> tuple[Candidate, ...]:
    """All that a model may be served from, in order of preference."""
    return tuple(
        Candidate(
            name=known_as(model, weights.variant),
            weights=weights,
            profile=profiles.get(weights.profile) if weights.profile else None,
        )
        for weights in model.spec.model.every
    )


def known_as(model: SovereignModel, variant: str | None) -> str:
    """``skt/A.X-K1:fp8``, or ``skt/A.X-K1`` where there are no variants."""
    return model.spec.model.name if variant is None else f"{model.spec.model.name}:{variant}"


def read_by(found: Sequence[Candidate]) -> str | None:
    """Digest by which the profiles are known again; None while one of them cannot be seen."""
    texts = [each.profile for each in found if each.profile is not None]
    if len(texts) < len(found):
        return None
    if found[0].weights.variant is None:
        return digest(texts[0])
    return digest("".join(f"{each.name} {digest(text)}\n" for each, text in zip(found, texts, strict=True)))


def alone(model: SovereignModel, variant: str | None) -> SovereignModel:
    """The model with one of its variants only: what is built, verified and imported. Itself where it lists no such."""
    told = model.spec.model
    chosen = tuple(each for each in told.variants if each.name == variant)
    if not chosen:
        return model
    only = told.model_copy(update={"variants": chosen})
    return model.model_copy(update={"spec": model.spec.model_copy(update={"model": only})})
