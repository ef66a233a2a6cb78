"""A profile: what sizing needs to know of a model, small enough for a ConfigMap.

The operator fetches no weights, so somebody who has the files writes the profile (`bailiwick plan --write-profile`).
It holds the model's config.json and, by part and type, the bytes of its tensors. The digests of the files that it was
written from bind it to them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.families import read_architecture
from bailiwick.workload.sizing.fit import Model
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.safetensors import BITS
from bailiwick.workload.sizing.weights import PARTS, Group, weigh_groups

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL = "bailiwick.dev/profile"
"""Label of the ConfigMaps that the operator reads, with the value `true`: it asks the API server for no others."""
LONGEST = 1 << 17
"""Bytes. Most are a few kilobytes; long lists of what a quantization spares make some larger. More than this the
operator does not keep of anybody's ConfigMap."""
_VERSION = 1
_LAYERED = frozenset({"layers", "experts"})
_MOST_GROUPS = 100_000
_MOST_LAYERS = 10_000
_LARGEST = 2**53
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NOT_NEEDED = frozenset({"id2label", "label2id", "task_specific_params"})
"""Keys of a config.json that may be long and tell nothing of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What sizing needs of one model.

    ``groups`` is None where nobody gave the headers of the files. ``files`` are the digests of the files that it was
    written from, by name.
    """

    config: Mapping[str, Any]
    groups: tuple[Group, ...] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def model(self, name: str, *, quantization: str | None = None) -> Model:
        """The model, as sizing takes it. Raises UnsizableError."""
        architecture = read_architecture(self.config)
        weights = weigh_groups(architecture, self.groups, asked_quantization=quantization)
        return Model(name=name, architecture=architecture, weights=weights)


def digest(text: str) -> str:
    """By which the profile that a plan follows from is known again."""
    return f"sha256:{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"


def write_profile(profile: Profile) -> str:
    """The profile as JSON: the same bytes for the same model. Raises UnsizableError when no ConfigMap can hold it."""
    told: dict[str, Any] = {
        "version": _VERSION,
        "files": dict(sorted(profile.files.items())),
        "config": {key: value for key, value in sorted(profile.config.items()) if key not in _NOT_NEEDED},
    }
    if profile.groups is not None:
        told["weights"] = [_written(group) for group in profile.groups]
    text = "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in told.items()) + "\n}\n"
    if len(text) > LONGEST:  # ASCII
        raise _malformed(f"would have {len(text)} bytes, and the operator reads {LONGEST} at most")
    return text


def read_profile(text: str) -> Profile:
    """Raises UnsizableError for anything that `write_profile` cannot have written: people may edit ConfigMaps."""
    if len(text) > LONGEST:
        raise _malformed(f"is longer than {LONGEST} characters")
    if not text:
        raise _malformed(f"is empty, or in a ConfigMap of more than {LONGEST} characters")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("is not JSON") from None
    if not isinstance(told, dict) or told.get("version") != _VERSION:
        raise _malformed(f"is no JSON object with version {_VERSION}")
    config, files, weights = told.get("config"), told.get("files", {}), told.get("weights")
    if not isinstance(config, dict):
        raise _malformed("has no config, which is what the model's config.json says")
    if not isinstance(files, dict) or not all(
        isinstance(each, str) and _DIGEST.fullmatch(each) for each in files.values()
    ):
        raise _malformed("has files that are not digests (sha256 and 64 digits) by name")
    if weights is not None and (not isinstance(weights, list) or not 0 < len(weights) <= _MOST_GROUPS):
        raise _malformed("has weights that are no list of groups")
    return Profile(
        config=config, groups=None if weights is None else tuple(_group(each) for each in weights), files=files
    )


def _lines(value: Any) -> str:
    """One line for each entry, so that people see in a difference what changed."""
    if isinstance(value, dict) and value:
        inner = (f"  {json.dumps(key)}: {json.dumps(held, sort_keys=True)}" for key, held in value.items())
        return "{\n" + ",\n".join(inner) + "\n}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"  {json.dumps(each)}" for each in value) + "\n]"
    return json.dumps(value)


def _written(group: Group) -> dict[str, Any]:
    layers = {"first": group.first, "last": group.last} if group.part in _LAYERED else {}
    sizes = {key: held for key, held in (("matrices", group.matrices), ("others", group.others)) if held}
    return {"part": group.part, **layers, "type": group.dtype, **sizes}


def _group(told: Any) -> Group:
    if not isinstance(told, dict) or told.get("part") not in PARTS or str(told.get("type")) not in BITS:
        raise _malformed(f"has a group of weights without a part ({', '.join(PARTS)}) or without a known type")
    layered = told["part"] in _LAYERED
    first, last = (_count(told, name, _MOST_LAYERS) if layered else 0 for name in ("first", "last"))
    if last < first:
        raise _malformed(f"has a group of weights from layer {first} to layer {last}")
    return Group(
        part=told["part"],
        first=first,
        last=last,
        dtype=str(told["type"]),
        matrices=_count(told, "matrices", _LARGEST),
        others=_count(told, "others", _LARGEST),
    )


def _count(told: Mapping[str, Any], name: str, most: int) -> int:
    value = told.get(name, 0)
    if type(value) is not int or not 0 <= value <= most:
        raise _malformed(
            f"says {name} = {str(value)[:40]!r} of a group of weights, and a number up to {most} is expected"
        )
    return value


def _malformed(what: str) -> UnsizableError:
    return UnsizableError(
        Reason.MALFORMED_PROFILE,
        f"the model's profile {what}; write it anew from the model's files with `bailiwick plan --write-profile`",
    )
