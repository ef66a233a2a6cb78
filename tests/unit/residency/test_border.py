"""The bindings that put the in-tree policies into force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.residency.border import NAMESPACES_BINDING, bindings, namespaces_binding, policy_of
from bailiwick.residency.policies import compile_policy
from tests.unit.residency.given import ATLAS, EXEMPT, policy

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "border"
CASES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


@pytest.mark.parametrize("case", CASES)
def test_a_policy_is_put_into_force_by_these_bindings(case: str) -> None:
    (raw,) = documents(GOLDEN / case / "policy.yaml")
    compiled = compile_policy(ResidencyPolicy.read(raw), ATLAS)
    assert list(bindings(compiled, exempt=EXEMPT)) == documents(GOLDEN / case / "bindings.yaml")


def test_the_labels_of_namespaces_are_guarded_by_this_binding() -> None:
    assert [namespaces_binding(exempt=EXEMPT)] == documents(GOLDEN / "namespaces.yaml")


@pytest.mark.parametrize(
    ("mode", "actions", "pinned"),
    [("Audit", ["Audit"], False), ("Warn", ["Warn", "Audit"], False), ("Enforce", ["Deny", "Audit"], True)],
)
def test_only_enforce_denies_and_pins(mode: str, actions: list[str], *, pinned: bool) -> None:
    made = bindings(policy(mode=mode), exempt=EXEMPT)
    validating = [binding for binding in made if binding["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert validating
    assert all(binding["spec"]["validationActions"] == actions for binding in validating)
    assert any(binding["kind"] == "MutatingAdmissionPolicyBinding" for binding in made) is pinned


def test_where_nothing_can_pin_the_rest_is_bound_all_the_same() -> None:
    made = bindings(policy(), exempt=EXEMPT)
    assert bindings(policy(), exempt=EXEMPT, pins=False) == made[:-1]
    assert made[-1]["kind"] == "MutatingAdmissionPolicyBinding"


def test_unknown_plays_no_role_at_the_border() -> None:
    assert bindings(policy(unknown="Warn"), exempt=EXEMPT) == bindings(policy(unknown="Deny"), exempt=EXEMPT)


def test_what_a_policy_does_not_ask_costs_its_namespaces_nothing() -> None:
    asked: dict[str, tuple[dict[str, Any], set[str]]] = {
        "storage": ({"classes": []}, {"bailiwick-storage"}),
        "network": ({}, {"bailiwick-services", "bailiwick-endpoints", "bailiwick-ingresses"}),
        "access": ({}, {"bailiwick-access"}),
    }
    always = {binding["spec"]["policyName"] for binding in bindings(policy(), exempt=EXEMPT)}
    for field, (value, guards) in asked.items():
        spec: dict[str, Any] = {field: value}
        bound = {binding["spec"]["policyName"] for binding in bindings(policy(**spec), exempt=EXEMPT)}
        assert bound - always == guards


def test_every_binding_needs_its_territory_and_spares_the_system() -> None:
    for binding in (*bindings(policy(namespaceSelector={}), exempt=EXEMPT), namespaces_binding(exempt=EXEMPT)):
        assert binding["spec"]["paramRef"]["parameterNotFoundAction"] == "Deny"
        (spared,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert spared["key"] == "kubernetes.io/metadata.name"
        assert spared["operator"] == "NotIn"
        assert spared["values"] == sorted(EXEMPT)


def test_a_binding_tells_which_policy_it_puts_into_force() -> None:
    assert {policy_of(binding) for binding in bindings(policy(), exempt=EXEMPT)} == {"health"}
    assert policy_of(namespaces_binding(exempt=EXEMPT)) is None
    assert policy_of({"metadata": {"name": "somebody-elses"}}) is None


def test_the_bindings_of_two_policies_never_share_a_name() -> None:
    names = [
        binding["metadata"]["name"] for name in ("a", "b", "a-b") for binding in bindings(policy(name), exempt=EXEMPT)
    ]
    assert len(names) == len(set(names))
    assert NAMESPACES_BINDING not in names


def test_whatever_is_bound_is_in_the_chart() -> None:
    shipped = {
        (document["kind"], document["metadata"]["name"])
        for path in (ROOT / "charts" / "bailiwick" / "policies").glob("*.yaml")
        for document in documents(path)
    }
    asked = policy(network={}, storage={"classes": []}, access={})
    for binding in (*bindings(asked, exempt=EXEMPT), namespaces_binding(exempt=EXEMPT)):
        assert (binding["kind"].removesuffix("Binding"), binding["spec"]["policyName"]) in shipped
