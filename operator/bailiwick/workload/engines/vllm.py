"""vLLM: offline, on loopback, from safetensors, without any code of the model's.

Source: vLLM 0.32, `vllm/entrypoints/launchers/cli_args.py`, `vllm/engine/arg_utils.py`, `vllm/envs.py`; what it tries
to reach was observed in a network namespace that had loopback only (docs/serving.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.arguments import TUNING, is_short, tunes
from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.arguments import forbidden, option_of, stray
from bailiwick.workload.engines import vllm_plugins
from bailiwick.workload.environment import opened
from bailiwick.workload.layout import ADAPTER_PATH, DRAIN_SECONDS, ENGINE_PORT, MODEL_PATH, SCRATCH_PATH
from bailiwick.workload.placing import Manners

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Need
    from bailiwick.workload.placing import Placing

MANNERS = Manners(shared_memory=True, keeps_connections=True, drains=True)

_FOREIGN_CODE = """
    io-processor-plugin logits-processors middleware model-class-overrides reasoning-parser-plugin scheduler-cls
    tool-parser-plugin trust-remote-code worker-cls worker-extension-cls
"""
_OPENS = """
    allow-credentials allowed-headers allowed-methods allowed-origins api-key config data-parallel-address
    data-parallel-external-lb data-parallel-hybrid-lb data-parallel-multi-port-external-lb data-parallel-rank
    data-parallel-rpc-port enable-scale-out enable-tokenizer-info-endpoint grpc grpc-port headless host master-addr
    master-port nnodes node-rank port root-path ssl-ca-certs ssl-certfile ssl-keyfile tokens-only
    trust-request-chat-template trust-request-mm-kwargs uds
"""
_CALLS_OUT = """
    allowed-local-media-path allowed-media-domains download-dir ec-transfer-config hf-token kv-events-config
    kv-transfer-config otlp-traces-endpoint tool-server weight-transfer-config
"""
_OURS = """
    code-revision data-parallel-size disable-uvicorn-access-log enable-lora load-format lora-modules model
    model-loader-extra-config pipeline-parallel-size revision served-model-name shutdown-timeout tensor-parallel-size
    tokenizer-revision
