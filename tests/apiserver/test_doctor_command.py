"""`bailiwick doctor` on real API servers: with NodeRestriction and without, with Bailiwick and without."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.admission.identity import make_pair
from e2e.client import eventually
from e2e.cluster.apiserver import ApiServer, free_ports
from tests.apiserver.realm import ADMISSION, Realm
from tests.apiserver.terminal import bailiwick, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.client import Manifest
    from tests.apiserver.operator_process import OperatorProcess
    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver

RBAC = "rbac.authorization.k8s.io/v1"
AUDITOR = ("bailiwick-viewer", "bailiwick-auditor-rules")
"""What ClusterRole bailiwick-auditor is put together of."""


class LooseApiServer(ApiServer):
    """Without NodeRestriction and without the Node authorizer, where RBAC lets kubelets do what they do by it."""

    def _run(self, name: str, *arguments: str) -> None:
        flags = (each.replace("Node,RBAC", "RBAC") for each in arguments if "NodeRestriction" not in each)
        super()._run(name, *flags)


@pytest.fixture(scope="module")
def bare() -> Iterator[ApiServer]:
    """A cluster that has never seen Bailiwick."""
    server = ApiServer.start()
    try:
        yield server
    finally:
        server.stop()


def told(kubeconfig: Path, *arguments: str) -> dict[str, Any]:
    """What it says to programs; its exit code belongs to that."""
    done = bailiwick(kubeconfig, "doctor", "-o", "json", *arguments)
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == {True: 0, False: 3, None: 1}[said["fit"]]
    assert done.stderr == ""
    return said


def answers(said: dict[str, Any]) -> dict[str, str]:
    """The severity of each check; the worst where it has several answers."""
    return {each["check"]: each["severity"] for each in reversed(said["findings"])}


def given(server: ApiServer, name: str, user: str, *rules: Manifest, group: bool = False) -> None:
    """Rights for somebody, by a ClusterRole and its binding."""
    server.client.create({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": list(rules)})
    server.client.create(bound(name, user, group=group))


def bound(name: str, user: str, *, group: bool = False) -> Manifest:
    """A ClusterRole for somebody; the binding has its name."""
    api_group = RBAC.partition("/")[0]
    return {
        "apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "subjects": [{"kind": "Group" if group else "User", "apiGroup": api_group, "name": user}],
        "roleRef": {"apiGroup": api_group, "kind": "ClusterRole", "name": name},
    }  # fmt: skip


def taken(server: ApiServer, name: str) -> None:
    server.client.delete(RBAC, "ClusterRoleBinding", name)
    server.client.delete(RBAC, "ClusterRole", name)


def test_a_cluster_without_bailiwick_is_judged_by_what_it_would_stand_on(bare: ApiServer) -> None:
    done = bailiwick(bare.kubeconfig(), "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "This cluster is fit for Bailiwick."
    assert "\033" not in done.stdout
    found = answers(told(bare.kubeconfig()))
    assert found["NodeRestriction"] == found["Node authorizer"] == found["Grants"] == "Good"
    assert found["NetworkPolicy"] == "Doubtful"  # there is no DaemonSet at all
    assert found["Kinds of Bailiwick"] == found["Bailiwick"] == "Good"
    assert "Leader" not in found


def test_json_and_yaml_say_the_same(bare: ApiServer) -> None:
    kubeconfig = bare.kubeconfig()
    assert yaml.safe_load(bailiwick(kubeconfig, "doctor", "-o", "yaml").stdout) == told(kubeconfig)


def test_nothing_is_written(bare: ApiServer) -> None:
    told(bare.kubeconfig())
    assert bare.client.find("v1", "Node", "bailiwick-doctor") is None


def test_a_dangerous_grant_is_found_and_trust_takes_it_out(bare: ApiServer) -> None:
    given(bare, "spy", "mallory", {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]})
    try:
        done = bailiwick(bare.kubeconfig(), "doctor")
        assert done.returncode == 3
        assert "BAD (1)\nGrants: nodes/proxy\n" in done.stdout
        assert "- mallory, by ClusterRoleBinding spy of ClusterRole spy: get nodes/proxy" in done.stdout
        assert told(bare.kubeconfig(), "--trust", "mallory")["fit"] is True
    finally:
        taken(bare, "spy")
    assert told(bare.kubeconfig())["fit"] is True


def test_who_may_see_little_is_told_which_rights_are_missing(bare: ApiServer) -> None:
    said = told(bare.kubeconfig("paul", ()))
    assert said["fit"] is None
    found = answers(said)
    assert found["Kubernetes"] == "Good"
    unseen = {each["check"]: each["seen"] for each in said["findings"] if each["severity"] == "Unseen"}
    assert unseen["NodeRestriction"] == (
        "you may not impersonate user system:node:bailiwick-doctor and group system:nodes"
    )
    assert unseen["Node authorizer"] == "you may not create subjectaccessreviews.authorization.k8s.io"
    assert unseen["NetworkPolicy"] == "you may not list daemonsets.apps"
    assert "you may not list clusterrolebindings.rbac.authorization.k8s.io" in unseen["Grants"]
    assert unseen["Bailiwick"] == "you may not get customresourcedefinitions.apiextensions.k8s.io"


def test_on_a_terminal_it_is_in_colour(bare: ApiServer) -> None:
    with terminal(bare.kubeconfig(), "doctor") as screen:
        screen.until(lambda text: "not installed; this says" in text)
        assert "\033[32mThis cluster is fit for Bailiwick.\033[0m" in screen.written
        assert "\033[33mNetworkPolicy\033[0m" in screen.written
        assert screen.process.wait(30) == 0


def test_a_server_that_does_not_answer_is_named_with_what_to_do(bare: ApiServer, tmp_path: Path) -> None:
    config = yaml.safe_load(bare.kubeconfig().read_text())
    (port,) = free_ports(1)
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    (nowhere := tmp_path / "nowhere.yaml").write_text(yaml.safe_dump(config))
    done = bailiwick(nowhere, "doctor")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bailiwick doctor: the API server does not answer (")
    assert len(done.stderr.splitlines()) == 1


def test_a_server_without_node_restriction_is_not_fit() -> None:
    server = LooseApiServer.start()
    try:
        rules = [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["create", "get", "patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        ]
        given(server, "kubelets", "system:nodes", *rules, group=True)
        said = told(server.kubeconfig())
    finally:
        server.stop()
    bad = {each["check"]: each for each in said["findings"] if each["severity"] == "Bad"}
    assert bad.keys() == {"NodeRestriction", "Node authorizer"}
    assert bad["NodeRestriction"]["remedy"] == (
        "start every kube-apiserver with --enable-admission-plugins=NodeRestriction"
    )


def marked(manifest: Manifest) -> Manifest:
    """What an object was called and marked by."""
    return {key: manifest["metadata"][key] for key in ("name", "labels", "annotations")}


def test_what_was_taken_from_the_border_is_named(cleared: Realm) -> None:
    """No operator works here yet, that would put it back."""
    client, name = cleared.client, "bailiwick-storage"
    before = client.get(ADMISSION, "ValidatingAdmissionPolicy", name)
    client.delete(ADMISSION, "ValidatingAdmissionPolicy", name)
    try:
        wrong = [each["seen"] for each in told(cleared.server.kubeconfig())["findings"] if each["severity"] == "Bad"]
        assert f"ValidatingAdmissionPolicy {name} is gone" in wrong
    finally:
        client.create({key: before[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": marked(before)})


def test_the_policies_of_the_chart_do_not_answer_in_the_place_of_node_restriction(cleared: Realm) -> None:
    eventually(
        lambda: cleared.client.find(ADMISSION, "ValidatingAdmissionPolicyBinding", "bailiwick-nodes"),
        what="bailiwick-nodes is bound",
    )
    (found,) = [each for each in told(cleared.server.kubeconfig())["findings"] if each["check"] == "NodeRestriction"]
    assert (found["severity"], found["seen"]) == ("Good", "refused what a kubelet may not do (a dry run)")


def test_an_auditor_sees_everything_but_what_only_a_kubelet_may_try(realm: Realm, helm: Helm) -> None:
    for role in helm.template("--show-only=templates/roles.yaml"):
        if role["metadata"]["name"] in AUDITOR:
            realm.create(role)
    for name in AUDITOR:
        realm.create(bound(name, "grace"))
    grace = realm.server.kubeconfig("grace", ())
    eventually(lambda: answers(told(grace))["Grants"] == "Good", what="the roles count")
    unseen = {each["check"] for each in told(grace)["findings"] if each["severity"] == "Unseen"}
    assert unseen == {"NodeRestriction"}


def test_a_webhook_that_is_not_reached_is_told(realm: Realm) -> None:
    (port,) = free_ports(1)
    made = make_pair(["127.0.0.1"], now=datetime.now(UTC), lifetime=timedelta(days=90))
    hook = {
        "name": "jurisdictions.bailiwick.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/", "caBundle": base64.b64encode(made.certificate).decode(),
        },
        "rules": [
            {
                "apiGroups": ["bailiwick.dev"], "apiVersions": ["v1alpha1"], "resources": ["jurisdictions"],
                "operations": ["CREATE"],
            }
        ],
    }  # fmt: skip
    realm.create(
        {
            "apiVersion": ADMISSION, "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "bailiwick-admission"}, "webhooks": [hook],
        }
    )  # fmt: skip

    def webhook() -> dict[str, str]:
        found = told(realm.server.kubeconfig())["findings"]
        return {each["severity"]: each["seen"] for each in found if each["check"] == "Webhook"}

    eventually(lambda: "Bad" in webhook(), what="the configuration counts")
    seen = webhook()
    assert seen["Bad"].startswith("is not reached: ")
    assert seen["Good"].startswith("its certificate is good until ")


def test_where_the_operator_works_what_is_in_force_is_judged(realm: Realm, operator: OperatorProcess) -> None:
    """It is a process here, without the chart's Deployments and webhook, which are missed."""
    assert operator.ready()
    said = told(realm.server.kubeconfig())
    found = answers(said)
    assert found["Kinds of Bailiwick"] == found["In-tree policies"] == found["Leader"] == "Good", said
    assert found["Deployment bailiwick-operator"] == "Doubtful"
    assert found["Webhook"] == "Bad"
    assert found["Policies"] == "Doubtful"  # there is none yet
