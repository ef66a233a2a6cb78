"""Reports for the tools of others: the real operator, and the real kinds of both projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.residency.report import NAME, NOT_SHOWN
from e2e.client import eventually
from e2e.cluster.binaries import other_kinds
from tests.apiserver.realm import fresh
from tests.apiserver.worlds import granted_realm, looking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Policy, Realm

pytestmark = pytest.mark.apiserver

VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
OPEN, PROTOTYPE = ("openreports.io/v1alpha1", "Report"), ("wgpolicyk8s.io/v1alpha2", "PolicyReport")
_OPEN_KINDS = "github.com/openreports/reports-api/config/crd/openreports.io_reports.yaml"
_PROTOTYPES = "sigs.k8s.io/wg-policy-prototypes/policy-report/crd/v1alpha2/wgpolicyk8s.io_policyreports.yaml"
MOST = 3
Raw = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A server without any kind of report at first."""
    with granted_realm(tmp_path_factory.mktemp("helm")) as realm:
        yield realm


@pytest.fixture(scope="module")
def operator(world: Realm) -> Iterator[OperatorProcess]:
    with looking(world, "reports", BAILIWICK_REPORT_RESULTS=str(MOST)) as process:
        yield process


def pods(realm: Realm, namespace: str, node: str, count: int) -> set[str]:
    """Pods that somebody left on a node, as the operator's token may; their names."""
    names = {fresh("pod") for _ in range(count)}
    for name in names:
        realm.forger.create(
            {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
                "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}], "nodeName": node},
            }
        )  # fmt: skip
    return names


def summary(realm: Realm, kind: tuple[str, str], namespace: str) -> tuple[int, int, int]:
    """How many fail, warn and pass; AssertionError without a report."""
    found = realm.client.find(*kind, NAME, namespace)
    assert found, f"there is no {kind[1]}"
    return found["summary"]["fail"], found["summary"]["warn"], found["summary"]["pass"]


def results(realm: Realm, namespace: str) -> list[Raw]:
    found: list[Raw] = realm.client.get(*OPEN, NAME, namespace)["results"]
    return found


def reports_applied(operator: OperatorProcess) -> float:
    return operator.writes().get(("apply", "reports"), 0)


def swept(operator: OperatorProcess, policy: Policy, spec: Raw) -> None:
    """The policy changes without a difference to what is inside, and everything was judged anew."""
    before = operator.metric("bailiwick_audit_seconds_count")
    policy.patch(spec)
    eventually(lambda: operator.metric("bailiwick_audit_seconds_count") > before, what="a sweep")
    eventually(lambda: policy.condition("Compliant")["status"] == "False", what="it is told")


