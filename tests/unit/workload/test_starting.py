"""How long a replica may take to start: by bytes and speed of storage, stable, and said when it was not enough."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.workload.sizing.profile import Profile, write_profile
from bailiwick.workload.starting import ANY_START, LONGEST_SECONDS, start
from bailiwick.workload.troubles import trouble_of
from tests.unit.workload.given import IMAGE, NOW, accelerator, child, engine, gpus, model, node, plan
from tests.unit.workload.sizing.given import PUBLIC, changed
from tests.unit.workload.test_status import again, deployment, pod

LARGE = write_profile(Profile(config=changed(PUBLIC["Llama-3-Taiwan-70B-Instruct"])))
BYTES = 141_104_775_168
FIGURES: dict[str, Any] = {"memory": "80G", "bandwidth": "3T", "devicesPerNode": 8}
GPUS = [gpus(**FIGURES), accelerator()]


def weights(speed: str | None = None) -> Any:
    told = {"readSpeed": speed} if speed else {}
    return model(model={"name": "tiny", "source": IMAGE, **told}).spec.model.weights


@pytest.mark.parametrize(
    ("speed", "read", "seconds"),
    [
        (None, None, 3600),
        ("1Gi", None, 3600),
        (None, 0, 3600),
        (None, BYTES, 3600),
        (None, 1_038_000_000_000, 11_700),
        (None, 10**15, LONGEST_SECONDS),
        ("100Mi", BYTES, 3180),
        ("300Mi", BYTES, 2280),
        ("1Gi", BYTES, 1980),
        ("7G", BYTES, 1860),
        ("10M", BYTES, 15_960),
        ("1", BYTES, LONGEST_SECONDS),
        ("1Gi", 0, 1800),
        ("999999999999999Ti", 2**62, 1860),
    ],
)
def test_the_budget_of_a_start(speed: str | None, read: int | None, seconds: int) -> None:
    """Figures of pod templates: whoever changes one restarts models that run."""
    assert start(weights(speed), read).seconds == seconds


@given(
    read=st.integers(0, 2**50), more=st.integers(0, 2**50), speed=st.integers(1, 2**40), faster=st.integers(0, 2**40)
)
def test_more_bytes_never_get_less_time_and_faster_storage_never_more(
    read: int, more: int, speed: int, faster: int
) -> None:
    budget = start(weights(str(speed)), read).seconds
    assert (
        start(weights(str(speed)), read + more).seconds >= budget >= start(weights(str(speed + faster)), read).seconds
    )
    assert 1800 <= budget <= LONGEST_SECONDS
    assert budget % 2 == 0
    assert start(weights(), read).seconds >= ANY_START.seconds


# In the plan


def served(profile: str | None = LARGE, status: Any = None, classes: Any = GPUS, **told: Any) -> Any:
    asked = {"name": "tiny", "source": IMAGE, "profile": {"configMap": "shape"}, **told}
    whole = model(model=asked, accelerators={"classes": ["gpu"]}, status=status)
    return plan(whole, classes=classes, profile=profile, nodes=[node(gpu="8")])


def probe(made: Any) -> int:
    found = engine(made)["startupProbe"]
    seconds: int = found["periodSeconds"] * found["failureThreshold"]
    return seconds


def test_the_probe_gives_up_when_the_budget_is_spent_and_the_deployment_later() -> None:
    made = served(readSpeed="300Mi")
    assert made.plan.weight_bytes == BYTES
    assert probe(made) == 2280
    assert child(made, "Deployment")["spec"]["progressDeadlineSeconds"] == 2280 + 449 + 600
    assert probe(served(readSpeed="10M")) == 15_960


def test_without_a_speed_or_without_a_profile_it_is_as_for_any_model() -> None:
    assert probe(served()) == 3600
    own = {"name": "tiny", "source": IMAGE}
    plain = plan(model(model=own))
    assert probe(plain) == 3600
    assert child(plain, "Deployment")["spec"]["progressDeadlineSeconds"] == 4200
    told = plan(model(model={**own, "readSpeed": "1Gi"}))
    assert engine(told) == engine(plain)
    assert "spec.model.readSpeed is not used" in told.notes[-1]
    assert not any("readSpeed" in note for note in (*plain.notes, *served(readSpeed="1Gi").notes))


def test_the_budget_stands_with_the_plan() -> None:
    """Neither a class that changed nor a profile that is gone makes another pod template."""
    before = served(readSpeed="300Mi")
    status = {"plan": before.plan.model_dump(mode="json", by_alias=True, exclude_none=True)}
    for rest in ({"profile": None}, {"classes": [gpus(**{**FIGURES, "memory": "192G"})]}):
        assert engine(served(readSpeed="300Mi", status=status, **rest)) == engine(before)


def test_a_group_has_the_same_budget() -> None:
    huge = write_profile(Profile(config=PUBLIC["A.X-K1"]))
    made = served(huge, readSpeed="1Gi")
    group = child(made, "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]
    (leader,) = group["leaderTemplate"]["spec"]["containers"]
    expected = start(weights("1Gi"), made.plan.weight_bytes).seconds
    assert expected > 2400
    assert leader["startupProbe"]["failureThreshold"] * 2 == expected


def test_each_variant_has_the_speed_of_its_own_storage() -> None:
    listed = [
        {"name": name, "source": IMAGE, "profile": {"configMap": "shape"}, "readSpeed": speed}
        for name, speed in (("near", "1Gi"), ("far", "100Mi"))
    ]

    def of(*variants: Any) -> Any:
        return plan(
            model(model={"name": "tiny", "variants": list(variants)}, accelerators={"classes": ["gpu"]}),
            classes=GPUS, profile=LARGE,
        )  # fmt: skip

    assert (probe(of(*listed)), probe(of(*reversed(listed)))) == (1980, 3180)


# When it was not enough


def slow(seconds: int) -> Any:
    began = NOW - timedelta(seconds=seconds)
    last = {"startedAt": f"{began:%Y-%m-%dT%H:%M:%SZ}", "finishedAt": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"}
    return pod(containerStatuses=[again(exitCode=137, **last)])


_TOLD = (
    "within 2280 s and was ended (exit code 137): that is 1800 s for the engine itself and what 141104775168 bytes of "
    "weights take at 314572800 bytes per second, as spec.model.readSpeed says; say there how fast the storage really is"
)


@pytest.mark.parametrize(
    ("speed", "read", "says"),
    [
        (None, None, "the bytes of its weights are not known, so this is the same for all; name a profile"),
        ("300Mi", BYTES, _TOLD),
        (None, BYTES, "at 104857600 bytes per second, as is assumed without spec.model.readSpeed, an hour at least; "),
        ("1M", BYTES, "as spec.model.readSpeed says, a day at most; say there"),
    ],
)  # fmt: skip
def test_a_start_that_took_too_long_is_told_with_what_was_assumed(
    speed: str | None, read: int | None, says: str
) -> None:
    budget = start(weights(speed), read)
    found = trouble_of(deployment(), [slow(budget.seconds + 90)], budget)
    assert found
    assert found.reason == "SlowStart"
    assert says in found.message
    assert found.message.endswith("or read the weights from faster storage, such as a disk of the node")


@pytest.mark.parametrize("seconds", [2200, 3 * 3600])
def test_what_ended_sooner_or_served_for_long_was_no_slow_start(seconds: int) -> None:
    found = trouble_of(deployment(), [slow(seconds)], start(weights("300Mi"), BYTES))
    assert found
    assert found.reason == "CrashLoopBackOff"
