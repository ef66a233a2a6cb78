"""Devices that are claimed: the real scheduler gives a replica one on a node inside, and nothing elsewhere.

There is no driver: ResourceSlices are plain objects, and the scheduler allocates from what they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import eventually
from tests.apiserver.realm import CONTROLLERS, ENGINE, OURS, Realm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.apiserver

RESOURCE = "resource.k8s.io/v1"
DRIVER = "gpu.vendor.example"
FRANKFURT, VIRGINIA = "aws:///eu-central-1a/i-0123456789abcdef1", "aws:///us-east-1a/i-0123456789abcdef2"


@pytest.fixture(scope="module")
def scheduled() -> Iterator[Realm]:
    """A server with a scheduler and the controller that makes claims for pods, and the operator at work."""
    realm = Realm.start(controllers=f"{CONTROLLERS},resourceclaim-controller")
    try:
        realm.server.start_scheduler()
        process = realm.operator()
        try:
            process.until_leading()
            yield realm
        finally:
            process.stop()
    finally:
        realm.server.stop()


def equip(realm: Realm, provider: str, devices: int) -> str:
    """A node that takes pods, and a slice that says what devices it has; its name."""
    name = realm.node(provider)
    # A new node is tainted not-ready, and the controller that would lift that does not run here.
    realm.client.patch("v1", "Node", name, {"spec": {"taints": None}})
    realm.create(
        {
            "apiVersion": RESOURCE,
            "kind": "ResourceSlice",
            "metadata": {"name": f"{name}-gpus"},
            "spec": {
                "driver": DRIVER,
                "nodeName": name,
                "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": f"gpu-{number}"} for number in range(devices)],
            },
        }
    )
    return name


def pods(realm: Realm, namespace: str) -> list[dict[str, Any]]:
    """The replicas."""
    return realm.client.list("v1", "Pod", namespace)


def test_a_replica_gets_its_devices_on_a_node_inside_only(scheduled: Realm) -> None:
    realm = scheduled
    cel = {"cel": {"expression": f"device.driver == '{DRIVER}'"}}
    realm.create(
        {"apiVersion": RESOURCE, "kind": "DeviceClass", "metadata": {"name": DRIVER}, "spec": {"selectors": [cel]}}
    )
    spec = {"deviceClasses": [DRIVER], "engines": [{"name": "vllm", "image": ENGINE}]}
    realm.create({"apiVersion": OURS, "kind": "AcceleratorClass", "metadata": {"name": "gpu"}, "spec": spec})
    inside, outside = equip(realm, FRANKFURT, 2), equip(realm, VIRGINIA, 8)
    policy = realm.policy("DE")
    policy.in_force().holds(inside)
    namespace = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(namespace), what="the namespace is marked")

    realm.model(namespace, accelerators={"classes": ["gpu"], "perReplica": 2})
    eventually(lambda: realm.stated("Placed", namespace) == ("True", "Placed"), what="the replica has a node")
    assert realm.status(namespace)["plan"]["device"] == DRIVER
    (pod,) = pods(realm, namespace)
    assert pod["spec"]["nodeName"] == inside
    (claim,) = realm.client.list(RESOURCE, "ResourceClaim", namespace)
    allocation = claim["status"]["allocation"]
    assert {each["pool"] for each in allocation["devices"]["results"]} == {inside}
    assert len(allocation["devices"]["results"]) == 2
    (template,) = realm.client.list(RESOURCE, "ResourceClaimTemplate", namespace)
    assert template["metadata"]["ownerReferences"][0]["kind"] == "SovereignModel"

    # The devices inside are taken, and those outside are no way out.
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"replicas": 2}}, namespace)
    eventually(lambda: realm.stated("Placed", namespace) == ("False", "Unschedulable"), what="the second replica waits")
    assert {each["spec"].get("nodeName") for each in pods(realm, namespace)} == {inside, None}
    assert outside

    # A template that somebody removes is put back; else no further replica could come.
    name = template["metadata"]["name"]
    realm.client.delete(RESOURCE, "ResourceClaimTemplate", name, namespace)
    eventually(
        lambda: realm.client.find(RESOURCE, "ResourceClaimTemplate", name, namespace), what="the template is back"
    )
