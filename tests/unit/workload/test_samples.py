"""Samples can be served: each is planned with the catalogue's class, on nodes that have what the class asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.authority import Authority
from bailiwick.api.modelsource import ProfileReference, Source
from bailiwick.api.resource import field_name
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.workload.engines import ENGINES
from bailiwick.workload.group import spread
from bailiwick.workload.scaling import Scaling
from tests.unit.workload.given import plan
from tests.unit.workload.sizing.given import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bailiwick.workload.plan import WorkloadPlan

Raw = dict[str, Any]

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "samples"
CATALOGUE = ROOT / "charts/bailiwick/acceleratorclasses"
FAMILIES = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in sorted(CATALOGUE.glob("*.yaml"))}
DEVICES = sorted(FAMILIES.keys() - {"cpu"})
NOBODY, TESTED = "Nobody here has run it", "run in the tests of Bailiwick"


@dataclass(frozen=True)
class Sample:
    """One SovereignModel of a file; with the file's ConfigMaps."""

    path: str
    model: SovereignModel
    profiles: dict[str, Raw]

    def __str__(self) -> str:
        return f"{self.path}:{self.model.metadata.name}"

    def profile(self, variant: str | None = None) -> str | None:
        """The profile of the model, or of one of its variants."""
        where = next(each.profile for each in self.model.spec.model.every if each.variant == variant)
        return self.profiles[where.config_map][where.key] if where else None


def documents(path: Path) -> list[Raw]:
    return list(yaml.safe_load_all(path.read_text()))


@cache
def every(kind: str) -> Sequence[tuple[str, Raw]]:
    """The objects of a kind in all samples, with their paths."""
    return [
        (str(path.relative_to(SAMPLES)), raw)
        for path in sorted(SAMPLES.rglob("*.yaml"))
        for raw in documents(path)
        if raw["kind"] == kind
    ]


def samples() -> Iterator[Sample]:
    for path, raw in every("SovereignModel"):
        maps = {each["metadata"]["name"]: each["data"] for each in documents(SAMPLES / path) if "data" in each}
        yield Sample(path, SovereignModel.read(raw), maps)


ALL = [sample for sample in samples() if sample.model.spec.model.endpoint is None]
"""All that run in the cluster. What is served outside needs no hardware here."""
CLASSES = {
    raw["metadata"]["name"]: AcceleratorClass.read(raw)
    for raw in [
        *(raw for family in FAMILIES.values() for raw in family),
        *(raw for _, raw in every("AcceleratorClass")),
    ]
}
SERVED = [
    pytest.param(sample, name, id=f"{sample} on {name}")
    for sample in ALL
    for name in sample.model.spec.accelerators.classes
    if any(offer.name is sample.model.spec.engine.name for offer in CLASSES[name].spec.engines)
]
SCALING = Scaling(prometheus="http://prometheus.monitoring.svc:9090", wake_query="vector(1)")


def nodes_with(accelerator: AcceleratorClass) -> list[Raw]:
    """Two nodes as the class describes them: its labels, its taints, and its devices under one of their names."""
    spec = accelerator.spec
    devices = {name: str(spec.devices_per_node or 8) for name in spec.resources[-1:]}
    taints = [{"key": each.key, "value": each.value or "", "effect": "NoSchedule"} for each in spec.tolerations]
    return [node(f"n{number}", devices, dict(spec.node_selector.match_labels) if spec.node_selector else {}, taints)
            for number in (1, 2)]  # fmt: skip


def node(name: str, devices: Raw, labels: Raw, taints: list[Raw]) -> Raw:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "192", "memory": "2Ti", **devices},
        },
    }


def planned(sample: Sample, name: str, nodes: list[Raw], *, profile: str | None = None) -> WorkloadPlan:
    """The plan where one class is taken. Where nodes must stand is what other samples are about."""
    model = sample.model
    wanted = model.spec.accelerators.model_copy(update={"classes": (name,)})
    told, variants = model.spec.model, [each.name for each in model.spec.model.variants]
    told = told.model_copy(update={"profile": ProfileReference(config_map="p")}) if profile else told
    spec = model.spec.model_copy(update={"accelerators": wanted, "residency": None, "model": told})
    return plan(
        model.model_copy(update={"spec": spec}),
        classes=list(CLASSES.values()),
        nodes=nodes,
        authorities={raw["metadata"]["name"]: Authority.read(raw) for _, raw in every("Authority")},
        profile=profile or (None if variants else sample.profile()),
        profiles={name: sample.profile(name) for name in variants},
        scaling=SCALING,
    )


