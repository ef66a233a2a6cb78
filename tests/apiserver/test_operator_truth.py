"""Signed statements on a real API server: what they put inside, and what puts it out again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.nodestatement import NodeStatement
from bailiwick.evidence.statements import sign
from e2e.client import ApiError, eventually
from tests.apiserver.realm import OURS, Realm, fresh, stamp
from tests.unit.evidence.keys import EDWARDS, P256, pem_of, written

if TYPE_CHECKING:
    from tests.apiserver.operator_process import OperatorProcess

pytestmark = pytest.mark.apiserver


@pytest.fixture(autouse=True)
def _at_work(operator: OperatorProcess) -> None:
    """The operator works in every test of this module."""


def machine(realm: Realm, identity: str) -> str:
    """A node whose kubelet tells a machineID; its name."""
    name = realm.node()
    # The server takes all of nodeInfo or none of it.
    told = ("bootID", "systemUUID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
            "kubeProxyVersion", "operatingSystem", "architecture")  # fmt: skip
    info = {**dict.fromkeys(told, ""), "machineID": identity}
    realm.client.patch("v1", "Node", name, {"status": {"nodeInfo": info}}, subresource="status")
    return name


def authority(realm: Realm, **spec: Any) -> str:
    """An Authority for places in Germany, with one key; its name."""
    name = fresh("authority")
    whole = {"publicKeys": [{"pem": pem_of(EDWARDS)}], "mayVouchFor": ["place"], "jurisdictions": ["DE"], **spec}
    realm.create({"apiVersion": OURS, "kind": "Authority", "metadata": {"name": name}, "spec": whole})
    return name


def signed(realm: Realm, node: str, identity: str, by: str) -> str:
    """A signed statement that a machine stands in Bavaria; its name."""
    now = datetime.now(UTC)
    spec: dict[str, Any] = {
        "node": {"name": node, "machineID": identity},
        "place": {"jurisdiction": "DE-BY"},
        "issuedAt": stamp(now - timedelta(hours=1)),
        "expiresAt": stamp(now + timedelta(hours=1)),
    }
    envelope = sign(NodeStatement.read({"spec": spec}).spec, EDWARDS).model_dump(by_alias=True, mode="json")
    name = fresh("signed")
    whole = {**spec, "authority": by, "envelope": envelope}
    realm.create({"apiVersion": OURS, "kind": "NodeStatement", "metadata": {"name": name}, "spec": whole})
    return name


def test_a_signed_statement_puts_a_node_inside_and_the_end_of_its_authority_puts_it_out(realm: Realm) -> None:
    node, plain = machine(realm, "m1"), realm.node()
    realm.statement(plain, "DE")
    policy = realm.policy("DE", place={"assurance": "Verified"})
    policy.in_force().holds()
    by = authority(realm)
    signed(realm, node, "m1", by)
    policy.holds(node)
    eventually(lambda: policy.outside() == {"AssuranceTooLow": [plain]}, what="the unsigned one is too little")
    realm.client.delete(OURS, "Authority", by)
    policy.holds()
    eventually(lambda: policy.outside().get("AuthorityUnknown") == [node], what="the status says why")


def test_a_revoked_key_a_changed_spec_and_another_machine_put_the_node_out(realm: Realm) -> None:
    node = machine(realm, "m1")
    policy = realm.policy("DE", place={"assurance": "Verified"})
    by = authority(realm)
    statement = signed(realm, node, "m1", by)
    policy.in_force().holds(node)

    def replace_keys(key: Any) -> None:
        realm.client.patch(OURS, "Authority", by, {"spec": {"publicKeys": [{"pem": pem_of(key)}]}})

    replace_keys(P256)
    policy.holds()
    eventually(lambda: policy.outside() == {"SignatureInvalid": [node]}, what="the key is revoked")
    replace_keys(EDWARDS)
    policy.holds(node)
    realm.client.patch(OURS, "NodeStatement", statement, {"spec": {"place": {"jurisdiction": "DE-BE"}}})
    policy.holds()
    eventually(lambda: policy.outside() == {"PayloadDiffers": [node]}, what="the spec was changed")
    realm.client.patch(OURS, "NodeStatement", statement, {"spec": {"place": {"jurisdiction": "DE-BY"}}})
    policy.holds(node)
    realm.client.patch("v1", "Node", node, {"status": {"nodeInfo": {"machineID": "m2"}}}, subresource="status")
    policy.holds()
    eventually(lambda: policy.outside() == {"IdentityMismatch": [node]}, what="the machine was replaced")


def test_a_private_key_given_by_mistake_is_refused_and_not_repeated(realm: Realm) -> None:
    for key in (EDWARDS, P256):
        pem = written(key).decode()
        with pytest.raises(ApiError, match="must be a public key, ed25519 or ECDSA P-256, in PEM") as refused:
            authority(realm, publicKeys=[{"pem": pem}])
        assert pem.splitlines()[1] not in str(refused.value)
        for called in (pem, pem.replace("PRIVATE KEY", "CERTIFICATE")):
            with pytest.raises(ApiError, match=r"must be one X\.509 certificate in PEM") as refused:
                authority(realm, certificates=[{"pem": called}])
            assert pem.splitlines()[1] not in str(refused.value)
