"""A small cluster to look at: a policy in force, four machines, one model that runs and one that cannot."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.client import eventually
from tests.apiserver.realm import ENGINE, OURS
from tests.apiserver.worlds import granted_realm, looking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Manifest
    from tests.apiserver.realm import Realm

NODES = {
    "frankfurt": "aws:///eu-central-1a/i-0123456789abcdef1",
    "paris": "aws:///eu-west-3a/i-0123456789abcdef2",
    "ohio": "aws:///us-east-2a/i-0123456789abcdef3",
    "attic": "",
}
NAMESPACE = "clinic"


@contextmanager
def clinic() -> Iterator[Realm]:
    """It, with the operator at work."""
    with (
        tempfile.TemporaryDirectory(prefix="bailiwick-scene-") as folder,
        granted_realm(Path(folder)) as realm,
        looking(realm, "operator"),
    ):
        for name, provider in NODES.items():
            _node(realm, name, provider)
        place = {"allow": ["DE", "FR"], "assurance": "Asserted"}
        chosen = {"matchLabels": {"data": "health"}}
        _ours(realm, "ResidencyPolicy", {"name": "health"}, {"namespaceSelector": chosen, "place": place})
        labels = {"name": NAMESPACE, "labels": {"data": "health"}}
        realm.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": labels})
        eventually(lambda: realm.marked(NAMESPACE), what="the namespace is governed")
        eventually(
            lambda: realm.client.find("v1", "ServiceAccount", "default", NAMESPACE), what="a default ServiceAccount"
        )
        _rare_accelerator(realm)
        realm.model(NAMESPACE, "chat", replicas=2)
        _start(realm, ["frankfurt", "paris"])
        eventually(lambda: _is(realm, "chat", "Ready", "True"), what="the model runs")
        eventually(
            lambda: realm.condition("ResidencyPolicy", "Enforced", "health")["status"] == "True",
            what="the policy is proved",
        )  # fmt: skip
        realm.model(NAMESPACE, "imaging", accelerators={"classes": ["gpu"]})
        eventually(lambda: _is(realm, "imaging", "Ready", "False"), what="the other waits")
        yield realm


def _ours(realm: Realm, kind: str, metadata: Manifest, spec: Manifest) -> None:
    realm.client.create({"apiVersion": OURS, "kind": kind, "metadata": metadata, "spec": spec})


def _rare_accelerator(realm: Realm) -> None:
    """A class of which only the machine abroad has any."""
    offer = {"name": "vllm", "image": ENGINE}
    _ours(realm, "AcceleratorClass", {"name": "gpu"}, {"resources": ["example.com/gpu"], "engines": [offer]})


def _node(realm: Realm, name: str, provider: str) -> None:
    spec = {"providerID": provider} if provider else {}
    realm.client.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready"}
    size = {"cpu": "8", "memory": "32Gi", "pods": "110"} | ({"example.com/gpu": "4"} if name == "ohio" else {})
    status = {"conditions": [condition], "capacity": size, "allocatable": size}
    realm.client.patch("v1", "Node", name, {"status": status}, subresource="status")


def _is(realm: Realm, model: str, aspect: str, status: str) -> bool:
    return realm.stated(aspect, NAMESPACE, model)[0] == status


def _start(realm: Realm, nodes: list[str]) -> None:
    """Bring the model's pods to nodes and say that they run: neither scheduler nor kubelet is there."""
    pods = eventually(
        lambda: found if len(found := realm.client.list("v1", "Pod", NAMESPACE)) == len(nodes) else [],
        what="the model's pods are there",
    )  # fmt: skip
    for pod, node in zip(pods, nodes, strict=True):
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        realm.client.create(binding, subresource="binding")
        status = {
            "phase": "Running",
            "conditions": [{"type": each, "status": "True"} for each in ("PodScheduled", "Ready")],
        }
        realm.client.patch("v1", "Pod", metadata["name"], {"status": status}, NAMESPACE, subresource="status")
