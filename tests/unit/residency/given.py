"""Short ways to say what is given: jurisdictions, policies, nodes, statements and moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.resource import Assurance
from bailiwick.residency.facts import Standing, gather
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import Node, read_node
from bailiwick.residency.policies import CompiledPolicy, compile_policy, exempt_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.residency.dimensions import Dimension
    from bailiwick.residency.facts import NodeFacts, Statement

Manifest = dict[str, Any]

EXEMPT = exempt_namespaces("bailiwick-system")
START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)
FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef0"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef0"


def day(number: float) -> datetime:
    """So many days after the first of all moments; NOW is day 20."""
    return START + timedelta(days=number)


def jurisdiction(name: str, *members: str) -> Jurisdiction:
    spec = {"members": list(members), "asOf": "2026-11-01", "source": "a law"}
    return Jurisdiction.read({"metadata": {"name": name.lower()}, "spec": spec})


EUROPE = jurisdiction("EU", "DE", "FR", "IE")
ATLAS = Atlas(
    [EUROPE, jurisdiction("EEA", "EU", "NO", "IS"), jurisdiction("WORLD", "DE", "FR", "IE", "GB", "US", "CN")]
)


def policy(name: str = "health", *, atlas: Atlas = ATLAS, **spec: Any) -> CompiledPolicy:
    """A compiled policy: Declared is enough, the EU is inside, unless ``spec`` says otherwise (in YAML's words)."""
    return compile_policy(raw_policy(name, **spec), atlas)


def raw_policy(name: str = "health", **spec: Any) -> ResidencyPolicy:
    place = {"allow": ["EU"], "assurance": "Declared"} | spec.pop("place", {})
    whole = {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": place} | spec
    return ResidencyPolicy.read({"metadata": {"name": name}, "spec": whole})


def node(name: str = "n1", *, provider_id: str = "", **info: str) -> Node:
    """A machine with the given providerID and nodeInfo."""
    return read_node({"metadata": {"name": name}, "spec": {"providerID": provider_id}, "status": {"nodeInfo": info}})


def statement(
    name: str = "s1",
    *,
    about: str = "n1",
    place: str | None = None,
    control: str | None = None,
    issued: float = 0,
    expires: float = 365,
    **more: Any,
) -> NodeStatement:
    """A statement about n1, valid from day ``issued`` to day ``expires``. ``identity`` and ``origin`` as in YAML."""
    spec: Manifest = {
        "node": {"name": about, **more.pop("identity", {})},
        "issuedAt": day(issued).isoformat(),
        "expiresAt": day(expires).isoformat(),
    }
    if place:
        spec["place"] = {"jurisdiction": place}
    if control:
        spec["control"] = {"jurisdiction": control}
    return NodeStatement.read({"metadata": {"name": name}, "spec": spec | more})


def vouched(statement: Statement, _: Dimension) -> Standing:
    """What the name says: ``verified-…`` is Verified, ``asserted-…`` Asserted, anything else Declared."""
    word = statement.metadata.name.partition("-")[0].capitalize()
    assurance = Assurance(word) if word in set(Assurance) else Assurance.DECLARED
    return Standing(assurance, f"NodeStatement {statement.metadata.name}")


def facts(
    *statements: NodeStatement, about: Node | None = None, provider_id: str = "", now: datetime = NOW
) -> NodeFacts:
    """What is believed about n1 after these statements."""
    return gather(about or node(provider_id=provider_id), statements, now, vouching=vouched)


def accelerator(name: str = "rngd", **provenance: tuple[Iterable[str], str]) -> AcceleratorClass:
    """A class of devices, with countries and confidence for brand, manufacture and design."""
    stated = {
        what: {"jurisdictions": list(countries), "source": "a datasheet", "confidence": confidence}
        for what, (countries, confidence) in provenance.items()
    }
    return AcceleratorClass.read({"metadata": {"name": name}, "spec": {"provenance": stated}})
