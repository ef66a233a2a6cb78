"""Helm and the operator keep the same policies: neither fights the other, whatever one does before the other."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError, documents, eventually
from tests.apiserver.operator_process import OperatorProcess
from tests.apiserver.realm import ADMISSION
from tests.chart.helm import CHART, NAMESPACE, Helm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.client import Client, Manifest
    from e2e.cluster.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}")
OURS = "app.kubernetes.io/part-of=bailiwick"


@pytest.fixture(scope="module")
def operator(release: Helm, server: ApiServer) -> Iterator[OperatorProcess]:
    """The operator, with the rights that Helm installed."""
    assert release.kubeconfig
    process = OperatorProcess(server, "kept", GROUPS)
    try:
        yield process.until_leading()
    finally:
        process.stop()


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A later chart: a policy says something else, and one has a condition less and a variable more."""
    chart = tmp_path_factory.mktemp("newer") / "bailiwick"
    shutil.copytree(CHART, chart)
    for name, old, new in (
        ("objects.yaml", "a status is written by the operator alone", "a status is the operator's"),
        ("nodes.yaml", "  variables:\n", "  variables:\n    - name: unused\n      expression: '1'\n"),
        ("tokens.yaml", "no-configmap-but-that-of-the-border", "none-but-that-of-the-border"),
    ):
        file = chart / "policies" / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    return chart


def specs(chart: Path) -> dict[tuple[str, str], Manifest]:
    """What a chart wants of some policies and their bindings."""
    names = ("objects", "nodes", "tokens", "pods")
    found = [each for name in names for each in documents(chart / f"policies/{name}.yaml")]
    return {(each["kind"], each["metadata"]["name"]): each["spec"] for each in found}


def differs(cluster: Client, chart: Path) -> list[str]:
    """Which of them are not there as the chart has them."""
    found = []
    for (kind, name), wanted in specs(chart).items():
        live = cluster.find(ADMISSION, kind, name)
        same = live and all(live["spec"].get(key) == value for key, value in wanted.items() if key in COMPARED)
        found += [] if same else [f"{kind} {name}"]
    return found


COMPARED = ("validations", "variables", "matchConditions", "policyName", "validationActions")


def stays(cluster: Client, chart: Path, seconds: float = 1.5) -> None:
    """It is as the chart has it, and nobody changes that."""

    def look() -> bool:
        assert differs(cluster, chart) == []
        return True

    eventually(look, what="all is as the chart has it")
    before = {each["metadata"]["uid"]: each["metadata"]["generation"] for each in ours(cluster)}
    time.sleep(seconds)
    assert {each["metadata"]["uid"]: each["metadata"]["generation"] for each in ours(cluster)} == before


def ours(cluster: Client) -> list[Manifest]:
    return [*cluster.list(ADMISSION, POLICY, labels=OURS), *cluster.list(ADMISSION, BINDING, labels=OURS)]


def owners(manifest: Manifest) -> set[tuple[str, str]]:
    """Who owns something of the spec."""
    entries: list[Any] = manifest["metadata"]["managedFields"]
    return {(entry["manager"], entry["operation"]) for entry in entries if "f:spec" in entry["fieldsV1"]}


def repairs(operator: OperatorProcess) -> float:
    return operator.metric("bailiwick_border_repairs_total")


def test_what_was_taken_away_comes_back_as_helm_made_it(operator: OperatorProcess, cluster: Client) -> None:
    marks = cluster.get(ADMISSION, POLICY, "bailiwick-pods")["metadata"]["annotations"]
    cluster.delete(ADMISSION, POLICY, "bailiwick-pods")
    cluster.patch(ADMISSION, POLICY, "bailiwick-nodes", {"spec": {"validations": [{"expression": "true"}]}})
    cluster.patch(ADMISSION, BINDING, "bailiwick-objects", {"spec": {"validationActions": ["Audit"]}})
    stays(cluster, CHART)
    assert repairs(operator) == 3
    for kind, name in ((POLICY, "bailiwick-pods"), (POLICY, "bailiwick-nodes"), (BINDING, "bailiwick-objects")):
        found = cluster.get(ADMISSION, kind, name)
        assert owners(found) == {("helm", "Apply")}, name
        assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert cluster.get(ADMISSION, POLICY, "bailiwick-pods")["metadata"]["annotations"] == marks
    assert "meta.helm.sh/release-name" in marks


