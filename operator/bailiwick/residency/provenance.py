"""What the devices of a node tell of its origin, by the classes that describe them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.resource import Assurance
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.facts import Claim, Fact, NodeFacts, Voucher, in_order, weigh
from bailiwick.residency.nodes import Node
from bailiwick.residency.verdict import Reason


def with_provenance(facts: NodeFacts, classes: Iterable[AcceleratorClass]) -> NodeFacts:
    """The facts about a node together with what is known of the devices that it shows.

    Classes speak of all their devices and count as Declared. They fill in what nobody ever said; where a statement of
    no better assurance says otherwise, the answer is unknown. What a class calls Unchecked is not known, and a node
    with devices of several kinds comes from all their countries together, or from nobody knows where.
    """
    shown = _devices(facts.node, classes)
    problems = list(facts.problems)
    filled = {}
    for dimension in (Dimension.BRAND, Dimension.MANUFACTURE, Dimension.DESIGN):
        said = facts.answer(dimension)
        claim, whole = _devices_say(shown, dimension)
        if claim is None:
            continue
        if isinstance(said, Fact):
            if not whole and set(claim.jurisdictions) <= set(said.jurisdictions):
                continue
            known = [Claim(said.jurisdictions, voucher) for voucher in said.vouchers]
            # A fact's vouchers count as of the moment of the facts, so none of them has lapsed here.
            filled[dimension], doubts = weigh(facts.node, dimension, [*known, claim], [])
            problems.extend(doubts)
        elif whole and said.reason is Reason.ORIGIN_UNKNOWN:
            filled[dimension] = Fact(claim.jurisdictions, (claim.voucher,))
    return replace(
        facts,
        brand=filled.get(Dimension.BRAND, facts.brand),
        manufacture=filled.get(Dimension.MANUFACTURE, facts.manufacture),
        design=filled.get(Dimension.DESIGN, facts.design),
        problems=tuple(problems),
    )


def _devices(node: Node, classes: Iterable[AcceleratorClass]) -> Mapping[str, Sequence[AcceleratorClass]]:
    """The kinds of devices that a node shows, each with the classes that describe it; also those that none describes.

    Extended resources are told apart by their names. A class without any is plain CPU, which every node that has its
    labels has; one that is silent about that says nothing of the node.
    """
    found: dict[str, list[AcceleratorClass]] = {
        resource: [] for resource, amount in node.allocatable.items() if _is_device(resource) and amount != "0"
    }
    for each in sorted(classes, key=lambda each: each.metadata.name):
        spec = each.spec
        if spec.node_selector and not spec.node_selector.matches(node.labels):
            continue
        for resource in spec.resources:
            if resource in node.allocatable:
                found.setdefault(resource, []).append(each)
        if not spec.resources:
            found.setdefault("", []).append(each)
    return found


def _is_device(resource: str) -> bool:
    """Whether Kubernetes knows the resource from a vendor only: its name has a domain, and not Kubernetes' own."""
    domain, slash, _ = resource.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io")


def _devices_say(devices: Mapping[str, Sequence[AcceleratorClass]], dimension: Dimension) -> tuple[Claim | None, bool]:
    """What is known of all devices of a node together, and whether that is known of every one of them."""
    countries: set[str] = set()
    by: list[str] = []
    whole = True
    for resource, classes in devices.items():
        known = False
        for each in classes:
            provenance = each.spec.provenance
            origin = {
                Dimension.BRAND: provenance.brand,
                Dimension.MANUFACTURE: provenance.manufacture,
                Dimension.DESIGN: provenance.design,
            }[dimension]
            if origin is not None and origin.confidence != "Unchecked":
                known = True
                countries.update(origin.jurisdictions)
                by.append(f"AcceleratorClass {each.metadata.name} ({origin.confidence}: {origin.source})")
        whole = whole and (known or not resource)
    if not countries:
        return None, whole
    return Claim(in_order(countries), Voucher(Assurance.DECLARED, ", ".join(dict.fromkeys(by)))), whole