"""
_TELLS = "enable-log-outputs enable-log-requests max-log-len no-disable-uvicorn-access-log"
FORBIDDEN: Mapping[str, str] = {
    option: why
    for options, why in (
        (_FOREIGN_CODE, "it runs code that is not in the engine's image; use an image that contains it"),
        (_OPENS, "it opens the engine to the network, which only the gate may face; leave it out"),
        (_CALLS_OUT, "it makes the engine call out, and nothing leaves its pod; leave it out"),
        (_OURS, "Bailiwick sets it from the model; leave it out"),
        (_TELLS, "it writes prompts or answers to the log; leave it out"),
    )
    for option in options.split()
}
"""Long options that no accelerator class may give, and why. Models may give none but those of `api.arguments`."""

SWITCHES = frozenset(  # one option per word
    """
    async-scheduling cudagraph-metrics disable-cascade-attn disable-chunked-mm-input disable-custom-all-reduce
    disable-hybrid-kv-cache-manager disable-log-stats disable-sliding-window enable-auto-tool-choice
    enable-chunked-prefill enable-dbo enable-ep-weight-filter enable-eplb enable-force-include-usage enable-mfu-metrics
    enable-per-request-metrics enable-prefix-caching enable-prompt-tokens-details enable-server-load-tracking
    enforce-eager exclude-tools-when-tool-choice-none fully-sharded-loras interleave-mm-strings kv-cache-metrics
    kv-sharing-fast-prefill numa-bind return-tokens-as-token-ids scheduler-reserve-full-isl skip-mm-profiling
    use-tqdm-on-load
    """.split()  # noqa: SIM905
)
"""Of the options that a model may give, those without a value."""
LISTS = frozenset({"cudagraph-capture-sizes"})
"""Of the options that a model may give, those with several values."""

_CLOSED = {
    "VLLM_NO_USAGE_STATS": "1",  # literally 1: "true" does not count
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    # Off by default. An image may say otherwise, and what stands here wins.
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "0",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
    "VLLM_SERVER_DEV_MODE": "0",
    "VLLM_USE_MODELSCOPE": "0",
}
_SCRATCH = {"HOME": SCRATCH_PATH, "TMPDIR": SCRATCH_PATH, "XDG_CACHE_HOME": f"{SCRATCH_PATH}/.cache"}
KEPT = {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60"}
"""Seconds that it keeps an idle connection: the gate, which keeps its own for a few, is always the one to end it."""
_FIXED: Mapping[str, str] = {**_CLOSED, **_SCRATCH, **KEPT}
_NOT_TO_SET = frozenset({
    "HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY", "VLLM_HOST_IP", "VLLM_PORT",
    "VLLM_USAGE_STATS_SERVER",
})  # fmt: skip
_DEFAULTS: Mapping[str, str] = {
    "VLLM_MAX_N_SEQUENCES": "64",  # answers to one request; 16384 by default, and one caller could fill the queue
    # No plug-in, instead of whatever is installed. A device whose support is one names it.
    "VLLM_PLUGINS": "",
}
"""What an accelerator class may set otherwise."""
_NOWHERE = "none.invalid"
"""No host has this name (RFC 6761). An empty list would allow every host."""


def refusal(model: SovereignModel) -> Verdict | None:
    """What this release cannot start with vLLM, and arguments that mean something else than they seem to."""
    if any(weights.file for weights in model.spec.weights):
        return refuse(
            Reason.INVALID_MODEL,
            "file names one file of a source, and vLLM reads its folder; leave it out, and put the files there",
        )
    for argument in model.spec.engine.arguments:
        if argument.startswith("-") and not is_short(argument) and not tunes(argument, TUNING):
            return refuse(
                Reason.FORBIDDEN_ARGUMENT,
                f"{argument!r} in spec.engine.arguments is an option of another engine; leave it out, or set "
                f"spec.engine.name",
            )
    if found := stray(model.spec.engine.arguments, switches=SWITCHES, lists=LISTS):
        return refuse(Reason.FORBIDDEN_ARGUMENT, f"{found.argument!r} in spec.engine.arguments {found.why}")
    return None


def refusal_on(need: Need, model: SovereignModel) -> Verdict | None:
    """What an accelerator class must not make of the engine, and what its plug-in cannot do."""
    where = f"of engine vllm in accelerator class {need.accelerator.metadata.name}"
    if found := forbidden(need.serving.arguments, FORBIDDEN, known=TUNING, anywhere=_FOREIGN_CODE.split()):
        return refuse(Reason.FORBIDDEN_ARGUMENT, f"argument {found.argument} {where} is refused: {found.why}")
    opens = opened(need, where, never=_NOT_TO_SET, fixed=_FIXED)
    return opens or vllm_plugins.refusal(need, model) or _unwarmed(need, model)


def _unwarmed(need: Need, model: SovereignModel) -> Verdict | None:
    """Stages on CPUs that would start, say that they are healthy, and end at the first request (docs/scaling.md)."""
    parallelism = model.spec.parallelism
    given = [option_of(each) for each in (*need.serving.arguments, *model.spec.engine.arguments)]
    eager = [option for option in given if option in {"enforce-eager", "no-enforce-eager"}][-1:] == ["enforce-eager"]
    if need.device or parallelism is None or parallelism.pipeline == 1 or not eager:
        return None
    if "kv-cache-memory-bytes" not in given:
        return None
    return refuse(
        Reason.UNSUPPORTED_FEATURE,
        f"spec.parallelism.pipeline is {parallelism.pipeline}, and on CPUs vLLM ends at the first request when stages "
        f"start with --enforce-eager and --kv-cache-memory-bytes, as accelerator class "
        f"{need.accelerator.metadata.name} has them; leave pipeline out, or take a class that has "
        f'--compilation-config={{"mode": 1}} in place of --enforce-eager',
    )


def command(placing: Placing) -> Sequence[str]:  # noqa: ARG001 - one interface
    """The entry point of the image: there is more than one way to start vLLM, and each image knows its own."""
    return []


def arguments(placing: Placing) -> Sequence[str]:
    """What identifies the model first, then limits, then what the device needs, and last what the user tunes.

    Of an option that is given twice the last one counts, so a model's tuning goes before its class's.
    """
    return [
        *("--model", MODEL_PATH, "--served-model-name", placing.model.spec.model.name),
        *("--host", "127.0.0.1", "--port", str(ENGINE_PORT)),
        *("--load-format", "safetensors"),  # "auto" falls back to pickle
        *("--allowed-media-domains", _NOWHERE),
        *("--shutdown-timeout", str(DRAIN_SECONDS)),
        # The gate logs every request. A log of paths would hold their queries, and those what a client wrote.
        *("--disable-uvicorn-access-log", "--fingerprint-mode", "none"),
        *_limits(placing),
        *_adapters(placing.model),
        *placing.need.serving.arguments,
        *placing.model.spec.engine.arguments,
    ]


def environment(placing: Placing) -> Sequence[Mapping[str, Any]]:
    """Offline by construction; what the device needs adds to it."""
    variables = {**_DEFAULTS, **{each.name: each.value for each in placing.need.serving.environment}, **_FIXED}
    return [
        # Otherwise the engine finds its own address by asking the network for the way to a public one.
        {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        # An empty value is left out: the API server would drop it, and the object would differ for ever.
        *({"name": name, **({"value": value} if value else {})} for name, value in sorted(variables.items())),
    ]


def _limits(placing: Placing) -> Iterator[str]:
    """Each behind ``=``: whatever a user wrote is the option's value then, and never an option."""
    context, parallelism = placing.model.spec.context, placing.parallelism
    spread = vllm_plugins.of(placing.need).spread
    asked = {
        "--max-model-len": context.max_length,
        "--max-num-seqs": context.max_sequences,
        "--kv-cache-dtype": context.kv_cache_type,
        "--quantization": context.quantization,
        **({spread: parallelism.tensor if parallelism.tensor > 1 else None} if spread else {}),
        "--pipeline-parallel-size": parallelism.pipeline if parallelism.pipeline > 1 else None,
        "--data-parallel-size": parallelism.data if parallelism.data > 1 else None,
    }
    for option, value in asked.items():
        if value is not None:
            yield f"{option}={value}"
    if parallelism.expert:
        yield "--enable-expert-parallel"


def _adapters(model: SovereignModel) -> Iterator[str]:
    """Adapters are loaded at start, from files that are mounted; none can be added to a running engine."""
    if model.spec.adapters:
        yield from ("--enable-lora", "--lora-modules")
        yield from (f"{adapter.name}={ADAPTER_PATH}/{adapter.name}" for adapter in model.spec.adapters)
