"""How a model with a profile is spread over devices of which class, and when an earlier answer stands. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.api.sovereignmodel import Parallelism
from bailiwick.residency.verdict import Problem, Reason, Verdict, refuse
from bailiwick.workload.sizing.choice import Offer, Option, Variant, Wish, best, options_of
from bailiwick.workload.sizing.fit import Request
from bailiwick.workload.sizing.profile import LABEL, digest, read_profile
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.spread import Spread
from bailiwick.workload.variants import Candidate, candidates, read_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bailiwick.api.modelsource import ProfileReference
    from bailiwick.api.modelstatus import Plan
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Eligibility, Need
    from bailiwick.workload.sizing.choice import Choice
    from bailiwick.workload.sizing.fit import Sizing

_CANNOT_BE = frozenset({Reason.DOES_NOT_FIT, Reason.INVALID_MODEL})
"""Of explicit devices, what is refused. Whatever else sizing says is that it does not know, and the user does."""
_UNREADABLE = frozenset(
    {Reason.MALFORMED_PROFILE, Reason.MALFORMED_WEIGHTS, Reason.UNKNOWN_ARCHITECTURE, Reason.UNKNOWN_QUANTIZATION}
)
"""Of a variant, what leaves it unknown on every class. Without it nobody can say that another is the better choice."""
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """What a replica takes. ``figures`` are fields of the status' plan, and ``notes`` what its reader should know."""

    need: Need
    found: Eligibility
    parallelism: Parallelism
    figures: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    variant: str | None = None
    """The variant that was chosen; None: the model has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsized:
    """Nothing was sized, and why; devices are then as asked, or one. ``without`` are classes where it cannot be."""

    note: str | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is given to sizing: the model, what it may be served from, and ways to ask nodes."""

    model: SovereignModel
    candidates: Sequence[Candidate]
    offers: Sequence[Offer]
    needs: Callable[[Offer, int], Iterable[Need]]
    eligible: Callable[[Need], Eligibility]

    @property
    def explicit(self) -> bool:
        """Whether somebody said how many devices a replica has."""
        spec = self.model.spec
        return isinstance(spec.accelerators.per_replica, int) or spec.parallelism is not None

    @property
    def missing(self) -> Problem | None:
        """The first profile that is not there."""
        return next((_missing(self.model, each) for each in self.candidates if each.profile is None), None)


def size(
    model: SovereignModel,
    *,
    profiles: Mapping[ProfileReference, str],
    offers: Sequence[Offer],
    needs: Callable[[Offer, int], Iterable[Need]],
    eligible: Callable[[Need], Eligibility],
) -> Sized | Unsized | Verdict:
    """Size the model for the classes that are offered. ``profiles`` are the texts that its references lead to."""
    asked = _Asked(model=model, candidates=candidates(model, profiles), offers=offers, needs=needs, eligible=eligible)
    vllm = model.spec.engine.name is EngineName.VLLM
    if model.spec.model.variants and not vllm:
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            f"spec.model.variants are chosen by their sizes, and how engine {model.spec.engine.name} uses memory is "
            f"not known; take one of them as spec.model.source, or engine vllm",
        )
    if not any(each.weights.profile for each in asked.candidates):
        # Of other engines nobody says how they use memory, so a profile would not help.
        return Unsized(note=_NO_PROFILE if vllm and not asked.explicit else None)
    standing = _standing(asked)
    if standing and standing.found.capable:
        return standing
    chosen = _choose(asked)
    if standing and not (isinstance(chosen, Sized) and chosen.found.capable):
        return standing
    return _doubted(asked, chosen) if isinstance(chosen, _Refused) else chosen


_NO_PROFILE = (
    "nothing was sized, so a replica has one device (none on a plain CPU): write a profile with `bailiwick plan "
    "--write-profile` and name it in spec.model.profile, or set spec.accelerators.perReplica"
)


def request_of(model: SovereignModel) -> Request:
    """What a model's spec asks of sizing."""
    spec, asked = model.spec, model.spec.accelerators.per_replica
    spread = spec.parallelism
    return Request(
        length=spec.context.max_length,
        sequences=spec.context.max_sequences or 1,
        kv_type=spec.context.kv_cache_type or "auto",
        quantization=spec.context.quantization,
        devices=asked if isinstance(asked, int) else None,
        spread=Spread(tensor=spread.tensor, pipeline=spread.pipeline, data=spread.data, expert=spread.expert)
        if spread
        else None,
        arguments=spec.engine.arguments,
    )


def measured(offers: Iterable[Offer], variants: Iterable[str]) -> Mapping[tuple[str, str], Fraction]:
    """Joules per token by class and variant, as the classes tell."""
    names = frozenset(variants)
    return {
        (offer.accelerator.metadata.name, each.model): Fraction(each.joules_per_token)
        for offer in offers
        for each in offer.accelerator.spec.measurements
        if each.model in names
    }


