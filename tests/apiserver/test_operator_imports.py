"""Imports and verification on a real API server: Jobs, what waits for them, and what the status says of both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import eventually
from tests.apiserver.operator_process import DIGEST
from tests.apiserver.realm import OURS, Realm

if TYPE_CHECKING:
    from e2e.client import Manifest
    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Policy

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
BUCKET = {
    "s3": {
        "endpoint": "https://storage.example:9000", "bucket": "models", "prefix": "tiny",
        "credentialsSecret": "storage",
        "into": {"claimName": "weights"},
    }
}  # fmt: skip
CLAIM = {"persistentVolumeClaim": {"claimName": "weights"}}


@pytest.fixture(autouse=True)
def _at_work(operator: OperatorProcess) -> None:
    """The operator works in every test of this module."""


@pytest.fixture
def policy(realm: Realm) -> Policy:
    """A policy with one node inside, which opens one address range."""
    node = realm.node(FRANKFURT)
    network = {"egress": [{"cidr": "192.0.2.0/24", "ports": [{"port": 9000}]}]}
    policy = realm.policy("DE", mode="Enforce", network=network)
    policy.in_force().holds(node)
    return policy


@pytest.fixture
def namespace(realm: Realm, policy: Policy) -> str:
    """A namespace that the policy governs, marked so that models are admitted."""
    name = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(name), what="the namespace is marked")
    return name


def jobs(realm: Realm, namespace: str) -> list[Manifest]:
    return realm.client.list("batch/v1", "Job", namespace)


def importer(realm: Realm, namespace: str) -> Manifest:
    """The pod of the one Job."""
    labels = "bailiwick.dev/import=chat"
    (pod,) = eventually(lambda: realm.client.list("v1", "Pod", namespace, labels=labels), what="the import has a pod")
    return pod


def tell(realm: Realm, pod: Manifest, phase: str, **container: Any) -> None:
    """Say of a pod what a kubelet would."""
    metadata = pod["metadata"]
    state = {"name": "import-10", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, **container}
    status = {"phase": phase, "initContainerStatuses": [state]}
    realm.client.patch("v1", "Pod", metadata["name"], {"status": status}, metadata["namespace"], subresource="status")


def ended(code: int, message: str) -> dict[str, Any]:
    moment = "2026-11-21T00:00:00Z"
    ended = {"exitCode": code, "reason": "Ended", "message": message, "startedAt": moment, "finishedAt": moment}
    return {"state": {"terminated": ended}}


def finish(realm: Realm, namespace: str) -> None:
    """End all pods, which no kubelet does here, so that the namespace can go."""
    realm.client.delete(OURS, "SovereignModel", "chat", namespace)
    for pod in realm.client.list("v1", "Pod", namespace):
        realm.client.delete("v1", "Pod", pod["metadata"]["name"], namespace, grace_seconds=0)


def test_a_model_is_served_once_its_weights_are_there(realm: Realm, namespace: str, policy: Policy) -> None:
    realm.model(namespace, model={"name": "tiny", "source": BUCKET, "digest": DIGEST})
    pod = importer(realm, namespace)
    assert pod["spec"]["nodeSelector"] == {policy.label: "resident"}
    assert set(realm.children(namespace)) == {"NetworkPolicy", "ServiceAccount"}
    way = realm.client.get("networking.k8s.io/v1", "NetworkPolicy", "chat.import", namespace)
    assert way["spec"]["egress"][1:] == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"protocol": "TCP", "port": 9000}]}
    ]
    eventually(
        lambda: realm.stated("Imported", namespace) == ("False", "Importing"),
        what="the status says that it is imported",
    )
    assert realm.stated("Ready", namespace) == ("False", "Importing")

    tell(realm, pod, "Pending", **ended(1, "NoSpace: 900 bytes are still to come; enlarge the claim"))
    eventually(lambda: realm.stated("Imported", namespace) == ("False", "NoSpace"), what="the status says what to do")
    tell(realm, pod, "Pending", **ended(0, json.dumps({"bytes": 100, "of": 1000, "bytesPerSecond": 10})))
    far = {"source": "spec.model.source", "bytes": 100, "ofBytes": 1000, "bytesPerSecond": 10, "remainingSeconds": 90}
    eventually(lambda: realm.status(namespace).get("imports") == [far], what="the status says how far it is")

    tell(realm, pod, "Succeeded", **ended(0, "{}"))
    served = realm.served(namespace)
    assert realm.stated("Imported", namespace) == ("True", "Imported")
    template = served["Deployment"]["spec"]["template"]["spec"]
    assert [each["name"] for each in template["initContainers"]] == ["seal", "verify", "gate"]
    assert "storage" not in json.dumps(template["volumes"])
    finish(realm, namespace)


def test_another_source_is_another_job_and_the_old_one_goes(realm: Realm, namespace: str) -> None:
    realm.model(namespace, model={"name": "tiny", "source": BUCKET})
    (before,) = eventually(lambda: jobs(realm, namespace), what="there is a Job")
    source = {"s3": {**BUCKET["s3"], "prefix": "other"}}
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"model": {"source": source}}}, namespace)

    def names() -> list[str]:
        return [job["metadata"]["name"] for job in jobs(realm, namespace) if "deletionTimestamp" not in job["metadata"]]

    eventually(lambda: len(names()) == 1 and before["metadata"]["name"] not in names(), what="there is another Job")
    finish(realm, namespace)


def test_a_changed_file_stops_the_model_and_says_which(realm: Realm, namespace: str) -> None:
    realm.model(namespace, model={"name": "tiny", "source": CLAIM, "digest": DIGEST})
    realm.served(namespace)
    labels = "bailiwick.dev/model=chat"
    (pod,) = eventually(lambda: realm.client.list("v1", "Pod", namespace, labels=labels), what="there is a pod")
    told = ended(1, "FileDiffers: model.safetensors was changed: put the right file back")
    tell(realm, pod, "Pending", **{**told, "name": "verify"})
    eventually(lambda: realm.stated("Verified", namespace) == ("False", "FileDiffers"), what="the status says it")
    assert realm.stated("Ready", namespace) == ("False", "FileDiffers")
    condition = realm.condition("SovereignModel", "Verified", "chat", namespace)
    assert "model.safetensors was changed" in condition["message"]
    tell(realm, pod, "Pending", **{**ended(0, ""), "name": "verify"})
    eventually(lambda: realm.stated("Verified", namespace) == ("True", "FilesVerified"), what="it was put right")
    finish(realm, namespace)


def test_a_policy_that_asks_for_signatures_later_is_heard(realm: Realm, namespace: str, policy: Policy) -> None:
    realm.model(namespace, model={"name": "tiny", "source": CLAIM, "digest": DIGEST})
    realm.served(namespace)
    asked = {"models": {"sources": ["pvc://weights"], "signedBy": ["laboratory"]}}
    realm.client.patch(OURS, "ResidencyPolicy", policy.name, {"spec": asked})
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "SignatureRequired"), what="the plan is refused")
    finish(realm, namespace)
