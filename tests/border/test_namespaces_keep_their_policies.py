"""Who decides which policies govern a namespace (charts/bailiwick/policies/namespaces*.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.residency.territories import GOVERNED_LABEL
from e2e.client import eventually
from tests.border.ground import RBAC, Governed, Ground, refused

if TYPE_CHECKING:
    from e2e.client import Client, Manifest

NAMESPACES = "bailiwick-namespaces"
LABEL = "bailiwick-namespaces-governed"


@pytest.fixture(params=["tenant", "lite"])
def who(request: pytest.FixtureRequest, ground: Ground) -> Client:
    client: Client = getattr(ground, request.param)
    return client


@pytest.fixture(params=["", "status", "finalize"], ids=["namespaces", "namespaces/status", "namespaces/finalize"])
def url(request: pytest.FixtureRequest) -> str:
    subresource: str = request.param
    return subresource


def relabel(who: Client, namespace: str, labels: dict[str, str | None], url: str = "") -> None:
    """Change labels through a URL; namespaces/finalize knows PUT only."""
    if url != "finalize":
        who.patch("v1", "Namespace", namespace, {"metadata": {"labels": labels}}, subresource=url, dry_run=True)
        return
    seen = who.get("v1", "Namespace", namespace)
    merged = seen["metadata"].get("labels", {}) | labels
    seen["metadata"]["labels"] = {key: value for key, value in merged.items() if value is not None}
    who.replace(seen, subresource=url, dry_run=True)


@pytest.mark.parametrize("value", [None, "there"], ids=["remove", "change"])
def test_a_tenant_does_not_leave(who: Client, health: Governed, url: str, value: str | None) -> None:
    with refused(NAMESPACES, "ProtectedLabel") as refusal:
        relabel(who, health.namespace, {health.policy: value}, url)
    assert f"changes {health.policy}; leave them as they are, or ask" in refusal.message


def test_a_tenant_does_not_join(who: Client, health: Governed, free: str, url: str) -> None:
    with refused(NAMESPACES, "ProtectedLabel"):
        relabel(who, free, {health.policy: "here"}, url)


def test_a_tenant_does_not_make_a_namespace_that_is_already_decided(who: Client, health: Governed) -> None:
    """A policy for everything but what is labelled exempt would otherwise be left by making a new namespace."""
    labels = {health.policy: "exempt"}
    with refused(NAMESPACES, "ProtectedLabel"):
        who.create(namespace("escape", labels), dry_run=True)
    unnamed = namespace("", labels | {"kubernetes.io/metadata.name": "kube-system"})
    unnamed["metadata"] |= {"generateName": "kube-", "name": None}
    with refused(NAMESPACES, "ProtectedLabel"):
        who.create(unnamed, dry_run=True)


def test_labels_that_no_policy_reads_are_the_tenants(who: Client, health: Governed, free: str, url: str) -> None:
    for name in (health.namespace, free):
        relabel(who, name, {"team": "radiology"}, url)
    who.create(namespace("harmless", {"team": "radiology"}), dry_run=True)


def test_a_policy_that_selects_by_name_lets_namespaces_be_made(ground: Ground, health: Governed) -> None:
    ground.govern(namespaceLabels=["kubernetes.io/metadata.name"])
    ground.tenant.create(namespace("ordinary", {}), dry_run=True)


def test_whoever_may_assign_does(ground: Ground, health: Governed, free: str, url: str) -> None:
    """cluster-admin, and whoever has the verb for this one policy."""
    relabel(ground.admin, health.namespace, {health.policy: None}, url)
    ground.admin.create(namespace("assigned", {health.policy: "here"}), dry_run=True)
    grant(ground, "assigner", health.policy)
    assigner = ground.person("assigner")
    granted(assigner, free, {health.policy: "here"}, url)


def test_whoever_may_assign_to_one_policy_does_not_assign_to_another(ground: Ground, health: Governed) -> None:
    other = ground.govern()
    grant(ground, "others-assigner", other.policy)
    assigner = ground.person("others-assigner")
    granted(assigner, other.namespace, {other.policy: None})
    with refused(NAMESPACES, "ProtectedLabel") as refusal:
        relabel(assigner, health.namespace, {health.policy: None})
    assert f"verb assign on residencypolicies.bailiwick.dev {health.policy}" in refusal.message


@pytest.mark.parametrize("labels", [{GOVERNED_LABEL: None}, {GOVERNED_LABEL: "false"}], ids=["remove", "change"])
@pytest.mark.parametrize("everybody", ["tenant", "lite", "admin"])
def test_nobody_else_says_that_a_namespace_is_not_governed(
    ground: Ground, health: Governed, url: str, everybody: str, labels: dict[str, str | None]
) -> None:
    with refused(LABEL, "ProtectedLabel") as refusal:
        relabel(getattr(ground, everybody), health.namespace, labels, url)
    assert f"changes it from true to {labels[GOVERNED_LABEL] or '(absent)'}" in refusal.message


@pytest.mark.parametrize("everybody", ["tenant", "lite", "admin"])
def test_nobody_else_says_that_a_namespace_is_governed(ground: Ground, free: str, url: str, everybody: str) -> None:
    who: Client = getattr(ground, everybody)
    with refused(LABEL, "ProtectedLabel"):
        relabel(who, free, {GOVERNED_LABEL: "true"}, url)
    with refused(LABEL, "ProtectedLabel"):
        who.create(namespace("governed", {GOVERNED_LABEL: "true"}), dry_run=True)


def test_system_namespaces_are_no_exception_for_that_label(ground: Ground) -> None:
    with refused(LABEL, "ProtectedLabel"):
        relabel(ground.admin, "kube-system", {GOVERNED_LABEL: "true"})


def test_the_operator_says_it(ground: Ground, health: Governed, free: str, url: str) -> None:
    relabel(ground.operator, free, {GOVERNED_LABEL: "true"}, url)
    relabel(ground.operator, health.namespace, {GOVERNED_LABEL: None}, url)


def test_a_governed_namespace_can_be_deleted(ground: Ground) -> None:
    """The namespace controller writes namespaces/finalize, and changes no label."""
    governed = ground.govern()
    ground.lite.delete("v1", "Namespace", governed.namespace)
    eventually(lambda: ground.admin.find("v1", "Namespace", governed.namespace) is None, what="it is gone")


def namespace(name: str, labels: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def granted(who: Client, namespace: str, labels: dict[str, str | None], url: str = "") -> None:
    """RBAC takes a moment."""

    def done() -> bool:
        relabel(who, namespace, labels, url)
        return True

    eventually(done, what="the grant works")


def grant(ground: Ground, user: str, policy: str) -> None:
    """The right to assign namespaces to one policy, and to change namespaces."""
    rules = [
        {
            "apiGroups": ["bailiwick.dev"],
            "resources": ["residencypolicies"],
            "resourceNames": [policy],
            "verbs": ["assign"],
        },
    ]
    subjects = [{"apiGroup": RBAC.partition("/")[0], "kind": "User", "name": user}]
    ground.admin.apply({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules})
    for role in (user, "border-tenant"):
        reference = {"apiGroup": RBAC.partition("/")[0], "kind": "ClusterRole", "name": role}
        binding = {"metadata": {"name": f"{user}-{role}"}, "roleRef": reference, "subjects": subjects}
        ground.admin.apply({"apiVersion": RBAC, "kind": "ClusterRoleBinding", **binding})
        ground.made.append((RBAC, "ClusterRoleBinding", f"{user}-{role}"))
    ground.made.append((RBAC, "ClusterRole", user))
