"""`bailiwick plan`: how many devices a model needs, and on which class. Needs files, and no cluster and no network.

Exit codes: 0 when it fits, 1 when it does not or nobody can tell, 2 when something given cannot be used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bailiwick.api.acceleratorclass import AcceleratorClass, EngineName
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cli.files.manifests import UnusableError, every, manifests, read
from bailiwick.cli.offline import profiles
from bailiwick.cli.offline.candidates import Candidate, candidates, name_of, number, pair
from bailiwick.residency.verdict import Problem, Reason
from bailiwick.workload.sized import measured, request_of
from bailiwick.workload.sizing.choice import Choice, Offer, Wish, choose
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.workload.sizing.fit import Request, Sizing

CATALOGUE = Path(__file__).parents[4] / "charts/bailiwick/acceleratorclasses"
FITS, DOES_NOT_FIT, UNUSABLE = 0, 1, 2
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line below `bailiwick plan`."""
    parser.add_argument("manifest", type=Path, metavar="FILE", help="manifest of a SovereignModel")
    parser.add_argument("--model", type=Path, help="folder with config.json and the safetensors files")
    parser.add_argument("--config", type=Path, help="config.json, where there is no folder")
    parser.add_argument(
        "--headers",
        type=Path,
        nargs="+",
        default=[],
        help="safetensors files, or only the beginnings with their headers",
    )
    parser.add_argument(
        "--profile",
        type=Path,
        help="ConfigMaps with the profiles of the model or its variants, where there are no files",
    )
    parser.add_argument(
        "--write-profile", type=Path, metavar="FILE",
        help="write the profiles as ConfigMaps, for the operator: commit them beside the SovereignModel",
    )  # fmt: skip
    parser.add_argument("--index", type=Path, help="model.safetensors.index.json of these files")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME=FOLDER",
        help="files of a variant that the manifest lists, or, where it lists none, of a further one; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--quality", action="append", default=[], metavar="NAME=NUMBER",
        help="declared quality of a variant; a model without variants is called by its name",
    )  # fmt: skip
    parser.add_argument(
        "--joules", action="append", default=[], metavar="CLASS/NAME=NUMBER",
        help="measured joules per generated token of a variant on a class",
    )  # fmt: skip
    parser.add_argument(
        "--classes", type=Path, action="append", default=[],
        help="file or folder with AcceleratorClasses; may be repeated (default: the catalogue of the chart)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how the plan is written")


def main(arguments: argparse.Namespace) -> int:
    """Plan and print; returns the exit code."""
    try:
        model = _manifest(arguments.manifest)
        outcome = _plan(model, arguments)
    except UnusableError as error:
        sys.stderr.write(f"bailiwick plan: {error}\n")
        return UNUSABLE
    except UnsizableError as error:
        outcome = error.problem
    write = _as_json if arguments.output == "json" else _as_text
    sys.stdout.writelines(f"{line}\n" for line in write(model, outcome))
    return DOES_NOT_FIT if isinstance(outcome, Problem) else FITS


def _manifest(path: Path) -> SovereignModel:
    (raw,) = manifests(path, "SovereignModel", only=1)
    return read(SovereignModel, raw, path)


def _plan(model: SovereignModel, arguments: argparse.Namespace) -> Choice | Problem:
    if model.spec.engine.name is EngineName.EXTERNAL:
        raise UnusableError("engine external starts nothing in the cluster, so there is nothing to size")
    request = _request(model)
    found = candidates(model, arguments)
    if arguments.write_profile:
        _write(model, found, arguments)
    variants = [each.variant(request.quantization, one_of_several=len(found) > 1) for each in found]
    joules = {
        _class_and_variant(model, key): number(value, "--joules")
        for key, value in (pair(text, "--joules") for text in arguments.joules)
    }
    offers = list(_offers(model, _classes(arguments.classes)))
    if not offers:
        asked = ", ".join(model.spec.accelerators.classes)
        return Problem(
            Reason.NO_ACCELERATOR,
            f"engine {model.spec.engine.name} is served by none of the accelerator classes {asked}; name one that "
            f"offers it, or set spec.engine.name to what they offer",
        )
    return choose(
        variants,
        offers,
        Wish(
            request=request,
            objective=model.spec.objective,
            joules={**measured(offers, (each.model.name for each in variants)), **joules},
        ),
    )


def _write(model: SovereignModel, found: Sequence[Candidate], arguments: argparse.Namespace) -> None:
    """The profiles of what the manifest lists; of variants that it does not, nobody would read them."""
    listed = [(each.where, each.profile) for each in found if each.where]
    profiles.write(arguments.write_profile, model, listed)
    if arguments.output == "text":
        one = "profile" if len(listed) == 1 else "profiles"
        of = "the model names it" if not model.spec.model.variants else "its variants name them"
        sys.stdout.write(f"{one} written to {arguments.write_profile}; {of} by\n")
        field = "profile" if model.spec.model.variants else "spec.model.profile"
        sys.stdout.writelines(f"  {field}: {{ configMap: {w.config_map}, key: {w.key} }}\n" for w, _ in listed)


