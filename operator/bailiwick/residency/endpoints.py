"""Whether an inference server outside the cluster is inside: by the same facts and the same rules as a node. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from bailiwick.residency.facts import Fact, Unknown, believe, declared, name_of
from bailiwick.residency.nodes import Node
from bailiwick.residency.rules import judge_all
from bailiwick.residency.territories import changes
from bailiwick.residency.verdict import Problem, Reason, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from bailiwick.api.endpointstatement import Endpoint, EndpointStatement
    from bailiwick.residency.facts import NodeFacts, Vouching
    from bailiwick.residency.policies import Limits
    from bailiwick.residency.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEndpoint:
    """A server outside, as of one moment. ``until`` is when time alone may change the verdict."""

    statement: EndpointStatement
    facts: NodeFacts
    verdict: Verdict
    until: datetime | None

    @property
    def endpoint(self) -> Endpoint:
        """The server."""
        return self.statement.spec.endpoint

    @property
    def name(self) -> str:
        """Name of its statement."""
        return self.statement.metadata.name

    @property
    def place(self) -> Fact | None:
        """Where it stands, if anybody vouches for it."""
        return self.facts.place if isinstance(self.facts.place, Fact) else None


def address_of(endpoint: Endpoint) -> str:
    """Address and port: ``192.0.2.7:8443``, ``[2001:db8::7]:8443``. No node can be called so."""
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{host}:{endpoint.port}"


def identity_of(endpoint: Endpoint) -> str:
    """What tells a server from any other, as 32 digits: another address, port, name or CA is another server."""
    said = [endpoint.address, endpoint.port, endpoint.server_name, endpoint.certificate_authority]
    return sha256(json.dumps(said).encode()).hexdigest()[:32]


def judge_endpoint(
    name: str,
    statements: Iterable[EndpointStatement],
    limits: Sequence[Limits],
    now: datetime,
    *,
    vouching: Vouching = declared,
) -> JudgedEndpoint | None:
    """The server that a statement names; None where there is no such statement.

    Whatever the policies ask, somebody must vouch for where it stands: a node is at least in the cluster, and this is
    nowhere.
    """
    every = tuple(statements)
    meant = next((each for each in every if each.metadata.name == name), None)
    if meant is None:
        return None
    facts = endpoint_facts(meant, every, now, vouching=vouching)
    moments = [moment for limit in limits for moment in changes(limit, facts, now)]
    moments += [facts.next_change] if facts.next_change else []
    verdict = judge_all(limits, facts, now)
    if verdict.allowed and isinstance(facts.place, Unknown):
        verdict = refuse(facts.place.reason, facts.place.message)
    return JudgedEndpoint(statement=meant, facts=facts, verdict=verdict, until=min(moments, default=None))


def endpoint_facts(
    meant: EndpointStatement, statements: Iterable[EndpointStatement], now: datetime, *, vouching: Vouching = declared
) -> NodeFacts:
    """What is believed about the server that a statement means.

    Every statement about the same address and port counts, as every statement about a node does. One that knows the
    server by another name or CA speaks of another machine.
    """
    where, identity = address_of(meant.spec.endpoint), identity_of(meant.spec.endpoint)
    about = [each for each in statements if address_of(each.spec.endpoint) == where]
    about.sort(key=lambda statement: statement.metadata.name)
    strange = {
        each.metadata.name: _another(each, meant) for each in about if identity_of(each.spec.endpoint) != identity
    }
    return believe(_as_node(where), about, strange, now, vouching=vouching)


def _another(statement: EndpointStatement, meant: EndpointStatement) -> Problem:
    return Problem(
        Reason.IDENTITY_MISMATCH,
        f"{name_of(statement)} knows the server at {address_of(meant.spec.endpoint)} by another name or CA than "
        f"{name_of(meant)}; remove the one that is wrong",
    )


def _as_node(where: str) -> Node:
    """A machine of which nobody tells anything but statements: no provider, no labels, no waivers."""
    return Node(
        name=where, uid="", provider_id="", machine_id="", system_uuid="", labels={}, taints=(), allocatable={},
        ready=True, cordoned=False, virtual="", what="endpoint",
    )  # fmt: skip
