"""`helm install` on an empty cluster, what it grants, and what is left when it goes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bailiwick.admission.identity import make_pair
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.resource import API_VERSION
from bailiwick.residency import border
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy, exempt_namespaces
from bailiwick.residency.territories import GOVERNED_LABEL, label_of
from e2e.client import ApiError, eventually
from tests.chart.helm import CHART, NAMESPACE, Helm, HelmError
from tests.in_tree import PINS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client, Manifest

pytestmark = pytest.mark.apiserver

ADMISSION = "admissionregistration.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:bailiwick-operator"


@pytest.fixture(scope="module")
def operator(release: Helm, cluster: Client) -> Iterator[Client]:
    """The operator with the rights that the chart gives it, and no other."""
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
    with cluster.impersonate(OPERATOR, groups) as client:
        yield client


def names(cluster: Client, api_version: str, kind: str) -> set[str]:
    return {found["metadata"]["name"] for found in cluster.list(api_version, kind)}


def test_one_command_installs_kinds_and_their_objects(release: Helm, cluster: Client) -> None:
    shipped = {file.stem for file in (CHART / "jurisdictions").glob("*.yaml")}
    assert names(cluster, API_VERSION, "Jurisdiction") == shipped
    assert names(cluster, API_VERSION, "AcceleratorClass") == {"cpu"}
    policies = {f"bailiwick-{file.stem}" for file in (CHART / "policies").glob("*.yaml")}
    assert names(cluster, ADMISSION, "ValidatingAdmissionPolicy") == policies - {"bailiwick-pin"}
    if PINS:
        assert names(cluster, ADMISSION, "MutatingAdmissionPolicy") == {"bailiwick-pin"}
    assert cluster.get("apps/v1", "Deployment", "bailiwick-operator", NAMESPACE)["spec"]["replicas"] == 2


def test_who_installs_is_told_where_nothing_pins(release: Helm) -> None:
    told = release.run("get", "notes", "bailiwick", f"--namespace={NAMESPACE}")
    assert "Bailiwick" in told
    assert ("cannot pin pods" in told) is not PINS


def test_the_webhook_keeps_its_certificate_when_the_chart_is_upgraded(release: Helm, cluster: Client) -> None:
    """What a replica wrote is not Helm's to take away: until it were written again, everything would be refused."""
    kind, name = "ValidatingWebhookConfiguration", "bailiwick-admission"

    def bundles() -> list[str]:
        return [each["clientConfig"].get("caBundle", "") for each in cluster.get(ADMISSION, kind, name)["webhooks"]]

    assert set(bundles()) == {""}
    pair = make_pair(["bailiwick-admission"], now=datetime.now(UTC), lifetime=timedelta(days=1))
    authority = base64.b64encode(pair.certificate).decode()
    patch = [
        {"op": "add", "path": f"/webhooks/{position}/clientConfig/caBundle", "value": authority}
        for position in range(len(bundles()))
    ]
    path = cluster.path(ADMISSION, kind, name=name)
    cluster.request("PATCH", path, patch, content_type="application/json-patch+json")
    secret = {"data": {"tls.crt": authority}}
    cluster.patch("v1", "Secret", name, secret, NAMESPACE)
    release.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", operator={"replicas": 1})
    assert set(bundles()) == {authority}
    assert cluster.get("v1", "Secret", name, NAMESPACE)["data"] == secret["data"]
    release.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}")


def test_what_becomes_of_an_edited_class_when_the_chart_is_upgraded(release: Helm, cluster: Client) -> None:
    """As docs/sizing.md says. The names of resources are a set, so those of the chart and of the edit both stand."""

    def upgrade(*arguments: str, **classes: object) -> list[str]:
        values = {"acceleratorClasses": {"families": ["nvidia"], **classes}}
        release.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", *arguments, **values)
        found: list[str] = cluster.get(API_VERSION, "AcceleratorClass", "nvidia-h100")["spec"]["resources"]
        return found

    assert upgrade() == ["nvidia.com/gpu"]
    own = {"apiVersion": API_VERSION, "kind": "AcceleratorClass", "metadata": {"name": "our-h100"}}
    cluster.create({**own, "spec": {"resources": ["our.example/gpu"]}})
    renamed = {"nvidia.com/gpu": "nvidia.com/gpu.shared"}
    assert upgrade(resources=renamed) == ["nvidia.com/gpu.shared"]
    cluster.patch(API_VERSION, "AcceleratorClass", "nvidia-h100", {"spec": {"resources": ["edited.example/gpu"]}})
    assert upgrade(resources=renamed) == ["edited.example/gpu", "nvidia.com/gpu.shared"]
    cluster.patch(API_VERSION, "AcceleratorClass", "nvidia-h100", {"spec": {"memory": "94G"}})
    with pytest.raises(HelmError, match="conflict"):
        upgrade(resources=renamed)
    upgrade("--force-conflicts", resources=renamed)
    assert cluster.get(API_VERSION, "AcceleratorClass", "nvidia-h100")["spec"]["memory"] == "80G"
    assert cluster.get(API_VERSION, "AcceleratorClass", "our-h100")["spec"]["resources"] == ["our.example/gpu"]
    cluster.delete(API_VERSION, "AcceleratorClass", "our-h100")
    release.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}")


