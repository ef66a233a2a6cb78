"""What the canary tries, and what the answers prove, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.residency.probes import NAME, NOWHERE, Attempt, Identity, Probe, Setting, probes
from bailiwick.residency.proofs import Outcome, Refused, conclude, judge
from bailiwick.residency.territories import GOVERNED_LABEL, RESIDENT, label_of
from tests.unit.residency.given import NOW, policy

LABEL = label_of("health")
LABELS = {"data": "health", GOVERNED_LABEL: "true"}


def setting(**parts: Any) -> Setting:
    known: dict[str, Any] = {
        "policy": policy(),
        "generation": 3,
        "others": (),
        "namespace": "clinic",
        "namespace_labels": LABELS,
        "nodes": {"abroad": {}, "inside": {LABEL: RESIDENT}},
        "inside": {"health": {"inside"}},
    }
    return Setting(**(known | parts))


def tried(**parts: Any) -> dict[Attempt, Probe]:
    return {probe.attempt: probe for probe in probes(setting(**parts))}


def denied(probe: Probe, **parts: str) -> Refused:
    """The answer of the guard that is expected, or of another."""
    assert probe.guard
    by = {
        "policy": probe.guard.policy,
        "binding": min(probe.guard.bindings),
        "reason": str(probe.guard.reason),
    } | parts
    said = "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {reason}: because"
    return Refused(403, 'pods "x" is forbidden: ' + said.format(**by))


ALL = tried()
BINDING, LEGACY = ALL[Attempt.FOREIGN_BINDING], ALL[Attempt.FOREIGN_LEGACY_BINDING]
POD, COMPLIANT, KUBELET = ALL[Attempt.FOREIGN_NODE], ALL[Attempt.COMPLIANT_POD], ALL[Attempt.KUBELET_LABEL]
NODE = ALL[Attempt.NODE_LABEL]
RBAC = Refused(403, 'pods is forbidden: User "x" cannot create resource "pods"')
UNREACHABLE = Refused(None, "no answer within 5 s")
TAKEN = Refused(409, 'pods "bailiwick-canary" already exists')
NO_POD = Refused(404, 'pods "bailiwick-canary" not found')
RESTRICTED = Refused(403, 'node "bailiwick-canary" is not allowed to set the following labels: x')


@pytest.mark.parametrize(
    ("probe", "answer", "outcome"),
    [
        (POD, None, "breached"),
        (POD, denied(POD), "held"),
        (POD, denied(POD, reason="NotPinned"), "unclear"),
        (POD, denied(POD, policy="bailiwick-nodes"), "unclear"),
        (POD, denied(POD, binding="bailiwick-pods.other"), "unclear"),
        (POD, denied(POD, binding="bailiwick-pods.health-2"), "unclear"),
        (POD, RBAC, "unclear"),
        (POD, UNREACHABLE, "unclear"),
        (POD, TAKEN, "breached"),
        (POD, Refused(500, "webhook failed"), "unclear"),
        (BINDING, NO_POD, "breached"),
        (LEGACY, NO_POD, "breached"),
        (BINDING, Refused(404, 'namespaces "clinic" not found'), "unclear"),
        (BINDING, denied(BINDING), "held"),
        (NODE, Refused(404, 'nodes "abroad" not found'), "unclear"),
        (NODE, Refused(409, "changed meanwhile"), "unclear"),
        (NODE, denied(NODE), "held"),
        (COMPLIANT, None, "held"),
        (COMPLIANT, TAKEN, "held"),
        (COMPLIANT, Refused(403, 'pods "x" is forbidden: exceeded quota: small'), "held"),
        (COMPLIANT, denied(POD), "unclear"),
        (COMPLIANT, RBAC, "unclear"),
        (KUBELET, RESTRICTED, "held"),
        (KUBELET, None, "breached"),
        (KUBELET, denied(KUBELET), "breached"),
        (KUBELET, RBAC, "unclear"),
    ],
)
def test_only_the_expected_refusal_proves_anything(probe: Probe, answer: Refused | None, outcome: str) -> None:
    finding = judge(probe, answer)
    assert finding.outcome == outcome
    assert bool(finding.message) == (outcome != "held")


def test_a_message_says_what_was_tried_and_who_should_have_stopped_it() -> None:
    assert judge(POD, None).message == (
        "a pod in namespace clinic that names the foreign node abroad was admitted; "
        "ValidatingAdmissionPolicy bailiwick-pods should refuse it with WrongPlace"
    )


def test_everything_is_tried_and_only_one_request_is_no_dry_run() -> None:
    assert ALL.keys() == set(Attempt)
    (real,) = (probe for probe in ALL.values() if not probe.dry_run)
    assert (real.attempt, real.patch, real.body) == (Attempt.NO_DRY_RUN, True, {})
    assert {probe.attempt for probe in ALL.values() if probe.by is Identity.KUBELET} == {Attempt.KUBELET_LABEL}


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ({"nodes": {}}, {Attempt.NODE_LABEL, Attempt.NODE_STATUS_LABEL}),
        ({"namespace_labels": {"data": "health"}}, {Attempt.GOVERNED_LABEL}),
        ({"policy": policy(namespaceSelector={})}, {Attempt.NAMESPACE_LABEL}),
        ({"policy": policy(images={"registries": []})}, {Attempt.COMPLIANT_POD}),
    ],
)
def test_what_the_cluster_does_not_offer_is_left_out(parts: Any, missing: set[Attempt]) -> None:
    assert ALL.keys() - tried(**parts).keys() == missing


def test_without_a_foreign_node_one_is_invented() -> None:
    assert tried(nodes={"inside": {LABEL: RESIDENT}})[Attempt.FOREIGN_NODE].body["spec"]["nodeName"] == NOWHERE


def test_a_node_is_never_asked_for_what_it_has() -> None:
    """A change that changes nothing is admitted, and would be taken for a breach."""
    probe = tried(nodes={"leaving": {LABEL: RESIDENT}}, inside={"health": set()})[Attempt.NODE_LABEL]
    assert probe.body == {"metadata": {"labels": {LABEL: None}}}
    assert NODE.body == {"metadata": {"labels": {LABEL: RESIDENT}}}


@pytest.mark.parametrize(
    ("selector", "labels", "change"),
    [
        ({"matchLabels": {"data": "health"}}, {"data": "health"}, {"data": None}),
        ({"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}, {}, {"free": "canary"}),
    ],
)
def test_the_namespace_would_leave_the_policy(selector: Any, labels: dict[str, str], change: Any) -> None:
    probe = tried(policy=policy(namespaceSelector=selector), namespace_labels=labels)[Attempt.NAMESPACE_LABEL]
    assert probe.body == {"metadata": {"labels": change}}


@pytest.mark.parametrize(
    ("theirs", "node", "bindings"),
    [
        ({"inside", "abroad"}, "abroad", {"bailiwick-pods.health"}),
        ({"inside"}, "abroad", {"bailiwick-pods.health", "bailiwick-pods.wider"}),
    ],
)
def test_of_two_policies_each_is_tried_where_the_other_allows(theirs: set[str], node: str, bindings: set[str]) -> None:
    found = tried(others=(policy("wider"),), inside={"health": {"inside"}, "wider": theirs})
    probe = found[Attempt.FOREIGN_NODE]
    assert probe.guard
    assert probe.body["spec"]["nodeName"] == node
    assert probe.guard.bindings == bindings
    other = found[Attempt.OTHER_SELECTOR]
    assert other.guard
    assert other.guard.bindings == {"bailiwick-pods.health"}
    assert other.body["spec"]["nodeSelector"] == {LABEL: "elsewhere", label_of("wider"): RESIDENT}


@pytest.mark.parametrize(
    ("mine", "theirs", "prefix"),
    [
        (["registry.example/"], None, "registry.example/"),
        (["registry.example"], None, "registry.example/"),
        (["a.example/", "b.example/"], ["b.example/"], "b.example/"),
        (None, None, "registry.invalid/"),
    ],
)
def test_the_compliant_pod_has_an_image_that_all_policies_allow(mine: Any, theirs: Any, prefix: str) -> None:
    def with_images(name: str, registries: Any) -> Any:
        return policy(name, images={"registries": registries}) if registries else policy(name)

    found = tried(policy=with_images("health", mine), others=(with_images("wider", theirs),))
    (container,) = found[Attempt.COMPLIANT_POD].body["spec"]["containers"]
    assert container["image"] == f"{prefix}{NAME}@sha256:{'0' * 64}"


HELD, OPEN, CLOUDY = judge(POD, denied(POD)), judge(POD, None), judge(NODE, RBAC)
LOOSE = judge(KUBELET, denied(KUBELET))


@pytest.mark.parametrize(
    ("findings", "faults", "outcome", "reason", "says"),
    [
        ([HELD], (), Outcome.HELD, "Proved", "1 attempts in namespace clinic"),
        ([HELD, CLOUDY], (), Outcome.UNCLEAR, "NotProved", "was not judged as expected"),
        ([CLOUDY, OPEN], (), Outcome.BREACHED, "NotEnforced", "compare the validatingadmissionpolicies"),
        (
            [OPEN],
            ("X is gone", "Y"),
            Outcome.BREACHED,
            "NotEnforced",
            "should refuse it with WrongPlace; X is gone; Y: ",
        ),
        ([HELD], None, Outcome.UNCLEAR, "NotProved", "ConfigMap bailiwick-border cannot be read"),
        ([OPEN], None, Outcome.BREACHED, "NotEnforced", "was admitted"),
        ([HELD], ("bailiwick-storage is gone",), Outcome.BREACHED, "NotEnforced", "bailiwick-storage is gone"),
        ([HELD, LOOSE], (), Outcome.BREACHED, "NodeRestrictionOff", "--enable-admission-plugins=NodeRestriction"),
        ([OPEN, LOOSE], (), Outcome.BREACHED, "NotEnforced", "was admitted"),
    ],
)
def test_the_worst_finding_counts(findings: Any, faults: Any, outcome: Outcome, reason: str, says: str) -> None:
    proof = conclude(findings, faults, generation=3, namespace="clinic", now=NOW)
    assert (proof.outcome, proof.reason) == (outcome, reason)
    assert says in proof.message
