"""The roles for people, tried by people who have them: what is allowed is done, anything else is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.api.resource import API_VERSION
from bailiwick.api.schema import KINDS
from e2e.client import ApiError, documents, eventually
from tests.chart.helm import CHART, NAMESPACE
from tests.in_tree import needs_pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.client import Client, Manifest
    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver

RBAC = "rbac.authorization.k8s.io/v1"
GROUP = RBAC.partition("/")[0]
TEAM = "roles-team"
OURS = [kind.__name__ for kind in KINDS]
POLICY: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "ResidencyPolicy",
    "metadata": {"name": "roles-law"},
    "spec": {"namespaceSelector": {"matchLabels": {"data": "roles"}}, "place": {"allow": ["DE"]}},
}
STATEMENT: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "NodeStatement",
    "metadata": {"name": "roles-fact"},
    "spec": {
        "node": {"name": "roles-node"},
        "place": {"jurisdiction": "DE"},
        "issuedAt": "2026-01-01T00:00:00Z",
        "expiresAt": "2027-01-01T00:00:00Z",
    },
}
ENDPOINT: Manifest = next(
    each for each in documents(CHART.parents[1] / "samples/sovereignmodel-external.yaml")
    if each["kind"] == "EndpointStatement"
)  # fmt: skip
BINDING: Manifest = {
    "apiVersion": RBAC,
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "roles-more"},
    "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": GROUP, "kind": "User", "name": "me"}],
}


def model(namespace: str = TEAM) -> Manifest:
    source = {"oci": {"image": "registry.example/models/tiny@sha256:" + "0" * 64}}
    return {
        "apiVersion": API_VERSION,
        "kind": "SovereignModel",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {"model": {"name": "tiny", "source": source}},
    }


@pytest.fixture(scope="module")
def team(release: Helm, cluster: Client) -> Iterator[str]:
    """A namespace, and a release that hands the roles on to the built-in ones. The webhook has no pods here."""
    options = (f"--namespace={NAMESPACE}",)
    release.run("upgrade", "bailiwick", str(CHART), *options, rbac={"aggregateToBuiltIn": True}, ungoverned="Allow")
    cluster.delete("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "bailiwick-admission")
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
    for kind in OURS:  # the server opens the storage of a kind anew after an upgrade
        eventually(lambda each=kind: cluster.list(API_VERSION, each) is not None, what=f"{kind} is served")  # type: ignore[misc]
    yield TEAM
    cluster.delete("v1", "Namespace", TEAM)
    release.run("upgrade", "bailiwick", str(CHART), *options)


@pytest.fixture(scope="module")
def somebody(team: str, cluster: Client) -> Iterator[Callable[..., Client]]:
    """A person who has one role, in one namespace or everywhere, and nothing else."""
    opened: list[Client] = []

    def who(role: str, namespace: str | None = None) -> Client:
        kind, user = "RoleBinding" if namespace else "ClusterRoleBinding", f"person-of-{role}"
        metadata = {"name": user} | ({"namespace": namespace} if namespace else {})
        subject = {"apiGroup": GROUP, "kind": "User", "name": user}
        binding = {"apiVersion": RBAC, "kind": kind, "metadata": metadata, "subjects": [subject]}
        cluster.apply(binding | {"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}})
        opened.append(cluster.impersonate(user, ["system:authenticated"]))
        return opened[-1]

    yield who
    for client in opened:
        client.close()


def may(act: Callable[[], object]) -> bool:
    """Whether it is allowed; any other error than Forbidden by RBAC is one."""
    try:
        act()
    except ApiError as error:
        if error.code == 403 and "cannot" in error.message:
            return False
        raise
    return True


def sees(person: Client, api_version: str, kind: str, namespace: str | None = None) -> bool:
    return may(lambda: person.list(api_version, kind, namespace))


def test_a_viewer_looks_and_touches_nothing(somebody: Callable[..., Client]) -> None:
    viewer = somebody("bailiwick-viewer")
    eventually(lambda: sees(viewer, API_VERSION, "SovereignModel"), what="the role counts")
    for kind in OURS:
        assert sees(viewer, API_VERSION, kind)
    assert not may(lambda: viewer.create(model(), dry_run=True))
    assert not may(lambda: viewer.create(POLICY, dry_run=True))
    assert not sees(viewer, "v1", "Pod", TEAM)


def test_whoever_may_view_a_namespace_sees_its_models_and_no_others(somebody: Callable[..., Client]) -> None:
    viewer = somebody("view", TEAM)
    eventually(lambda: sees(viewer, API_VERSION, "SovereignModel", TEAM), what="the role is aggregated")
    assert not sees(viewer, API_VERSION, "SovereignModel", "default")
    assert not may(lambda: viewer.create(model(), dry_run=True))


def test_whoever_may_edit_a_namespace_serves_models_there(somebody: Callable[..., Client]) -> None:
    editor = somebody("edit", TEAM)
    eventually(lambda: may(lambda: editor.create(model(), dry_run=True)), what="the role is aggregated")
    assert not may(lambda: editor.create(model("default"), dry_run=True))
    assert not may(lambda: editor.create(POLICY, dry_run=True))


def test_a_model_editor_needs_no_other_role(somebody: Callable[..., Client]) -> None:
    editor = somebody("bailiwick-model-editor", TEAM)
    eventually(lambda: may(lambda: editor.create(model(), dry_run=True)), what="the role is aggregated")
    assert sees(editor, API_VERSION, "SovereignModel", TEAM)
    assert not may(lambda: editor.create(model("default"), dry_run=True))
    assert not sees(editor, "v1", "Secret", TEAM)


def test_a_policy_administrator_draws_the_border_and_serves_nothing(somebody: Callable[..., Client]) -> None:
    administrator = somebody("bailiwick-policy-administrator")
    eventually(lambda: may(lambda: administrator.create(POLICY, dry_run=True)), what="the role is aggregated")
    assert may(lambda: administrator.create(STATEMENT, dry_run=True))
    assert may(lambda: administrator.create(ENDPOINT, dry_run=True))
    assert not may(lambda: administrator.create(model(), dry_run=True))
    assert not may(lambda: administrator.create(BINDING, dry_run=True))


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        (API_VERSION, "ResidencyPolicy"),
        (API_VERSION, "Territory"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
        pytest.param("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding", marks=needs_pin),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("networking.k8s.io/v1", "Ingress"),
        ("networking.k8s.io/v1", "IngressClass"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("storage.k8s.io/v1", "StorageClass"),
        ("v1", "Service"),
        ("v1", "Node"),
        ("v1", "Namespace"),
        ("v1", "Pod"),
        ("v1", "PersistentVolume"),
        ("events.k8s.io/v1", "Event"),
        (RBAC, "ClusterRoleBinding"),
        (RBAC, "RoleBinding"),
    ],
)
def test_an_auditor_sees(somebody: Callable[..., Client], api_version: str, kind: str) -> None:
    auditor = somebody("bailiwick-auditor")
    eventually(lambda: sees(auditor, api_version, kind), what="the role is aggregated")


def test_an_auditor_changes_nothing_and_reads_no_secret(somebody: Callable[..., Client]) -> None:
    auditor = somebody("bailiwick-auditor")
    eventually(lambda: sees(auditor, API_VERSION, "ResidencyPolicy"), what="the role is aggregated")
    for manifest in (POLICY, STATEMENT, ENDPOINT, BINDING, model()):
        assert not may(lambda each=manifest: auditor.create(each, dry_run=True))  # type: ignore[misc]
    for kind in ("Secret", "ConfigMap"):
        assert not sees(auditor, "v1", kind)
    assert not may(lambda: auditor.delete(API_VERSION, "ResidencyPolicy", "roles-law"))
