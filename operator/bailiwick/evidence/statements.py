"""Signed NodeStatements and EndpointStatements: what is signed, and what a signature is worth."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NoReturn

from bailiwick.api.authority import Authority, PublicKey, Question
from bailiwick.api.endpointstatement import EndpointStatementSpec
from bailiwick.api.nodestatement import Envelope, NodeStatementSpec
from bailiwick.api.resource import GROUP, VERSION, Assurance
from bailiwick.evidence.dsse import (
    EvidenceError,
    SigningKey,
    payload_of,
    pre_authentication_encoding,
    public_key,
    seal,
    signatures_of,
    verifies,
)
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.facts import Standing, Statement, Vouching, answers_of, name_of
from bailiwick.residency.jurisdictions import Atlas, contains
from bailiwick.residency.verdict import Problem, Reason

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = f"https://{GROUP}/NodeStatement/{VERSION}"
ENDPOINT_PREDICATE_TYPE = f"https://{GROUP}/EndpointStatement/{VERSION}"
Spec = NodeStatementSpec | EndpointStatementSpec

_MOST_KNOWN = 50_000
_NEVER = datetime.max.replace(tzinfo=UTC)
_IDENTITIES = ("machineID", "systemUUID", "providerID")
_QUESTIONS: Mapping[Dimension, Question] = {
    Dimension.PLACE: Question.PLACE,
    Dimension.CONTROL: Question.CONTROL,
    Dimension.BRAND: Question.ORIGIN,
    Dimension.MANUFACTURE: Question.ORIGIN,
    Dimension.DESIGN: Question.ORIGIN,
}


def in_toto(spec: Spec) -> dict[str, Any]:
    """The in-toto Statement (v1) that says what a spec says: its facts, validity and machine, and nothing else.

    The subject is the node, with the SHA-256 over the canonical JSON of what identifies its machine; or the name of
    the endpoint's certificate, with the SHA-256 over that of the whole endpoint.
    """
    if isinstance(spec, NodeStatementSpec):
        machine, kind = spec.node.model_dump(by_alias=True, exclude_none=True), "node"
        subject, predicate_type = spec.node.name, PREDICATE_TYPE
        identity = {key: value for key, value in machine.items() if key != "name"}
    else:
        machine, kind = spec.endpoint.model_dump(by_alias=True, exclude_none=True), "endpoint"
        subject, predicate_type = spec.endpoint.server_name, ENDPOINT_PREDICATE_TYPE
        identity = machine
    predicate: dict[str, Any] = {
        kind: machine,
        "issuedAt": _written(spec.issued_at),
        "expiresAt": _written(spec.expires_at),
    }
    for name, fact in (("place", spec.place), ("control", spec.control), ("origin", spec.origin)):
        if fact is not None:
            said = fact.model_dump(by_alias=True, exclude_none=True)
            # Lists of countries are sets: the API server may hand them back in another order.
            predicate[name] = {
                key: sorted(value) if isinstance(value, tuple) else value for key, value in said.items() if value != ()
            }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject, "digest": {"sha256": sha256(_canonical(identity)).hexdigest()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def is_bound(spec: Spec) -> bool:
    """Whether a statement is about one machine, and not about whatever bears the node's name.

    An endpoint is always recognised by its certificate.
    """
    return isinstance(spec, EndpointStatementSpec) or any(
        (spec.node.machine_id, spec.node.system_uuid, spec.node.provider_id)
    )


def sign(spec: Spec, key: SigningKey, *, keyid: str = "") -> Envelope:
    """The envelope of a spec; raises EvidenceError for one that names no machine, because it would be in vain."""
    if not is_bound(spec):
        raise EvidenceError(_unbound("the statement"))
    return seal(PAYLOAD_TYPE, _canonical(in_toto(spec)), key, keyid=keyid)


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authorities of a cluster, and what they may say."""

    by_name: Mapping[str, Authority]
    atlas: Atlas
    _known: dict[bytes, PublicKey | Problem] = field(default_factory=dict)
    """What became of statements, by their SHA-256: facts are gathered again for every change of a node."""

    @classmethod
    def of(cls, authorities: Iterable[Authority], atlas: Atlas) -> "Authorities":
        """All of them."""
        return cls({authority.metadata.name: authority for authority in authorities}, atlas)

    def vouching(self, now: datetime) -> Vouching:
        """How well statements vouch as of ``now``."""

        def standing(statement: Statement, dimension: Dimension) -> Standing:
            return self._standing(statement, dimension, now)

        return standing

    def _standing(self, statement: Statement, dimension: Dimension, now: datetime) -> Standing:
        spec, by = statement.spec, name_of(statement)
        if spec.envelope is None or spec.authority is None:
            return Standing(Assurance.DECLARED, by)
        authority = self.by_name.get(spec.authority)
        if authority is None:
            return _nothing(
                by,
                Reason.AUTHORITY_UNKNOWN,
                f"{by} is signed in the name of Authority {spec.authority}, which does not exist, so it counts for "
                f"nothing; create the Authority, or have somebody else sign",
            )
        key = self._signer(authority, statement, spec.envelope)
        if isinstance(key, Problem):
            return Standing(None, by, problem=key)
        refused = self._overstepped(authority, statement, dimension)
        if refused:
            return _nothing(by, Reason.AUTHORITY_NOT_ALLOWED, refused)
        return _worth(authority, spec, key, by, now)

    def _signer(self, authority: Authority, statement: Statement, envelope: Envelope) -> PublicKey | Problem:
        """The key that signed exactly what a statement says, or why there is none. Time does not matter."""
        content = f"{name_of(statement)}\n{statement.spec.model_dump_json()}"
        digest = sha256(content.encode()).digest()
        if digest not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[digest] = _checked(authority, statement, envelope)
        return self._known[digest]

    def _overstepped(self, authority: Authority, statement: Statement, dimension: Dimension) -> str:
        """What the authority may not say of this; empty when it may."""
        name, spec = authority.metadata.name, authority.spec
        question = _QUESTIONS[dimension]
        if question not in spec.may_vouch_for:
            return (
                f"{name_of(statement)} states {question}, but its Authority {name} may only vouch "
                f"for {', '.join(sorted(spec.may_vouch_for))}; have somebody else sign that"
            )
        allowed = self.atlas.expand(spec.jurisdictions).places
        for jurisdiction in answers_of(statement, dimension):
            if not contains(allowed, jurisdiction):
                return (
                    f"{name_of(statement)} states {question} {jurisdiction}, but its Authority "
                    f"{name} may only vouch for {', '.join(sorted(spec.jurisdictions))}; have somebody else sign that"
                )
        return ""


