"""What `bailiwick plan` may choose from: the model or its variants, by its manifest and by the command line."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bailiwick.cli.files.manifests import UnusableError
from bailiwick.cli.offline import profiles
from bailiwick.cli.offline.modelfiles import CONFIG, INDEX, read_config, read_folder, read_tensors
from bailiwick.workload.sizing.choice import Variant
from bailiwick.workload.sizing.profile import Profile
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.weights import group
from bailiwick.workload.variants import known_as

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from bailiwick.api.modelsource import ProfileReference, Weights
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.sizing.safetensors import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What may be served, called by ``name``. ``where`` is the place of its profile; None: no manifest lists it."""

    name: str
    profile: Profile
    quality: Fraction | None
    where: ProfileReference | None

    def variant(self, quantization: str | None, *, one_of_several: bool) -> Variant:
        """As sizing takes it. Raises UnsizableError, which names it where it is one of several."""
        try:
            made = self.profile.model(self.name, quantization=quantization)
        except UnsizableError as error:
            if not one_of_several:
                raise
            raise UnsizableError(error.problem.reason, f"{self.name}: {error.problem.message}") from None
        return Variant(model=made, quality=self.quality)


def candidates(model: SovereignModel, arguments: argparse.Namespace) -> list[Candidate]:
    """All of them, in order of preference. Raises UnusableError and UnsizableError."""
    folders = dict(pair(text, "--variant") for text in arguments.variant)
    declared = (pair(text, "--quality") for text in arguments.quality)
    qualities = {key: number(value, "--quality") for key, value in declared}
    listed = model.spec.model.variants
    names = [each.name for each in listed] or [model.spec.model.name, *folders]
    if unknown := sorted(qualities.keys() - set(names)):
        raise UnusableError(f"--quality names {', '.join(unknown)}, which is no variant; variants: {', '.join(names)}")
    if listed:
        return _listed(model, arguments, folders, qualities)
    own = _profile(model, arguments)
    further = ((key, _folder(Path(folder)), None) for key, folder in folders.items())
    return [
        Candidate(name=key, profile=each, quality=qualities.get(key), where=where)
        for key, each, where in ((model.spec.model.name, own, profiles.reference(model)), *further)
    ]


def name_of(model: SovereignModel, variant: str) -> str:
    """What a variant of the manifest is called in a plan; any other name is its own."""
    return known_as(model, variant) if variant in {each.name for each in model.spec.model.variants} else variant


def _listed(
    model: SovereignModel,
    arguments: argparse.Namespace,
    folders: Mapping[str, str],
    qualities: Mapping[str, Fraction],
) -> list[Candidate]:
    """The variants of the manifest: each from its folder, else from the file with profiles."""
    weights = {str(each.variant): each for each in model.spec.model.every}
    if unknown := sorted(folders.keys() - weights.keys()):
        raise UnusableError(
            f"--variant names {', '.join(unknown)}, which spec.model.variants does not list; it lists "
            f"{', '.join(weights)}"
        )
    if arguments.model or arguments.config or arguments.headers or arguments.index:
        raise UnusableError(
            "spec.model.variants lists several sets of files; give --variant NAME=FOLDER for each, or --profile FILE "
            "with the profiles of all"
        )
    return [
        Candidate(
            name=known_as(model, name),
            profile=_of_variant(each, folders.get(name), arguments.profile),
            quality=qualities.get(name, Fraction(each.quality) if each.quality else None),
            where=each.profile,
        )
        for name, each in weights.items()
    ]


def _of_variant(weights: Weights, folder: str | None, file: Path | None) -> Profile:
    if folder is not None:
        return _folder(Path(folder))
    if file is None or weights.profile is None:
        raise UnusableError(
            f"say what variant {weights.variant} is made of: give --variant {weights.variant}=FOLDER, or --profile "
            f"FILE with its profile"
        )
    return profiles.read(file, weights.profile, f"{weights.where}.profile", by_name=True)


def _profile(model: SovereignModel, arguments: argparse.Namespace) -> Profile:
    if [arguments.model, arguments.config, arguments.profile].count(None) != 2:  # noqa: PLR2004 - exactly one
        raise UnusableError(
            "say what the model is made of: give either --model FOLDER, or --config config.json, or --profile FILE"
        )
    if arguments.profile:
        return profiles.read(arguments.profile, profiles.reference(model), "spec.model.profile")
    if arguments.model:
        return _folder(arguments.model)
    headers, index = arguments.headers, arguments.index
    tensors = read_tensors(headers, index, whole=False) if headers else None
    files = {CONFIG: arguments.config, **({INDEX: index} if index else {})}
    return _made(read_config(arguments.config), tensors, files)


def _folder(folder: Path) -> Profile:
    config, tensors = read_folder(folder)
    return _made(config, tensors, {name: folder / name for name in (CONFIG, INDEX) if (folder / name).is_file()})


def _made(config: Mapping[str, Any], tensors: Sequence[Tensor] | None, files: Mapping[str, Path]) -> Profile:
    return Profile(config=config, groups=None if tensors is None else group(tensors), files=profiles.digests(files))


def pair(text: str, option: str) -> tuple[str, str]:
    """NAME and VALUE of an option. Raises UnusableError."""
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise UnusableError(f"{option} {text!r} is not NAME=VALUE")
    return name, value


def number(text: str, option: str) -> Fraction:
    """A positive number. Raises UnusableError."""
    try:
        found = Fraction(text) if len(text) <= 32 else Fraction(0)  # noqa: PLR2004 - longer than any measurement
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if found <= 0:
        raise UnusableError(f"{option} {text[:40]!r} is no positive number")
    return found
