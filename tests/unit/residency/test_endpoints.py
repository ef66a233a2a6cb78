"""Whether a server outside is inside: by the rules of nodes, and never without somebody who vouches for its place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.api.authority import Authority
from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.resource import Assurance
from bailiwick.evidence.statements import Authorities, sign
from bailiwick.residency.endpoints import address_of, identity_of, judge_endpoint
from bailiwick.residency.facts import Fact
from bailiwick.residency.policies import compile_policy
from bailiwick.residency.rules import judge_all
from tests.unit.api.objects import CERTIFICATE
from tests.unit.evidence.keys import EDWARDS, P256, pem_of
from tests.unit.residency.given import ATLAS, NOW, day, facts, policy, raw_policy, statement, vouched

SERVER = {
    "address": "192.0.2.7", "port": 8443, "serverName": "mac-1.models.example", "certificateAuthority": CERTIFICATE,
}  # fmt: skip


def stated(
    name: str = "mac-1", *, place: str | None = "DE", issued: float = 0, expires: float = 365, **more: Any
) -> EndpointStatement:
    """A statement about a server; ``server`` changes what identifies it."""
    spec = {
        "endpoint": {**SERVER, **more.pop("server", {})},
        "issuedAt": day(issued).isoformat(),
        "expiresAt": day(expires).isoformat(),
        **({"place": {"jurisdiction": place}} if place else {"control": {"jurisdiction": "DE"}}),
        **more,
    }
    return EndpointStatement.read({"metadata": {"name": name}, "spec": spec})


def reason(*statements: EndpointStatement, **asked: Any) -> str:
    limits = asked.pop("limits", [policy()])
    judged = judge_endpoint("mac-1", statements, limits, NOW, vouching=vouched, **asked)
    assert judged
    return str(judged.verdict.reason)


def test_nobody_knows_a_server_without_a_statement() -> None:
    assert judge_endpoint("mac-1", [stated("mac-2")], [policy()], NOW) is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([stated()], "Allowed"),
        ([stated(place="DE-BE")], "Allowed"),
        ([stated(place="US")], "WrongPlace"),
        ([stated(expires=19)], "StatementExpired"),
        ([stated(issued=21)], "StatementNotYetValid"),
        ([stated(place=None)], "PlaceUnknown"),
        ([stated(), stated("other", place="US")], "StatementsDisagree"),
        ([stated(), stated("verified-abroad", place="US")], "WrongPlace"),
        ([stated(place="US"), stated("verified-home")], "Allowed"),
        ([stated(), stated("ended", place="US", expires=19)], "StatementsDisagree"),
        # Of another server than the one that answers by this name and CA.
        ([stated(place="US"), stated("verified-home", server={"serverName": "mac-2.example"})], "WrongPlace"),
        ([stated(), stated("verified-abroad", place="US", server={"port": 9443})], "Allowed"),
        ([stated(), stated("verified-abroad", place="US", server={"address": "192.0.2.8"})], "Allowed"),
    ],
)
def test_it_is_judged_by_all_that_is_said_of_the_same_server(said: list[EndpointStatement], why: str) -> None:
    assert reason(*said) == why
    assert reason(*reversed(said)) == why


def test_every_policy_must_allow_it() -> None:
    assert reason(stated(), limits=[policy(), policy("strict", place={"allow": ["FR"]})]) == "WrongPlace"


@pytest.mark.parametrize("limits", [[], [policy(place={})]])
def test_somebody_must_vouch_for_its_place_even_if_no_policy_asks(limits: list[Any]) -> None:
    asks_nothing = raw_policy(control={"allow": ["DE"]})
    without = compile_policy(
        asks_nothing.model_copy(update={"spec": asks_nothing.spec.model_copy(update={"place": None})}), ATLAS
    )
    assert reason(stated(place=None), limits=[without, *limits]) == "PlaceUnknown"
    assert reason(stated(expires=19), limits=[]) == "StatementExpired"
    assert reason(stated(place="US"), limits=[]) == "Allowed"


def test_a_policy_that_asks_for_better_assurance_is_not_content_with_a_declaration() -> None:
    assert reason(stated(), limits=[policy(place={"assurance": "Verified"})]) == "AssuranceTooLow"


def test_it_is_looked_at_again_when_a_statement_ends_or_grows_too_old() -> None:
    judged = judge_endpoint("mac-1", [stated(expires=30)], [policy()], NOW)
    aging = judge_endpoint("mac-1", [stated(issued=10, expires=30)], [policy(place={"maxAge": "360h"})], NOW)
    assert judged
    assert aging
    assert (judged.until, aging.until) == (day(30), day(25))
    later = judge_endpoint("mac-1", [stated(issued=10, expires=30)], [policy(place={"maxAge": "360h"})], day(25))
    assert later
    assert later.verdict.reason == "StatementTooOld"


@given(st.sampled_from(["DE", "FR", "US", "DE-BE"]), st.sampled_from(["mac-1", "verified-1"]), st.integers(-5, 25))
def test_it_is_inside_exactly_when_a_node_would_be(place: str, name: str, ends: int) -> None:
    limits = [policy(place={"deny": ["DE-BE"]}), policy("other", place={"assurance": "Asserted"})]
    of_node = facts(statement(name, place=place, issued=-10, expires=ends))
    judged = judge_endpoint(name, [stated(name, place=place, issued=-10, expires=ends)], limits, NOW, vouching=vouched)
    assert judged
    expected = judge_all(limits, of_node, NOW)
    assert (judged.verdict.allowed, judged.verdict.reason) == (expected.allowed, expected.reason)


def test_messages_speak_of_the_endpoint_and_of_what_to_do() -> None:
    judged = judge_endpoint("mac-1", [stated(place="US")], [policy()], NOW)
    unknown = judge_endpoint("mac-1", [stated(place=None)], [policy()], NOW)
    assert judged
    assert unknown
    assert judged.verdict.message == (
        "endpoint 192.0.2.7:8443 stands in US (Declared by EndpointStatement mac-1), but policy health allows EU; "
        "serve from an endpoint inside, or change spec.place"
    )
    assert unknown.verdict.message.endswith(
        "nobody vouches for where endpoint 192.0.2.7:8443 stands; make an EndpointStatement about the endpoint"
    )


def test_addresses_are_written_as_in_a_url_and_no_node_is_called_so() -> None:
    assert address_of(stated().spec.endpoint) == "192.0.2.7:8443"
    assert address_of(stated(server={"address": "2001:db8::7"}).spec.endpoint) == "[2001:db8::7]:8443"


@pytest.mark.parametrize(
    "server",
    [{"address": "192.0.2.8"}, {"port": 1}, {"serverName": "other"}, {"certificateAuthority": CERTIFICATE * 2}],
)
def test_whatever_else_could_answer_is_another_server(server: dict[str, Any]) -> None:
    assert identity_of(stated(server=server).spec.endpoint) != identity_of(stated().spec.endpoint)
    assert identity_of(stated(server={"healthPath": "/health"}).spec.endpoint) == identity_of(stated().spec.endpoint)


class TestSignatures:
    authorities = Authorities.of(
        [
            Authority.read(
                {
                    "metadata": {"name": "site"},
                    "spec": {
                        "publicKeys": [{"pem": pem_of(EDWARDS)}],
                        "mayVouchFor": ["place"],
                        "jurisdictions": ["DE"],
                    },
                }
            )
        ],
        ATLAS,
    )

    def signed(self, of: EndpointStatement, key: Any = EDWARDS) -> EndpointStatement:
        envelope = sign(of.spec, key)
        return of.model_copy(update={"spec": of.spec.model_copy(update={"authority": "site", "envelope": envelope})})

    def judged(self, of: EndpointStatement) -> tuple[str, Assurance | None]:
        found = judge_endpoint(
            "mac-1", [of], [policy(place={"assurance": "Verified"})], NOW, vouching=self.authorities.vouching(NOW)
        )
        assert found
        return found.verdict.reason, found.facts.place.assurance if isinstance(found.facts.place, Fact) else None

    def test_what_an_authority_signed_is_verified(self) -> None:
        assert self.judged(self.signed(stated())) == ("Allowed", Assurance.VERIFIED)

    @pytest.mark.parametrize(
        "changed",
        [
            {"address": "192.0.2.8"},
            {"port": 443},
            {"server_name": "other"},
            {"certificate_authority": CERTIFICATE * 2},
            {"health_path": "/"},
        ],
    )
    def test_another_server_than_was_signed_is_not(self, changed: dict[str, Any]) -> None:
        of = self.signed(stated())
        endpoint = of.spec.endpoint.model_copy(update=changed)
        forged = of.model_copy(update={"spec": of.spec.model_copy(update={"endpoint": endpoint})})
        assert self.judged(forged) == ("PayloadDiffers", None)

    def test_another_key_does_not_count(self) -> None:
        assert self.judged(self.signed(stated(), P256)) == ("SignatureInvalid", None)

    def test_what_was_signed_of_a_node_says_nothing_of_an_endpoint(self) -> None:
        of_node = NodeStatement.read(
            {
                "metadata": {"name": "n"},
                "spec": {
                    "node": {"name": "n", "machineID": "m"},
                    "place": {"jurisdiction": "DE"},
                    "issuedAt": day(0).isoformat(),
                    "expiresAt": day(365).isoformat(),
                },
            }
        )
        update = {"authority": "site", "envelope": sign(of_node.spec, EDWARDS)}
        of = stated()
        assert self.judged(of.model_copy(update={"spec": of.spec.model_copy(update=update)}))[0] == "PayloadDiffers"

    def test_an_authority_may_not_say_more_of_an_endpoint_than_of_a_node(self) -> None:
        assert self.judged(self.signed(stated(place="FR")))[0] == "AuthorityNotAllowed"


def test_a_statement_is_no_longer_believed_at_the_very_second_it_ends() -> None:
    judged = [judge_endpoint("mac-1", [stated(expires=30)], [], day(30) - timedelta(seconds=left)) for left in (1, 0)]
    assert [str(each.verdict.reason) for each in judged if each] == ["Allowed", "StatementExpired"]