def test_an_upgrade_and_a_rollback_are_no_fight(
    operator: OperatorProcess, release: Helm, cluster: Client, newer: Path
) -> None:
    known = repairs(operator)
    history = release.run("history", "bailiwick", f"--namespace={NAMESPACE}").splitlines()
    revision = history[-1].split()[0]
    for _ in range(2):
        release.run("upgrade", "bailiwick", str(newer), f"--namespace={NAMESPACE}")
        stays(cluster, newer)
        release.run("rollback", "bailiwick", revision, f"--namespace={NAMESPACE}")
        stays(cluster, CHART)
    assert repairs(operator) == known, "nobody took anything away"


def test_what_is_taken_away_after_an_upgrade_comes_back_as_of_the_upgrade(
    operator: OperatorProcess, release: Helm, cluster: Client, newer: Path
) -> None:
    """Never as the operator, which is of the older release, once knew it."""
    release.run("upgrade", "bailiwick", str(newer), f"--namespace={NAMESPACE}")
    stays(cluster, newer)
    known = repairs(operator)
    cluster.delete(ADMISSION, POLICY, "bailiwick-objects")
    stays(cluster, newer)
    assert repairs(operator) == known + 1
    release.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}")
    stays(cluster, CHART)


@pytest.mark.parametrize("verb", ["create", "patch", "delete"])
def test_who_may_write_configmaps_there_may_not_write_this_one(release: Helm, cluster: Client, verb: str) -> None:
    """A tenant with the built-in role edit in Bailiwick's namespace, which nobody should bind there."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch", "delete", "get"]}
    rbac = "rbac.authorization.k8s.io/v1"
    cluster.apply({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "writer"}, "rules": [rule]})
    role, person = {"kind": "ClusterRole", "name": "writer"}, {"kind": "User", "name": "eve"}
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    cluster.apply(
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": {"name": "writer", "namespace": NAMESPACE},
            "roleRef": group | role,
            "subjects": [group | person],
        }
    )

    def other(name: str) -> Manifest:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}}

    with cluster.impersonate("eve", ("system:authenticated",)) as eve:
        eventually(lambda: eve.create(other("mine"), dry_run=True), what="eve may write others")
        said = "'bailiwick-tokens' denied request: OperatorOnly: ConfigMap bailiwick-border is what the operator puts"
        deeds: dict[str, Callable[[], object]] = {
            "create": lambda: eve.create(other("bailiwick-border"), dry_run=True),
            "patch": lambda: eve.patch("v1", "ConfigMap", "bailiwick-border", {"data": {"pods.yaml": ""}}, NAMESPACE),
            "delete": lambda: eve.delete("v1", "ConfigMap", "bailiwick-border", NAMESPACE),
        }
        with pytest.raises(ApiError, match=said):
            deeds[verb]()


def test_who_removes_bailiwick_on_purpose_is_not_undone(
    operator: OperatorProcess, release: Helm, cluster: Client
) -> None:
    """In the order of docs/upgrade.md. This operator outlives its release, as a stray one would."""
    release.run("uninstall", "bailiwick", f"--namespace={NAMESPACE}")
    assert cluster.find(ADMISSION, POLICY, "bailiwick-pods"), "a slip of the hand opens nothing"
    for kind in (BINDING, POLICY):
        cluster.delete_all(ADMISSION, kind, labels=OURS)
    time.sleep(1.5)
    assert ours(cluster) == []
