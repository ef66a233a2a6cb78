"""Where data is stored (charts/bailiwick/policies/storage.yaml)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from e2e.client import ApiError
from tests.border.ground import Governed, Ground, refused
from tests.border.stubs import serve, thing

STORAGE = "bailiwick-storage"
SNAPSHOTS = "snapshot.storage.k8s.io"
CLAIM = ("v1", "PersistentVolumeClaim")
BASE: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
INSIDE = BASE | {"storageClassName": "frankfurt"}


@pytest.fixture(scope="module")
def closed(ground: Ground) -> Governed:
    governed = ground.govern(storage={"classes": ["frankfurt"]})
    serve(ground, SNAPSHOTS, "VolumeSnapshot", "volumesnapshots")
    return governed


def claim(namespace: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    manifest = thing(*CLAIM, namespace, spec=INSIDE | spec)
    manifest["metadata"]["annotations"] = annotations or {}
    return manifest


def by(governed: Governed, reason: str = "ClassNotAllowed") -> tuple[str, str, str]:
    return STORAGE, reason, f"{STORAGE}.{governed.policy}"


@pytest.mark.parametrize(
    "made",
    [
        {"storageClassName": "abroad"},
        {"storageClassName": ""},
        {"storageClassName": None},
        {"volumeName": "made-by-hand"},
        {"selector": {"matchLabels": {"made": "by-hand"}}},
        {"volumeAttributesClassName": "abroad"},
        {"annotations": {"volume.beta.kubernetes.io/storage-class": "abroad"}},
    ],
    ids=["class", "empty class", "no class", "volume", "labels", "attributes class", "annotation"],
)
def test_a_claim_that_leads_elsewhere_is_refused(
    ground: Ground, closed: Governed, free: str, made: dict[str, Any]
) -> None:
    with refused(*by(closed)):
        ground.editor.create(claim(closed.namespace, **made), dry_run=True)
    ground.editor.create(claim(free, **made), dry_run=True)


def test_a_claim_with_a_selector_from_before_the_policy_can_grow(ground: Ground) -> None:
    namespace = ground.namespace()
    ground.editor.create(claim(namespace, selector={"matchLabels": {"made": "by-hand"}}))
    ground.govern(namespace=namespace, storage={"classes": ["frankfurt"]})
    changed = {"metadata": {"annotations": {"team": "a"}}}
    ground.editor.patch(*CLAIM, "probe", changed, namespace, dry_run=True)


def test_a_claim_of_a_listed_class_passes(ground: Ground, closed: Governed) -> None:
    snapshot = {"apiGroup": SNAPSHOTS, "kind": "VolumeSnapshot", "name": "s"}
    for spec in ({}, {"volumeAttributesClassName": "frankfurt"}, {"dataSource": snapshot}):
        ground.editor.create(claim(closed.namespace, **spec), dry_run=True)


def test_data_of_another_namespace_does_not_come_here(ground: Ground, closed: Governed) -> None:
    """Where the API server knows no such references it drops the namespace, and the policy sees none."""
    foreign = {"apiGroup": SNAPSHOTS, "kind": "VolumeSnapshot", "name": "s", "namespace": "elsewhere"}
    with suppress(ApiError):
        made = ground.editor.create(claim(closed.namespace, dataSourceRef=foreign), dry_run=True)
        assert "namespace" not in made["spec"].get("dataSourceRef", {})


def test_the_disk_is_not_made_on_a_node_abroad(ground: Ground, closed: Governed) -> None:
    selected = "volume.kubernetes.io/selected-node"
    with refused(*by(closed, "WrongPlace")):
        ground.editor.create(claim(closed.namespace, {selected: closed.abroad}), dry_run=True)
    ground.editor.create(claim(closed.namespace, {selected: closed.inside}), dry_run=True)


def test_only_kubernetes_binds_a_claim(ground: Ground, closed: Governed) -> None:
    ground.editor.create(claim(closed.namespace))
    bound = {"spec": {"volumeName": "pv-1"}}
    with refused(*by(closed)):
        ground.lite.patch(*CLAIM, "probe", bound, closed.namespace, dry_run=True)
    for url in ("", "status"):
        selected = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": closed.abroad}}}
        with refused(*by(closed, "WrongPlace")):
            ground.lite.patch(*CLAIM, "probe", selected, closed.namespace, subresource=url, dry_run=True)
    binder = ground.person("system:serviceaccount:kube-system:persistent-volume-binder", ["system:masters"])
    binder.patch(*CLAIM, "probe", bound, closed.namespace, dry_run=True)


def test_the_default_class_is_judged_like_any_other(ground: Ground, closed: Governed) -> None:
    """The API server fills it in before it asks the policies."""
    name = f"default-{closed.policy}"
    default = {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/none",
        "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    }  # fmt: skip
    ground.admin.create(default)
    ground.made.append(("storage.k8s.io/v1", "StorageClass", name))
    try:
        with refused(*by(closed)) as refusal:
            ground.editor.create(claim(closed.namespace, storageClassName=None), dry_run=True)
        assert refusal.message
    finally:
        ground.admin.delete("storage.k8s.io/v1", "StorageClass", name)


def test_a_snapshot_of_another_class_is_refused(ground: Ground, closed: Governed, free: str) -> None:
    source = {"source": {"persistentVolumeClaimName": "data"}}
    by_hand = {"volumeSnapshotClassName": "frankfurt", "source": {"volumeSnapshotContentName": "made-by-hand"}}
    for spec in (source, source | {"volumeSnapshotClassName": "abroad"}, by_hand):
        with refused(*by(closed)):
            ground.lite.create(thing(f"{SNAPSHOTS}/v1", "VolumeSnapshot", closed.namespace, spec=spec), dry_run=True)
        ground.lite.create(thing(f"{SNAPSHOTS}/v1", "VolumeSnapshot", free, spec=spec), dry_run=True)
    listed = source | {"volumeSnapshotClassName": "frankfurt"}
    ground.lite.create(thing(f"{SNAPSHOTS}/v1", "VolumeSnapshot", closed.namespace, spec=listed), dry_run=True)


def test_a_claim_from_before_the_policy_can_go(ground: Ground) -> None:
    namespace = ground.namespace()
    ground.editor.create(claim(namespace, storageClassName="abroad"))
    governed = ground.govern(namespace=namespace, storage={"classes": ["frankfurt"]})
    ground.lite.patch(*CLAIM, "probe", {"metadata": {"finalizers": []}}, namespace)
    with refused(*by(governed)):
        ground.lite.patch(*CLAIM, "probe", {"metadata": {"annotations": {"a": "b"}}}, namespace, dry_run=True)
    ground.editor.delete(*CLAIM, "probe", namespace)
