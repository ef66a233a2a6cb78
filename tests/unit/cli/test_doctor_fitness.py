"""What `bailiwick doctor` makes of a cluster: tables of what is seen, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bailiwick.api.schema import KINDS, crd
from bailiwick.cli.live.doctor_text import lines
from bailiwick.cli.live.fitness.findings import Finding, Fitness, Severity
from bailiwick.cli.live.fitness.judge import judge
from bailiwick.cli.live.fitness.seen import SYSTEM, Answer, Review
from bailiwick.cli.live.fitness.server import ADMISSION, DEVICES, OLDEST
from bailiwick.cli.tables import Style
from tests.unit.cli.patients import (
    BAD,
    BARE,
    DOUBTFUL,
    GOOD,
    HIDDEN,
    SERVED,
    STRANGER,
    UNSEEN,
    daemon,
    kinds,
    node,
    one,
    proved,
)

CHART = Path(__file__).parents[3] / "charts/bailiwick"


def test_a_cluster_with_everything_is_fit() -> None:
    fitness = judge(BARE)
    assert {each.severity for each in fitness.findings} == {GOOD}
    assert fitness.fit is True


def test_what_is_bad_or_doubtful_says_what_was_expected_and_what_to_do() -> None:
    nothing: dict[str, frozenset[str]] = {each: frozenset() for each in SERVED}
    found = judge(replace(BARE, release=(1, 30), served=nothing, registers=STRANGER, daemons=())).findings
    assert all(each.expected and each.remedy for each in found if each.severity is not GOOD)


@pytest.mark.parametrize(
    ("severities", "fit"),
    [
        ([GOOD, DOUBTFUL], True),
        ([GOOD, UNSEEN, DOUBTFUL], None),
        ([UNSEEN, BAD], False),
    ],
    ids=["doubts alone leave it fit", "what was not seen leaves it open", "one bad answer decides"],
)
def test_what_the_answers_add_up_to(severities: list[Severity], fit: bool | None) -> None:
    fitness = Fitness.of([Finding(severity=each, check=each.value, seen="") for each in severities])
    assert fitness.fit is fit
    assert [each.severity for each in fitness.findings] == sorted(severities, key=list(Severity).index)


# The server


def test_the_oldest_release_is_that_of_the_chart() -> None:
    wanted = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert wanted == f">={'.'.join(map(str, OLDEST))}.0-0"


@pytest.mark.parametrize(
    ("release", "severity"),
    [((1, 33), BAD), ((1, 34), GOOD), ((2, 0), GOOD), (HIDDEN, UNSEEN)],
    ids=["one too old", "the oldest", "one to come", "one that is not told"],
)
def test_releases(release: Any, severity: Severity) -> None:
    assert one("Kubernetes", release=release)[0] is severity


@pytest.mark.parametrize(
    ("check", "group", "missing", "severity"),
    [
        (f"API {ADMISSION}", ADMISSION, "validatingadmissionpolicybindings", BAD),
        ("Pinning", ADMISSION, "mutatingadmissionpolicies", DOUBTFUL),
        (f"API {DEVICES}", DEVICES, "resourceclaimtemplates", BAD),
    ],
)
def test_an_api_that_is_not_served_is_named(check: str, group: str, missing: str, severity: Severity) -> None:
    found = one(check, served={**SERVED, group: SERVED[group] - {missing}})
    assert found == (severity, f"not served: {missing}")


def territories(**version: Any) -> dict[str, Any]:
    made = crd(next(each for each in KINDS if each.presents.plural == "territories"))
    made["spec"]["versions"][0] |= version
    return made


def edited() -> dict[str, Any]:
    made = territories()
    del made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["nodes"]
    return made


def reworded() -> dict[str, Any]:
    made = territories()
    made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "in other words"
    return made


@pytest.mark.parametrize(
    ("changed", "severity", "said"),
    [
        ({}, GOOD, "all 10 are served"),
        ({"territories": None}, BAD, "not there: territories.bailiwick.dev"),
        ({"territories": territories(served=False)}, BAD, "territories.bailiwick.dev does not serve v1alpha1"),
        ({"territories": edited()}, DOUBTFUL, "it differs in spec.nodes"),
        ({"territories": reworded()}, GOOD, "all 10 are served"),
        ({"territories": {**territories(), "status": {"storedVersions": ["v1", "v1alpha1"]}}}, DOUBTFUL, "(v1)"),
        ({"territories": HIDDEN}, UNSEEN, "you may not look"),
    ],
    ids=[
        "kinds as they should be", "a kind that is gone", "a kind that is not served", "a field that was dropped",
        "a description of another release", "objects that are stored in another version", "kinds that may not be read",
    ],
)  # fmt: skip
def test_kinds(changed: dict[str, Any], severity: Severity, said: str) -> None:
    found = one("Kinds", kinds=kinds(**changed))
    assert (found[0], said in found[1]) == (severity, True)


# Kubelets

ENABLE = "--enable-admission-plugins"


def apiserver(*command: str) -> dict[str, Any]:
    return {"metadata": {"name": "kube-apiserver-a"}, "spec": {"containers": [{"command": list(command)}]}}


@pytest.mark.parametrize(
    ("seen", "severity", "said"),
    [
        ({"registers": Answer(accepted=True)}, BAD, "was allowed to register"),
        ({"registers": STRANGER}, UNSEEN, "you may not impersonate"),
        (
            {"registers": Answer(accepted=False, status=403, message='cannot create resource "nodes"')},
            DOUBTFUL, "may not even register",
        ),
        ({"registers": Answer(accepted=False, status=500, message="boom")}, UNSEEN, "boom"),
        ({"registers": STRANGER, "policies": (proved("True", "Proved"),)}, GOOD, "the canary of policy health"),
        ({"registers": STRANGER, "policies": (proved("True", "Proved", timedelta(hours=1)),)}, UNSEEN, "impersonate"),
        ({"registers": STRANGER, "policies": (proved("False", "NodeRestrictionOff"),)}, BAD, "found it off"),
        ({"registers": STRANGER, "servers": (apiserver(f"{ENABLE}=A,NodeRestriction"),)}, GOOD, "name it"),
        ({"registers": STRANGER, "servers": (apiserver("--disable-admission-plugins=x"),)}, BAD, "not name"),
        (
            {"registers": Answer(accepted=True), "servers": (apiserver(f"{ENABLE}=NodeRestriction"),)},
            BAD, "was allowed to register",
        ),
    ],
    ids=[
        "a kubelet that is let through",
        "somebody who may not try", "kubelets with other rights", "a server that fails",
        "a canary that proved it",
        "a proof that is too old", "a canary that found it off", "a command line with it",
        "a command line without it", "a trial counts for more than a command line",
    ],
)  # fmt: skip
def test_node_restriction(seen: dict[str, Any], severity: Severity, said: str) -> None:
    found = one("NodeRestriction", **seen)
    assert (found[0], said in found[1]) == (severity, True), found


@pytest.mark.parametrize(
    ("reads", "severity"),
    [
        (Review(allowed=True, reason="RBAC: allowed by ..."), BAD),
        (Review(allowed=False, reason=""), DOUBTFUL),
        (HIDDEN, UNSEEN),
    ],
    ids=["kubelets that read any Secret", "an authorizer that gives no reason", "an answer that may not be asked for"],
)
def test_the_node_authorizer(reads: Any, severity: Severity) -> None:
    assert one("Node authorizer", reads=reads)[0] is severity


# The network


def replica(node_name: str, code: int) -> dict[str, Any]:
    seal = {"name": "seal", "state": {"terminated": {"exitCode": code}}}
    return {
        "metadata": {"namespace": "clinic", "name": "chat-1"}, "spec": {"nodeName": node_name},
        "status": {"initContainerStatuses": [seal]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "severity", "said"),
    [
        ({"daemons": (daemon("calico-node"),)}, GOOD, "Calico is ready on 1 of 1 nodes"),
        ({"nodes": (node("a"), node("b"))}, DOUBTFUL, "Cilium is ready on 1 of 2 nodes"),
        ({"daemons": (daemon("kube-flannel-ds"),)}, BAD, "Flannel enforces none"),
        ({"daemons": (daemon("kube-flannel-ds"), daemon("kube-router"))}, GOOD, "kube-router is ready"),
        ({"daemons": (daemon("aws-node"),)}, BAD, "--enable-network-policy=true"),
        ({"daemons": (daemon("aws-node", 1, "--enable-network-policy=true"),)}, GOOD, "VPC CNI is ready"),
        ({"daemons": (daemon("kindnet"),)}, DOUBTFUL, "since kind 0.24"),
        ({"daemons": (daemon("node-exporter"),)}, DOUBTFUL, "no engine that is known"),
        ({"daemons": (), "nodes": (node("a", "v1.36.1+k3s1"),)}, DOUBTFUL, "k3s"),
        ({"daemons": HIDDEN}, UNSEEN, "you may not look"),
        ({"daemons": HIDDEN, "replicas": (replica("a", 0),)}, GOOD, "on each of 1 nodes"),
        ({"daemons": (), "nodes": (node("a"), node("b")), "replicas": (replica("a", 0),)}, DOUBTFUL, "proved it on a"),
        ({"replicas": (replica("a", 1),)}, BAD, "clinic/chat-1 found the way out open"),
    ],
    ids=[
        "an engine on every node", "an engine that leaves a node out", "flannel alone", "flannel beside an engine",
        "the VPC CNI as it comes", "the VPC CNI that was told to", "kindnet", "nothing that is known", "k3s",
        "DaemonSets that may not be seen", "seals that proved every node", "seals that proved one of two",
        "a seal that found it open, whatever runs",
    ],
)  # fmt: skip
def test_the_network(seen: dict[str, Any], severity: Severity, said: str) -> None:
    found = one("NetworkPolicy", **seen)
    assert (found[0], said in found[1]) == (severity, True), found


# Exempt namespaces


def pod(namespace: str = "kube-system", owner: str = "ReplicaSet", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": "p", "ownerReferences": [{"kind": owner, "name": "o"}]},
        "spec": {"containers": [{"name": "c"}], **spec},
    }


GPU: dict[str, Any] = {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}


def binding(*spared: str) -> dict[str, Any]:
    outside = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(spared)}
    return {
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "bailiwick-pods.health", "labels": {"bailiwick.dev/policy": "health"}},
        "spec": {"matchResources": {"namespaceSelector": {"matchExpressions": [outside]}}},
    }


@pytest.mark.parametrize(
    ("seen", "severity", "said"),
    [
        ({"system_pods": (pod(),)}, GOOD, "nothing there"),
        ({"system_pods": (pod(**GPU),)}, DOUBTFUL, "kube-system/p"),
        ({"system_pods": (pod(owner="DaemonSet", **GPU),)}, GOOD, "nothing there"),
        ({"system_pods": HIDDEN}, UNSEEN, "you may not look"),
        ({"bindings": (binding("kube-system", SYSTEM),)}, GOOD, "nothing there"),
        ({"bindings": (binding("kube-system", "clinic"),)}, BAD, "also spares clinic"),
        (
            {
                "policies": (proved("True", "Proved"),),
                "namespaces": ({"metadata": {"name": "kube-public", "labels": {"data": "x"}}},),
            },
            DOUBTFUL, "selects kube-public",
        ),
    ],
    ids=[
        "programs of the cluster", "a pod with an accelerator",
        "an agent for accelerators", "pods that may not be seen",
        "a binding that spares what it should", "a binding that spares a workload", "a policy that means one of them",
    ],
)  # fmt: skip
def test_exempt_namespaces(seen: dict[str, Any], severity: Severity, said: str) -> None:
    found = one("Exempt", **seen)
    assert (found[0], said in found[1]) == (severity, True), found


# As people read it


def test_people_read_the_worst_first_and_what_to_do() -> None:
    written = list(lines(judge(replace(BARE, release=(1, 30), daemons=HIDDEN)), Style()))
    assert written[0] == "This cluster is not fit for Bailiwick."
    heads = [each.partition(" (")[0] for each in written]
    assert [each for each in heads if each in {"BAD", "DOUBTFUL", "NOT SEEN", "GOOD"}] == ["BAD", "NOT SEEN", "GOOD"]
    at = written.index("Kubernetes")
    assert written[at + 1 : at + 4] == [
        "    seen:      Kubernetes 1.30",
        "    expected:  Kubernetes 1.34 or newer",
        "    do:        upgrade the cluster to 1.34 or newer",
    ]
    assert not any("\033" in each for each in written)


def test_a_long_answer_stays_in_its_column() -> None:
    written = list(lines(judge(replace(BARE, daemons=())), Style(width=60)))
    at = written.index("NetworkPolicy")
    first, second = written[at + 1 : at + 3]
    assert first.startswith("    seen:      no engine")
    assert second.startswith(" " * 15)
    assert second[15] != " "
