"""How many bytes a parameter takes, by the model's `quantization_config` or by what the engine is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.parameters import Parts
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.workload.sizing.architecture import Architecture

_ONLINE = frozenset({"fp8", "fp8_per_tensor"})
"""What vLLM makes of plain weights while it loads them: 8 bits for every matrix of the layers."""
_SMALL = frozenset({"gate", "router", "lm_head", "embed_tokens", "norm"})
"""Names of modules that quantization usually spares: small ones, and tables that are counted apart."""
_MXFP4_BITS = 4 + 8 / 32
"""A number of 4 bits, and a scale of 8 for each 32 (Open Compute Project, Microscaling Formats 1.0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Bytes of one parameter of a layer's matrices, and of the experts' where they differ.

    ``group`` is how many numbers share a scale, so that they stay on one device; None: any.
    ``measured`` tells that the bytes of one parameter are known, and not only the files' own.
    """

    method: str | None
    matrix: float
    experts: float
    group: int | None = None
    online: bool = False
    measured: bool = True

    def bytes_of(self, counted: Parts) -> Parts:
        """Bytes of so many parameters."""
        return Parts(
            split=int(counted.split * self.matrix),
            kv=int(counted.kv * self.matrix),
            whole=int(counted.whole * self.matrix),
            experts=int(counted.experts * self.experts),
        )

    def byte_of(self, *, matrix: bool, number_bytes: int) -> float:
        """Bytes of one number of a plain file once it is loaded."""
        return self.matrix if matrix and self.online else number_bytes


def stored(architecture: Architecture, *, asked: str | None, known: bool) -> Stored:
    """How the weights are held. ``known``: the files' headers are there, so any method of the model's own will do."""
    plain = architecture.number_bytes
    own = architecture.quantization
    if own is None:
        if asked is None:
            return Stored(method=None, matrix=plain, experts=plain)
        if asked not in _ONLINE:
            raise UnsizableError(
                Reason.UNKNOWN_QUANTIZATION,
                f"the model is not quantized, and the bytes of {asked} are not known; quantize it beforehand, or leave "
                f"context.quantization out, or set it to one of {', '.join(sorted(_ONLINE))}",
            )
        return Stored(method=asked, matrix=1, experts=1, online=True)
    method = own.get("quant_method")
    if not isinstance(method, str) or not method:
        raise UnsizableError(
            Reason.UNKNOWN_QUANTIZATION,
            "quantization_config of config.json gives no quant_method; give the model's own file",
        )
    if asked is not None and asked != method:
        raise UnsizableError(
            Reason.UNKNOWN_QUANTIZATION,
            f"the model is quantized by {method}, and {asked} is asked for; leave context.quantization out",
        )
    found = _by_method(method, own, architecture)
    if found is None and not known:
        raise UnsizableError(
            Reason.UNKNOWN_QUANTIZATION,
            f"config.json does not tell how many bytes quantization {method} leaves; give the headers of the model's "
            f"safetensors files",
        )
    return found or Stored(method=method, matrix=plain, experts=plain, group=_count(own, "group_size"), measured=False)


def _by_method(method: str, own: Mapping[str, Any], architecture: Architecture) -> Stored | None:
    if method == "mxfp4" and architecture.model_type == "gpt_oss":
        # Experts only, and vLLM pads what is left of a group (`quantization/mxfp4.py`).
        return Stored(method=method, matrix=architecture.number_bytes, experts=_MXFP4_BITS / 8)
    if _spares_matrices(own):
        return None
    size, group = None, None
    if method == "fp8":
        size, group = _blocks(own.get("weight_block_size"))
    elif method in {"awq", "gptq"}:
        bits = _count(own, "bits") or _count(own, "w_bit")
        group = _count(own, "group_size") or _count(own, "q_group_size")
        # A scale of 16 bits and a zero for each group.
        size = bits / 8 + (2 + bits / 8) / group if bits and group else None
    return Stored(method=method, matrix=size, experts=size, group=group) if size else None


def _blocks(block: Any) -> tuple[float | None, int | None]:
    """Bytes of a number of 8 bits, with a scale of 32 for each block; and the block's longer side."""
    if block is None:
        return 1, None
    if not isinstance(block, list) or len(block) != 2 or not all(type(each) is int and each > 0 for each in block):  # noqa: PLR2004
        return None, None
    return 1 + 4 / (block[0] * block[1]), max(block)


def _spares_matrices(own: Mapping[str, Any]) -> bool:
    """Whether some large module is left as it was, so that not all parameters have one size."""
    lists = [own.get(key) or [] for key in ("modules_to_not_convert", "ignored_layers")]
    return not all(isinstance(each, list) and all(_is_small(name) for name in each) for each in lists)


def _is_small(name: Any) -> bool:
    module = name.rpartition(".")[2] if isinstance(name, str) else ""
    return module in _SMALL or module.endswith("norm")


def _count(own: Mapping[str, Any], name: str) -> int | None:
    value = own.get(name)
    return value if type(value) is int and 0 < value <= 1 << 20 else None
