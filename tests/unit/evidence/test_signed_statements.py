"""What a signed statement is worth."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bailiwick.api.authority import Authority
from bailiwick.api.nodestatement import Envelope, NodeStatement
from bailiwick.api.resource import Assurance
from bailiwick.evidence.dsse import EvidenceError, seal
from bailiwick.evidence.statements import PAYLOAD_TYPE, Authorities, in_toto, sign
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.facts import Fact, NodeFacts, Standing, Unknown, gather
from bailiwick.residency.verdict import Reason
from tests.unit.api.objects import CERTIFICATE
from tests.unit.evidence.keys import EDWARDS, KEYS, P256, pem_of
from tests.unit.residency.given import ATLAS, FRANKFURT, NOW, VIRGINIA, day, node, statement

if TYPE_CHECKING:
    from datetime import datetime

    from bailiwick.residency.nodes import Node

MACHINE = {"machineID": "m1"}
NODE = node(machineID="m1", systemUUID="S1")


def authority(name: str = "site", *, keys: Any = None, **spec: Any) -> Authority:
    """Vouches for everything in the EU with both keys, unless ``spec`` says otherwise."""
    listed = keys if keys is not None else [{"pem": pem_of(key)} for key in KEYS]
    whole = {
        "publicKeys": listed,
        "mayVouchFor": ["place", "control", "origin"],
        "jurisdictions": ["EU"],
        **spec,
    }
    return Authority.read({"metadata": {"name": name}, "spec": whole})


def signed(key: Any = EDWARDS, *, keyid: str = "", **said: Any) -> NodeStatement:
    """A signed statement about n1, in Germany unless it says otherwise."""
    unsigned = statement(**{"identity": MACHINE, "place": "DE", **said})
    return with_envelope(unsigned, sign(unsigned.spec, key, keyid=keyid))


def with_envelope(unsigned: NodeStatement, envelope: Envelope, by: str = "site") -> NodeStatement:
    return unsigned.model_copy(
        update={"spec": unsigned.spec.model_copy(update={"authority": by, "envelope": envelope})}
    )


def standing(
    of: NodeStatement, *known: Authority, dimension: Dimension = Dimension.PLACE, now: datetime = NOW
) -> Standing:
    return Authorities.of(known, ATLAS).vouching(now)(of, dimension)


def why(of: NodeStatement, *known: Authority, **asked: Any) -> str:
    """The reason why it counts for nothing."""
    found = standing(of, *known, **asked)
    assert found.assurance is None
    assert found.problem
    return str(found.problem.reason)


def facts(*said: NodeStatement, by: Authority, about: Node = NODE, now: datetime = NOW) -> NodeFacts:
    return gather(about, said, now, vouching=Authorities.of([by], ATLAS).vouching(now))


class TestWhatIsSigned:
    def test_an_in_toto_statement_about_the_node_that_says_what_the_spec_says(self) -> None:
        said = statement(
            identity={"machineID": "m1", "providerID": FRANKFURT},
            place="DE-HE",
            control="DE",
            origin={"brand": ["US"], "design": ["US", "IL"]},
        )
        assert in_toto(said.spec) == {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {
                    "name": "n1",
                    # of {"machineID":"m1","providerID":"aws:///eu-central-1a/i-0123456789abcdef0"}
                    "digest": {"sha256": "15539bb183b3ff2da1451b96566cf9e5f9d3a5b927716446ce9d6ecc26cb41cf"},
                }
            ],
            "predicateType": "https://bailiwick.dev/NodeStatement/v1alpha1",
            "predicate": {
                "node": {"name": "n1", "machineID": "m1", "providerID": FRANKFURT},
                "place": {"jurisdiction": "DE-HE"},
                "control": {"jurisdiction": "DE"},
                "origin": {"brand": ["US"], "design": ["IL", "US"]},
                "issuedAt": "2026-11-01T00:00:00Z",
                "expiresAt": "2027-11-01T00:00:00Z",
            },
        }

    def test_the_same_moment_in_another_zone_is_the_same(self) -> None:
        here = signed()
        elsewhere = here.model_dump(by_alias=True, mode="json")
        elsewhere["spec"]["issuedAt"] = "2026-11-01T01:00:00+01:00"
        assert standing(NodeStatement.read(elsewhere), authority()).assurance is Assurance.VERIFIED

    def test_lists_of_countries_have_no_order(self) -> None:
        said = signed(origin={"design": ["FR", "DE"]})
        turned = said.model_dump(by_alias=True, mode="json")
        turned["spec"]["origin"]["design"].reverse()
        found = standing(NodeStatement.read(turned), authority(), dimension=Dimension.DESIGN)
        assert found.assurance is Assurance.VERIFIED

    def test_nobody_signs_a_statement_about_no_machine(self) -> None:
        with pytest.raises(EvidenceError, match="give one of machineID, systemUUID, providerID"):
            sign(statement(place="DE").spec, EDWARDS)


class TestWhatCounts:
    @pytest.mark.parametrize("key", KEYS, ids=["ed25519", "P-256"])
    def test_a_signature_of_an_authority_makes_it_verified(self, key: Any) -> None:
        found = standing(signed(key), authority())
        assert found == Standing(Assurance.VERIFIED, "NodeStatement s1, signed by Authority site")

    @pytest.mark.parametrize(
        ("highest", "worth"),
        [("Declared", "Declared"), ("Asserted", "Asserted"), ("Verified", "Verified"), ("Attested", "Verified")],
    )
    def test_no_better_than_the_authority_and_never_attested(self, highest: str, worth: str) -> None:
        assert standing(signed(), authority(assurance=highest)).assurance == worth

    def test_unsigned_stays_declared(self) -> None:
        found = standing(statement(place="DE", identity=MACHINE), authority())
        assert found == Standing(Assurance.DECLARED, "NodeStatement s1")

    def test_a_part_of_a_country_of_a_group_is_inside(self) -> None:
        assert standing(signed(place="DE-BY"), authority(jurisdictions=["EEA"])).assurance is Assurance.VERIFIED

    @pytest.mark.parametrize("listed", ["first", ""])
    @pytest.mark.parametrize("hinted", ["first", ""])
    def test_the_name_of_a_key_is_a_hint(self, listed: str, hinted: str) -> None:
        by = authority(keys=[{"pem": pem_of(EDWARDS), "keyid": listed}])
        assert standing(signed(keyid=hinted), by).assurance is Assurance.VERIFIED

    def test_one_good_signature_of_several_is_enough(self) -> None:
        unsigned = statement(place="DE", identity=MACHINE)
        both = [sign(unsigned.spec, key) for key in KEYS]
        together = both[0].model_copy(update={"signatures": both[0].signatures + both[1].signatures})
        by = authority(keys=[{"pem": pem_of(P256)}])
        assert standing(with_envelope(unsigned, together), by).assurance is Assurance.VERIFIED

    def test_a_verified_statement_prevails_over_the_provider(self) -> None:
        about = node(provider_id=VIRGINIA, machineID="m1")
        place = facts(signed(), by=authority(), about=about).place
        assert isinstance(place, Fact)
        assert (place.jurisdiction, place.assurance) == ("DE", Assurance.VERIFIED)


class TestWhatDoesNotCount:
    def test_an_authority_that_is_not_there(self) -> None:
        assert why(signed()) == Reason.AUTHORITY_UNKNOWN
        assert why(signed(), authority("other")) == Reason.AUTHORITY_UNKNOWN

    def test_a_key_that_was_removed(self) -> None:
        assert why(signed(EDWARDS), authority(keys=[{"pem": pem_of(P256)}])) == Reason.SIGNATURE_INVALID

    def test_a_key_that_has_another_name(self) -> None:
        by = authority(keys=[{"pem": pem_of(EDWARDS), "keyid": "first"}])
        assert why(signed(keyid="second"), by) == Reason.SIGNATURE_INVALID

    def test_a_key_that_is_no_point_on_the_curve(self) -> None:
        body = b64decode("".join(pem_of(P256).splitlines()[1:-1]))
        lines = b64encode(body[:-64] + bytes(63) + b"\1").decode()
        broken = f"-----BEGIN PUBLIC KEY-----\n{lines[:64]}\n{lines[64:]}\n-----END PUBLIC KEY-----\n"
        assert why(signed(P256), authority(keys=[{"pem": broken}])) == Reason.SIGNATURE_INVALID
        beside = authority(keys=[{"pem": broken}, {"pem": pem_of(P256)}])
        assert standing(signed(P256), beside).assurance is Assurance.VERIFIED

    @pytest.mark.parametrize(
        "change",
        [
            {"place": {"jurisdiction": "FR"}},
            {"place": {"jurisdiction": "DE", "site": "elsewhere"}},
            {"control": {"jurisdiction": "DE"}},
            {"expiresAt": "2036-01-01T00:00:00Z"},
            {"issuedAt": "2026-11-02T00:00:00Z"},
            {"node": {"name": "n2", "machineID": "m1"}},
            {"node": {"name": "n1", "machineID": "m2"}},
            {"node": {"name": "n1"}},
            {"node": {"name": "n1", "machineID": "m1", "systemUUID": "S1"}},
        ],
        ids=str,
    )
    def test_a_spec_that_says_something_else(self, change: Any) -> None:
        raw = signed().model_dump(by_alias=True, mode="json", exclude_none=True)
        raw["spec"].update(change)
        assert why(NodeStatement.read(raw), authority()) == Reason.PAYLOAD_DIFFERS

    @pytest.mark.parametrize(
        "change",
        [
            {"_type": "https://in-toto.io/Statement/v0.1"},
            {"predicateType": "https://slsa.dev/provenance/v1"},
            {"subject": [{"name": "n1"}]},
            {"more": 1},
        ],
        ids=str,
    )
    def test_another_statement_of_the_same_key(self, change: Any) -> None:
        unsigned = statement(place="DE", identity=MACHINE)
        payload = json.dumps({**in_toto(unsigned.spec), **change}).encode()
        assert why(with_envelope(unsigned, seal(PAYLOAD_TYPE, payload, EDWARDS)), authority()) == Reason.PAYLOAD_DIFFERS

    @pytest.mark.parametrize(
        "payload", [b" ", b"{", b"\xff", b"NaN", b'{"a":1,"a":1}', b"[" * 30_000], ids=lambda payload: str(payload[:9])
    )
    def test_signed_nonsense(self, payload: bytes) -> None:
        envelope = seal(PAYLOAD_TYPE, payload, EDWARDS)
        assert why(with_envelope(statement(place="DE", identity=MACHINE), envelope), authority()) == "SignatureInvalid"

    def test_a_payload_of_another_type(self) -> None:
        unsigned = statement(place="DE", identity=MACHINE)
        other = seal("application/json", json.dumps(in_toto(unsigned.spec)).encode(), EDWARDS)
        assert why(with_envelope(unsigned, other), authority()) == Reason.SIGNATURE_INVALID
        relabelled = other.model_copy(update={"payload_type": PAYLOAD_TYPE})
        assert why(with_envelope(unsigned, relabelled), authority()) == Reason.SIGNATURE_INVALID

    @pytest.mark.parametrize("place", ["US", "GB"])
    def test_an_answer_outside_its_jurisdictions(self, place: str) -> None:
        assert why(signed(place=place), authority()) == Reason.AUTHORITY_NOT_ALLOWED

    def test_a_country_by_who_may_only_name_a_part(self) -> None:
        assert why(signed(place="DE"), authority(jurisdictions=["DE-BY"])) == Reason.AUTHORITY_NOT_ALLOWED

    def test_a_group_that_nobody_knows(self) -> None:
        assert why(signed(), authority(jurisdictions=["NOWHERE"])) == Reason.AUTHORITY_NOT_ALLOWED

    def test_one_country_of_several(self) -> None:
        said = signed(origin={"design": ["DE", "US"]})
        assert why(said, authority(), dimension=Dimension.DESIGN) == Reason.AUTHORITY_NOT_ALLOWED
        assert standing(said, authority()).assurance is Assurance.VERIFIED, "the place is judged by itself"

    def test_a_question_that_it_may_not_answer(self) -> None:
        said = signed(control="DE")
        by = authority(mayVouchFor=["place"])
        assert standing(said, by).assurance is Assurance.VERIFIED
        assert why(said, by, dimension=Dimension.CONTROL) == Reason.AUTHORITY_NOT_ALLOWED

    def test_a_signature_without_a_machine_adds_nothing(self) -> None:
        unbound = statement(place="DE")
        envelope = seal(PAYLOAD_TYPE, json.dumps(in_toto(unbound.spec)).encode(), EDWARDS)
        found = standing(with_envelope(unbound, envelope), authority())
        assert found.assurance is Assurance.DECLARED
        assert found.problem
        assert found.problem.reason is Reason.MACHINE_NOT_BOUND

    def test_a_uid_alone_is_no_machine(self) -> None:
        with pytest.raises(EvidenceError):
            sign(statement(place="DE", identity={"uid": "u1"}).spec, EDWARDS)


class TestWhatTheNodeTells:
    def test_a_statement_that_counts_for_nothing_leaves_the_answer_unknown_and_says_why(self) -> None:
        found = facts(signed(place="US", control="US"), by=authority())
        assert isinstance(found.place, Unknown)
        assert found.place.reason is Reason.AUTHORITY_NOT_ALLOWED
        assert "NodeStatement s1 states place US, but its Authority site may only vouch for EU" in found.place.message
        assert [problem.reason for problem in found.problems] == [Reason.AUTHORITY_NOT_ALLOWED] * 2

    def test_a_broken_signature_is_told_once(self) -> None:
        found = facts(signed(control="DE"), by=authority(keys=[{"pem": pem_of(P256)}]))
        (problem,) = found.problems
        assert problem.reason is Reason.SIGNATURE_INVALID
        assert "no key that Authority site has now made its signature" in problem.message

    def test_another_statement_still_counts(self) -> None:
        place = facts(signed(place="US"), statement("plain", place="FR"), by=authority()).place
        assert isinstance(place, Fact)
        assert (place.jurisdiction, place.by) == ("FR", "NodeStatement plain")

    def test_another_machine_takes_nothing_over(self) -> None:
        found = facts(signed(), by=authority(), about=node(machineID="m2"))
        assert isinstance(found.place, Unknown)
        assert found.place.reason is Reason.IDENTITY_MISMATCH

    def test_a_key_that_has_ended_takes_its_statements_along(self) -> None:
        by = authority(keys=[{"pem": pem_of(EDWARDS), "notAfter": day(30).isoformat()}])
        before = facts(signed(), by=by)
        assert isinstance(before.place, Fact)
        assert before.next_change == day(30)
        after = facts(signed(), by=by, now=day(30))
        assert isinstance(after.place, Unknown)
        assert after.place.reason is Reason.STATEMENT_EXPIRED
        assert [problem.reason for problem in after.problems] == [Reason.KEY_EXPIRED]

    def test_what_an_ended_key_denied_does_not_come_true_by_waiting(self) -> None:
        about = node(provider_id=FRANKFURT, machineID="m1")
        by = authority(jurisdictions=["US"], keys=[{"pem": pem_of(EDWARDS), "notAfter": day(30).isoformat()}])
        for now in (NOW, day(31)):
            place = facts(signed(place="US"), by=by, about=about, now=now).place
            assert not isinstance(place, Fact) or place.jurisdiction == "US"

    def test_of_two_keys_the_one_that_counts_longest_counts(self) -> None:
        unsigned = statement(place="DE", identity=MACHINE)
        both = [sign(unsigned.spec, key) for key in KEYS]
        together = both[0].model_copy(update={"signatures": both[0].signatures + both[1].signatures})
        listed = [{"pem": pem_of(EDWARDS), "notAfter": day(30).isoformat()}, {"pem": pem_of(P256)}]
        assert standing(with_envelope(unsigned, together), authority(keys=listed)).until is None


SIGNED = {name: signed(key) for name, key in (("ed25519", EDWARDS), ("P-256", P256))}
AUTHORITIES = Authorities.of([authority()], ATLAS)


@settings(max_examples=300)
@given(st.sampled_from(sorted(SIGNED)), st.sampled_from(["payload", "sig"]), st.integers(0), st.integers(1, 255))
def test_a_changed_byte_of_an_envelope_is_refused(kind: str, part: str, at: int, bits: int) -> None:
    said = SIGNED[kind]
    envelope = said.spec.envelope
    assert envelope
    text = envelope.payload if part == "payload" else envelope.signatures[0].sig
    content = bytearray(b64decode(text))
    content[at % len(content)] ^= bits
    changed = b64encode(content).decode()
    update: Any = (
        {"payload": changed}
        if part == "payload"
        else {"signatures": (envelope.signatures[0].model_copy(update={"sig": changed}),)}
    )
    assert AUTHORITIES.vouching(NOW)(said, Dimension.PLACE).assurance is Assurance.VERIFIED
    broken = with_envelope(said, envelope.model_copy(update=update))
    assert AUTHORITIES.vouching(NOW)(broken, Dimension.PLACE).assurance is None


@settings(max_examples=200)
@given(st.sampled_from(sorted(SIGNED)), st.integers(0), st.integers(1, 255))
def test_a_changed_byte_of_a_key_is_refused(kind: str, at: int, bits: int) -> None:
    key = {"ed25519": EDWARDS, "P-256": P256}[kind]
    head, *body, tail = pem_of(key).splitlines()
    content = bytearray(b64decode("".join(body)))
    fixed = len(content) - (32 if kind == "ed25519" else 64)
    content[fixed + at % (len(content) - fixed)] ^= bits
    text = b64encode(content).decode()
    pem = "\n".join([head, *(text[start : start + 64] for start in range(0, len(text), 64)), tail, ""])
    assert standing(SIGNED[kind], authority(keys=[{"pem": pem}])).assurance is None


@given(
    st.text(max_size=40), st.text(min_size=1, max_size=80) | st.binary(max_size=80).map(lambda b: b64encode(b).decode())
)
def test_no_envelope_raises_anything(kind: str, text: str) -> None:
    for payload_type in (kind, PAYLOAD_TYPE):
        envelope = Envelope.model_construct(payload_type=payload_type, payload=text, signatures=())
        strange = with_envelope(SIGNED["ed25519"], envelope)
        assert AUTHORITIES.vouching(NOW)(strange, Dimension.PLACE).assurance is None


def test_an_authority_of_certificates_alone_signs_no_statements() -> None:
    spec = {"certificates": [{"pem": CERTIFICATE}], "mayVouchFor": ["models"], "jurisdictions": ["EU"]}
    by = Authority.read({"metadata": {"name": "site"}, "spec": spec})
    found = standing(SIGNED["ed25519"], by)
    assert found.assurance is None
    assert found.problem is not None
    assert found.problem.reason == "SignatureInvalid"
    assert "Authority site has certificates alone, which vouch for models" in found.problem.message


def test_the_sample_is_signed_as_it_says() -> None:
    samples = Path(__file__).parents[3] / "samples"
    by = Authority.read(yaml.safe_load((samples / "authority.yaml").read_text("utf-8")))
    said = NodeStatement.read(yaml.safe_load((samples / "nodestatement-signed.yaml").read_text("utf-8")))
    for dimension in (Dimension.PLACE, Dimension.CONTROL):
        found = standing(said, by, dimension=dimension)
        assert (found.assurance, found.until, found.problem) == (
            Assurance.VERIFIED,
            by.spec.public_keys[0].not_after,
            None,
        )
