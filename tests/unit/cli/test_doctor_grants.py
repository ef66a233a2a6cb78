"""Whom `bailiwick doctor` names for a right that leads around the border, and whom not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bailiwick.cli.live.doctor_text import lines
from bailiwick.cli.live.fitness.findings import MOST_HOLDERS
from bailiwick.cli.live.fitness.judge import judge
from bailiwick.cli.tables import Style
from tests.unit.cli.patients import BAD, BARE, DOUBTFUL, GOOD, HIDDEN, UNSEEN, told

ADMISSION = "admissionregistration.k8s.io"
RULES: dict[str, tuple[Any, ...]] = {
    "every right": (["*"], ["*"], ["*"]),
    "nodes/proxy": (["get"], [""], ["nodes/proxy"]),
    "any proxy": (["get"], [""], ["*/proxy"]),
    "nodes": (["patch"], [""], ["nodes"]),
    "reading nodes": (["get", "list"], [""], ["nodes"]),
    "impersonation": (["impersonate"], [""], ["users"]),
    "impersonation of Paul": (["impersonate"], [""], ["users"], ["paul"]),
    "impersonation of the masters": (["impersonate"], [""], ["groups"], ["system:masters"]),
    "bind": (["bind"], ["rbac.authorization.k8s.io"], ["clusterroles"]),
    "bind of a small role": (["bind"], ["rbac.authorization.k8s.io"], ["clusterroles"], ["small"]),
    "deleting in-tree policies": (["delete"], [ADMISSION], ["validatingadmissionpolicies"]),
    "changing policies of others": (["patch"], [ADMISSION], ["validatingadmissionpolicies"], ["kyverno"]),
    "webhooks": (["update"], [ADMISSION], ["validatingwebhookconfigurations"]),
    "Territories": (["*"], ["bailiwick.dev"], ["territories"]),
    "tokens": (["create"], [""], ["serviceaccounts/token"]),
    "pods": (["create"], [""], ["pods"]),
    "a binding": (["create"], [""], ["pods/binding"]),
    "exec": (["create"], [""], ["pods/exec"]),
    "approval": (["approve"], ["certificates.k8s.io"], ["signers"], ["kubernetes.io/kube-apiserver-client-kubelet"]),
    "approval for others": (["approve"], ["certificates.k8s.io"], ["signers"], ["issuers.cert-manager.io/*"]),
    "creating by name": (["create"], [""], ["pods"], ["x"]),
    "drawing": (["create"], ["bailiwick.dev"], ["residencypolicies"]),
    "waivers": (["create"], ["bailiwick.dev"], ["residencywaivers", "waiverapprovals"]),
}


def rule(name: str) -> dict[str, Any]:
    verbs, groups, resources, *names = RULES[name]
    return {
        "verbs": verbs,
        "apiGroups": groups,
        "resources": resources,
        **({"resourceNames": names[0]} if names else {}),
    }


def subject(name: str) -> dict[str, Any]:
    """``ns/name`` is a service account; everybody else is a user."""
    namespace, slash, account = name.partition("/")
    if slash:
        return {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return {"kind": "User", "name": name}


def granted(what: str, *subjects: str, namespace: str | None = None, role: str = "wide") -> dict[str, Any]:
    """What is seen where a ClusterRole is given to somebody, everywhere or in a namespace."""
    made = {"metadata": {"name": role}, "rules": [rule(what)]}
    where = {"namespace": namespace} if namespace else {}
    binding = {
        "metadata": {"name": "given", **where}, "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [subject(each) for each in subjects],
    }  # fmt: skip
    return {"cluster_roles": (made,), "role_bindings" if namespace else "cluster_bindings": (binding,)}


@pytest.mark.parametrize(
    ("what", "check", "severity"),
    [
        ("every right", "cluster-admin", BAD),
        ("nodes/proxy", "nodes/proxy", BAD),
        ("any proxy", "nodes/proxy", BAD),
        ("nodes", "nodes", DOUBTFUL),
        ("impersonation", "impersonation", BAD),
        ("impersonation of the masters", "impersonation", BAD),
        ("bind", "roles without limit", BAD),
        ("deleting in-tree policies", "in-tree policies", BAD),
        ("webhooks", "webhooks", DOUBTFUL),
        ("Territories", "Territories", DOUBTFUL),
        ("tokens", "tokens", BAD),
        ("pods", "pods of exempt namespaces", BAD),
        ("a binding", "bindings", DOUBTFUL),
        ("exec", "ways into exempt pods", BAD),
        ("approval", "joining nodes", BAD),
        ("drawing", "who draws the border", DOUBTFUL),
        ("waivers", "waivers", DOUBTFUL),
    ],
)
def test_a_right_that_leads_around_the_border_is_named_with_its_holder(what: str, check: str, severity: Any) -> None:
    (found, *_) = told("Grants", **granted(what, "paul"))
    assert (found.check, found.severity) == (f"Grants: {check}", severity)
    (holder,) = found.holders
    assert (holder.subject, holder.binding, holder.role) == ("paul", "ClusterRoleBinding given", "ClusterRole wide")
    assert all(each in holder.rule for part in RULES[what][:1] for each in part)


@pytest.mark.parametrize(
    "what",
    [
        "reading nodes", "impersonation of Paul", "bind of a small role", "changing policies of others",
        "approval for others", "creating by name",
    ],
)  # fmt: skip
def test_a_right_that_leads_nowhere_is_not(what: str) -> None:
    (found,) = told("Grants", **granted(what, "paul"))
    assert found.severity is GOOD


@pytest.mark.parametrize(
    ("who", "role", "is_named"),
    [
        ("system:masters", "wide", False),
        ("system:kube-scheduler", "wide", False),
        ("kubeadm:cluster-admins", "wide", False),
        ("kube-apiserver-kubelet-client", "wide", False),
        ("kube-system/replicaset-controller", "wide", False),
        ("bailiwick-system/bailiwick-operator", "bailiwick-operator", False),
        ("bailiwick-system/renamed", "bailiwick-operator", False),
        ("bailiwick-system/bailiwick-operator", "cluster-admin", True),
        ("bailiwick-system/default", "wide", True),
        ("default/bailiwick-operator", "bailiwick-operator", True),
        ("argocd/controller", "wide", True),
        ("system:authenticated", "wide", True),
        ("system:serviceaccounts", "wide", True),
        ("system:serviceaccounts:kube-public", "wide", True),
        ("system:anonymous", "wide", True),
        ("system:nodes", "wide", True),
        ("system:bootstrappers:kubeadm:default-node-token", "wide", True),
    ],
)
def test_kubernetes_and_bailiwick_are_told_apart(who: str, role: str, is_named: bool) -> None:
    found = told("Grants", **granted("nodes/proxy", who, role=role))
    assert [each.severity for each in found] == [BAD if is_named else GOOD]


def test_whoever_is_trusted_is_not_named() -> None:
    seen = granted("every right", "argocd/controller", "paul")
    (found,) = told("Grants", ["system:serviceaccount:argocd:controller"], **seen)
    assert [each.subject for each in found.holders] == ["paul"]


@pytest.mark.parametrize(
    ("what", "namespace", "severity"),
    [("pods", "kube-system", BAD), ("every right", "kube-system", BAD), ("nodes/proxy", "kube-system", GOOD)],
    ids=["pods are objects of a namespace", "every right in kube-system is enough", "nodes are not in namespaces"],
)  # fmt: skip
def test_what_a_binding_in_an_exempt_namespace_gives(what: str, namespace: str, severity: Any) -> None:
    (found,) = told("Grants", **granted(what, "paul", namespace=namespace))
    assert found.severity is severity


def test_the_chart_has_roles_for_those_who_draw_the_border() -> None:
    (found,) = told("Grants", **granted("drawing", "paul", role="bailiwick-policy-administrator"))
    assert found.severity is GOOD


def test_who_may_do_everything_is_told_once() -> None:
    (found,) = told("Grants", **granted("every right", "paul"))
    assert len(found.holders) == 1


def test_where_roles_may_not_be_seen_nobody_says_that_there_is_no_way_around() -> None:
    found = told("Grants", **(granted("nodes/proxy", "paul") | {"role_bindings": HIDDEN}))
    assert [each.severity for each in found] == [BAD, UNSEEN]


def test_of_many_holders_some_are_listed_and_all_are_counted() -> None:
    fitness = judge(replace(BARE, **granted("nodes/proxy", *(f"user-{each:03}" for each in range(150)))))
    text = "\n".join(lines(fitness, Style()))
    assert "150 subjects may enter every pod" in text
    assert text.count("- user-") == 5
    assert "- and 145 more; -o json has them" in text
    (told_to_programs, *_) = fitness.as_json()["findings"]
    assert (told_to_programs["holdersTotal"], len(told_to_programs["holders"])) == (150, MOST_HOLDERS)
