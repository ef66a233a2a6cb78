"""The webhook as the chart renders it: narrow, closed when it fails, and with few rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chart.helm import NAMESPACE, Helm, HelmError

if TYPE_CHECKING:
    from e2e.client import Manifest

pytestmark = pytest.mark.apiserver

SYSTEM = {"kube-system", "kube-public", "kube-node-lease", NAMESPACE}


def ours(helm: Helm, *arguments: str, **admission: object) -> dict[str, Manifest]:
    rendered = helm.template(*arguments, admission={"install": True, **admission})
    return {each["kind"]: each for each in rendered if each["metadata"]["name"] == "bailiwick-admission"}


def test_it_is_closed_when_it_fails_and_never_waits_long(helm: Helm) -> None:
    webhooks = ours(helm)["ValidatingWebhookConfiguration"]["webhooks"]
    for each in webhooks:
        assert (each["failurePolicy"], each["timeoutSeconds"]) == ("Fail", 3)
        assert (each["sideEffects"], each["matchPolicy"]) == ("None", "Equivalent")
        assert "objectSelector" not in each, "a label on an object would be a way around"
    by_name = {each["name"]: each for each in webhooks}
    assert set(by_name) == {"claims.bailiwick.dev", "models.bailiwick.dev", "ours.bailiwick.dev"}
    assert "namespaceSelector" not in by_name["ours.bailiwick.dev"]
    for name in ("claims", "models"):
        (excluded,) = by_name[f"{name}.bailiwick.dev"]["namespaceSelector"]["matchExpressions"]
        assert (excluded["operator"], set(excluded["values"])) == ("NotIn", SYSTEM)
    assert by_name["claims.bailiwick.dev"]["namespaceSelector"]["matchLabels"] == {"bailiwick.dev/governed": "true"}


def test_it_may_write_its_own_certificate_and_nothing_else(helm: Helm) -> None:
    rendered = ours(helm)
    for kind in ("ClusterRole", "Role"):
        for rule in rendered[kind]["rules"]:
            if set(rule["verbs"]) - {"get", "list", "watch"} and rule["resources"] != ["subjectaccessreviews"]:
                assert rule["resourceNames"] == ["bailiwick-admission"]
                assert set(rule["verbs"]) == {"get", "patch"}
    assert rendered["Secret"]["type"] == "Opaque"


def test_cert_manager_needs_no_such_right(helm: Helm) -> None:
    rendered = ours(helm, certificates="cert-manager")
    assert not {"Role", "RoleBinding", "Secret"} & set(rendered)
    configuration = rendered["ValidatingWebhookConfiguration"]
    assert (
        configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == f"{NAMESPACE}/bailiwick-admission"
    )
    assert rendered["Certificate"]["spec"]["secretName"] == "bailiwick-admission"
    mounts = rendered["Deployment"]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert "/certificates" in {each["mountPath"] for each in mounts}


def test_two_replicas_by_default_and_a_budget(helm: Helm) -> None:
    rendered = ours(helm)
    assert rendered["Deployment"]["spec"]["replicas"] == 2
    assert rendered["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in ours(helm, replicas=1)


def test_it_comes_after_the_jurisdictions_that_it_would_judge(helm: Helm) -> None:
    first = ours(helm)["ValidatingWebhookConfiguration"]["metadata"]["annotations"]
    assert int(first["helm.sh/hook-weight"]) > 0
    later = ours(helm, "--api-versions=bailiwick.dev/v1alpha1/Jurisdiction")
    assert "helm.sh/hook" not in later["ValidatingWebhookConfiguration"]["metadata"]["annotations"]


def test_nothing_of_it_is_there_unless_it_is_wanted(helm: Helm) -> None:
    assert "bailiwick-admission" not in {each["metadata"]["name"] for each in helm.template()}
    with pytest.raises(HelmError):
        ours(helm, certificates="none")