def _request(model: SovereignModel) -> Request:
    if model.spec.adapters:
        raise UnusableError(
            "the memory of adapters is not counted; leave spec.adapters out, and keep some of the memory free for them"
        )
    return request_of(model)


def _classes(paths: Sequence[Path]) -> Mapping[str, AcceleratorClass]:
    found: list[Path] = []
    for path in paths or [CATALOGUE]:
        found.extend(sorted(path.glob("*.yaml")) if path.is_dir() else [path])
    if not paths and not found:
        raise UnusableError("the chart's catalogue is not beside this program; give --classes FILE-OR-FOLDER")
    return {each.metadata.name: each for each in every(AcceleratorClass, found)}


def _offers(model: SovereignModel, classes: Mapping[str, AcceleratorClass]) -> Iterator[Offer]:
    asked, engine = model.spec.accelerators.classes, model.spec.engine.name
    if unknown := [name for name in asked if name not in classes]:
        there = ", ".join(sorted(classes))
        raise UnusableError(
            f"spec.accelerators.classes names {', '.join(unknown)}, and there is no such class; give --classes with "
            f"it, or name some of: {there}"
        )
    for accelerator in (classes[name] for name in asked):
        yield from (
            Offer(accelerator=accelerator, serving=each) for each in accelerator.spec.engines if each.name is engine
        )


def _class_and_variant(model: SovereignModel, text: str) -> tuple[str, str]:
    accelerator, slash, variant = text.partition("/")
    if not slash or not accelerator or not variant:
        raise UnusableError(f"--joules {text!r} is not CLASS/NAME")
    return accelerator, name_of(model, variant)


def _as_json(model: SovereignModel, outcome: Choice | Problem) -> Iterator[str]:
    told: dict[str, Any] = {"model": model.spec.model.name, "objective": model.spec.objective}
    if isinstance(outcome, Problem):
        told |= {"fits": False, "reason": outcome.reason, "message": outcome.message}
    else:
        own = {name_of(model, each.name): each.name for each in model.spec.model.variants}
        told |= {
            "fits": True,
            "variant": own.get(outcome.variant, outcome.variant),
            "why": outcome.reason,
            **_figures(outcome.sizing),
        }
        told["refused"] = [{"reason": each.reason, "message": each.message} for each in outcome.refused]
    yield json.dumps(told, indent=2)


def _figures(sizing: Sizing) -> Mapping[str, Any]:
    device, spread = sizing.device, sizing.spread
    return {
        "acceleratorClass": sizing.accelerator,
        "resource": sizing.resource,
        "devicesPerReplica": sizing.devices,
        "nodesPerReplica": sizing.nodes,
        "parallelism": {
            "tensor": spread.tensor, "pipeline": spread.pipeline, "data": spread.data, "expert": spread.expert,
        },
        "weightBytes": sizing.weights,
        "kvCacheBytes": sizing.kv_cache,
        "kvCacheType": sizing.kv_type,
        "kvCacheTokens": sizing.tokens,
        "tokenBytes": sizing.token_bytes,
        "sequenceBytes": sizing.sequence_bytes,
        "context": {"maxLength": sizing.length, "maxSequences": sizing.sequences, "longestThatFits": sizing.longest},
        "fullestDevice": {
            "usableBytes": device.usable,
            "weightBytes": device.weights,
            "overheadBytes": device.overhead,
            "kvCacheBytes": device.kv_cache,
        },
        "notes": list(sizing.notes),
    }  # fmt: skip


def _as_text(model: SovereignModel, outcome: Choice | Problem) -> Iterator[str]:
    if isinstance(outcome, Problem):
        yield f"{model.spec.model.name}: {outcome}"
        return
    sizing, device = outcome.sizing, outcome.sizing.device
    devices = f"{sizing.devices} x {sizing.resource or 'device'}" if sizing.devices else "plain CPU"
    several = f"{sizing.sequences} sequences of " if sizing.sequences > 1 else ""
    yield f"{outcome.variant} on {sizing.accelerator}"
    yield f"  devices      {devices} on {sizing.nodes} node{'s' if sizing.nodes > 1 else ''}"
    yield f"  parallelism  {sizing.spread}"
    yield f"  weights      {_size(sizing.weights)}"
    yield (
        f"  KV cache     {_size(sizing.kv_cache)} ({sizing.kv_type}), {sizing.tokens} tokens; "
        f"{_size(sizing.token_bytes)} for a token, {_size(sizing.sequence_bytes)} for a sequence"
    )
    yield f"  context      {several}{sizing.length} tokens; at most {sizing.longest} fit"
    yield (
        f"  per device   {_size(device.usable)} usable: {_size(device.weights)} weights, "
        f"{_size(device.overhead)} engine, {_size(device.kv_cache)} KV cache"
    )
    yield f"  why          {outcome.reason}"
    yield from (f"  note         {note}" for note in sizing.notes)
    yield from (f"  not          {problem}" for problem in outcome.refused)


def _size(amount: int) -> str:
    """Bytes for people; each step is 1024."""
    number, unit = float(amount), 0
    while number >= _STEP and unit < len(_UNITS) - 1:
        number, unit = number / _STEP, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if unit else f"{amount} B"
