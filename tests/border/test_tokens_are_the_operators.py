"""Nobody becomes the operator (charts/bailiwick/policies/tokens.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError, eventually
from tests.border.ground import IMAGE, SYSTEM, Ground, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = "bailiwick-tokens"
ACCOUNT = "probe-operator"
OURS = ("OperatorOnly",)
KUBE_SYSTEM = "system:serviceaccount:kube-system"


@pytest.fixture(scope="module", autouse=True)
def home(ground: Ground) -> Iterator[None]:
    """Bailiwick's own namespace, with a service account like the operator's."""
    made = not ground.admin.find("v1", "Namespace", SYSTEM)
    if made:
        ground.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    ground.admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(ACCOUNT)})

    def guarded() -> bool:
        with refused(TOKENS, *OURS):
            token(ground, "admin-lite", (), ACCOUNT, SYSTEM)
        return True

    eventually(guarded, what="tokens are guarded")
    yield
    ground.admin.delete("v1", "ServiceAccount", ACCOUNT, SYSTEM)
    if made:
        ground.admin.delete("v1", "Namespace", SYSTEM)


def named(name: str, namespace: str = SYSTEM) -> dict[str, Any]:
    return {"name": name, "namespace": namespace}


def pod_spec(account: str) -> dict[str, Any]:
    return {"serviceAccountName": account, "containers": [{"name": "main", "image": IMAGE}]}


def made(kind: str, account: str = ACCOUNT, namespace: str = SYSTEM) -> dict[str, Any]:
    metadata = named("probe", namespace)
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": pod_spec(account)}
    template = {"metadata": {"labels": {"app": "probe"}}, "spec": pod_spec(account)}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "probe"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


def maker(kind: str, account: str) -> dict[str, Any]:
    """Something else that makes pods."""
    if kind in {"Job", "CronJob"}:
        job = {"template": {"spec": pod_spec(account) | {"restartPolicy": "Never"}}}
        spec = job if kind == "Job" else {"schedule": "@daily", "jobTemplate": {"spec": job}}
        return {"apiVersion": "batch/v1", "kind": kind, "metadata": named("probe"), "spec": spec}
    manifest = made("Deployment", account) | {"kind": kind}
    if kind == "ReplicationController":
        manifest["apiVersion"], manifest["spec"]["selector"] = "v1", {"app": "probe"}
    if kind == "DaemonSet":
        del manifest["spec"]["replicas"]
    return manifest


def token(ground: Ground, who: str, groups: tuple[str, ...], account: str, namespace: str) -> None:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": named(account, namespace)}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    ground.person(who, groups).request("POST", path, request, params={"dryRun": "All"})


def test_a_token_of_ours_is_for_kubelets_only(ground: Ground, free: str) -> None:
    with refused(TOKENS, *OURS):
        token(ground, "admin-lite", (), ACCOUNT, SYSTEM)
    token(ground, "admin-lite", (), "default", free)
    # NodeRestriction goes on to ask whether the pod is there; it is no policy that refuses.
    with pytest.raises(ApiError) as answer:
        token(ground, f"system:node:{ground.inside}", ("system:nodes",), ACCOUNT, SYSTEM)
    assert TOKENS not in answer.value.message


def test_a_secret_with_a_token_is_one_as_well(ground: Ground, free: str) -> None:
    def secret(namespace: str, account: str) -> dict[str, Any]:
        annotations = {"kubernetes.io/service-account.name": account}
        return {
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": named("probe", namespace) | {"annotations": annotations},
        }  # fmt: skip

    with refused(TOKENS, *OURS):
        ground.lite.create(secret(SYSTEM, ACCOUNT), dry_run=True)
    ground.lite.create(secret(free, "default"), dry_run=True)
    ordinary = {"apiVersion": "v1", "kind": "Secret", "metadata": named("probe"), "stringData": {"a": "b"}}
    ground.lite.create(ordinary, dry_run=True)


@pytest.mark.parametrize("kind", ["Pod", "ReplicaSet", "Deployment"])
def test_nobody_runs_as_the_operator(ground: Ground, kind: str) -> None:
    with refused(TOKENS, *OURS) as refusal:
        ground.lite.create(made(kind), dry_run=True)
    assert ACCOUNT in refusal.message
    ground.lite.create(made(kind, account="default"), dry_run=True)
    ground.admin.create(made(kind), dry_run=True)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"])
def test_nothing_makes_pods_that_run_as_the_operator(ground: Ground, kind: str) -> None:
    """Where all controllers are one person, the pods of these look like the operator's own."""
    with refused(TOKENS, *OURS) as refusal:
        ground.editor.create(maker(kind, ACCOUNT), dry_run=True)
    assert ACCOUNT in refusal.message
    ground.editor.create(maker(kind, "default"), dry_run=True)
    ground.admin.create(maker(kind, ACCOUNT), dry_run=True)


@pytest.mark.parametrize("controller", ["job-controller", "statefulset-controller", "daemon-set-controller"])
def test_no_other_controller_runs_as_the_operator(ground: Ground, controller: str) -> None:
    other = ground.person(f"{KUBE_SYSTEM}:{controller}")
    with refused(TOKENS, *OURS):
        other.create(made("Pod"), dry_run=True)
    replicas = ground.person(f"{KUBE_SYSTEM}:replicaset-controller")
    replicas.create(made("Pod"), dry_run=True)


def test_the_operators_deployment_is_not_turned(ground: Ground) -> None:
    ground.admin.create(made("Deployment"))
    try:
        image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil.example/x:1"}]}}}}
        with refused(TOKENS, *OURS):
            ground.lite.patch("apps/v1", "Deployment", "probe", image, SYSTEM, how="strategic", dry_run=True)
        ground.lite.patch("apps/v1", "Deployment", "probe", {"spec": {"replicas": 1}}, SYSTEM, dry_run=True)
    finally:
        ground.admin.delete("apps/v1", "Deployment", "probe", SYSTEM)


@pytest.mark.parametrize("way", ["exec?command=ls", "attach"])
def test_nobody_enters_the_operators_pods(ground: Ground, free: str, way: str) -> None:
    with refused(TOKENS, *OURS):
        ground.lite.request("GET", f"/api/v1/namespaces/{SYSTEM}/pods/probe/{way}")
    for who, namespace in ((ground.lite, free), (ground.admin, SYSTEM)):
        with pytest.raises(ApiError, match='pods "probe" not found'):
            who.request("GET", f"/api/v1/namespaces/{namespace}/pods/probe/{way}")
