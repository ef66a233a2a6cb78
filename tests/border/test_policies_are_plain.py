"""The in-tree policies are YAML that an auditor can read and kubectl can apply."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.client import documents, eventually

if TYPE_CHECKING:
    from e2e.client import Client, Manifest
    from tests.border.ground import Ground

FOLDER = Path(__file__).parents[2] / "charts/bailiwick/policies"
FILES = sorted(FOLDER.glob("*.yaml"))
PARAMETERS = {"apiVersion": "bailiwick.dev/v1alpha1", "kind": "Territory"}
SYSTEM_NAMESPACES = ["kube-system", "kube-public", "kube-node-lease", "bailiwick-system"]


def policy_in(file: Path) -> Manifest:
    (policy,) = (document for document in documents(file) if document["kind"].endswith("AdmissionPolicy"))
    return policy


def named(file: Path) -> str:
    return file.stem


@pytest.fixture(params=FILES, ids=named)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_each_file_holds_the_one_policy_that_it_is_named_for(file: Path) -> None:
    assert policy_in(file)["metadata"]["name"] == f"bailiwick-{file.stem}"


def test_each_file_opens_with_what_an_auditor_asks(file: Path) -> None:
    opening = file.read_text().partition("apiVersion:")[0].splitlines()
    assert len(opening) > 5
    assert all(line.startswith("#") for line in opening)
    assert "When Bailiwick is dead" in "\n".join(opening)


def test_every_refusal_is_closed_and_only_the_convenience_is_open(file: Path) -> None:
    policy = policy_in(file)
    expected = "Ignore" if policy["kind"] == "MutatingAdmissionPolicy" else "Fail"
    assert policy["spec"]["failurePolicy"] == expected
    assert (policy["kind"] == "MutatingAdmissionPolicy") == (file.stem == "pin")


def test_every_refusal_begins_with_its_reason(file: Path) -> None:
    for validation in policy_in(file)["spec"].get("validations", ()):
        reason = validation["message"].partition(":")[0]
        assert reason.isalnum()
        said = re.sub(r"^[^']+ \? '' : ", "", validation["messageExpression"])  # worked out for what passes, too
        assert said.startswith(f"'{reason}: ")
        assert validation["reason"] == "Forbidden"
        assert "\n" not in validation["messageExpression"], "a message of several lines is dropped by the API server"


def test_messages_are_ascii_because_warnings_are_http_headers(file: Path) -> None:
    assert file.read_text().isascii()


def test_what_has_parameters_leaves_the_system_alone(file: Path) -> None:
    """Without the CRD of its parameters a policy refuses everything that it matches, whatever its bindings say."""
    spec = policy_in(file)["spec"]
    resources = {resource for rule in spec["matchConstraints"]["resourceRules"] for resource in rule["resources"]}
    if "paramKind" in spec and resources != {"sovereignmodels"}:
        (requirement,) = spec["matchConstraints"]["namespaceSelector"]["matchExpressions"]
        assert requirement == {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": SYSTEM_NAMESPACES}


def test_what_has_no_parameters_brings_its_binding(file: Path) -> None:
    policy = policy_in(file)
    bindings = [document for document in documents(file) if document["kind"].endswith("Binding")]
    if "paramKind" in policy["spec"]:
        assert policy["spec"]["paramKind"] == PARAMETERS
        assert bindings == []
    else:
        assert [binding["spec"]["policyName"] for binding in bindings] == [policy["metadata"]["name"]]
        assert bindings[0]["spec"]["validationActions"] == ["Deny", "Audit"]


@pytest.mark.parametrize("file", [file for file in FILES if file.stem != "pin"], ids=named)
def test_the_api_servers_own_type_checker_finds_nothing(ground: Ground, admin: Client, file: Path) -> None:
    """It knows the schemas of pods and of our own resources: a misspelt field, or a wrong type, shows here.

    Mutating policies it does not check; test_pods_are_pinned_unasked.py evaluates every expression of ours.
    """
    policy = policy_in(file)

    def checked() -> Manifest:
        seen = admin.get("admissionregistration.k8s.io/v1", policy["kind"], policy["metadata"]["name"])
        status: Manifest = seen.get("status", {})
        assert status.get("observedGeneration") == seen["metadata"]["generation"]
        return status

    status = eventually(checked, what="the policy is type-checked")
    assert status["typeChecking"].get("expressionWarnings", []) == []
