"""Nothing sends work to other clusters (charts/bailiwick/policies/propagation.yaml)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.border.ground import Governed, Ground, refused
from tests.border.stubs import serve, thing

PROPAGATION = "bailiwick-propagation"
NAMESPACED = [
    ("policy.karmada.io", "PropagationPolicy", "propagationpolicies"),
    ("work.karmada.io", "ResourceBinding", "resourcebindings"),
    ("offloading.liqo.io", "NamespaceOffloading", "namespaceoffloadings"),
    ("multicluster.admiralty.io", "Target", "targets"),
    ("work.open-cluster-management.io", "ManifestWork", "manifestworks"),
    ("placement.kubernetes-fleet.io", "ResourcePlacement", "resourceplacements"),
    ("fleet.cattle.io", "Bundle", "bundles"),
    ("multicluster.x-k8s.io", "ServiceExport", "serviceexports"),
    ("inference.networking.x-k8s.io", "InferencePoolImport", "inferencepoolimports"),
]
CLUSTERWIDE = [
    ("policy.karmada.io", "ClusterPropagationPolicy", "clusterpropagationpolicies"),
    ("placement.kubernetes-fleet.io", "ClusterResourcePlacement", "clusterresourceplacements"),
    ("kueue.x-k8s.io", "MultiKueueConfig", "multikueueconfigs"),
    ("multicluster.admiralty.io", "ClusterTarget", "clustertargets"),
]
QUEUED = "kueue.x-k8s.io/multikueue"


@pytest.fixture(scope="module")
def closed(ground: Ground) -> Governed:
    return ground.govern()


def by(governed: Governed) -> tuple[str, str, str]:
    return PROPAGATION, "Propagation", f"{PROPAGATION}.{governed.policy}"


@pytest.mark.parametrize("sender", NAMESPACED, ids="/".join)
def test_a_kind_that_propagates_is_refused_whenever_it_arrives(
    ground: Ground, closed: Governed, free: str, sender: tuple[str, str, str]
) -> None:
    group, kind, plural = sender
    serve(ground, group, kind, plural)
    with refused(*by(closed)):
        ground.lite.create(thing(f"{group}/v1", kind, closed.namespace, spec={"any": "thing"}), dry_run=True)
    ground.lite.create(thing(f"{group}/v1", kind, free, spec={"any": "thing"}), dry_run=True)


@pytest.mark.parametrize(("group", "kind", "plural"), CLUSTERWIDE)
def test_one_without_a_namespace_is_refused_while_any_policy_is_in_force(
    ground: Ground, closed: Governed, group: str, kind: str, plural: str
) -> None:
    serve(ground, group, kind, plural, namespaced=False)
    said = f"ValidatingAdmissionPolicy '{PROPAGATION}' with binding .* denied request: Propagation: "
    with pytest.raises(Exception, match=said) as refusal:
        ground.lite.create(thing(f"{group}/v1", kind, spec={"any": "thing"}), dry_run=True)
    assert "it has no namespace" in str(refusal.value)
    neighbour = thing(f"{group}/v1", f"{kind}Report")
    serve(ground, group, neighbour["kind"], f"{kind.lower()}reports", namespaced=False)
    ground.lite.create(neighbour, dry_run=True)


@pytest.mark.parametrize("label", ["liqo.io/scheduling-enabled", "multicluster-scheduler"])
def test_a_governed_namespace_is_not_offered(ground: Ground, closed: Governed, free: str, label: str) -> None:
    offered = {"metadata": {"labels": {label: "true"}}}
    for url in ("", "status"):
        with refused(*by(closed)):
            ground.tenant.patch("v1", "Namespace", closed.namespace, offered, subresource=url, dry_run=True)
    ground.tenant.patch("v1", "Namespace", closed.namespace, {"metadata": {"labels": {"team": "a"}}}, dry_run=True)
    ground.tenant.patch("v1", "Namespace", free, offered, dry_run=True)


def job(namespace: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "registry.example/job:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    made = thing("batch/v1", "Job", namespace, spec={"template": template, **spec})
    made["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "gpus"}
    return made


@pytest.mark.parametrize("worker", [QUEUED, "burst.example.com/abroad"])
def test_a_job_is_not_handed_over(ground: Ground, closed: Governed, free: str, worker: str) -> None:
    with refused(*by(closed)) as refusal:
        ground.editor.create(job(closed.namespace, managedBy=worker), dry_run=True)
    assert "MultiKueue, which" in refusal.message or worker in refusal.message
    ground.editor.create(job(free, managedBy=worker), dry_run=True)
    ground.editor.create(job(closed.namespace, managedBy="kubernetes.io/job-controller"), dry_run=True)
    ground.editor.create(job(closed.namespace, suspend=True), dry_run=True)  # a queue of this cluster


def test_a_workload_is_not_sent_to_another_cluster(ground: Ground, closed: Governed) -> None:
    serve(ground, "kueue.x-k8s.io", "Workload", "workloads")
    where = ("kueue.x-k8s.io/v1", "Workload")
    ground.lite.create(thing(*where, closed.namespace, spec={"queueName": "gpus"}))
    for status in ({"clusterName": "abroad"}, {"nominatedClusterNames": ["abroad"]}):
        with refused(*by(closed)):
            ground.lite.patch(
                *where, "probe", {"status": status}, closed.namespace, subresource="status", how="merge", dry_run=True
            )
    here = {"status": {"admission": {"clusterQueue": "gpus"}, "clusterName": None}}
    ground.lite.patch(*where, "probe", here, closed.namespace, subresource="status", how="merge", dry_run=True)


def test_what_was_there_before_can_go(ground: Ground) -> None:
    serve(ground, "policy.karmada.io", "PropagationPolicy", "propagationpolicies")
    namespace = ground.namespace()
    where = ("policy.karmada.io/v1", "PropagationPolicy")
    ground.lite.create(thing(*where, namespace, spec={"placement": {}}))
    governed = ground.govern(namespace=namespace)
    ground.lite.patch(*where, "probe", {"metadata": {"finalizers": []}}, namespace, how="merge")
    with refused(*by(governed)):
        ground.lite.patch(*where, "probe", {"spec": {"placement": {"a": "b"}}}, namespace, how="merge", dry_run=True)
    ground.lite.delete(*where, "probe", namespace)
