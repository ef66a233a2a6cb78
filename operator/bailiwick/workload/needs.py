"""What one replica could ask for on the classes that serve its model, and which of it when nothing was sized. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.sovereignmodel import Parallelism
from bailiwick.workload import group
from bailiwick.workload.eligibility import Need
from bailiwick.workload.sized import Sized, Unsized
from bailiwick.workload.sizing.choice import Offer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Eligibility


def offers(model: SovereignModel, classes: Mapping[str, AcceleratorClass]) -> Iterator[Offer]:
    """The classes that serve the model's engine, in the order of preference."""
    for accelerator in (classes[name] for name in model.spec.accelerators.classes if name in classes):
        for serving in (offer for offer in accelerator.spec.engines if offer.name is model.spec.engine.name):
            yield Offer(accelerator=accelerator, serving=serving)


def ways(model: SovereignModel, offer: Offer, devices: int) -> Sequence[Need]:
    """What a replica of so many devices could ask for, in the order of the class; first by the name that was planned.

    So a driver that is installed beside another does not replace the pods that run.
    """
    nodes, on_each = group.spread(devices, offer.accelerator.spec.devices_per_node)
    plan, spec = model.status.plan if model.status else None, offer.accelerator.spec
    current = plan.device if plan and plan.accelerator_class == offer.accelerator.metadata.name else None
    if not devices:
        return [Need(accelerator=offer.accelerator, serving=offer.serving, resource=None, devices=0)]
    named = {"Resource": spec.resources, "Claim": spec.device_classes[:1]}
    found = [
        Need(
            accelerator=offer.accelerator,
            serving=offer.serving,
            resource=name if way == "Resource" else None,
            device_class=name if way == "Claim" else None,
            devices=on_each,
            nodes=nodes,
        )
        for way in spec.ways
        for name in named[way]
    ]
    return sorted(found, key=lambda need: need.device != current)


def unsized(
    model: SovereignModel, offered: Sequence[Offer], told: Unsized, eligible: Callable[[Need], Eligibility]
) -> Sized:
    """Devices as asked, else one, on the preferred class that has a node."""
    asked = [need for offer in offered for need in ways(model, offer, _devices(model, offer.accelerator))]
    need, found = _choose(model, [(need, eligible(need)) for need in asked])
    return Sized(
        need=need,
        found=found,
        parallelism=_parallelism(model, need),
        figures={},
        notes=(told.note,) if told.note else (),
    )


def _devices(model: SovereignModel, accelerator: AcceleratorClass) -> int:
    """Devices per replica: as asked, or what parallelism needs; none on a plain CPU."""
    if not accelerator.spec.ways:
        return 0
    asked = model.spec.accelerators.per_replica
    if isinstance(asked, int):
        return asked
    parallelism = model.spec.parallelism
    return group.devices_of(parallelism) if parallelism else 1


def _parallelism(model: SovereignModel, need: Need) -> Parallelism:
    """As asked, or tensor parallelism over the devices of a node, and pipeline parallelism over nodes."""
    return model.spec.parallelism or Parallelism(tensor=max(need.devices, 1), pipeline=need.nodes)


def _choose(model: SovereignModel, asked: Sequence[tuple[Need, Eligibility]]) -> tuple[Need, Eligibility]:
    """The preferred need that has a node.

    What runs is not moved because a node restarts, a better one joins or an autoscaler asks for one replica more: the
    class that was planned is kept while the model still lists it and any node could carry it, in service or not.
    """
    current = model.status.plan.accelerator_class if model.status and model.status.plan else None
    for need, found in asked:
        if need.accelerator.metadata.name == current and found.capable:
            return need, found
    return next((each for each in asked if each[1].nodes), next((each for each in asked if each[1].capable), asked[0]))
