"""Every class of the chart's catalogue is one that a cluster takes, says where its figures are from, and may serve."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.quantities import amount
from bailiwick.workload.eligibility import Need
from bailiwick.workload.engines import ENGINES
from tests.unit.workload.given import engine, model, plan

CHART = Path(__file__).parents[4] / "charts/bailiwick"
FILES = sorted((CHART / "acceleratorclasses").glob("*.yaml"))
CLASSES = [(path.stem, raw) for path in FILES if path.stem != "cpu" for raw in yaml.safe_load_all(path.read_text())]
WANTED = {
    "nvidia", "nvidia-mig", "amd", "intel-gaudi", "intel-xpu", "google-tpu", "aws-neuron", "huawei-ascend",
    "rebellions-atom", "rebellions-rebel", "furiosa-rngd", "ibm-spyre", "qualcomm-ai100", "tenstorrent", "cambricon",
    "metax", "moore-threads", "hailo", "x86", "arm",
}  # fmt: skip
FIGURES = {
    "resources": "Resources", "nodeSelector": "NodeSelector", "deviceClasses": "DeviceClasses", "memory": "Memory",
    "bandwidth": "Bandwidth", "thermalDesignPower": "ThermalDesignPower", "devicesPerNode": "DevicesPerNode",
    "engines": "Engines", "powerMetric": "PowerMetric",
}  # fmt: skip

every_class = pytest.mark.parametrize("raw", [raw for _, raw in CLASSES], ids=lambda raw: raw["metadata"]["name"])


def test_every_family_has_a_file_that_can_be_installed() -> None:
    assert {family for family, _ in CLASSES} == WANTED
    schema = json.loads((CHART / "values.schema.json").read_text())
    families = schema["properties"]["acceleratorClasses"]["properties"]["families"]["items"]["enum"]
    assert set(families) == WANTED


def test_no_two_classes_share_a_name() -> None:
    names = [raw["metadata"]["name"] for _, raw in CLASSES]
    assert len(set(names)) == len(names)


@every_class
def test_the_kind_takes_it_and_nothing_of_it_is_lost(raw: dict[str, Any]) -> None:
    """Unknown fields are ignored when reading, so a misspelt one would be lost silently."""
    read = AcceleratorClass.read(raw)
    written = read.spec.model_dump(by_alias=True, mode="json", exclude_unset=True)
    assert written == _with_text_amounts(raw["spec"])


@every_class
def test_every_figure_has_a_source(raw: dict[str, Any]) -> None:
    sourced = {each["figure"] for each in raw["spec"]["sources"]}
    assert sourced == {figure for field, figure in FIGURES.items() if field in raw["spec"]}


@every_class
def test_what_nobody_looked_up_is_unchecked(raw: dict[str, Any]) -> None:
    spec = raw["spec"]
    for each in [*spec["sources"], *spec.get("provenance", {}).values()]:
        if "nobody" in each["source"] or "remembered" in each["source"]:
            assert each["confidence"] == "Unchecked"


@every_class
def test_its_engines_may_be_started(raw: dict[str, Any]) -> None:
    read = AcceleratorClass.read(raw)
    assert read.spec.engines
    for serving in read.spec.engines:
        assert serving.image.startswith("registry.example/")
        resource = next(iter(read.spec.resources), None)
        need = Need(accelerator=read, serving=serving, resource=resource, devices=1 if resource else 0)
        if serving.name in ENGINES:
            assert ENGINES[serving.name].refusal_on(need) is None


@every_class
def test_memory_and_bandwidth_are_plausible(raw: dict[str, Any]) -> None:
    """A forgotten unit is off by a thousand."""
    spec = AcceleratorClass.read(raw).spec
    if spec.memory is not None:
        assert 4e9 <= amount(spec.memory) <= 1e12
    if spec.bandwidth is not None:
        assert 1e10 <= amount(spec.bandwidth) <= 2e13


def _with_text_amounts(spec: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(spec))  # type: ignore[no-any-return]


GOLDEN = Path(__file__).parents[3] / "golden/accelerators"
SERVED = [raw for _, raw in CLASSES if any(each["name"] in ENGINES for each in raw["spec"]["engines"])]


@pytest.mark.parametrize("raw", SERVED, ids=lambda raw: raw["metadata"]["name"])
def test_a_model_on_it_becomes_this_deployment(raw: dict[str, Any]) -> None:
    """`BAILIWICK_GOLDEN=write` writes it anew; read the difference before committing it."""
    name = raw["metadata"]["name"]
    made = plan(model(accelerators={"classes": [name], "perReplica": 1}), classes=[AcceleratorClass.read(raw)])
    assert made.verdict.allowed, made.verdict
    (deployment,) = (each for each in made.objects if each["kind"] == "Deployment")
    output = GOLDEN / f"{name}.yaml"
    if os.environ.get("BAILIWICK_GOLDEN") == "write":
        output.parent.mkdir(exist_ok=True)
        output.write_text(yaml.safe_dump(json.loads(json.dumps(deployment)), sort_keys=False, width=120))
    assert deployment == yaml.safe_load(output.read_text())


@pytest.mark.parametrize(
    "raw", [raw for raw in SERVED if "deviceClasses" in raw["spec"]], ids=lambda raw: raw["metadata"]["name"]
)
def test_its_devices_can_be_claimed_instead(raw: dict[str, Any]) -> None:
    name, spec = raw["metadata"]["name"], {**raw["spec"], "requestBy": ["Claim"]}
    made = plan(
        model(accelerators={"classes": [name], "perReplica": 1}), classes=[AcceleratorClass.read({**raw, "spec": spec})]
    )
    (template,) = (each for each in made.objects if each["kind"] == "ResourceClaimTemplate")
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == raw["spec"]["deviceClasses"][0]
    container = engine(made)
    assert container["resources"]["claims"] == [{"name": "devices"}]
    assert not set(container["resources"].get("limits", {})) & set(raw["spec"]["resources"])


def test_there_are_no_deployments_of_classes_that_are_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == {raw["metadata"]["name"] for raw in SERVED}
