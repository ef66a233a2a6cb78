"""`bailiwick statement sign|verify`: for those who vouch for machines, of a cluster or outside.

Needs files and a clock, and no cluster.

Exit codes: 0 when it is done and everything counts, 1 when a statement does not count, 2 when something given cannot be
used. No key is ever printed.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.api.authority import Authority
from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.resource import Assurance
from bailiwick.cli.files.manifests import UnusableError, content, every, manifests, read
from bailiwick.evidence.dsse import EvidenceError, private_key
from bailiwick.evidence.statements import Authorities, sign
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.endpoints import endpoint_facts
from bailiwick.residency.facts import Unknown, answers_of, gather, name_of
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import Node, read_node

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

COUNTS, DOES_NOT_COUNT, UNUSABLE = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line below `bailiwick statement`."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    signing = actions.add_parser("sign", help="write a statement with a signed envelope to standard output")
    signing.set_defaults(action=_sign)
    signing.add_argument("statement", type=Path, metavar="STATEMENT.yaml", help="the statement to sign")
    signing.add_argument("--key", type=Path, required=True, help="private key in PEM: ed25519 or ECDSA P-256")
    signing.add_argument("--keyid", default="", help="name of the key, as the Authority gives it")
    signing.add_argument("--authority", help="name of the Authority, where the statement does not give it")
    verifying = actions.add_parser("verify", help="say what a statement is worth, and why")
    verifying.set_defaults(action=_verify)
    verifying.add_argument("statement", type=Path, metavar="STATEMENT.yaml", help="the signed statement")
    verifying.add_argument("--authority", type=Path, required=True, help="manifest of the Authority")
    verifying.add_argument(
        "--node", type=Path, help="manifest of the node, as `kubectl get node NAME -o yaml` tells it"
    )
    verifying.add_argument(
        "--jurisdictions", type=Path, action="append", default=[],
        help="manifests of the Jurisdictions that the Authority names; may be repeated",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    try:
        code: int = arguments.action(arguments)
    except (UnusableError, EvidenceError) as error:
        sys.stderr.write(f"bailiwick statement: {error}\n")
        return UNUSABLE
    return code


def _sign(arguments: argparse.Namespace) -> int:
    kind, raw = _one(arguments.statement)
    spec = dict(raw.get("spec") or {})
    authority = arguments.authority or spec.get("authority")
    if not authority:
        raise UnusableError(f"{arguments.statement} names no Authority; give --authority NAME, or spec.authority")
    facts = {key: value for key, value in spec.items() if key not in {"authority", "envelope"}}
    unsigned = read(kind, {**raw, "spec": facts}, arguments.statement)
    envelope = sign(unsigned.spec, private_key(content(arguments.key)), keyid=arguments.keyid)
    written = envelope.model_dump(by_alias=True, mode="json")
    signed = {**raw, "spec": {**facts, "authority": authority, "envelope": written}}
    read(kind, signed, arguments.statement)
    yaml.safe_dump(signed, sys.stdout, sort_keys=False, allow_unicode=True, width=120)
    return COUNTS


def _verify(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    kind, raw = _one(arguments.statement)
    statement = read(kind, raw, arguments.statement)
    by = name_of(statement)
    authorities = Authorities.of(
        every(Authority, [arguments.authority]), Atlas(every(Jurisdiction, arguments.jurisdictions))
    )
    if statement.spec.envelope is None:
        return _tell([f"{by} is not signed, so it is Declared"], counts=False)
    vouching = authorities.vouching(now)
    if isinstance(statement, EndpointStatement):
        if arguments.node:
            raise UnusableError(f"{by} is about no node; leave --node out")
        facts = endpoint_facts(statement, [statement], now, vouching=vouching)
    else:
        # Without a node, one that fits: the signature alone is asked about.
        node = _node(arguments.node) if arguments.node else _fitting(statement)
        if node.name != statement.spec.node.name:
            why = f"IdentityMismatch: the statement is about node {statement.spec.node.name}, not {node.name}"
            return _tell([why], counts=False)
        facts = gather(node, [statement], now, vouching=vouching)
    told, counts = [str(problem) for problem in facts.problems], True
    for dimension in Dimension:
        if not answers_of(statement, dimension):
            continue
        answer = facts.answer(dimension)
        if isinstance(answer, Unknown):
            told.append(f"{dimension}: {answer.reason}: {answer.message}")
            counts = False
        elif answer.by.startswith(by) and answer.assurance.rank > Assurance.DECLARED.rank:
            told.append(f"{dimension}: {answer.jurisdiction} is {answer.assurance} by {answer.by}")
        else:
            told.append(f"{dimension}: {answer.jurisdiction} is no more than {answer.assurance} by {answer.by}")
            counts = False
    return _tell(told, counts=counts)


def _one(path: Path) -> tuple[type[NodeStatement | EndpointStatement], dict[str, Any]]:
    """The one statement in a file, and its kind. Raises UnusableError."""
    kinds: tuple[type[NodeStatement | EndpointStatement], ...] = (NodeStatement, EndpointStatement)
    found = [(kind, raw) for kind in kinds for raw in manifests(path, kind.__name__, some=False)]
    if len(found) != 1:
        raise UnusableError(f"{path} holds {len(found)} objects NodeStatement or EndpointStatement; give 1")
    return found[0]


def _tell(lines: Iterable[str], *, counts: bool) -> int:
    sys.stdout.writelines(f"{line}\n" for line in dict.fromkeys(lines))
    return COUNTS if counts else DOES_NOT_COUNT


def _fitting(statement: NodeStatement) -> Node:
    """A node about which nothing else is known: what its providerID says of a region is not asked."""
    machine = statement.spec.node
    fitting = read_node(
        {
            "metadata": {"name": machine.name, "uid": machine.uid},
            "spec": {"providerID": machine.provider_id},
            "status": {"nodeInfo": {"machineID": machine.machine_id, "systemUUID": machine.system_uuid}},
        }
    )
    return replace(fitting, virtual="not given")


def _node(path: Path) -> Node:
    (raw,) = manifests(path, "Node", only=1, api_version="v1")
    return read_node(raw)
