"""Which variant of a model on which class of accelerators: by what was asked for, and with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from bailiwick.api.quantities import amount
from bailiwick.residency.verdict import Problem, Reason
from bailiwick.workload.sizing.fit import fit
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass, ServingEngine
    from bailiwick.workload.sizing.fit import Model, Request, Sizing

Objective = Literal["Balanced", "Energy", "Latency"]
GOOD_ENOUGH = Fraction(9, 10)
"""The part of the best declared quality that is enough where energy decides."""
_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of a model, such as a quantized one. ``quality`` is declared by its owner: nobody here measures it."""

    model: Model
    quality: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, and why. ``refused`` are the other combinations that cannot be, in the order they were tried."""

    variant: str
    sizing: Sizing
    reason: str
    refused: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One combination that fits."""

    variant: Variant
    accelerator: AcceleratorClass
    sizing: Sizing

    @property
    def key(self) -> tuple[str, str]:
        """Its class and variant: what a measurement is about."""
        return self.accelerator.metadata.name, self.variant.model.name

    def __str__(self) -> str:
        return f"{self.variant.model.name} on {self.sizing.devices or 'the CPUs'} x {self.sizing.accelerator}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A class of accelerators and how an engine serves on it."""

    accelerator: AcceleratorClass
    serving: ServingEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for, and what was measured: joules per generated token by class and variant."""

    request: Request
    objective: Objective = "Balanced"
    joules: Mapping[tuple[str, str], Fraction] = field(default_factory=dict)


def choose(variants: Sequence[Variant], offers: Sequence[Offer], wish: Wish) -> Choice | Problem:
    """The best combination of a variant and a class, both in order of preference; or why there is none."""
    if not variants or not offers:
        return Problem(Reason.NO_ACCELERATOR, "there is no variant or no accelerator class to plan for; name some")
    options, refused = options_of(variants, offers, wish.request)
    return best(options, refused, {each.model.name: each.quality for each in variants}, wish)


def options_of(
    variants: Sequence[Variant], offers: Sequence[Offer], request: Request
) -> tuple[tuple[Option, ...], tuple[Problem, ...]]:
    """Every combination that fits, in order of preference, and why the others do not."""
    refused: list[Problem] = []
    options: list[Option] = []
    for offer in offers:
        for variant in variants:
            try:
                sizing = fit(variant.model, offer.accelerator, offer.serving, request)
            except UnsizableError as error:
                refused.append(error.problem)
            else:
                options.append(Option(variant=variant, accelerator=offer.accelerator, sizing=sizing))
    return tuple(options), tuple(refused)


def best(
    options: Sequence[Option], refused: Sequence[Problem], declared: Mapping[str, Fraction | None], wish: Wish
) -> Choice | Problem:
    """The option that the objective ranks first; without options, why there is none.

    ``declared`` is the quality of every variant, by name, also of those that do not fit: None where nobody told it.
    """
    if not options:
        return _none(refused)
    try:
        chosen, reason = _RANKINGS[wish.objective](options, declared, wish)
    except UnsizableError as error:
        return error.problem
    return Choice(variant=chosen.variant.model.name, sizing=chosen.sizing, reason=reason, refused=tuple(refused))


def _balanced(options: Sequence[Option], _: Mapping[str, Fraction | None], wish: Wish) -> tuple[Option, str]:
    first, request = options[0], wish.request
    devices = "the fewest devices" if request.devices is None and request.spread is None else "the devices asked for"
    return first, f"{first} is the first in order of preference that fits, on {devices} ({wish.objective})"


def _latency(options: Sequence[Option], _: Mapping[str, Fraction | None], wish: Wish) -> tuple[Option, str]:
    ranked = [(seconds, option) for option in options if (seconds := _seconds(option)) is not None]
    if not ranked:
        raise _missing(options, "spec.bandwidth", wish.objective)
    seconds, best = min(ranked, key=lambda each: each[0])
    left = [option for option in options if _seconds(option) is None]
    return best, (
        f"{best} reads {best.sizing.read_bytes} bytes per token and device, at least {float(seconds) * 1000:.2f} ms, "
        f"the shortest of {len(ranked)} that fit ({wish.objective}){_left_out(left, 'bandwidth')}"
    )


def _energy(options: Sequence[Option], declared: Mapping[str, Fraction | None], wish: Wish) -> tuple[Option, str]:
    good, told = _good_enough(options, declared)
    # Measured and nominal figures cannot be compared: the first know of batches, the second of one sequence.
    if all(option.key in wish.joules for option in good):
        measured, best = min(((wish.joules[option.key], option) for option in good), key=lambda each: each[0])
        return best, f"{best} takes {float(measured):.3g} J per token as measured, the least of {len(good)} {told}"
    ranked = [(cost, option) for option in good if (cost := _joules(option)) is not None]
    if not ranked:
        raise _missing(good, "spec.bandwidth and spec.thermalDesignPower", wish.objective)
    cost, best = min(ranked, key=lambda each: each[0])
    left = [option for option in good if _joules(option) is None]
    return best, (
        f"{best} takes {float(cost):.3g} J per token of one sequence by bandwidth and TDP, for not all are measured; "
        f"the least of {len(ranked)} {told}{_left_out(left, 'bandwidth or TDP')}"
    )


_RANKINGS = {"Balanced": _balanced, "Latency": _latency, "Energy": _energy}


def _good_enough(options: Sequence[Option], declared: Mapping[str, Fraction | None]) -> tuple[Sequence[Option], str]:
    """The options whose variant has at least 0.9 of the best declared quality; with one variant, all of them."""
    if len(declared) == 1:
        return options, "that fit (Energy)"
    undeclared = [name for name, quality in declared.items() if quality is None]
    if undeclared:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"objective Energy chooses among variants of a quality that is good enough, and nobody declared that of "
            f"{', '.join(undeclared)}; declare it for every variant, on one scale",
        )
    best = max(quality for quality in declared.values() if quality is not None)
    good = [option for option in options if (option.variant.quality or 0) >= GOOD_ENOUGH * best]
    if not good:
        raise UnsizableError(
            Reason.DOES_NOT_FIT,
            f"no variant that fits has {float(GOOD_ENOUGH)} of the best declared quality {float(best):g}; use a class "
            f"with more memory, or leave the best variant out",
        )
    return good, f"that fit and have {float(GOOD_ENOUGH)} of the best declared quality {float(best):g} (Energy)"


def _seconds(option: Option) -> Fraction | None:
    """The least time of one token: what a device reads, by how fast it reads. None: nobody gave the bandwidth."""
    bandwidth = option.accelerator.spec.bandwidth
    if bandwidth is None or not amount(bandwidth):
        return None
    return Fraction(option.sizing.read_bytes) / Fraction(amount(bandwidth))


def _joules(option: Option) -> Fraction | None:
    """Nominal: the devices that work on one token draw their TDP while they read. None: a figure is missing."""
    seconds, watts = _seconds(option), option.accelerator.spec.thermal_design_power
    return None if seconds is None or not watts else seconds * watts * option.sizing.spread.tensor


def _left_out(options: Sequence[Option], figure: str) -> str:
    names = sorted({option.sizing.accelerator for option in options})
    return f"; not ranked, for their class gives no {figure}: {', '.join(names)}" if names else ""


def _missing(options: Sequence[Option], fields: str, objective: Objective) -> UnsizableError:
    names = ", ".join(sorted({option.sizing.accelerator for option in options}))
    return UnsizableError(
        Reason.MISSING_FIGURE,
        f"objective {objective} needs {fields} of the accelerator classes that fit ({names}), and none gives it; add "
        f"the vendor's figures",
    )


def _none(refused: Sequence[Problem]) -> Problem:
    distinct = tuple(dict.fromkeys(refused))
    if len(distinct) == 1:
        return distinct[0]
    reasons = {problem.reason for problem in distinct}
    told = "; ".join(problem.message for problem in distinct[:_SHOWN])
    more = f"; and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else ""
    return Problem(reasons.pop() if len(reasons) == 1 else Reason.DOES_NOT_FIT, f"nothing fits: {told}{more}")
