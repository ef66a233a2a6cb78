"""Which variant and class are chosen, by which objective, and with which reason."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bailiwick.residency.verdict import Problem, Reason
from bailiwick.workload.sizing.choice import Choice, Offer, Variant, Wish, choose
from bailiwick.workload.sizing.fit import Request
from tests.unit.workload.sizing.given import LLAMA_8B, accelerator, changed, model, offer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass
    from bailiwick.workload.sizing.choice import Objective

FP8 = {"quant_method": "fp8"}
FULL = Variant(model=model(LLAMA_8B, "bf16"), quality=Fraction("0.80"))
SMALL = Variant(model=model(changed(LLAMA_8B, quantization_config=FP8), "fp8"), quality=Fraction("0.79"))
POOR = Variant(
    model=model(changed(LLAMA_8B, quantization_config={"quant_method": "awq", "bits": 4, "group_size": 128}), "int4"),
    quality=Fraction("0.71"),
)
SLOW = accelerator("slow", bandwidth="300G", thermalDesignPower=72)
FAST = accelerator("fast", bandwidth="4800G", thermalDesignPower=700)
TINY = accelerator("tiny", memory="2G")
SILENT = accelerator("silent", bandwidth=None, thermalDesignPower=None)


def choice(
    variants: Sequence[Variant], classes: Sequence[AcceleratorClass], objective: Objective = "Balanced", **joules: str
) -> Choice | Problem:
    measured = {tuple(key.split("__")): Fraction(value) for key, value in joules.items()}
    wish = Wish(request=Request(length=4096), objective=objective, joules=measured)  # type: ignore[arg-type]
    return choose(variants, [offer(each) for each in classes], wish)


def chosen(*given: Any, **named: Any) -> tuple[str, str]:
    found = choice(*given, **named)
    assert isinstance(found, Choice), found
    return found.sizing.accelerator, found.variant


def refusal(reason: Reason, *given: Any, **named: Any) -> str:
    found = choice(*given, **named)
    assert isinstance(found, Problem)
    assert found.reason is reason
    return found.message


def test_balanced_takes_the_first_that_fits() -> None:
    assert chosen([FULL, SMALL], [SLOW, FAST]) == ("slow", "bf16")
    assert chosen([SMALL, FULL], [FAST, SLOW]) == ("fast", "fp8")
    assert chosen([FULL], [TINY, FAST]) == ("fast", "bf16")


def test_the_reason_and_what_was_refused_are_told() -> None:
    found = choice([FULL], [TINY, FAST])
    assert isinstance(found, Choice)
    assert found.reason == (
        "bf16 on 1 x fast is the first in order of preference that fits, on the fewest devices (Balanced)"
    )
    assert [problem.reason for problem in found.refused] == [Reason.DOES_NOT_FIT]


def test_latency_takes_what_reads_a_token_soonest() -> None:
    assert chosen([FULL, SMALL], [SLOW, FAST], "Latency") == ("fast", "fp8")
    found = choice([FULL], [SILENT, SLOW], "Latency")
    assert isinstance(found, Choice)
    assert found.sizing.accelerator == "slow"
    assert found.reason.endswith("not ranked, for their class gives no bandwidth: silent")


def test_energy_takes_the_cheapest_of_those_that_are_good_enough() -> None:
    """By bandwidth and TDP: 72 W for 300 GB/s is worse than 700 W for 4800 GB/s. 0.71 is less than 0.9 of 0.80."""
    assert chosen([FULL, SMALL, POOR], [SLOW, FAST], "Energy") == ("fast", "fp8")
    assert chosen([FULL, POOR], [SLOW, FAST], "Energy") == ("fast", "bf16")
    nearly = Variant(model=POOR.model, quality=Fraction("0.72"))
    assert chosen([FULL, nearly], [SLOW, FAST], "Energy") == ("fast", "int4")


def test_what_was_measured_counts_more_than_what_is_computed() -> None:
    assert chosen([FULL], [SLOW, FAST], "Energy", slow__bf16="0.5", fast__bf16="0.7") == ("slow", "bf16")
    found = choice([FULL], [SLOW, FAST], "Energy", slow__bf16="0.000001")
    assert isinstance(found, Choice)
    assert found.sizing.accelerator == "fast"
    assert "not all are measured" in found.reason


@pytest.mark.parametrize(
    ("variants", "classes", "objective", "reason", "why"),
    [
        ([], [FAST], "Balanced", Reason.NO_ACCELERATOR, "name some"),
        ([FULL], [], "Balanced", Reason.NO_ACCELERATOR, "name some"),
        ([FULL], [TINY], "Balanced", Reason.DOES_NOT_FIT, "does not fit"),
        ([FULL], [TINY, accelerator(memory=None)], "Balanced", Reason.DOES_NOT_FIT, "nothing fits: model bf16"),
        ([FULL], [SILENT], "Latency", Reason.MISSING_FIGURE, "needs spec.bandwidth"),
        ([FULL], [SILENT], "Energy", Reason.MISSING_FIGURE, "spec.thermalDesignPower"),
        ([FULL, Variant(model=SMALL.model)], [FAST], "Energy", Reason.MISSING_FIGURE, "nobody declared that of fp8"),
    ],
)
def test_no_choice_says_why(variants: Any, classes: Any, objective: Any, reason: Reason, why: str) -> None:
    assert why in refusal(reason, variants, classes, objective)


def test_a_variant_that_is_not_good_enough_is_not_taken_because_it_alone_fits() -> None:
    narrow = accelerator("narrow", memory="13G", devicesPerNode=None)
    assert chosen([POOR], [narrow], "Energy") == ("narrow", "int4")
    assert "0.9 of the best declared quality" in refusal(Reason.DOES_NOT_FIT, [FULL, POOR], [narrow], "Energy")


CLASSES = [SLOW, FAST, TINY, SILENT, accelerator("wide", memory="141G", bandwidth="4000G")]


@settings(max_examples=30, deadline=None)
@given(
    st.permutations(CLASSES), st.permutations([FULL, SMALL, POOR]), st.sampled_from(["Balanced", "Energy", "Latency"])
)
def test_the_order_of_classes_is_a_preference_and_nothing_else(
    classes: list[AcceleratorClass], variants: list[Variant], objective: Objective
) -> None:
    found, plain = choice(variants, classes, objective), choice([FULL, SMALL, POOR], CLASSES, objective)
    assert isinstance(found, Choice)
    assert isinstance(plain, Choice)
    assert set(found.refused) == set(plain.refused)
    if objective == "Balanced":
        first = next(each for each in classes if each is not TINY)
        assert (found.sizing.accelerator, found.variant) == (first.metadata.name, variants[0].model.name)
    else:
        assert (found.sizing, found.variant) == (plain.sizing, plain.variant)


def test_a_class_may_offer_an_engine_twice_under_other_names() -> None:
    both = [Offer(accelerator=FAST, serving=each) for each in FAST.spec.engines * 2]
    found = choose([FULL], both, Wish(request=Request(length=4096)))
    assert isinstance(found, Choice)
    assert not found.refused