def test_reports_follow_the_findings_in_the_kind_that_is_served(world: Realm, operator: OperatorProcess) -> None:
    node, namespace = world.node(VIRGINIA), world.namespace()
    names = pods(world, namespace, node, 2)
    policy = world.policy("DE", mode="Audit")
    world.client.patch("v1", "Namespace", namespace, {"metadata": {"labels": policy.selects}})
    eventually(lambda: policy.status()["counts"].get("violations") == 2, what="both are found")

    # The older kind comes first, and then the newer one, which takes its place.
    world.server.install_crds(other_kinds(_PROTOTYPES))
    swept(operator, policy, {"basis": [{"text": "an act"}]})
    eventually(lambda: summary(world, PROTOTYPE, namespace) == (0, 2, 0), what="a PolicyReport")
    world.server.install_crds(other_kinds(_OPEN_KINDS))
    eventually(lambda: summary(world, OPEN, namespace) == (0, 2, 0), what="a Report")
    eventually(lambda: world.client.find(*PROTOTYPE, NAME, namespace) is None, what="one report is enough")
    (report,) = world.client.list(*OPEN)
    assert report["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "bailiwick"}
    assert {each["resources"][0]["name"] for each in report["results"]} == names
    for each in report["results"]:
        assert (each["policy"], each["rule"], each["result"]) == (policy.name, "WrongPlace", "warn")
        assert (each["severity"], each["source"], each["properties"]) == ("medium", "bailiwick", {"node": node})
        uid = world.client.get("v1", "Pod", each["resources"][0]["name"], namespace)["metadata"]["uid"]
        assert each["resources"][0] == {
            "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": each["resources"][0]["name"], "uid": uid,
        }  # fmt: skip

    # The same findings are no news: another audit asks the API server for nothing.
    written, told = reports_applied(operator), operator.labelled("bailiwick_reconcile_seconds_count", loop="report")
    swept(operator, policy, {"basis": [{"text": "another act"}]})
    eventually(
        lambda: operator.labelled("bailiwick_reconcile_seconds_count", loop="report") > told, what="it is looked at"
    )
    assert reports_applied(operator) == written > 0
    assert (
        world.client.get(*OPEN, NAME, namespace)["metadata"]["resourceVersion"] == report["metadata"]["resourceVersion"]
    )

    # What somebody makes of it is put right.
    world.client.patch(*OPEN, NAME, {"results": [], "summary": {"warn": 0, "pass": 1}}, namespace)
    eventually(lambda: summary(world, OPEN, namespace) == (0, 2, 0), what="an edit is undone")
    assert {each["resources"][0]["name"] for each in results(world, namespace)} == names
    world.client.patch(*OPEN, NAME, {"metadata": {"labels": None}}, namespace)
    eventually(lambda: world.client.get(*OPEN, NAME, namespace)["metadata"].get("labels"), what="the label is back")
    world.client.delete(*OPEN, NAME, namespace)
    eventually(lambda: summary(world, OPEN, namespace) == (0, 2, 0), what="it is made anew")

    # More than a report shows, and a policy that enforces.
    names |= pods(world, namespace, node, MOST)
    policy.patch({"mode": "Enforce"})
    eventually(lambda: summary(world, OPEN, namespace) == (2 + MOST, 0, 0), what="all are counted")
    *shown, last = results(world, namespace)
    assert [each["result"] for each in shown] == ["fail"] * MOST
    assert (last["rule"], last["properties"]) == (NOT_SHOWN, {"notShown": "2"})

    # What is no pod, and a namespace where all is well.
    service = {"type": "NodePort", "ports": [{"port": 80}]}
    metadata = {"name": "open", "namespace": namespace}
    made = world.client.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    policy.patch({"network": {"services": ["ClusterIP"]}})
    for name in names:
        world.client.delete("v1", "Pod", name, namespace, grace_seconds=0)
    eventually(lambda: summary(world, OPEN, namespace) == (1, 0, 0), what="the Service is left")
    (only,) = results(world, namespace)
    assert (only["rule"], only["resources"][0]["kind"]) == ("ServiceNotAllowed", "Service")
    assert only["resources"][0]["uid"] == made["metadata"]["uid"]
    policy.patch({"network": None})
    eventually(lambda: summary(world, OPEN, namespace) == (0, 0, 1), what="nothing is outside any more")
    world.client.patch("v1", "Namespace", namespace, {"metadata": {"labels": {"data": None}}})
    eventually(lambda: world.client.find(*OPEN, NAME, namespace) is None, what="nobody governs the namespace")


def test_a_report_of_somebody_else_with_our_name_stays_theirs(world: Realm, operator: OperatorProcess) -> None:
    assert operator.ready()
    namespace = world.namespace()
    theirs = {"apiVersion": OPEN[0], "kind": OPEN[1], "metadata": {"name": NAME, "namespace": namespace}}
    version = world.client.create(theirs)["metadata"]["resourceVersion"]
    policy = world.policy("DE", namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": namespace}})
    eventually(lambda: policy.condition("Compliant")["status"] == "True", what="all is inside")
    errors = {"loop": "report", "kind": "Terminal"}
    eventually(lambda: operator.labelled("bailiwick_reconcile_errors_total", **errors), what="it is told as an error")
    assert world.client.get(*OPEN, NAME, namespace)["metadata"]["resourceVersion"] == version
    world.client.delete(*OPEN, NAME, namespace)
