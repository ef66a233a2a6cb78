"""Devices that vLLM serves by a plug-in, where one wants to be told otherwise than vLLM itself.

An accelerator class names its plug-ins in VLLM_PLUGINS, by the names of their entry points: all that it needs, for vLLM
loads no other. Sources: vllm-rbln 0.12.0, `platform/optimum_impl.py`, `platform/vllm_impl.py`, and the vendor's
configuration guide; tenstorrent/vllm's guide for MESH_DEVICE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.arguments import option_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Need

_IMPLEMENTATION = "model-impl"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """What a plug-in takes."""

    spread: str | None = "--tensor-parallel-size"
    """The option that says over how many devices a model is split; None: something else says it."""
    pipeline: bool = True
    expert: bool = True
    adapters: bool = True


_VLLM_ITSELF = PlugIn()
_RBLN: Mapping[str, PlugIn] = {
    # The compiler splits the model, one process drives all devices; vLLM's own number must stay 1.
    "transformers": PlugIn(spread="--rbln-num-devices-per-local-rank", pipeline=False, expert=False),
    "vllm": PlugIn(adapters=False),
}
_OTHERS: Mapping[str, PlugIn] = {
    "tt": PlugIn(spread=None, pipeline=False),  # MESH_DEVICE in the class says it
}


def of(need: Need) -> PlugIn:
    """The plug-in of an accelerator class."""
    names = _names(need)
    if "rbln" in names:
        return _RBLN.get(_implementation(need.serving.arguments), _VLLM_ITSELF)
    return next((plug_in for name, plug_in in _OTHERS.items() if name in names), _VLLM_ITSELF)


def refusal(need: Need, model: SovereignModel) -> Verdict | None:
    """What the plug-in of the class cannot do, and what the class must say of it."""
    name, where = need.accelerator.metadata.name, f"accelerator class {need.accelerator.metadata.name}"
    if "rbln" in _names(need):
        if _implementation(need.serving.arguments) not in _RBLN:
            return refuse(
                Reason.FORBIDDEN_ARGUMENT,
                f"{where} has the plug-in rbln and does not say --model-impl=transformers or --model-impl=vllm, so "
                f"nobody knows how a model is split over its devices; say one (an ATOM takes transformers only)",
            )
        if any(option_of(each) == _IMPLEMENTATION for each in model.spec.engine.arguments):
            return refuse(
                Reason.FORBIDDEN_ARGUMENT,
                f"--model-impl in spec.engine.arguments is for {where} to say; leave it out",
            )
    plug_in, parallelism = of(need), model.spec.parallelism
    asked = {
        "spec.parallelism.pipeline": not plug_in.pipeline and parallelism and parallelism.pipeline > 1,
        "spec.parallelism.expert": not plug_in.expert and parallelism and parallelism.expert,
        "spec.adapters": not plug_in.adapters and model.spec.adapters,
    }
    field = next((field for field, value in asked.items() if value), None)
    if field is None:
        return None
    return refuse(
        Reason.UNSUPPORTED_FEATURE,
        f"{field} is nothing that vLLM's plug-in for {name} can do; leave it out, or name another accelerator class",
    )


def _names(need: Need) -> frozenset[str]:
    told = next((each.value for each in need.serving.environment if each.name == "VLLM_PLUGINS"), "")
    return frozenset(told.split(","))


def _implementation(arguments: Sequence[str]) -> str:
    """The last value of --model-impl, behind it or in it; empty when there is none."""
    found = ""
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=False):
        if option_of(argument) == _IMPLEMENTATION:
            found = argument.partition("=")[2] if "=" in argument else following
    return found
