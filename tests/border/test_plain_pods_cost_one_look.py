"""Ordinary pods are let through by the match conditions of pods.yaml, so that its rules and messages cost them nothing.

That the match conditions spare no pod that a rule refuses is what every other test of pods shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import documents, eventually
from tests.border.ground import DIGEST, Governed, Ground, pod
from tests.border.pod_attacks import CONTAINER, GPU, STRICT, app, env, image_volume
from tests.in_tree import skip_if_dropped

if TYPE_CHECKING:
    from e2e.client import Manifest

POLICY = Path(__file__).parents[2] / "charts/bailiwick/policies/pods.yaml"
LOOKED_AT = "looked at closer"
PROBE: dict[str, Any] = {"httpGet": {"path": "/healthz", "port": 8080}}
PLAIN: dict[str, dict[str, Any]] = {
    "one container": app(),
    "an init container": app() | {"initContainers": [CONTAINER | {"name": "first"}]},
    "ports, probes, variables, arguments": app(
        ports=[{"containerPort": 8080}],
        livenessProbe=PROBE,
        readinessProbe=PROBE,
        env=[{"name": "LOG_LEVEL", "value": "info"}],
        args=["--port", "8080"],
    ),
    "no privileges": app(securityContext={"privileged": False, "capabilities": {"drop": ["ALL"]}}),
    "volumes of the pod's own": app() | {"volumes": [{"name": "data", "emptyDir": {}}]},
    "another scheduler": app() | {"schedulerName": "device-scheduler"},
}
LEFT_TO_THE_RULES: dict[str, dict[str, Any]] = {
    "a device's taint": app() | {"tolerations": [GPU]},
    "a closed variable": env("HF_HUB_OFFLINE", "1"),
    "a model": image_volume(f"models.example/tiny@{DIGEST}"),
    "a hook": app(lifecycle={"preStop": {"exec": {"command": ["true"]}}}),
}


@pytest.fixture(scope="module")
def look(ground: Ground) -> Governed:
    """Where every pod that the match conditions leave to the rules is admitted with a warning."""
    governed = ground.govern(pin=False, **STRICT)
    (policy,) = documents(POLICY)
    policy["metadata"] = {"name": f"look-{governed.policy}"}
    policy["spec"]["variables"] = []
    policy["spec"]["validations"] = [{"expression": "false", "message": LOOKED_AT}]
    ground.operator.apply(policy)
    ground.made.append((policy["apiVersion"], policy["kind"], policy["metadata"]["name"]))
    binding = ground.operator.get(policy["apiVersion"], f"{policy['kind']}Binding", f"bailiwick-pods.{governed.policy}")
    binding["metadata"] = {"name": policy["metadata"]["name"]}
    binding["spec"] |= {"policyName": policy["metadata"]["name"], "validationActions": ["Warn"]}
    ground.bind(binding)
    eventually(lambda: is_left(ground, carrying(governed, LEFT_TO_THE_RULES["a hook"])), what="somebody looks closer")
    return governed


def carrying(governed: Governed, spec: dict[str, Any]) -> Manifest:
    return pod(governed.namespace, nodeSelector=governed.selector, **spec)


def is_left(ground: Ground, made: Manifest) -> bool:
    """Whether its match conditions leave a pod to the rules."""
    ground.admin.warnings.clear()
    ground.admin.create(made, dry_run=True)
    return any(LOOKED_AT in warning for warning in ground.admin.warnings)


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_an_ordinary_pod_is_let_through_at_a_look(ground: Ground, look: Governed, spec: dict[str, Any]) -> None:
    assert not is_left(ground, carrying(look, spec))


@pytest.mark.parametrize("spec", LEFT_TO_THE_RULES.values(), ids=LEFT_TO_THE_RULES)
def test_what_is_out_of_the_ordinary_is_left_to_the_rules_that_admit_it(
    ground: Ground, look: Governed, spec: dict[str, Any]
) -> None:
    skip_if_dropped(spec)
    assert is_left(ground, carrying(look, spec))