def _checked(authority: Authority, statement: Statement, envelope: Envelope) -> PublicKey | Problem:
    by = name_of(statement)
    try:
        key = _key_of(authority, envelope)
        payload = _parsed(payload_of(envelope))
    except EvidenceError as error:
        return Problem(Reason.SIGNATURE_INVALID, f"{by} counts for nothing: {error}; have it signed again")
    if payload != in_toto(statement.spec):
        return Problem(
            Reason.PAYLOAD_DIFFERS,
            f"{by} says something else than what Authority {authority.metadata.name} signed, so it counts for nothing; "
            f"restore its spec, or have the new one signed",
        )
    return key


def _key_of(authority: Authority, envelope: Envelope) -> PublicKey:
    """The key that signed, of several the one that counts longest; raises EvidenceError."""
    if envelope.payload_type != PAYLOAD_TYPE:
        raise EvidenceError(f"its envelope holds {envelope.payload_type}, not {PAYLOAD_TYPE}")
    if not authority.spec.public_keys:
        raise EvidenceError(
            f"Authority {authority.metadata.name} has certificates alone, which vouch for models, and statements are "
            f"signed by key"
        )
    message = pre_authentication_encoding(envelope.payload_type, payload_of(envelope))
    found = [
        key
        for keyid, signature in signatures_of(envelope)
        for key in authority.spec.public_keys
        # The hint is not signed. It spares attempts, and excludes no key that has no name.
        if (not keyid or not key.keyid or keyid == key.keyid) and _signed_by(key, message, signature)
    ]
    if not found:
        raise EvidenceError(f"no key that Authority {authority.metadata.name} has now made its signature")
    return max(found, key=lambda key: key.not_after or _NEVER)


def _signed_by(key: PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        return verifies(public_key(key.pem), message, signature)
    except EvidenceError:  # a point off the curve: it has the form of a key, and signed nothing
        return False


def _worth(authority: Authority, spec: Spec, key: PublicKey, by: str, now: datetime) -> Standing:
    """What a good signature is worth."""
    signed = f"{by}, signed by Authority {authority.metadata.name}"
    if not is_bound(spec):
        return Standing(Assurance.DECLARED, by, problem=Problem(Reason.MACHINE_NOT_BOUND, _unbound(by)))
    worth = min(authority.spec.assurance, Assurance.VERIFIED, key=lambda assurance: assurance.rank)
    problem = None
    if key.not_after and key.not_after <= now:
        # It has ended like a statement that expires: what it denied does not come true by waiting.
        problem = Problem(
            Reason.KEY_EXPIRED,
            f"{by} was signed by a key of Authority {authority.metadata.name} that ended {key.not_after:%Y-%m-%d}; "
            f"have it signed by a key that holds",
        )
    return Standing(worth, signed, until=key.not_after, problem=problem)


def _nothing(by: str, reason: Reason, why: str) -> Standing:
    return Standing(None, by, problem=Problem(reason, why))


def _unbound(what: str) -> str:
    return (
        f"{what} names a node but no machine, so that a signature adds nothing to it: any machine can take the name; "
        f"give one of {', '.join(_IDENTITIES)}"
    )


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _canonical(content: Mapping[str, Any]) -> bytes:
    """Canonical JSON (RFC 8785), of which strings, lists and maps with ASCII keys suffice."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _parsed(payload: bytes) -> Any:
    """The JSON that was signed; raises EvidenceError. One name twice would read differently elsewhere."""
    try:
        return json.loads(payload, object_pairs_hook=_each_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise EvidenceError("what was signed is not JSON") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
