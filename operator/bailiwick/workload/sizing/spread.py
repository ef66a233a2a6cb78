"""Ways to spread one replica over devices, and why some are impossible.

Source: what vLLM 0.32 asserts when it starts: `vllm/model_executor/layers/linear.py`, `vocab_parallel_embedding.py`,
`mamba/mamba_mixer2.py`, `vllm/distributed/utils.py`, and the quantization methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.workload.sizing.architecture import Experts, HeadsAttention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.workload.sizing.architecture import Architecture, Feed

MOST_DEVICES = 1024
_MOST_STAGES = 64
_VOCABULARY_PADDING = 64
_NEEDS_WHOLE_GROUPS = frozenset({"fp8", "awq", "gptq"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Tensor x pipeline x data parallelism, and whether experts are spread over all devices of a stage."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: bool = False

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.tensor * self.pipeline * self.data

    def nodes(self, per_node: int) -> int:
        """Nodes of one replica: a tensor-parallel group never leaves its node, because it talks at every layer."""
        groups = max(per_node // self.tensor, 1)
        return -(-self.pipeline * self.data // groups)

    def __str__(self) -> str:
        named = {"tensor": self.tensor, "pipeline": self.pipeline, "data": self.data}
        told = " x ".join(f"{name} {size}" for name, size in named.items() if size > 1) or "one device"
        return f"{told}, experts spread" if self.expert else told


def spreads(architecture: Architecture, *, per_node: int, group: int | None, method: str | None) -> Iterator[Spread]:
    """All that are worth trying on nodes of ``per_node`` devices, the plainest first.

    Fewer devices, then fewer nodes, then no data parallelism, then fewer stages, then experts kept together. Stages are
    for models that no node holds: on one node, tensor parallelism answers sooner with the same devices.
    """
    tensors = [size for size in range(1, per_node + 1) if _heads(architecture, size) is None]
    found = [
        spread
        for tensor in tensors
        for pipeline in range(1, _most_stages(architecture, tensor) + 1 if tensor == tensors[-1] else 2)
        for data, expert in _copies(architecture)
        for spread in (Spread(tensor=tensor, pipeline=pipeline, data=data, expert=expert),)
        if spread.devices <= MOST_DEVICES and objection(spread, architecture, group=group, method=method) is None
    ]
    yield from sorted(
        found, key=lambda each: (each.devices, each.nodes(per_node), each.data, each.pipeline, each.expert)
    )


def objection(spread: Spread, architecture: Architecture, *, group: int | None, method: str | None) -> str | None:
    """Why the engine could not start like this, as the end of a sentence; None when it could.

    ``group`` is how many numbers of a quantized matrix share a scale.
    """
    if spread.pipeline > len(architecture.layers):
        return f"{len(architecture.layers)} layers do not make {spread.pipeline} stages"
    if spread.data > 1 and not spread.expert:
        return "data parallelism inside a replica is for experts that are spread; raise spec.replicas instead"
    if spread.expert and not architecture.experts:
        return "the model has no experts to spread"
    if why := _heads(architecture, spread.tensor):
        return why
    scaled = group if method in _NEEDS_WHOLE_GROUPS else None
    return next((why for feed in architecture.feeds if (why := _feed(feed, spread, scaled))), None)


def stages(layers: int, pipeline: int) -> tuple[range, ...]:
    """The layers of each stage: what does not come out even goes to the stages before the last."""
    sizes = [layers // pipeline] * pipeline
    for back in range(2, layers % pipeline + 2):
        sizes[-back] += 1
    begins = [sum(sizes[:index]) for index in range(pipeline)]
    return tuple(range(begin, begin + size) for begin, size in zip(begins, sizes, strict=True))


def _most_stages(architecture: Architecture, tensor: int) -> int:
    return min(len(architecture.layers), _MOST_STAGES, MOST_DEVICES // tensor)


def _copies(architecture: Architecture) -> tuple[tuple[int, bool], ...]:
    """Data-parallel ranks, and whether experts are spread."""
    return (
        ((1, False), *((ranks, True) for ranks in (1, 2, 4, 8, 16, 32, 64))) if architecture.experts else ((1, False),)
    )


def _heads(architecture: Architecture, tensor: int) -> str | None:
    padded = -(-architecture.vocabulary // _VOCABULARY_PADDING) * _VOCABULARY_PADDING
    if padded % tensor:
        return f"a vocabulary of {architecture.vocabulary} (padded to {padded}) is not divided by {tensor}"
    for attention in architecture.attentions:
        if attention.heads % tensor:
            return f"{attention.heads} attention heads are not divided by {tensor}"
        if isinstance(attention, HeadsAttention) and attention.kv_heads % tensor and tensor % attention.kv_heads:
            return (
                f"{attention.kv_heads} key and value heads are neither divided by {tensor} nor repeated a whole number "
                f"of times"
            )
    for mamba in architecture.mambas:
        if mamba.heads % tensor:
            return f"{mamba.heads} Mamba heads are not divided by {tensor}"
        if mamba.groups % tensor and mamba.groups != 1:
            return f"{mamba.groups} Mamba groups are not divided by {tensor}, and are not one"
    return None


def _feed(feed: Feed | Experts, spread: Spread, group: int | None) -> str | None:
    widths = [feed.width]
    if isinstance(feed, Experts):
        widths = [feed.shared_width] if feed.shared_width else []
        if not spread.expert:
            widths.append(feed.width)
        elif feed.count % (spread.tensor * spread.data):
            return f"{feed.count} experts are not divided by {spread.tensor * spread.data} devices"
    for width in widths:
        if width % spread.tensor:
            return f"a feed-forward width of {width} is not divided by {spread.tensor}"
        if group and width // spread.tensor % group:
            return (
                f"a feed-forward width of {width} on {spread.tensor} devices cuts through groups of {group} numbers "
                f"that share a scale"
            )
    return None
