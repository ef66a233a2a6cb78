"""What the loops observe, and that they see it as soon as it is so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.evidence.statements import sign
from bailiwick.residency.rules import judge_all
from bailiwick.residency.territories import compile_territory
from tests.unit.api.objects import CERTIFICATE
from tests.unit.control.ground import MODEL, START, Ground


def test_a_new_statement_counts_at_once(ground: Ground) -> None:
    assert ground.eligible() == ()
    ground.statement()
    assert ground.eligible() == ("n",)


def test_a_statement_counts_until_it_expires(ground: Ground) -> None:
    ground.statement(hours=2)
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=2)
    assert ground.eligible() == ()


def test_a_statement_counts_until_it_is_too_old_for_the_policy(ground: Ground) -> None:
    ground.policy(maxAge="1h")
    ground.statement()
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=1)
    assert ground.eligible() == ()


def test_a_waiver_counts_with_its_last_approval_until_it_expires(ground: Ground) -> None:
    """For models as for territories, and both look again at its end."""
    selector = {"matchLabels": {"data": "health"}}
    place = {"allow": ["DE"], "assurance": "Declared"}
    ground.put("policies", "health", spec={"namespaceSelector": selector, "place": place, "waivers": {}})
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    ground.put("nodes", "n", spec={"providerID": "bare://1"}, status=ready)
    ground.waiver()
    ground.approval("bert")
    assert ground.eligible() == ()
    ground.approval("cleo")
    assert ground.eligible() == ("n",)
    assert ground.found().until == START + timedelta(hours=2)
    gone = {"metadata": {"name": "bert", "uid": "bert", "resourceVersion": "99"}}
    ground.stores.approvals.apply_event("DELETED", gone)
    assert ground.eligible() == ()
    ground.approval("dora")
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=2)
    assert ground.eligible() == ()


def test_models_that_ask_the_same_share_one_answer(ground: Ground) -> None:
    ground.statement()
    assert ground.found() is ground.found()


def test_a_policy_governs_by_labels_and_never_the_exempt(ground: Ground) -> None:
    ground.put("namespaces", "kube-system", labels={"data": "health"})
    assert [policy.name for policy in ground.world.governing("clinic")] == ["health"]
    assert ground.world.governing("kube-system") == ()
    assert ground.world.governing("absent") == ()
    (policy,) = ground.world.policies().values()
    assert ground.world.governed(policy) == ["clinic"]


def test_a_jurisdiction_changes_the_policies_that_name_it(ground: Ground) -> None:
    ground.policy(allow=["NOWHERE"])
    ground.statement()
    assert ground.eligible() == ()
    spec = {"members": ["DE"], "asOf": "2026-01-01", "source": "a test"}
    ground.put("jurisdictions", "nowhere", spec=spec)
    assert ground.eligible() == ("n",)


def test_the_pods_of_a_model_are_judged_by_its_own_residency_too(ground: Ground) -> None:
    ground.statement()
    facts = ground.world.facts()["n"]
    policies = ground.world.governing("clinic")
    tight = {"residency": {"place": {"allow": ["FR"], "assurance": "Declared"}}}
    strict = SovereignModel.read(
        {"metadata": {"name": "chat", "namespace": "clinic"}, "spec": MODEL.spec.model_dump(by_alias=True) | tight}
    )
    assert judge_all(ground.world.limits(MODEL, policies), facts, START).allowed
    refused = judge_all(ground.world.limits(strict, policies), facts, START)
    assert refused.reason == "WrongPlace"
    assert "the model allows FR" in refused.message


def test_what_cannot_be_read_counts_for_nothing(ground: Ground) -> None:
    ground.put("policies", "broken", spec={"namespaceSelector": {}, "place": {"allow": "everything"}})
    ground.put("statements", "broken", spec={"node": "n"})
    assert list(ground.world.policies()) == ["health"]
    assert ground.eligible() == ()


SIGNER = Ed25519PrivateKey.generate()


def authority(**spec: Any) -> dict[str, Any]:
    pem = SIGNER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"publicKeys": [{"pem": pem}], "mayVouchFor": ["place"], "jurisdictions": ["DE"], **spec}


def signed(ground: Ground) -> None:
    """A node with a machineID, and a signed statement about it."""
    ready = [{"type": "Ready", "status": "True"}]
    ground.put("nodes", "n", spec={}, status={"conditions": ready, "nodeInfo": {"machineID": "m1"}})
    spec: dict[str, Any] = {
        "node": {"name": "n", "machineID": "m1"},
        "place": {"jurisdiction": "DE"},
        "issuedAt": f"{START:%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{START + timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}",
    }
    envelope = sign(NodeStatement.read({"spec": spec}).spec, SIGNER).model_dump(by_alias=True, mode="json")
    ground.put("statements", "about-n", spec={**spec, "authority": "site", "envelope": envelope})


def test_an_authority_counts_from_when_it_is_there_until_it_goes(ground: Ground) -> None:
    ground.policy(assurance="Verified")
    signed(ground)
    assert ground.eligible() == ()
    ground.put("authorities", "site", spec=authority())
    assert ground.eligible() == ("n",)
    ground.put("authorities", "site", spec=authority(jurisdictions=["FR"]))
    assert ground.eligible() == ()
    ground.put("authorities", "site", spec=authority())
    assert ground.eligible() == ("n",)
    ground.stores.authorities.apply_event(
        "DELETED", {"metadata": {"name": "site", "uid": "site", "resourceVersion": "99"}}
    )
    assert ground.eligible() == ()


def test_an_authority_follows_the_jurisdictions_that_it_names(ground: Ground) -> None:
    ground.policy(assurance="Verified")
    signed(ground)
    ground.put("authorities", "site", spec=authority(jurisdictions=["HOME"]))
    assert ground.eligible() == ()
    ground.put("jurisdictions", "home", spec={"members": ["DE"], "asOf": "2026-01-01", "source": "a test"})
    assert ground.eligible() == ("n",)


def test_a_key_counts_until_it_ends(ground: Ground) -> None:
    ground.policy(assurance="Verified")
    signed(ground)
    (key,) = authority()["publicKeys"]
    end = f"{START + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
    ground.put("authorities", "site", spec=authority(publicKeys=[{**key, "notAfter": end}]))
    assert ground.found().until == START + timedelta(hours=2)
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=2)
    assert ground.eligible() == ()


def test_territories_and_models_know_the_origin_of_devices_alike(ground: Ground) -> None:
    korea = {"jurisdictions": ["KR"], "source": "a datasheet", "confidence": "Documented"}
    selector = {"matchLabels": {"data": "health"}}
    place = {"allow": ["DE"], "assurance": "Declared"}
    korean = {"namespaceSelector": selector, "place": place, "origin": {"brand": {"allow": ["KR"]}}}
    ground.put("policies", "health", spec=korean)
    ground.statement()

    def inside() -> list[str]:
        (policy,) = ground.world.policies().values()
        return list(compile_territory(policy, ground.world.facts().values(), ground.now).nodes)

    assert (inside(), ground.eligible()) == ([], ())
    ground.put("classes", "npu", spec={"nodeSelector": {"matchLabels": {"npu": "a"}}, "provenance": {"brand": korea}})
    assert (inside(), ground.eligible()) == ([], ())
    ground.node(labels={"npu": "a"})
    assert (inside(), ground.eligible()) == (["n"], ("n",))


def outside(ground: Ground, until: timedelta = timedelta(hours=24)) -> SovereignModel:
    """A model that is served by a server in Germany, of which somebody said so."""
    said = {
        "endpoint": {
            "address": "192.0.2.7", "port": 8443, "serverName": "mac-1.models.example",
            "certificateAuthority": CERTIFICATE,
        },
        "place": {"jurisdiction": "DE"},
        "issuedAt": f"{START - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{START + until:%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip
    ground.put("endpoints", "mac-1", spec=said)
    source = {"endpoint": {"statement": "mac-1"}}
    spec = {"engine": {"name": "external"}, "model": {"name": "tiny", "source": source}}
    return SovereignModel.read({"metadata": {"name": "chat", "namespace": "clinic", "uid": "u"}, "spec": spec})


def judged(ground: Ground, model: SovereignModel) -> str:
    found = ground.world.endpoint(model, list(ground.world.policies().values()))
    return str(found.verdict.reason) if found else "nobody knows it"


def test_an_endpoint_is_judged_by_what_is_so_now() -> None:
    ground = Ground()
    ground.policy()
    model = outside(ground)
    assert ground.world.endpoint(MODEL, []) is None
    assert judged(ground, model) == "Allowed"
    ground.policy(allow=["FR"])
    assert judged(ground, model) == "WrongPlace"
    ground.policy()
    ground.now = START + timedelta(hours=24)
    assert judged(ground, model) == "StatementExpired"
    ground.stores.endpoints.apply_event(
        "DELETED", {"metadata": {"name": "mac-1", "uid": "mac-1", "resourceVersion": "99"}}
    )
    assert judged(ground, model) == "nobody knows it"


@pytest.mark.parametrize(
    ("selector", "over"),
    [
        ({"matchLabels": {"data": "health"}}, ["clinic"]),
        ({"matchLabels": {"data": "tax"}}, []),
        ({"matchLabels": 1}, ["clinic", "free"]),
        (None, ["clinic", "free"]),
    ],
    ids=["selects", "does not", "unreadable, too", "none"],
)
def test_a_policy_that_cannot_be_read_may_govern_what_it_selects_or_anything_but_the_system(
    ground: Ground, selector: Any, over: list[str]
) -> None:
    ground.put("namespaces", "free")
    ground.put("namespaces", "kube-system", labels={"data": "health"})
    assert not any(ground.world.unreadable_over(each) for each in ("clinic", "free"))
    ground.put("policies", "broken", spec={"namespaceSelector": selector, "place": {"allow": "everything"}})
    assert list(ground.world.unreadable()) == ["broken"]
    named = [each for each in ("clinic", "free", "kube-system") if ground.world.unreadable_over(each) == ["broken"]]
    assert named == over
    assert ground.world.unreadable_over("too-new-to-be-known") == ["broken"]
    ground.policy("broken")
    assert not ground.world.unreadable_over("clinic")


def test_a_statement_that_cannot_be_read_counts_for_nothing() -> None:
    ground = Ground()
    ground.policy()
    model = outside(ground)
    ground.put("endpoints", "mac-1", spec={"endpoint": {}})
    assert judged(ground, model) == "nobody knows it"
