"""What a profile makes of a plan: how many devices of which class, what is refused, and what stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bailiwick.workload.sized import _answer
from bailiwick.workload.sizing.profile import Profile, digest, write_profile
from tests.unit.workload.given import GPU, IMAGE, accelerator, child, engine, gpus, model, node, plan
from tests.unit.workload.sizing.given import LLAMA_8B, PUBLIC, changed

SMALL = write_profile(Profile(config=changed(LLAMA_8B, max_position_embeddings=8192)))
LARGE = write_profile(Profile(config=changed(PUBLIC["Llama-3-Taiwan-70B-Instruct"])))
HUGE = write_profile(Profile(config=PUBLIC["A.X-K1"]))
STRANGE = write_profile(Profile(config=changed(LLAMA_8B, model_type="strange")))
WITH_PROFILE = {"name": "tiny", "source": IMAGE, "profile": {"configMap": "shape"}}
FIGURES: dict[str, Any] = {
    "memory": "80G", "bandwidth": "3T", "thermalDesignPower": 700, "devicesPerNode": 8,
}  # fmt: skip


def sized(profile: str | None = SMALL, *, classes: Any = None, nodes: Any = (), status: Any = None, **spec: Any) -> Any:
    """The plan of a model on class ``gpu`` of 80 GB."""
    asked = {"model": WITH_PROFILE, "accelerators": {"classes": ["gpu"]}, **spec}
    offered = [gpus(**FIGURES), accelerator()] if classes is None else classes
    return plan(model(status=status, **asked), classes=offered, nodes=nodes, profile=profile)


def shape(made: Any) -> tuple[int, int, int]:
    return made.plan.devices_per_replica, made.plan.tensor, made.plan.pipeline


def kept(made: Any) -> Any:
    """A status that tells this plan."""
    return {"plan": made.plan.model_dump(mode="json", by_alias=True, exclude_none=True)}


def test_a_small_model_gets_one_device_and_a_large_one_as_many_as_it_needs() -> None:
    assert shape(sized(SMALL)) == (1, 1, 1)
    made = sized(LARGE)
    assert shape(made) == (4, 4, 1)
    container = engine(made)
    assert container["resources"]["limits"] == {GPU: "4"}
    assert "--tensor-parallel-size=4" in container["args"]


def test_the_status_tells_the_figures_and_the_reason() -> None:
    told = sized(LARGE).plan
    assert told.weight_bytes == pytest.approx(141e9, rel=0.01)
    assert told.kv_cache_bytes > 0
    assert (told.max_length, told.longest_length) == (8192, 8192)
    assert told.max_sequences > 1
    assert "the first in order of preference that fits" in told.why
    assert told.profile == digest(LARGE)


# Without knowledge


def test_without_a_profile_all_is_as_it_was_and_the_reader_is_told() -> None:
    made = plan(model(accelerators={"classes": ["gpu"]}), classes=[gpus()])
    assert made.plan
    assert (made.plan.devices_per_replica, made.plan.basis) == (1, None)
    assert "nothing was sized, so a replica has one device" in made.notes[0]
    assert "bailiwick plan --write-profile" in made.notes[0]
    asked = plan(model(accelerators={"classes": ["gpu"], "perReplica": 2}), classes=[gpus()])
    assert asked.notes == ()


UNKNOWN = [
    (
        None,
        "MissingProfile",
        'no ConfigMap shape with the label bailiwick.dev/profile: "true" and the key profile.json',
    ),
    ("{", "MalformedProfile", "is not JSON"),
    (STRANGE, "UnknownArchitecture", "model_type 'strange'"),
]


@pytest.mark.parametrize(("profile", "reason", "says"), UNKNOWN)
def test_what_cannot_be_known_is_refused_where_it_is_needed(profile: Any, reason: str, says: str) -> None:
    made = sized(profile)
    assert (made.verdict.allowed, made.verdict.reason, made.objects) == (False, reason, ())
    assert says in made.verdict.message
    assert ";" in made.verdict.message


@pytest.mark.parametrize(("profile", "reason", "says"), UNKNOWN)
@pytest.mark.parametrize(
    "asked", [{"accelerators": {"classes": ["gpu"], "perReplica": 2}}, {"parallelism": {"tensor": 2}}]
)
def test_and_only_a_doubt_where_somebody_said_how_many(profile: Any, reason: str, says: str, asked: Any) -> None:
    made = sized(profile, **asked)
    assert made.verdict.allowed, reason
    assert made.plan.devices_per_replica == 2
    assert made.notes[0].startswith("the devices asked for were not checked: ")
    assert says in made.notes[0]


@pytest.mark.parametrize(
    ("figures", "reason", "says"),
    [
        ({"memory": None}, "MissingFigure", "does not say how much memory it has; add spec.memory"),
        ({"devicesPerNode": None}, "MissingFigure", "add spec.devicesPerNode to the class"),
    ],
)
def test_a_class_without_figures_cannot_be_sized_for(figures: Any, reason: str, says: str) -> None:
    given = {key: value for key, value in {**FIGURES, **figures}.items() if value is not None}
    made = sized(LARGE, classes=[gpus(**given)])
    assert (made.verdict.reason, made.objects) == (reason, ())
    assert says in made.verdict.message


# What somebody asked for is checked


@pytest.mark.parametrize(
    ("profile", "asked", "reason", "says"),
    [
        (
            LARGE, {"accelerators": {"classes": ["gpu"], "perReplica": 1}}, "DoesNotFit",
            "bytes of weights) does not fit one device of accelerator class gpu (73600000000 usable bytes each)",
        ),
        (LARGE, {"parallelism": {"tensor": 2}}, "DoesNotFit", "does not fit 2 devices"),
        (LARGE, {"parallelism": {"tensor": 3}}, "InvalidModel", "not divided by 3"),
        (LARGE, {"accelerators": {"classes": ["gpu"], "perReplica": 3}}, "InvalidModel", "spread evenly over so many"),
        (SMALL, {"context": {"maxLength": 9000}}, "InvalidModel", "was made for 8192 tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_figures(profile: str, asked: Any, reason: str, says: str) -> None:
    made = sized(profile, **asked)
    assert (made.verdict.reason, made.objects) == (reason, ())
    assert says in made.verdict.message


@pytest.mark.parametrize(
    ("profile", "asked", "devices", "nodes"),
    [(LARGE, {"parallelism": {"tensor": 8, "pipeline": 2}}, 16, 2), (HUGE, {}, 24, 3)],
)
def test_what_no_node_holds_is_spread_over_a_group(profile: str, asked: Any, devices: int, nodes: int) -> None:
    made = sized(profile, **asked)
    assert made.plan
    assert (made.plan.devices_per_replica, made.plan.nodes_per_replica) == (devices, nodes)
    assert "LeaderWorkerSet" in {each["kind"] for each in made.objects}


def test_devices_that_fit_are_as_asked_and_have_their_figures() -> None:
    made = sized(SMALL, accelerators={"classes": ["gpu"], "perReplica": 2})
    assert shape(made) == (2, 2, 1)
    assert made.plan.weight_bytes


def test_a_class_that_surely_is_too_small_is_not_taken_instead_of_one_that_nobody_knows() -> None:
    unknown = gpus("unknown")
    asked = {"accelerators": {"classes": ["gpu", "unknown"], "perReplica": 1}}
    made = sized(LARGE, classes=[gpus(**FIGURES), unknown], nodes=[node(gpu="8")], **asked)
    assert made.verdict.allowed
    assert made.plan.accelerator_class == "unknown"


def test_adapters_are_not_counted_and_so_nothing_is_sized() -> None:
    adapters = [{"name": "legal", "source": IMAGE}]
    assert sized(SMALL, adapters=adapters).verdict.reason == "UnsupportedFeature"
    assert sized(SMALL, adapters=adapters, parallelism={"tensor": 2}).verdict.allowed


# Which class

FAST = gpus("fast", **{**FIGURES, "bandwidth": "8T", "thermalDesignPower": 3000})
FRUGAL = gpus("frugal", **{**FIGURES, "bandwidth": "1T", "thermalDesignPower": 75})
METERED = gpus(
    "frugal", **FIGURES, measurements=[{"model": "tiny", "joulesPerToken": "0.1", "source": "a meter"}]
)  # fmt: skip
MEASURED = gpus("fast", **FIGURES, measurements=[{"model": "tiny", "joulesPerToken": "0.01", "source": "a meter"}])


@pytest.mark.parametrize(
    ("objective", "classes", "chosen"),
    [
        ("Balanced", [gpus(**FIGURES), FAST, FRUGAL], "gpu"),
        ("Latency", [gpus(**FIGURES), FAST, FRUGAL], "fast"),
        ("Energy", [gpus(**FIGURES), FAST, FRUGAL], "frugal"),
        ("Energy", [METERED, MEASURED], "fast"),
    ],
)
def test_the_objective_chooses_among_the_classes(objective: str, classes: Any, chosen: str) -> None:
    names = [each.metadata.name for each in classes]
    made = sized(SMALL, classes=classes, objective=objective, accelerators={"classes": names})
    assert made.plan.accelerator_class == chosen
    assert f"({objective})" in made.plan.why


def test_a_class_that_has_a_node_is_better_than_one_that_has_none() -> None:
    there = node(gpu="8", labels={"kind": "frugal"})
    frugal = gpus("frugal", **FIGURES, nodeSelector={"matchLabels": {"kind": "frugal"}})
    fast = gpus("fast", **FIGURES, nodeSelector={"matchLabels": {"kind": "fast"}})
    asked = {"accelerators": {"classes": ["fast", "frugal"]}}
    assert sized(SMALL, classes=[fast, frugal], nodes=[there], **asked).plan.accelerator_class == "frugal"
    assert sized(SMALL, classes=[fast, frugal], nodes=[], **asked).plan.accelerator_class == "fast"
    cordoned = node("b", gpu="8", labels={"kind": "fast"}, cordoned=True)
    assert sized(SMALL, classes=[fast, frugal], nodes=[there, cordoned], **asked).plan.accelerator_class == "frugal"
    asked = {"accelerators": {"classes": ["frugal", "fast"]}}
    assert sized(SMALL, classes=[fast, frugal], nodes=[cordoned], **asked).plan.accelerator_class == "fast"


def test_a_node_with_too_few_devices_is_none() -> None:
    asked = {"accelerators": {"classes": ["gpu"]}}
    made = sized(LARGE, nodes=[node("a", gpu="2"), node("b", gpu="4")], **asked)
    assert made.eligibility.nodes == ("b",)


# What runs is not planned anew


def test_neither_a_catalogue_nor_a_release_moves_what_runs() -> None:
    nodes = [node(gpu="8")]
    before = sized(LARGE, nodes=nodes)
    status = kept(before)
    for classes in (
        [gpus(**{**FIGURES, "memory": "192G"})],
        [gpus(**{**FIGURES, "memory": "40G"})],
        [gpus()],
        [gpus("better", **{**FIGURES, "memory": "192G"}), gpus(**FIGURES)],
    ):
        asked = {"accelerators": {"classes": ["gpu"]}}
        after = sized(LARGE, classes=classes, nodes=nodes, status=status, **asked)
        assert after.plan == before.plan
        assert child(after, "Deployment") == child(before, "Deployment")
    # What stands is only what the status tells: other figures in it would stand as well.
    status["plan"] |= {"devicesPerReplica": 8, "tensor": 8}
    assert shape(sized(LARGE, nodes=nodes, status=status)) == (8, 8, 1)


@pytest.mark.parametrize(
    "asked",
    [
        {"context": {"maxLength": 4096}},
        {"accelerators": {"classes": ["gpu"], "perReplica": 4}},
        {"objective": "Latency"},
        {"engine": {"arguments": ["--max-num-batched-tokens=8192"]}},
    ],
)
def test_a_change_of_what_is_asked_is_planned_anew(asked: Any) -> None:
    status = kept(sized(LARGE))
    status["plan"] |= {"devicesPerReplica": 8, "tensor": 8}
    assert shape(sized(LARGE, status=status)) == (8, 8, 1)
    assert shape(sized(LARGE, status=status, **asked)) == (4, 4, 1)


@pytest.mark.parametrize("asked", [{"replicas": 7}, {"residency": {"place": {"allow": ["DE"]}}}])
def test_a_change_of_anything_else_is_not(asked: Any) -> None:
    status = kept(sized(LARGE))
    status["plan"] |= {"devicesPerReplica": 8, "tensor": 8}
    assert shape(sized(LARGE, status=status, nodes=[node(gpu="8")], **asked)) == (8, 8, 1)


def test_another_profile_is_planned_anew_and_one_that_is_gone_is_not() -> None:
    status = kept(sized(LARGE))
    assert shape(sized(SMALL, status=status)) == (1, 1, 1)
    gone = sized(None, status=status)
    assert gone.verdict.allowed
    assert shape(gone) == (4, 4, 1)
    assert "no ConfigMap shape" in gone.notes[0]
    assert sized("{", status=status).verdict.reason == "MalformedProfile"


def test_devices_that_are_gone_are_planned_anew_where_others_are() -> None:
    asked = {"accelerators": {"classes": ["gpu", "other"]}}
    other = gpus("other", **{**FIGURES, "memory": "192G"}, resources=["vendor.example/other"])
    classes = [gpus(**FIGURES), other]
    status = kept(sized(LARGE, classes=classes, nodes=[node(gpu="8")], **asked))
    there = node("b")
    there["status"]["allocatable"]["vendor.example/other"] = "8"
    moved = sized(LARGE, classes=classes, nodes=[there], status=status, **asked)
    assert (moved.plan.accelerator_class, moved.plan.devices_per_replica) == ("other", 1)
    assert sized(LARGE, classes=classes, nodes=[], status=status, **asked).plan == sized(LARGE, **asked).plan


def test_the_basis_does_not_follow_from_what_is_as_by_default() -> None:
    """Else a release that adds a field would move every model."""
    plain = sized(SMALL).plan.basis
    said = {"context": {}, "engine": {"name": "vllm", "arguments": []}, "objective": "Balanced"}
    assert sized(SMALL, **said).plan.basis == plain
    # As written by the release that first planned: whoever changes this moves models that run.
    assert plain == "sha256:a68f0b56cfe746e21afd1a3e7c22effab9559f23f3e49e05fbd5236ae68f66a6"


def test_the_same_question_is_answered_once() -> None:
    """Whenever a node changes, every model that could not be sized asks again."""
    classes = [gpus(**{**FIGURES, "memory": "17G"})]
    before = _answer.cache_info()
    first, again = (sized(LARGE, classes=classes, nodes=nodes) for nodes in ([], [node(gpu="8")]))
    asked = _answer.cache_info()
    assert first.verdict == again.verdict
    assert (asked.misses - before.misses, asked.hits - before.hits) == (1, 1)
    sized(LARGE, classes=[gpus(**{**FIGURES, "memory": "18G"})])
    assert _answer.cache_info().misses == asked.misses + 1


# Properties


@settings(max_examples=60, deadline=None)
@given(
    gigabytes=st.integers(20, 200),
    more=st.integers(0, 200),
    profile=st.sampled_from([SMALL, LARGE]),
    per_node=st.sampled_from([1, 2, 4, 8]),
)
def test_more_memory_never_needs_more_devices(gigabytes: int, more: int, profile: str, per_node: int) -> None:
    def on(memory: int) -> Any:
        return sized(profile, classes=[gpus(**{**FIGURES, "memory": f"{memory}G", "devicesPerNode": per_node})])

    less, greater = on(gigabytes), on(gigabytes + more)
    if less.verdict.allowed:
        assert greater.verdict.allowed
        assert greater.plan.devices_per_replica <= less.plan.devices_per_replica


@settings(max_examples=60, deadline=None)
@given(
    gigabytes=st.integers(10, 120),
    tensor=st.sampled_from([1, 2, 4]),
    times=st.sampled_from([1, 2]),
    profile=st.sampled_from([SMALL, LARGE]),
)
def test_more_devices_never_make_fit_fail(gigabytes: int, tensor: int, times: int, profile: str) -> None:
    def over(devices: int) -> Any:
        figures = {**FIGURES, "memory": f"{gigabytes}G"}
        return sized(profile, classes=[gpus(**figures)], parallelism={"tensor": devices})

    if over(tensor).verdict.allowed:
        assert over(tensor * times).verdict.allowed


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([SMALL, LARGE]), st.integers(40, 200), st.integers(1, 8))
def test_what_was_planned_stands_until_something_is_asked(profile: str, gigabytes: int, on_node: int) -> None:
    nodes = [node(gpu=str(on_node))]
    first = sized(profile, classes=[gpus(**{**FIGURES, "memory": f"{gigabytes}G"})], nodes=nodes)
    if not first.eligibility.capable:
        return  # it waits, and a corrected class may help it
    again = sized(profile, classes=[gpus(**FIGURES)], nodes=nodes, status=json.loads(json.dumps(kept(first))))
    assert again.objects == first.objects
    assert again.plan == first.plan