@pytest.mark.parametrize(("sample", "name"), SERVED)
def test_a_sample_is_served_where_its_hardware_is(sample: Sample, name: str) -> None:
    made = planned(sample, name, nodes_with(CLASSES[name]))
    assert made.verdict.allowed, made.verdict
    assert made.plan
    assert (made.plan.accelerator_class, made.plan.engine) == (name, sample.model.spec.engine.name)
    assert made.eligibility.nodes == ("n1", "n2"), made.eligibility.ineligible
    assert made.plan.nodes_per_replica <= (2 if sample.path == "scaling/groups.yaml" else 1)
    assert {"Deployment", "LeaderWorkerSet"} & {each["kind"] for each in made.objects}


@pytest.mark.parametrize(("sample", "name"), [each for each in SERVED if each.values[1] != "cpu"])
def test_and_nowhere_else(sample: Sample, name: str) -> None:
    made = planned(sample, name, [node("plain", {}, {}, [])])
    assert made.eligibility.nodes == ()


def test_every_class_that_a_sample_names_serves_its_engine_or_another_of_them_does() -> None:
    served = {str(each.values[0]) for each in SERVED}
    assert served == {str(sample) for sample in ALL}


@pytest.mark.parametrize("sample", [each for each in ALL if each.path.startswith("accelerators/")], ids=str)
def test_what_is_known_of_a_model_says_that_it_fits(sample: Sample) -> None:
    """By the public configuration of the model where there is one; a profile of the sample's own is sized anyway."""
    config, engine = PUBLIC.get(sample.model.spec.model.name.partition("/")[2]), sample.model.spec.engine.name
    if config is None or engine != "vllm":
        assert sample.model.spec.model.name in UNKNOWN
        return
    for name in sample.model.spec.accelerators.classes:
        text = json.dumps({"version": 1, "files": {}, "config": config})
        made = planned(sample, name, nodes_with(CLASSES[name]), profile=text)
        assert made.verdict.allowed, made.verdict
        assert made.plan
        assert made.plan.weight_bytes, made.notes
        assert (
            made.plan.nodes_per_replica == spread(made.plan.devices_per_replica, CLASSES[name].spec.devices_per_node)[0]
        )


UNKNOWN = {
    # Of an engine or format that nobody here can size.
    "HuggingFaceTB/SmolLM2-1.7B-Instruct", "Qwen/Qwen3-1.7B", "llama3.2:3b", "meta-llama/Llama-3.1-8B-Instruct",
    # Of which no public configuration was written down.
    "ibm-granite/granite-3.3-8b-instruct", "skt/A.X-4.0-Light",
}  # fmt: skip


# What there is


@pytest.mark.parametrize("family", DEVICES)
def test_every_family_of_the_catalogue_has_a_sample(family: str) -> None:
    here = [sample for sample in ALL if sample.path == f"accelerators/{family}.yaml"]
    assert here
    names = {raw["metadata"]["name"] for raw in FAMILIES[family]}
    assert {name for sample in here for name in sample.model.spec.accelerators.classes} <= names


@pytest.mark.parametrize("family", DEVICES)
def test_it_says_at_its_top_what_nobody_verified(family: str) -> None:
    lines = (SAMPLES / f"accelerators/{family}.yaml").read_text().splitlines()
    top = " ".join(
        line.removeprefix("# ") for line in lines[: next(i for i, line in enumerate(lines) if line[0] != "#")]
    )
    run = {raw["metadata"]["name"] for raw in FAMILIES[family] if _was_run(raw)}
    assert (NOBODY in top) is not bool(run)
    assert (TESTED in top) is bool(run)


def _was_run(raw: Raw) -> bool:
    return any(
        "as run in the tests" in each["source"] for each in raw["spec"]["sources"] if each["figure"] == "Engines"
    )


def test_no_sample_is_of_a_family_that_is_gone() -> None:
    assert {path.stem for path in (SAMPLES / "accelerators").iterdir()} == set(DEVICES)


def test_every_source_has_a_sample() -> None:
    shown = {
        kind
        for sample in samples()
        for weights in sample.model.spec.model.every
        for kind in weights.source.model_fields_set
    }
    assert shown == set(Source.model_fields)
    assert {field_name(each) for each in shown} == {
        "oci", "persistentVolumeClaim", "s3", "huggingFace", "hostPath", "endpoint",
    }  # fmt: skip


def test_every_engine_has_a_sample() -> None:
    assert {sample.model.spec.engine.name for sample in samples()} == ENGINES.keys()
    assert {sample.model.spec.engine.name for sample in ALL if sample.path.startswith("engines/")} == {
        "vllm",
        "llama.cpp",
    }


def test_no_two_samples_are_called_the_same_but_those_of_one_story() -> None:
    """Somebody may apply a whole folder."""
    for folder in {Path(sample.path).parent for sample in ALL} - {Path()}:
        names = [sample.model.metadata.name for sample in ALL if Path(sample.path).parent == folder]
        assert len(set(names)) == len(names), folder


def test_the_index_names_every_sample() -> None:
    index = (SAMPLES / "README.md").read_text()
    linked = {str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.yaml")}
    assert {path for path in linked if f"({path})" not in index} == set()
