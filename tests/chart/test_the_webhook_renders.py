"""The webhook as the chart renders it: narrow, closed when it fails, and with few rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chart.helm import CHART, NAMESPACE, Helm, HelmError

if TYPE_CHECKING:
    from e2e.client import Manifest

pytestmark = pytest.mark.apiserver

SYSTEM = {"kube-system", "kube-public", "kube-node-lease", NAMESPACE}
CALLS = {
    # What is judged by, kept current (admission/known.py, Known.feed).
    ("bailiwick.dev", "residencypolicies", ""): {"list", "watch"},
    ("bailiwick.dev", "sovereignmodels", ""): {"list", "watch"},
    ("bailiwick.dev", "jurisdictions", ""): {"list", "watch"},
    ("bailiwick.dev", "acceleratorclasses", ""): {"list", "watch"},
    ("bailiwick.dev", "authorities", ""): {"list", "watch"},
    ("bailiwick.dev", "endpointstatements", ""): {"list", "watch"},
    ("bailiwick.dev", "nodestatements", ""): {"list", "watch"},
    ("bailiwick.dev", "residencywaivers", ""): {"list", "watch"},
    ("bailiwick.dev", "waiverapprovals", ""): {"list", "watch"},
    ("", "nodes", ""): {"list", "watch"},
    ("", "namespaces", ""): {"list", "watch", "get"},  # get: Known.governing, of a namespace that is new
    ("", "persistentvolumes", ""): {"get"},  # Known.volume
    ("", "persistentvolumeclaims", ""): {"get"},  # Known.claim
    ("storage.k8s.io", "storageclasses", ""): {"get"},  # Known.provisioner
    ("authorization.k8s.io", "subjectaccessreviews", ""): {"create"},  # Known.may_get
    # Its own certificate, in the two objects that the chart made (admission/identity.py, Certificates.keep).
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "bailiwick-admission"): {"get", "patch"},
    ("", "secrets", "bailiwick-admission"): {"get", "patch"},
}
"""Each right, and the call that needs it."""


def ours(helm: Helm, *arguments: str, **admission: object) -> dict[str, Manifest]:
    rendered = helm.template(*arguments, admission=admission)
    return {each["kind"]: each for each in rendered if each["metadata"]["name"] == "bailiwick-admission"}


def webhooks(helm: Helm) -> dict[str, Manifest]:
    found = ours(helm)["ValidatingWebhookConfiguration"]["webhooks"]
    return {each["name"].removesuffix(".bailiwick.dev"): each for each in found}


def rights(rendered: dict[str, Manifest]) -> dict[tuple[str, str, str], set[str]]:
    return {
        (group, resource, name): set(rule["verbs"])
        for kind in ("ClusterRole", "Role")
        for rule in rendered.get(kind, {}).get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def test_it_is_closed_when_it_fails_and_never_waits_long(helm: Helm) -> None:
    found = webhooks(helm)
    assert set(found) == {"policies", "jurisdictions", "models", "claims"}
    for each in found.values():
        assert (each["failurePolicy"], each["timeoutSeconds"]) == ("Fail", 3)
        assert (each["sideEffects"], each["matchPolicy"]) == ("None", "Equivalent")
        assert "objectSelector" not in each, "a label on an object would be a way around"


def test_the_clusters_own_namespaces_and_bailiwicks_are_left_out_by_name(helm: Helm) -> None:
    found = webhooks(helm)
    for name in ("claims", "models"):
        (excluded,) = found[name]["namespaceSelector"]["matchExpressions"]
        assert (excluded["operator"], set(excluded["values"])) == ("NotIn", SYSTEM)
    assert found["claims"]["namespaceSelector"]["matchLabels"] == {"bailiwick.dev/governed": "true"}
    assert "matchLabels" not in found["models"]["namespaceSelector"], "rights are not borrowed anywhere"


def test_it_may_do_what_some_call_of_it_needs_and_nothing_else(helm: Helm) -> None:
    rendered = ours(helm)
    assert rights(rendered) == CALLS
    assert rendered["Secret"]["type"] == "Opaque"
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        (subject,) = rendered[kind]["subjects"]
        assert (subject["name"], subject["namespace"]) == ("bailiwick-admission", NAMESPACE)


def test_with_cert_manager_it_may_write_nothing_at_all(helm: Helm) -> None:
    rendered = ours(helm, certificates="cert-manager")
    assert not {"Role", "RoleBinding", "Secret"} & set(rendered)
    assert rights(rendered) == {key: verbs for key, verbs in CALLS.items() if "patch" not in verbs}
    configuration = rendered["ValidatingWebhookConfiguration"]
    injected = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert injected == f"{NAMESPACE}/bailiwick-admission"
    assert rendered["Certificate"]["spec"]["secretName"] == "bailiwick-admission"
    mounts = rendered["Deployment"]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert "/certificates" in {each["mountPath"] for each in mounts}


def test_two_replicas_apart_by_default_and_a_budget(helm: Helm) -> None:
    rendered = ours(helm)
    assert rendered["Deployment"]["spec"]["replicas"] == 2
    spread = rendered["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert rendered["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in ours(helm, replicas=1)


def test_what_the_chart_ships_is_made_before_anybody_can_judge_it(helm: Helm) -> None:
    def condition(**jurisdictions: object) -> str:
        rendered = helm.template(jurisdictions=jurisdictions)
        (configuration,) = (each for each in rendered if each["kind"] == "ValidatingWebhookConfiguration")
        (judged,) = (each for each in configuration["webhooks"] if each["name"].startswith("jurisdictions."))
        expression: str = judged["matchConditions"][-1]["expression"]
        return expression

    shipped = {file.stem for file in (CHART / "jurisdictions").glob("*.yaml")}
    usual = condition()
    assert all(f"'{name}'" in usual for name in shipped)
    assert "'gdpr-adequate'" not in condition(omit=["gdpr-adequate"]), "it is somebody else's"
    assert condition(install=False).endswith("in [])")


@pytest.mark.parametrize("admission", [{"certificates": "none"}, {"replicas": 0}, {"install": False}], ids=str)
def test_it_cannot_be_left_out_by_a_slip(helm: Helm, admission: Manifest) -> None:
    with pytest.raises(HelmError):
        ours(helm, **admission)