@pytest.mark.parametrize("workload", ["bailiwick-operator", "bailiwick-admission"])
def test_every_pod_of_ours_meets_the_restricted_standard(release: Helm, cluster: Client, workload: str) -> None:
    """Judged by the API server's own Pod Security admission; a pod that does not meet it shows that it judges."""
    restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    cluster.patch("v1", "Namespace", NAMESPACE, restricted)
    template = cluster.get("apps/v1", "Deployment", workload, NAMESPACE)["spec"]["template"]
    metadata = {"name": "judged", "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
    judged: Manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    made = cluster.create(judged, dry_run=True)
    assert made["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    del judged["spec"]["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(ApiError, match="unrestricted capabilities"):
        cluster.create(judged, dry_run=True)


def may(  # noqa: PLR0917 - the words of a sentence, in its order
    cluster: Client, who: str, verb: str, resource: str, namespace: str = "", name: str = ""
) -> bool:
    """Whether RBAC lets somebody do something: ``resource`` is plural.group/subresource as kubectl writes it."""
    resource, _, subresource = resource.partition("/")
    plural, _, group = resource.partition(".")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": plural,
        "subresource": subresource,
        "namespace": namespace,
        "name": name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": who, "groups": ["system:authenticated"], "resourceAttributes": attributes},
    }
    return bool(cluster.create(review)["status"]["allowed"])


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("get", "configmaps"),
        ("patch", "configmaps"),
        ("create", "pods"),
        ("create", "pods/binding"),
        ("create", "pods/exec"),
        ("create", "serviceaccounts/token"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("patch", "validatingadmissionpolicies.admissionregistration.k8s.io"),
        ("delete", "mutatingadmissionpolicies.admissionregistration.k8s.io"),
        ("patch", "residencypolicies.bailiwick.dev"),
        ("assign", "residencypolicies.bailiwick.dev"),
        ("patch", "sovereignmodels.bailiwick.dev"),
        ("patch", "nodestatements.bailiwick.dev"),
        ("create", "residencywaivers.bailiwick.dev"),
        ("create", "waiverapprovals.bailiwick.dev"),
        ("update", "nodes"),
        ("delete", "nodes"),
        ("delete", "namespaces"),
        ("patch", "nodes/status"),
        ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
    ],
)
def test_the_operator_may_not(release: Helm, cluster: Client, verb: str, resource: str) -> None:
    for namespace in ("", NAMESPACE, "default"):
        assert not may(cluster, OPERATOR, verb, resource, namespace)


def test_the_operator_leads_in_its_own_namespace_only(release: Helm, cluster: Client) -> None:
    leases = "leases.coordination.k8s.io"
    assert may(cluster, OPERATOR, "create", leases, NAMESPACE)
    assert may(cluster, OPERATOR, "patch", leases, NAMESPACE, "bailiwick-operator")
    assert not may(cluster, OPERATOR, "patch", leases, NAMESPACE, "other")
    assert not may(cluster, OPERATOR, "patch", leases, "kube-system", "kube-scheduler")


def test_the_operators_rights_suffice_to_draw_a_border(operator: Client, cluster: Client) -> None:
    """Creating a binding with parameters needs the right to read them, beside the right to create it."""
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "inside"}})
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "clinic", "labels": {"data": "health"}}}
    )
    operator.patch("v1", "Node", "inside", {"metadata": {"labels": {label_of("health"): "resident"}}})
    operator.apply(territory())
    policy = {
        "metadata": {"name": "health"},
        "spec": {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": {"allow": ["DE"]}},
    }
    compiled = compile_policy(ResidencyPolicy.read(policy), Atlas())
    exempt = exempt_namespaces(NAMESPACE)
    for binding in (*border.bindings(compiled, exempt=exempt, pins=PINS), border.namespaces_binding(exempt=exempt)):
        operator.apply(binding, manager="bailiwick")
    operator.patch("v1", "Namespace", "clinic", {"metadata": {"labels": {GOVERNED_LABEL: "true"}}})
    eventually(lambda: refuses(cluster), what="the border stands")


def territory() -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "Territory",
        "metadata": {"name": "health"},
        "spec": {
            "policy": "health",
            "digest": "sha256:" + "0" * 64,
            "nodes": {"inside": "DE"},
            "nodeSelector": {label_of("health"): "resident"},
            "namespaceLabels": ["data"],
            "schedulers": ["default-scheduler"],
        },
    }


