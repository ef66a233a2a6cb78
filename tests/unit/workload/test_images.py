"""Which images a model can need: whatever any cluster makes of it, none is missing from the list."""

from __future__ import annotations

import pytest

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.authority import Authority
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy
from bailiwick.workload.images import Use, forms, plans, uses
from bailiwick.workload.plan import Settings
from bailiwick.workload.scaling import Scaling
from tests.unit.workload.given import DIGEST, accelerator, gpus, model
from tests.unit.workload.golden import CASES, given, planned, profiles

SETTINGS = Settings(
    gate_image="registry.example/gate:1",
    weights_image="registry.example/weights:1",
    serves_ungoverned=True,
    scaling=Scaling(prometheus="http://p.example", wake_query="1"),
)


@pytest.mark.parametrize("case", [case for case in CASES if case != "outside"])
def test_every_image_of_what_a_cluster_runs_was_listed(case: str) -> None:
    objects = given(case)
    (raw,) = objects["SovereignModel"]
    classes = [AcceleratorClass.read(each) for each in objects["AcceleratorClass"]]
    possible = [
        plan
        for form in forms(SovereignModel.read(raw))
        for plan in plans(
            form,
            classes={each.metadata.name: each for each in classes},
            settings=SETTINGS,
            policies=[compile_policy(ResidencyPolicy.read(each), Atlas(())) for each in objects["ResidencyPolicy"]],
            profiles=profiles(objects),
            authorities={each.metadata.name: each for each in map(Authority.read, objects.get("Authority", ()))},
        ).values()
    ]
    listed = {use for each in possible for use in uses(each.objects)}
    run = uses(planned(case).objects)
    assert run
    assert run <= listed


def test_a_class_that_nobody_described_has_no_plan_and_the_others_keep_their_order() -> None:
    asked = model(accelerators={"classes": ["gpu", "absent", "cpu"]})
    found = plans(asked, classes={each.metadata.name: each for each in (accelerator(), gpus())}, settings=SETTINGS)
    assert list(found) == ["gpu", "cpu"]
    assert all(each.verdict.allowed for each in found.values())
    assert [each.plan and each.plan.image for each in found.values()] == [
        "registry.example/gpu",
        "registry.example/cpu",
    ]


def test_images_of_containers_and_of_volumes_are_told_apart() -> None:
    pod = {
        "initContainers": [{"name": "import-10", "image": "a"}, {"name": "verify-adapter-0", "image": "b"}],
        "containers": [{"name": "engine", "image": "c", "env": [{"name": "IMAGE", "value": "no"}]}],
        "volumes": [{"name": "model", "image": {"reference": "d"}}, {"name": "x", "emptyDir": {}}],
    }
    objects = [{"kind": "Deployment", "spec": {"template": {"spec": pod}}}, {"kind": "Service", "spec": {"ports": [1]}}]
    assert uses(objects) == {Use("a", "import"), Use("b", "verify"), Use("c", "engine"), Use("d", "volume model")}


def test_an_image_by_digest_alone_needs_nothing_that_verifies() -> None:
    pinned = plans(model(), classes={"cpu": accelerator()}, settings=SETTINGS)["cpu"]
    assert {use.reference for use in uses(pinned.objects)} == {
        "registry.example/gate:1", "registry.example/cpu", f"registry.example/tiny@{DIGEST}",
    }  # fmt: skip
