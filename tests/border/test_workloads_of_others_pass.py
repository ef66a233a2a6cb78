"""What people run keeps running where a policy asks nothing about images (tests/border/corpus, and what we build)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import documents
from tests.border.ground import authored, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2e.client import Manifest
    from tests.border.ground import Governed, Ground

HERE = Path(__file__).parent
CORPUS = [manifest for file in sorted((HERE / "corpus").glob("*.yaml")) for manifest in documents(file)]


def _with_pods(manifest: Manifest) -> list[Manifest]:
    """What makes pods, one of each template: a group has one for its leader and one for the others."""
    if manifest.get("kind") == "Deployment":
        return [manifest]
    if manifest.get("kind") != "LeaderWorkerSet":
        return []
    group = manifest["spec"]["leaderWorkerTemplate"]
    templates = (group["leaderTemplate"], group["workerTemplate"])
    return [{**manifest, "spec": {"template": template}} for template in templates]


COPIED = HERE.parent / "golden/workload/copied.output.yaml"
BUILT = [
    workload
    for folder in ("workload", "accelerators")
    for file in sorted((HERE.parent / "golden" / folder).glob("**/*.yaml"))
    for manifest in documents(file)
    for workload in _with_pods(manifest)
]
# As the DaemonSet controller adds them (pkg/controller/daemon/util/daemonset_util.go, AddOrUpdateDaemonPodTolerations).
_PRESSURES = ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
DAEMON_TOLERATIONS = [
    *({"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoSchedule"} for key in _PRESSURES),
    *(
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
        for key in ("not-ready", "unreachable")
    ),
]


def named(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return f"{manifest['kind']} {metadata.get('name') or metadata['generateName']}"


def template_of(workload: Manifest) -> dict[str, Any]:
    if workload["kind"] == "Pod":
        return workload
    spec = workload["spec"]
    template: dict[str, Any] = (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]
    return template


def pod_of(workload: Manifest, namespace: str) -> Manifest:
    """The pod that the workload's controller would make."""
    template = template_of(workload)
    spec = dict(template["spec"])
    claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())]
    if claims:
        mounted = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-0"}} for name in claims]
        spec["volumes"] = [*spec.get("volumes", ()), *mounted]
    if workload["kind"] == "DaemonSet":
        spec["tolerations"] = [*spec.get("tolerations", ()), *DAEMON_TOLERATIONS]
    metadata = {**template.get("metadata", {}), "namespace": namespace}
    if not {"name", "generateName"} & metadata.keys():
        metadata["generateName"] = f"{workload['metadata']['name']}-"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def invite(ground: Ground, namespace: str, workloads: Iterable[Manifest]) -> None:
    """Make the service accounts that the workloads name."""
    named = {template_of(workload)["spec"].get("serviceAccountName") for workload in workloads} - {None}
    for name in sorted(named):
        metadata = {"name": name, "namespace": namespace}
        ground.admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


@pytest.fixture(scope="module")
def city(ground: Ground, health: Governed) -> Governed:
    """A namespace whose policy asks nothing about images."""
    invite(ground, health.namespace, CORPUS)
    return health


@pytest.fixture(scope="module")
def ours(ground: Ground) -> Governed:
    """A policy that allows the sources and the schedulers of what we build."""
    schedulers = {template_of(workload)["spec"].get("schedulerName", "default-scheduler") for workload in BUILT}
    models = {"sources": ["hostpath:///srv/models/"], "requireDigest": True}
    governed = ground.govern(models=models, schedulers=sorted(schedulers | {"default-scheduler"}))
    invite(ground, governed.namespace, BUILT)
    return governed


def test_the_corpus_is_broad() -> None:
    assert len(CORPUS) >= 60
    assert len(set(map(named, CORPUS))) == len(CORPUS)
    assert {"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"} <= {each["kind"] for each in CORPUS}
    assert BUILT


@pytest.mark.parametrize("workload", CORPUS, ids=named)
def test_a_workload_is_taken_with_its_pod(ground: Ground, city: Governed, workload: Manifest) -> None:
    if workload["kind"] != "Pod":
        there = {**workload, "metadata": {**workload["metadata"], "namespace": city.namespace}}
        ground.admin.create(there, dry_run=True)
    made = ground.editor.create(authored(pod_of(workload, city.namespace), city), dry_run=True)
    assert city.selector.items() <= made["spec"]["nodeSelector"].items()


def test_what_copies_models_passes_where_images_are_asked_about(ground: Ground) -> None:
    """The model's image is not of the listed registries, but of a source of models, as an image volume may be."""
    (copying,) = (each for each in documents(COPIED) if each["kind"] == "Deployment")
    images = {"registries": ["registry.example", "registry.k8s.io"], "requireDigest": False}
    for source, allowed in (("oci://models.example/", True), ("oci://models.example/other/", False)):
        governed = ground.govern(images=images, models={"sources": [source], "requireDigest": False})
        invite(ground, governed.namespace, [copying])
        made = authored(pod_of(copying, governed.namespace), governed)
        if allowed:
            ground.editor.create(made, dry_run=True)
        else:
            with refused("bailiwick-pods", "ImageNotAllowed", f"bailiwick-pods.{governed.policy}"):
                ground.editor.create(made, dry_run=True)


@pytest.mark.parametrize("deployment", BUILT, ids=named)
def test_what_we_build_ourselves_passes(ground: Ground, ours: Governed, deployment: Manifest) -> None:
    """From the golden files: its environment, its arguments, its folders of models."""
    made = authored(pod_of(deployment, ours.namespace), ours)
    made["spec"].pop("runtimeClassName", None)  # no such class is on the ground
    ground.editor.create(made, dry_run=True)
