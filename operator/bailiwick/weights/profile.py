"""Whether a profile, by which a model is sized, was written from the files that are served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bailiwick.weights import folder as folders
from bailiwick.weights.manifest import is_path
from bailiwick.weights.problems import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_REMEDY = (
    "write it anew from these files (bailiwick plan MODEL --model FOLDER --write-profile FILE), or name the one that "
    "belongs to them in spec.model.profile"
)


def compare(folder: Path, profile: Path) -> None:
    """Raises WeightsError ProfileDiffers for the first file that is not the one that the profile was written from.

    A profile that is not there, or cannot be read, says nothing: the operator sizes by it, and tells that. Pods that
    were sized before must still be able to start.
    """
    for name, expected in sorted(_files(profile).items()):
        seen = folders.digests(folder, [name])[name] if is_path(name) and (folder / name).is_file() else None
        if seen is None:
            raise WeightsError(
                "ProfileDiffers", f"the profile was written from a file {name[:200]!r}, which is not there; {_REMEDY}"
            )
        if f"sha256:{seen}" != expected:
            raise WeightsError(
                "ProfileDiffers",
                f"the profile was written from another {name}: expected {expected[:71]}, seen sha256:{seen}; {_REMEDY}",
            )


def _files(profile: Path) -> Mapping[str, str]:
    """Digests by name, as the profile has them; nothing where it has none."""
    try:
        files = json.loads(profile.read_bytes()).get("files")
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    if not isinstance(files, dict):
        return {}
    return {name: digest for name, digest in files.items() if isinstance(digest, str)}
