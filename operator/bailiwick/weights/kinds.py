"""Which files a folder of weights may hold: weights that are only numbers, and text. Nothing that runs when it is read.

A name alone says little, so the first bytes must be of the kind that the name promises.
"""

from __future__ import annotations

from typing import Final

WEIGHTS: Final = ("safetensors", "gguf")
"""The kinds of weights; an engine reads one of them."""
HEAD_BYTES: Final = 4096
"""How much of a file is looked at."""

_TEXT = frozenset({"json", "jsonl", "jinja", "txt", "md", "tiktoken", "yaml", "yml"})
_TEXT_NAMES = frozenset({
    "license", "licence", "notice", "readme", "copying", "use_policy", "sha256sums", "model.sig", ".gitattributes",
    ".gitignore",
})  # fmt: skip
_SENTENCEPIECE = "model"
_PICKLES = frozenset(
    {"bin", "pt", "pth", "ckpt", "pkl", "pickle", "joblib", "npy", "npz", "mar", "nemo", "h5", "keras"}
)
_MAGIC: Final = {
    **{b"\x80" + bytes([protocol]): "a pickle" for protocol in range(6)},
    b"PK\x03\x04": "a zip archive, as PyTorch writes",
    b"\x1f\x8b": "compressed",
    b"\x93NUMPY": "an array of NumPy, which may hold a pickle",
}
_HEADER_BYTES = 8
_MOST_HEADER = 100_000_000  # what the safetensors library itself reads at most


def passes(name: str, weights: str) -> bool:
    """Whether a file may be there by its name. ``weights`` is one of `WEIGHTS`."""
    file = name.rpartition("/")[2].lower()
    return _ending(file) in {weights, _SENTENCEPIECE, *_TEXT} or file in _TEXT_NAMES


def objection(name: str, head: bytes, size: int, weights: str) -> str | None:
    """Why a file must not be there, as the end of a sentence; None when it may.

    ``head`` are its first `HEAD_BYTES` bytes (fewer when it is shorter), ``size`` all of its bytes.
    """
    ending = _ending(name.rpartition("/")[2].lower())
    if ending in _PICKLES:
        return f"a .{ending} file can run code when it is read; convert the model to safetensors"
    if not passes(name, weights):
        return (
            f"only .{weights}, .{', .'.join(sorted({*_TEXT, _SENTENCEPIECE}))}, and texts such as LICENSE may lie in "
            f"the folder; remove the file from the copy that is served"
        )
    if seen := next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None):
        return f"its content is {seen}, whatever its name says; convert the model to {weights}"
    return _not_what_it_says(ending, head, size)


def _not_what_it_says(ending: str, head: bytes, size: int) -> str | None:
    if ending == "safetensors":
        return _not_safetensors(head, size)
    if ending == "gguf":
        return None if head.startswith(b"GGUF") else f"it begins with {head[:4]!r} instead of GGUF; import it anew"
    if ending != _SENTENCEPIECE and b"\x00" in head:
        return "it should be text, and holds binary data; remove it, or import it anew"
    return None


def _ending(file: str) -> str:
    return file.rpartition(".")[2] if "." in file else ""


def _not_safetensors(head: bytes, size: int) -> str | None:
    """Source: the format's description in the safetensors project: 8 bytes of length, a JSON object, the numbers."""
    length = int.from_bytes(head[:_HEADER_BYTES], "little")
    whole = len(head) > _HEADER_BYTES and length <= min(size - _HEADER_BYTES, _MOST_HEADER)
    if whole and head[_HEADER_BYTES : _HEADER_BYTES + 1] == b"{":
        return None
    return "it is not in the format that its name promises: a length of 8 bytes and a JSON header; import it anew"
