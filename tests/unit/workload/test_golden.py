"""Every pair in tests/golden/workload: a model, its classes and policies, and the objects that come of them.

`BAILIWICK_GOLDEN=write` writes the outputs anew; read the difference before committing it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.facts import gather_all
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_policy
from bailiwick.workload.eligibility import eligibility
from bailiwick.workload.plan import Settings, plan_workload

if TYPE_CHECKING:
    from bailiwick.workload.plan import WorkloadPlan

GOLDEN = Path(__file__).parent.parent.parent / "golden/workload"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CASES = sorted(path.name.removesuffix(".input.yaml") for path in GOLDEN.glob("*.input.yaml"))


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: no anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class's
        return True


def planned(case: str) -> WorkloadPlan:
    given: dict[str, list[dict[str, Any]]] = {}
    for document in yaml.safe_load_all((GOLDEN / f"{case}.input.yaml").read_text()):
        given.setdefault(document["kind"], []).append(document)
    atlas = Atlas(())
    facts = gather_all([read_node(raw) for raw in given["Node"]], (), NOW)

    (model,) = given["SovereignModel"]
    model["metadata"]["uid"] = "00000000-0000-0000-0000-000000000001"
    classes = [AcceleratorClass.read(raw) for raw in given["AcceleratorClass"]]
    return plan_workload(
        SovereignModel.read(model),
        policies=[compile_policy(ResidencyPolicy.read(raw), atlas) for raw in given["ResidencyPolicy"]],
        classes={each.metadata.name: each for each in classes},
        eligible=lambda model, policies, need: eligibility(
            policies, model.spec.residency, need, facts, atlas=atlas, now=NOW
        ),
        settings=Settings(gate_image="registry.example/gate:1", monitoring_namespace="monitoring"),
    )


@pytest.mark.parametrize("case", CASES)
def test_a_model_becomes_these_objects(case: str) -> None:
    objects = list(planned(case).objects)
    output = GOLDEN / f"{case}.output.yaml"
    if os.environ.get("BAILIWICK_GOLDEN") == "write":
        output.write_text(yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, width=120))
    assert objects == list(yaml.safe_load_all(output.read_text()))


def test_there_are_golden_pairs_and_no_strays() -> None:
    assert CASES
    assert sorted(path.name for path in GOLDEN.glob("*.output.yaml")) == [f"{case}.output.yaml" for case in CASES]


@pytest.mark.parametrize("case", CASES)
def test_the_same_model_becomes_the_same_bytes(case: str) -> None:
    assert yaml.safe_dump_all(planned(case).objects) == yaml.safe_dump_all(planned(case).objects)


@pytest.mark.parametrize("case", CASES)
def test_no_container_may_do_more_than_restricted_pod_security_lets_it(case: str) -> None:
    (deployment,) = (each for each in planned(case).objects if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]
