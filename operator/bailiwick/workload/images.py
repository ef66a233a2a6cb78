"""Which images a model can need: read from the objects that the operator would write for it, class by class. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.workload.eligibility import Eligibility
from bailiwick.workload.plan import NO_AUTHORITIES, NO_PROFILES, plan_workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass
    from bailiwick.api.authority import Authority
    from bailiwick.api.modelsource import ProfileReference, Weights
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.plan import Settings, WorkloadPlan


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """One image, and what pods use it for: the name of a container, or ``volume`` and the name of one."""

    reference: str
    what: str


def forms(model: SovereignModel) -> tuple[SovereignModel, ...]:
    """The model once for each of its variants, as if that were its source: any of them may be chosen."""
    return tuple(_served_from(model, each) for each in model.spec.model.every)


def plans(  # noqa: PLR0913 - by keyword
    model: SovereignModel,
    *,
    classes: Mapping[str, AcceleratorClass],
    settings: Settings,
    policies: Sequence[CompiledPolicy] = (),
    profiles: Mapping[ProfileReference, str] = NO_PROFILES,
    authorities: Mapping[str, Authority] = NO_AUTHORITIES,
) -> Mapping[str, WorkloadPlan]:
    """By class, in the model's order: what it becomes where that class is taken. Classes that are unknown are left out.

    Nobody knows yet which nodes there will be, so none is asked for, and what an earlier plan took does not count.
    """
    return {
        name: plan_workload(
            _only_on(model, name),
            policies=policies,
            classes=classes,
            eligible=lambda *_: Eligibility(),
            settings=settings,
            profiles=profiles,
            authorities=authorities,
        )
        for name in model.spec.accelerators.classes
        if name in classes
    }


def uses(objects: Sequence[Mapping[str, Any]]) -> frozenset[Use]:
    """Every image of containers and of volumes in some objects."""
    return frozenset(use for each in objects for use in _uses(each))


def _served_from(model: SovereignModel, weights: Weights) -> SovereignModel:
    told = {
        "source": weights.source, "digest": weights.digest, "manifest": weights.manifest,
        "signature": weights.signature, "profile": weights.profile, "licence": weights.licence, "variants": (),
    }  # fmt: skip
    form = model.spec.model.model_copy(update=told)
    return model.model_copy(update={"spec": model.spec.model_copy(update={"model": form})})


def _only_on(model: SovereignModel, name: str) -> SovereignModel:
    accelerators = model.spec.accelerators.model_copy(update={"classes": (name,)})
    spec = model.spec.model_copy(update={"accelerators": accelerators})
    return model.model_copy(update={"spec": spec, "status": None})


def _uses(part: Any) -> Iterator[Use]:
    if isinstance(part, dict):
        image = part.get("image")
        if isinstance(image, str):
            # An import is a container for each part of the way: import-10, import-20 and so on.
            yield Use(image, str(part.get("name")).partition("-")[0])
        elif isinstance(image, dict) and "reference" in image:
            yield Use(image["reference"], f"volume {part.get('name')}")
        for each in part.values():
            yield from _uses(each)
    elif isinstance(part, list | tuple):
        for each in part:
            yield from _uses(each)