def refuses(cluster: Client) -> bool:
    """Whether a pod of the governed namespace that names a foreign node is refused, and by the border."""
    spec = {"containers": [{"name": "main", "image": "registry.example/image"}], "nodeName": "abroad"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "smuggler", "namespace": "clinic"}, "spec": spec}
    message = ""
    try:
        cluster.create(pod, dry_run=True)
    except ApiError as error:
        message = error.message
    return "'bailiwick-pods.health' denied request: WrongPlace: " in message


@pytest.mark.parametrize(
    ("role", "may_do", "may_not"),
    [
        ("bailiwick-viewer", {"list": "sovereignmodels"}, {"create": "sovereignmodels", "assign": "residencypolicies"}),
        (
            "bailiwick-model-editor",
            {"list": "residencypolicies", "create": "sovereignmodels", "patch": "sovereignmodels/scale"},
            {"patch": "residencypolicies", "assign": "residencypolicies"},
        ),
        (
            "bailiwick-policy-administrator",
            {
                "create": "residencypolicies",
                "assign": "residencypolicies",
                "delete": "nodestatements",
                "get": "territories",
            },
            {"create": "sovereignmodels", "patch": "territories"},
        ),
        # Who draws the border makes no exceptions from it besides.
        (
            "bailiwick-policy-administrator",
            {"list": "waiverapprovals"},
            {"create": "waiverapprovals", "delete": "residencywaivers"},
        ),
        (
            "bailiwick-waiver-requester",
            {"list": "waiverapprovals", "create": "residencywaivers", "delete": "residencywaivers"},
            {"create": "waiverapprovals", "patch": "residencywaivers/status"},
        ),
        (
            "bailiwick-waiver-approver",
            {"list": "residencywaivers", "create": "waiverapprovals", "delete": "waiverapprovals"},
            {"create": "residencywaivers", "patch": "residencypolicies"},
        ),
    ],
)
def test_roles(release: Helm, cluster: Client, role: str, may_do: dict[str, str], may_not: dict[str, str]) -> None:
    group = RBAC.partition("/")[0]
    cluster.apply(
        {
            "apiVersion": RBAC,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": role}],
        }
    )

    def ours(resource: str) -> str:
        plural, slash, subresource = resource.partition("/")
        return f"{plural}.bailiwick.dev{slash}{subresource}"

    eventually(
        lambda: all(may(cluster, role, verb, ours(resource)) for verb, resource in may_do.items()),
        what=f"{role} is aggregated",
    )
    assert not any(may(cluster, role, verb, ours(resource)) for verb, resource in may_not.items())
    assert not may(cluster, role, "get", "secrets")


def test_nobody_serves_models_by_default(release: Helm, cluster: Client) -> None:
    """Whoever has the built-in roles in a namespace got nothing new."""
    for role in ("view", "edit", "admin"):
        rules = cluster.get(RBAC, "ClusterRole", role)["rules"] or []
        assert not any("bailiwick.dev" in rule.get("apiGroups", ()) for rule in rules)


def test_a_second_one_is_refused(release: Helm) -> None:
    with pytest.raises(HelmError, match="AlreadyInstalled: "):
        release.run("install", "second", str(CHART), "--namespace=second", "--create-namespace")


def test_an_upgrade_takes_over_what_the_installation_left_to_hooks(release: Helm, cluster: Client) -> None:
    release.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", operator={"replicas": 3})
    assert cluster.get("apps/v1", "Deployment", "bailiwick-operator", NAMESPACE)["spec"]["replicas"] == 3
    owned = {document["metadata"]["name"] for document in release.manifest() if document["kind"] == "Jurisdiction"}
    assert owned == names(cluster, API_VERSION, "Jurisdiction")
    release.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}")


def test_a_rollback_loses_nothing(release: Helm, cluster: Client) -> None:
    before = names(cluster, API_VERSION, "Jurisdiction")
    release.run("rollback", "bailiwick", f"--namespace={NAMESPACE}")  # to the revision before
    assert names(cluster, API_VERSION, "Jurisdiction") == before


def test_the_border_outlives_the_release(release: Helm, cluster: Client) -> None:
    """A slip of the hand must not open it; docs/upgrade.md says how to remove it on purpose."""
    assert refuses(cluster)
    release.run("uninstall", "bailiwick", f"--namespace={NAMESPACE}")
    assert cluster.find("apps/v1", "Deployment", "bailiwick-operator", NAMESPACE) is None
    assert "bailiwick-admission" not in names(cluster, ADMISSION, "ValidatingWebhookConfiguration"), "nobody answers it"
    assert refuses(cluster)
    assert "eu" in names(cluster, API_VERSION, "Jurisdiction")
    release.run("install", "bailiwick", str(CHART), f"--namespace={NAMESPACE}")
    assert refuses(cluster)
