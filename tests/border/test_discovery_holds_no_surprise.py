"""What the API server offers is what somebody has thought about: a new minor of Kubernetes opens no hole silently.

`guarded.yaml` says of everything that can be written in a namespace, and of nodes and namespaces themselves, which
in-tree policies judge it, or why none needs to. `BAILIWICK_GOLDEN=write` adds what is new there, as undecided.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.client import documents
from e2e.cluster.apiserver import MINOR
from e2e.cluster.binaries import OTHER_MINORS

if TYPE_CHECKING:
    from e2e.client import Client

LIST = Path(__file__).with_name("guarded.yaml")
POLICIES = Path(__file__).parents[2] / "charts/bailiwick/policies"
WRITES = {"create", "update", "patch"}
UNDECIDED = "undecided"
NO_GUARDS = {"pin", "canary"}
"""One adds and refuses nothing; the other limits a single identity, whatever it writes."""
NEWEST = max(OTHER_MINORS)
"""Older versions offer less, so this one tells what is no longer there (`make test-versions`)."""
CRITICAL = ("nodes", "namespaces")
"""Without a namespace, and yet parts of the border."""

pytestmark = pytest.mark.apiserver


def offered(client: Client) -> set[str]:
    """resource.group of what can be written or connected to; of kinds that Kubernetes itself brings."""
    own = {f"{crd['spec']['group']}" for crd in client.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")}
    groups = client.request("GET", "/apis").json()["groups"]
    roots = {"/api/v1": ""} | {
        f"/apis/{version['groupVersion']}": group["name"]
        for group in groups
        for version in group["versions"]
        if group["name"] not in own
    }
    found = set()
    for root, group in roots.items():
        for resource in client.request("GET", root).json()["resources"]:
            name, verbs = resource["name"], set(resource["verbs"])
            critical = not group and name.partition("/")[0] in CRITICAL
            # A subresource that is only read may be a connection, or log: all of pods' are listed.
            if (resource["namespaced"] or critical) and (verbs & WRITES or name.startswith("pods/")):
                found.add(f"{name}.{group}" if group else name)
    return found


def decided() -> dict[str, str]:
    known: dict[str, str] = yaml.safe_load(LIST.read_text())
    return known


def rules(policy: str) -> list[dict[str, Any]]:
    (found,) = (each for each in documents(POLICIES / f"{policy}.yaml") if each["kind"].endswith("AdmissionPolicy"))
    matched: list[dict[str, Any]] = found["spec"]["matchConstraints"]["resourceRules"]
    return matched


def judges(policy: str, resource: str) -> bool:
    """Whether a policy names the resource."""
    plural, _, group = resource.partition(".")
    return any(group in rule["apiGroups"] and plural in rule["resources"] for rule in rules(policy))


def judged_by(answer: str) -> list[str]:
    """The policies that an answer names: `by pods, tokens`; none where it is a reason."""
    return answer.removeprefix("by ").split(", ") if answer.startswith("by ") else []


def test_everything_that_kubernetes_offers_has_been_thought_about(admin: Client) -> None:
    known, found = decided(), offered(admin)
    if os.environ.get("BAILIWICK_GOLDEN") == "write":
        known = {name: known.get(name, UNDECIDED) for name in sorted(found)}
        LIST.write_text(LIST.read_text().partition("\n\n")[0] + "\n\n" + yaml.safe_dump(known, width=120))
    assert found - known.keys() == set(), "new in Kubernetes: decide which policy judges it, or why none needs to"
    if MINOR == NEWEST and not os.environ.get("BORDER_KUBECONFIG"):
        assert known.keys() - found == set(), "no longer in Kubernetes"


@pytest.mark.parametrize("resource", sorted(decided()))
def test_each_answer_is_one(resource: str) -> None:
    answer = decided()[resource]
    assert answer != UNDECIDED
    policies = judged_by(answer)
    assert policies or len(answer) > 20, "a reason is a sentence"
    assert all(judges(policy, resource) for policy in policies)


def test_no_policy_judges_what_the_list_says_nobody_does() -> None:
    for resource, answer in decided().items():
        for policy in sorted({file.stem for file in POLICIES.glob("*.yaml")} - NO_GUARDS):
            assert judges(policy, resource) == (policy in judged_by(answer)), f"{policy}, {resource}"
