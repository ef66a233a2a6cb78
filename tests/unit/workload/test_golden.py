"""Every pair in tests/golden/workload: a model, its classes and policies, and the objects that come of them.

`BAILIWICK_GOLDEN=write` writes the outputs anew; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from bailiwick.api.sovereignmodel import SovereignModel
from tests.unit.workload.golden import CASES, GOLDEN, given, planned, templates


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: no anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class's
        return True


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
def test_inputs_are_what_the_api_takes(case: str) -> None:
    for model in given(case)["SovereignModel"]:
        SovereignModel.read(model)


def test_another_process_makes_the_same_bytes() -> None:
    """Sets and hashes differ from process to process; pods must not."""
    program = (
        "import json; from tests.unit.workload.golden import CASES, planned; "
        "print(json.dumps([planned(case).objects for case in CASES]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert other.stdout.strip() == json.dumps([planned(case).objects for case in CASES])


@pytest.mark.parametrize("case", CASES)
def test_no_container_may_do_more_than_restricted_pod_security_lets_it(case: str) -> None:
    for template in templates(planned(case).objects):
        _is_restricted(template["spec"])


def _is_restricted(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]