def basis(model: SovereignModel) -> str:
    """Digest of what the spec asks of sizing. Replicas are not in it, nor what is as by default.

    A field that a later release adds must not change it for models that do not use the field.
    """
    spec = model.spec
    variants = [[each.name, str(_number(each.quality))] for each in spec.model.variants]
    asked = {
        "engine": [spec.engine.name, *spec.engine.arguments],
        "adapters": [each.name for each in spec.adapters],
        "objective": spec.objective,
        **({"variants": variants} if variants else {}),
        **{
            name: part.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            for name, part in (
                ("accelerators", spec.accelerators), ("context", spec.context), ("parallelism", spec.parallelism),
            )
            if part
        },
    }  # fmt: skip
    text = json.dumps(asked, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _standing(asked: _Asked) -> Sized | None:
    """The plan of the status, while nobody changed what it follows from: neither releases nor catalogues move pods.

    A profile that is gone or cannot be seen is no other profile.
    """
    plan = asked.model.status.plan if asked.model.status else None
    if plan is None or plan.basis != basis(asked.model) or plan.tensor is None or plan.pipeline is None:
        return None
    known = read_by(asked.candidates)
    if known is not None and plan.profile != known:
        return None
    if plan.variant not in {each.weights.variant for each in asked.candidates}:
        return None
    offer = next((each for each in asked.offers if each.accelerator.metadata.name == plan.accelerator_class), None)
    if offer is None:
        return None
    need, found = _best_need(asked, offer, plan.devices_per_replica)
    return Sized(
        need=need,
        found=found,
        parallelism=Parallelism(tensor=plan.tensor, pipeline=plan.pipeline, expert=bool(plan.expert)),
        figures=_kept(plan),
        notes=(asked.missing.message,) if asked.missing else (),
        variant=plan.variant,
    )


def _kept(plan: Plan) -> Mapping[str, Any]:
    return {name: value for name, value in plan.model_dump().items() if name not in _OF_THE_PLACING}


_OF_THE_PLACING = frozenset(
    {"engine", "image", "accelerator_class", "variant", "device", "devices_per_replica", "nodes_per_replica"}
)


def _missing(model: SovereignModel, candidate: Candidate) -> Problem:
    where = candidate.weights.profile
    assert where is not None  # noqa: S101 - asked only where there is a reference
    return Problem(
        Reason.MISSING_PROFILE,
        f'namespace {model.metadata.namespace} has no ConfigMap {where.config_map} with the label {LABEL}: "true" and '
        f"the key {where.key}, which {candidate.weights.where}.profile names; create it as `bailiwick plan "
        f"--write-profile` writes it",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Why sizing has no answer. ``impossible`` are the classes on which it surely cannot be; elsewhere nobody knows."""

    problem: Problem
    impossible: frozenset[str] = frozenset()
    surely: bool = False


def _choose(asked: _Asked) -> Sized | _Refused:
    """The best option among those that have a node now, else that some node could carry, else of all."""
    model = asked.model
    if asked.missing:
        return _Refused(problem=asked.missing)
    if model.spec.adapters:
        source = "take one of spec.model.variants as spec.model.source, " if model.spec.model.variants else ""
        return _Refused(
            problem=Problem(
                Reason.UNSUPPORTED_FEATURE,
                f"the memory of adapters is not counted; {source}give spec.accelerators.perReplica, and keep some "
                f"memory free",
            )
        )
    request = request_of(model)
    tried = [_try(asked, offer, each, request) for offer in asked.offers for each in asked.candidates]
    refused = [each for each in tried if isinstance(each, _Refused)]
    if model.spec.model.variants and (unknown := _unreadable(refused)):
        return unknown
    possible = [each for each in tried if isinstance(each, _Possible)]
    candidates = [each for each in possible if each.found.nodes] or [each for each in possible if each.found.capable]
    qualities = {each.name: _number(each.weights.quality) for each in asked.candidates}
    wish = Wish(request=request, objective=model.spec.objective, joules=measured(asked.offers, qualities))
    problems = tuple(each.problem for each in refused)
    options = [each.option for each in candidates or possible]
    chosen = best(options, problems, qualities, wish)
    if isinstance(chosen, Problem):
        doubted = None if possible else next((each.problem for each in refused if not each.surely), None)
        return _Refused(
            problem=(asked.explicit and doubted) or chosen,
            impossible=frozenset(name for each in refused for name in each.impossible),
            surely=not possible and doubted is None,
        )
    taken = next(each for each in possible if each.option.sizing is chosen.sizing)
    spread = chosen.sizing.spread
    return Sized(
        need=taken.need,
        found=taken.found,
        parallelism=Parallelism(tensor=spread.tensor, pipeline=spread.pipeline, expert=spread.expert),
        figures=_figures(chosen, basis=basis(model), profile=read_by(asked.candidates)),
        notes=(*chosen.sizing.notes, *(f"not chosen: {problem.message}" for problem in problems[:_SHOWN])),
        variant=taken.variant,
    )


def _unreadable(refused: Sequence[_Refused]) -> _Refused | None:
    return next((each for each in refused if each.problem.reason in _UNREADABLE), None)


def _number(quality: str | None) -> Fraction | None:
    return None if quality is None else Fraction(quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Possible:
    variant: str | None
    option: Option
    need: Need
    found: Eligibility


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What the size on one class follows from. Text and class are known by their digest and content."""

    digest: str
    name: str
    quality: str | None
    request: Request
    content: str
    text: str = field(compare=False)
    offer: Offer = field(compare=False)


@lru_cache(maxsize=256)
def _answer(question: _Question) -> Option | Problem:
    """Kept, for the same is asked whenever a node changes, and it takes up to 0.2 s."""
    request = question.request
    try:
        model = read_profile(question.text).model(question.name, quantization=request.quantization)
    except UnsizableError as error:
        return error.problem
    variant = Variant(model=model, quality=_number(question.quality))
    options, refused = options_of((variant,), (question.offer,), request)
    return options[0] if options else refused[0]


def _try(asked: _Asked, offer: Offer, candidate: Candidate, request: Request) -> _Possible | _Refused:
    """One variant on one class: how a replica is spread there, and which nodes have the devices."""
    kind, profile = offer.accelerator, candidate.profile or ""
    answer = _answer(
        _Question(
            digest=digest(profile),
            name=candidate.name,
            quality=candidate.weights.quality,
            request=request,
            content=f"{kind.metadata.name} {offer.serving.name} {kind.spec.model_dump_json()}",
            text=profile,
            offer=offer,
        )
    )
    problem = answer if isinstance(answer, Problem) else _too_wide(answer.sizing)
    if isinstance(answer, Option) and problem is None:
        need, found = _best_need(asked, offer, answer.sizing.devices)
        return _Possible(variant=candidate.weights.variant, option=answer, need=need, found=found)
    assert problem is not None  # noqa: S101 - one of both
    if candidate.weights.variant is not None and problem.reason in _UNREADABLE:
        problem = Problem(problem.reason, f"{candidate.weights.where}: {problem.message}")
    # What was sized and is too wide is as sure as what does not fit.
    surely = isinstance(answer, Option) or problem.reason in _CANNOT_BE
    return _Refused(
        problem=problem, impossible=frozenset({offer.accelerator.metadata.name} if surely else ()), surely=surely
    )


def _figures(chosen: Choice, **known_by: str | None) -> Mapping[str, Any]:
    sizing = chosen.sizing
    return {
        "weight_bytes": sizing.weights,
        "kv_cache_bytes": sizing.kv_cache,
        "tensor": sizing.spread.tensor,
        "pipeline": sizing.spread.pipeline,
        "expert": sizing.spread.expert,
        "max_length": sizing.length,
        "longest_length": sizing.longest,
        "max_sequences": max(sizing.tokens // sizing.length, sizing.sequences),
        "why": chosen.reason[:_LONGEST_REASON],
        **known_by,
    }


_LONGEST_REASON = 2048


def _too_wide(sizing: Sizing) -> Problem | None:
    """What no group of nodes is made for, with the figures, so that the user can look for another way."""
    whole = (sizing.devices // sizing.nodes) % sizing.spread.tensor == 0
    if sizing.nodes == 1 or (sizing.spread.data == 1 and whole):
        return None
    return Problem(
        Reason.UNSUPPORTED_FEATURE,
        f"a replica needs {sizing.devices} devices of accelerator class {sizing.accelerator} on {sizing.nodes} nodes "
        f"({sizing.spread}; {sizing.weights} bytes of weights), and a group of nodes neither runs data parallelism "
        f"nor cuts a tensor-parallel group apart; use a class with more memory, a quantized variant, or give "
        f"spec.parallelism",
    )


def _best_need(asked: _Asked, offer: Offer, devices: int) -> tuple[Need, Eligibility]:
    """The first way to ask for the devices by which a node has them; else the first way."""
    found = [(need, asked.eligible(need)) for need in asked.needs(offer, devices)]
    return next((each for each in found if each[1].capable), found[0])


def _doubted(asked: _Asked, refused: _Refused) -> Unsized | Verdict:
    """A refusal where sizing was needed or is sure; else a note, for then the user knows better."""
    problem = refused.problem
    if asked.model.spec.engine.name is not EngineName.VLLM:
        return Unsized(note=f"nothing was sized: {problem.message}")
    if not asked.explicit or refused.surely or asked.model.spec.model.variants:
        return refuse(problem.reason, problem.message)
    return Unsized(note=f"the devices asked for were not checked: {problem.message}", without=refused.impossible)
