"""Arguments that a model may give to its engine: those that tune it, and no others.

An engine has hundreds of options and gets new ones with every release. Some run code from a path, call out, open
another port, log prompts or undo what Bailiwick sets; so what is not known to be harmless is refused. A platform team
that needs more gives it in the AcceleratorClass, where nothing is refused.
"""

from typing import Annotated

from pydantic import Field

from bailiwick.api.markers import Rule
from bailiwick.api.names import whole

# Source: vLLM 0.32, vllm/entrypoints/launchers/cli_args.py (make_arg_parser). What the API has a field for is left out.
TUNING = frozenset(  # one option per word, so that a change is one word in a diff
    """
    async-scheduling attention-backend block-size chat-template chat-template-content-format convert cpu-offload-gb
    cudagraph-capture-sizes cudagraph-metrics dbo-decode-token-threshold dbo-prefill-token-threshold
    default-chat-template-kwargs device-memory-utilization disable-cascade-attn disable-chunked-mm-input
    disable-custom-all-reduce disable-hybrid-kv-cache-manager disable-log-stats disable-sliding-window dtype
    enable-auto-tool-choice enable-chunked-prefill enable-dbo enable-ep-weight-filter enable-eplb
    enable-force-include-usage enable-mfu-metrics enable-per-request-metrics enable-prefix-caching
    enable-prompt-tokens-details enable-server-load-tracking enforce-eager eplb-config
    exclude-tools-when-tool-choice-none expert-placement-strategy fingerprint-mode fully-sharded-loras
    gpu-memory-utilization interleave-mm-strings kv-cache-memory-bytes kv-cache-metrics kv-cache-metrics-sample
    kv-offloading-size kv-sharing-fast-prefill limit-mm-per-prompt linear-backend logprobs-mode
    long-prefill-token-threshold lora-dtype mamba-backend mamba-block-size mamba-cache-dtype mamba-cache-mode
    mamba-ssm-cache-dtype max-cpu-loras max-cudagraph-capture-size max-logprobs max-lora-rank max-loras
    max-num-batched-tokens max-num-queued-reqs max-num-queued-tokens max-num-scheduled-tokens
    max-parallel-loading-workers mm-encoder-attn-backend mm-encoder-tp-mode mm-processor-cache-gb
    mm-processor-cache-type model-impl moe-backend num-gpu-blocks-override numa-bind optimization-level
    override-generation-config performance-mode prefix-caching-hash-algo reasoning-parser response-role
    return-tokens-as-token-ids runner safetensors-load-strategy safetensors-prefetch-block-size
    safetensors-prefetch-num-threads scheduler-reserve-full-isl scheduling-policy seed skip-mm-profiling spec-method
    spec-tokens stream-interval tool-call-parser ubatch-size use-tqdm-on-load video-pruning-rate
    """.split()  # noqa: SIM905
)
"""Long options of vLLM without their dashes; each may also be given as its opposite, ``--no-…``."""

# Source: llama.cpp as llama-cpp-python 0.3.36 carries it, common/arg.cpp (common_params_parser_init).
LLAMA_CPP_TUNING = frozenset(
    """
    adaptive-decay adaptive-target backend-sampling batch-size cache-idle-slots cache-prompt cache-ram cache-reuse
    chat-template chat-template-kwargs check-tensors checkpoint-min-step cont-batching context-shift cpu-moe
    ctx-checkpoints dry-allowed-length dry-base dry-multiplier dry-penalty-last-n dynatemp-exp dynatemp-range
    embd-normalize embeddings flash-attn frequency-penalty jinja keep kv-offload min-p mirostat mirostat-ent mirostat-lr
    n-cpu-moe n-gpu-layers n-predict op-offload pooling prefill-assistant presence-penalty reasoning reasoning-budget
    reasoning-budget-message reasoning-effort reasoning-format reasoning-preserve repack repeat-last-n repeat-penalty
    reranking rope-freq-base rope-freq-scale rope-scale rope-scaling samplers seed skip-chat-parsing
    slot-prompt-similarity special sse-ping-interval swa-full temp threads threads-batch threads-http top-k top-n-sigma
    top-p typical ubatch-size warmup xtc-probability xtc-threshold yarn-attn-factor yarn-beta-fast yarn-beta-slow
    yarn-ext-factor yarn-orig-ctx
    """.split()  # noqa: SIM905
)
"""Long options of llama.cpp's server, likewise."""

_ANY = TUNING | LLAMA_CPP_TUNING
"""What the API takes. The engine that is asked for says which of them are its own, when the model is planned."""

# A negative number has no dot: vLLM would read -1.5 as a structured option and swallow the argument behind it.
_SHORT = "^-([0-9]+|O=?[0-3])$"
is_short = whole(_SHORT)


def is_harmless(argument: str) -> bool:
    """Whether a model may give this argument: a value, a number, or an option of any engine in one of its spellings.

    vLLM takes underscores for dashes, a value behind ``=``, and a key of a structured value behind a dot. It also takes
    any unambiguous beginning of an option, which is refused here.
    """
    if not argument.startswith("-") or is_short(argument):
        return True
    return tunes(argument, _ANY)


def tunes(argument: str, options: frozenset[str]) -> bool:
    """Whether an argument is one of these options, or its opposite, in one of its spellings."""
    option = argument.partition("=")[0].partition(".")[0].replace("_", "-")
    return option.startswith("--") and option.removeprefix("--").removeprefix("no-") in options


_IN_CEL = (
    f"!self.startsWith('-') || self.matches('{_SHORT}') || "
    "self.split('=')[0].split('.')[0].replace('_', '-').replace('--no-', '--', 1) in "
    f"{[f'--{option}' for option in sorted(_ANY)]}"
)

Argument = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    Rule(
        _IN_CEL,
        "is not for a model to give: Bailiwick sets it, or it might run foreign code, call out or log prompts; "
        "the platform team can give it in the AcceleratorClass",
        holds=is_harmless,
    ),
]
"""One argument of an engine."""
