"""The files of a model, as far as sizing needs them: `config.json`, the index, and the headers of safetensors files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bailiwick.cli.files.manifests import UnusableError, content
from bailiwick.workload.sizing.safetensors import PREFIX_BYTES, header_length, read_header, read_index, whole_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bailiwick.workload.sizing.safetensors import Tensor

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
_LONGEST_CONFIG = 16_000_000


def read_config(path: Path) -> Mapping[str, Any]:
    """What a `config.json` says. Raises UnusableError."""
    try:
        if path.stat().st_size > _LONGEST_CONFIG:
            raise UnusableError(f"{path} is longer than {_LONGEST_CONFIG} bytes, so it is no config.json")
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}; give the model's config.json") from None
    try:
        config = json.loads(content(path))
    except (ValueError, RecursionError):
        raise UnusableError(f"{path} is not JSON; give the model's config.json") from None
    if not isinstance(config, dict):
        raise UnusableError(f"{path} is no JSON object; give the model's config.json")
    return config


def read_tensors(files: Sequence[Path], index: Path | None, *, whole: bool) -> tuple[Tensor, ...]:
    """All tensors of the files. Raises UnusableError, or UnsizableError for what is malformed.

    Files that are not ``whole`` may end anywhere behind their headers, which are a millionth of the weights.
    """
    where = read_index(content(index), file=index.name) if index else None
    if where is not None:
        # A folder often holds other files beside the model's, such as the same weights in one piece.
        listed = set(where.values())
        files = [path for path in files if path.name in listed]
    return whole_model({path.name: _header(path, whole=whole) for path in files}, where)


def read_folder(folder: Path) -> tuple[Mapping[str, Any], tuple[Tensor, ...] | None]:
    """Configuration and tensors of a folder; None where it has no safetensors files."""
    config, files, index = read_config(folder / CONFIG), sorted(folder.glob("*.safetensors")), folder / INDEX
    if index.is_file():
        return config, read_tensors(files, index, whole=True)
    return config, read_tensors(files, None, whole=True) if files else None


def _header(path: Path, *, whole: bool) -> tuple[Tensor, ...]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = header_length(file.read(PREFIX_BYTES), file=path.name)
            header = file.read(length)
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}") from None
    return read_header(header, file=path.name, data_bytes=size - PREFIX_BYTES - length if whole else None)
