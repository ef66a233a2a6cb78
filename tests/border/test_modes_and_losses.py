"""What Audit and Warn do, whom no policy touches, and what still holds when something is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.api.resource import API_VERSION
from bailiwick.residency.territories import GOVERNED_LABEL
from e2e.client import ApiError, eventually
from tests.border.ground import SYSTEM, Governed, Ground, authored, pod, refused, territory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.border.ground import Refusal

ADMISSION = "admissionregistration.k8s.io/v1"
UNPROCESSABLE = 422


def test_warn_admits_and_says_why(ground: Ground) -> None:
    warned = ground.govern(mode="Warn")
    editor = ground.editor
    editor.warnings.clear()
    made = editor.create(pod(warned.namespace, nodeName=ground.abroad), dry_run=True)
    assert made["spec"]["nodeName"] == ground.abroad
    assert "nodeSelector" not in made["spec"], "only Enforce pins"
    said = "\n".join(editor.warnings)
    assert (
        f"ValidatingAdmissionPolicy 'bailiwick-pods' with binding 'bailiwick-pods.{warned.policy}': WrongPlace" in said
    )
    assert "NotPinned: " in said


def test_audit_admits_without_a_word(ground: Ground) -> None:
    audited = ground.govern(mode="Audit")
    beside = ground.govern(mode="Warn", namespace=audited.namespace)
    editor = ground.editor
    editor.warnings.clear()
    editor.create(pod(audited.namespace, nodeName=ground.abroad), dry_run=True)
    assert len(editor.warnings) == 2, editor.warnings  # of the policy beside it, which shows that both are in force
    assert all(f"'bailiwick-pods.{beside.policy}'" in said for said in editor.warnings)


def test_the_stricter_mode_wins(ground: Ground) -> None:
    warned = ground.govern(mode="Warn")
    enforced = ground.govern(namespace=warned.namespace)
    with refused("bailiwick-pods", "WrongPlace", f"bailiwick-pods.{enforced.policy}"):
        ground.editor.create(pod(warned.namespace, nodeName=ground.abroad), dry_run=True)


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease", SYSTEM])
def test_system_namespaces_go_on_even_when_a_policy_selects_them(ground: Ground, namespace: str) -> None:
    if ground.admin.find("v1", "Namespace", namespace) is None:
        ground.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    eventually(lambda: ground.admin.find("v1", "ServiceAccount", "default", namespace), what="a service account")
    governed = ground.govern()
    label = {"metadata": {"labels": {governed.policy: "here"}}}
    ground.operator.patch("v1", "Namespace", namespace, label)
    bindings = ground.admin.get(ADMISSION, "ValidatingAdmissionPolicyBinding", f"bailiwick-pods.{governed.policy}")
    assert bindings["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] == {governed.policy: "here"}
    made = ground.editor.create(pod(namespace, nodeName=ground.abroad), dry_run=True)
    assert "nodeSelector" not in made["spec"]
    ground.operator.patch("v1", "Namespace", namespace, {"metadata": {"labels": {governed.policy: None}}})


def test_even_a_binding_without_exceptions_leaves_the_system_alone(ground: Ground) -> None:
    """The policies say it themselves, so that a slip in a binding cannot stop the cluster."""
    governed = ground.govern(pin=False)
    name = f"bailiwick-pods.{governed.policy}"
    everywhere = {"spec": {"matchResources": {"namespaceSelector": None}}}
    ground.operator.patch(ADMISSION, "ValidatingAdmissionPolicyBinding", name, everywhere)
    elsewhere = ground.namespace()

    def everywhere_else() -> bool:
        with refused("bailiwick-pods", "WrongPlace", name):
            ground.editor.create(pod(elsewhere, nodeName=ground.abroad), dry_run=True)
        return True

    try:
        eventually(everywhere_else, what="the binding matches every namespace")
        ground.editor.create(pod("kube-system", nodeName=ground.abroad), dry_run=True)
    finally:
        ground.operator.delete(ADMISSION, "ValidatingAdmissionPolicyBinding", name)


def missed(governed: Governed) -> AbstractContextManager[Refusal]:
    """The request inside is refused because there is no Territory, whatever it asks."""
    binding = f"bailiwick-pods.{governed.policy}"
    return refused("bailiwick-pods", "failed to configure binding", binding, code=UNPROCESSABLE)


@pytest.fixture(scope="module")
def lost(ground: Ground, health: Governed) -> Iterator[Governed]:
    """A policy whose Territory is gone. Only the operator can do that, or somebody who writes to etcd."""
    governed = ground.govern()
    ground.operator.delete(API_VERSION, "Territory", governed.policy)

    def missing() -> bool:
        with missed(governed):
            ground.editor.create(pod(governed.namespace), dry_run=True)
        return True

    eventually(missing, what="the API server misses it")
    yield governed
    ground.operator.apply(territory(governed))


def test_without_its_territory_a_namespace_refuses_everything(ground: Ground, lost: Governed) -> None:
    with missed(lost):
        ground.editor.create(pod(lost.namespace, nodeName=lost.inside, nodeSelector=lost.selector), dry_run=True)
    with missed(lost):
        ground.editor.create(pod(lost.namespace, nodeName=lost.abroad), dry_run=True)


def test_other_namespaces_do_not_notice(ground: Ground, lost: Governed, health: Governed, free: str) -> None:
    ground.editor.create(pod(free, nodeName=ground.abroad), dry_run=True)
    ground.editor.create(authored(pod(health.namespace), health), dry_run=True)
    with refused("bailiwick-pods", "WrongPlace", f"bailiwick-pods.{health.policy}"):
        ground.editor.create(pod(health.namespace, nodeName=ground.abroad), dry_run=True)


def test_without_its_territory_a_namespace_stays_governed(ground: Ground, lost: Governed) -> None:
    with pytest.raises(ApiError, match=r"ValidatingAdmissionPolicy 'bailiwick-(namespaces-governed|propagation)'"):
        ground.admin.patch(
            "v1", "Namespace", lost.namespace, {"metadata": {"labels": {GOVERNED_LABEL: None}}}, dry_run=True
        )
