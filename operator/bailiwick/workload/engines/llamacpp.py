"""llama.cpp's server: one GGUF file, mapped into memory and paged from disk, for small machines at the edge.

Source: llama.cpp as llama-cpp-python 0.3.36 carries it, `common/arg.cpp`, `tools/server/`. It reads an option only
where it is spelt out, takes the argument behind it whatever that begins with, and knows no ``=``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.arguments import LLAMA_CPP_TUNING, tunes
from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.arguments import Objection, forbidden
from bailiwick.workload.layout import ADAPTER_PATH, ENGINE_PORT, MODEL_PATH, SCRATCH_PATH
from bailiwick.workload.placing import Manners

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Need
    from bailiwick.workload.placing import Placing

MANNERS = Manners()
"""When it is told to stop it cuts what is under way: a client sees its stream end in the middle."""

FILE = "model.gguf"
ADAPTER_FILE = "adapter.gguf"
SEQUENCES = 4
"""Requests at the same time when nobody says: as many as the engine takes by itself."""
_MOST_TOKENS = 2**31 - 1

_OPENS = """
    agent api-key api-key-file api-prefix cors-credentials cors-headers cors-methods cors-origins host
    mcp-servers-config mcp-servers-json media-path models-autoload models-dir models-max models-preset path port
    props reuse-port slot-save-path slots ssl-cert-file ssl-key-file tools tools-runtime ui ui-config ui-config-file
    ui-mcp-proxy video-ffmpeg-dir webui webui-config webui-config-file webui-mcp-proxy
"""
_CALLS_OUT = """
    docker-repo embd-gemma-default fim-qwen-1.5b-default fim-qwen-14b-spec fim-qwen-30b-default fim-qwen-3b-default
    fim-qwen-7b-default fim-qwen-7b-spec gpt-oss-120b-default gpt-oss-20b-default hf-file hf-repo hf-repo-draft hf-token
    mmproj-url model-url rpc spec-draft-hf vision-gemma-12b-default vision-gemma-4b-default
"""
_OURS = """
    alias cache-type-k cache-type-v ctx-size kv-unified kv-unified-per-slot lora lora-init-without-apply lora-scaled
    metrics model no-kv-unified offline parallel
"""
_TELLS = "log-file log-prompts-dir log-verbose log-verbosity lookup-cache-dynamic verbose verbosity"
_ENDS = "cache-list completion-bash help list-devices usage version"
FORBIDDEN: Mapping[str, str] = {
    option: why
    for options, why in (
        (_OPENS, "it opens the engine, which only the gate may face, or gives it tools; leave it out"),
        (_CALLS_OUT, "it makes the engine call out, and nothing leaves its pod; leave it out"),
        (_OURS, "Bailiwick sets it from the model; leave it out"),
        (_TELLS, "it writes prompts or answers to a log or a file; leave it out"),
        (_ENDS, "the engine tells something and ends; leave it out"),
    )
    for option in options.split()
}
"""Long options that no accelerator class may give, and why. Models may give none but those of `api.arguments`."""

SWITCHES = frozenset("backend-sampling check-tensors cpu-moe embeddings reranking special swa-full".split())  # noqa: SIM905
"""Of the options that a model may give, those without a value."""
OPPOSITES = frozenset(
    """
    cache-idle-slots cache-prompt cont-batching context-shift jinja kv-offload op-offload prefill-assistant
    reasoning-preserve repack skip-chat-parsing warmup
    """.split()  # noqa: SIM905
)
"""Those without a value that can also be turned off by ``--no-…``."""

_FIXED: Mapping[str, str] = {
    # Files that it downloads would lie here; it is told not to.
    "LLAMA_CACHE": f"{SCRATCH_PATH}/.cache/llama.cpp",
    "HOME": SCRATCH_PATH,
    "TMPDIR": SCRATCH_PATH,
    "XDG_CACHE_HOME": f"{SCRATCH_PATH}/.cache",
}
_NOT_TO_SET = (
    "AIP_",
    "GGML_RPC_",
    "HF_",
    "HUGGING_FACE_",
    "LLAMA_API_KEY",
    "LLAMA_APP_CMD",
    "LLAMA_ARG_",
    "LLAMA_SERVER_",
)
"""Beginnings of variables: most options have one that stands for it, LLAMA_ARG_…"""


def refusal(model: SovereignModel) -> Verdict | None:
    """What llama.cpp's server cannot be asked for."""
    context, parallelism = model.spec.context, model.spec.parallelism
    if context.quantization:
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            f"spec.context.quantization is {context.quantization}, but a GGUF file holds weights that are quantized "
            f"already; leave it out, and name the file that you want in spec.model.file",
        )
    if parallelism and (parallelism.data > 1 or parallelism.pipeline > 1 or parallelism.expert):
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            "spec.parallelism asks for more than tensor, and llama.cpp spreads a replica over the devices of one "
            "process only; leave it out, and say how many devices in spec.accelerators.perReplica",
        )
    if context.max_length and context.max_length * (context.max_sequences or SEQUENCES) > _MOST_TOKENS:
        return refuse(
            Reason.INVALID_MODEL,
            f"spec.context.maxLength times maxSequences is {context.max_length * (context.max_sequences or SEQUENCES)} "
            f"tokens, and llama.cpp counts to {_MOST_TOKENS}; lower one of them",
        )
    cached = next((each for each in model.spec.engine.arguments if each.startswith("--cache")), None)
    if cached and model.spec.adapters:
        # What a request computed with an adapter would be taken for what it is without, and the next one answers so.
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            f"{cached!r} in spec.engine.arguments keeps what requests computed, and llama.cpp does not tell apart what "
            f"was computed with one of spec.adapters; leave it or the adapters out",
        )
    if found := _stray(model.spec.engine.arguments):
        return refuse(Reason.FORBIDDEN_ARGUMENT, f"{found.argument!r} in spec.engine.arguments {found.why}")
    return None


def refusal_on(need: Need, model: SovereignModel) -> Verdict | None:  # noqa: ARG001 - one interface
    """What an accelerator class must not make of the engine."""
    where = f"of engine llama.cpp in accelerator class {need.accelerator.metadata.name}"
    if found := forbidden(need.serving.arguments, FORBIDDEN, known=LLAMA_CPP_TUNING, anywhere=()):
        return refuse(Reason.FORBIDDEN_ARGUMENT, f"argument {found.argument} {where} is refused: {found.why}")
    for variable in need.serving.environment:
        if variable.name.startswith(_NOT_TO_SET) or variable.value != _FIXED.get(variable.name, variable.value):
            return refuse(
                Reason.FORBIDDEN_ARGUMENT,
                f"variable {variable.name} {where} is refused: it may stand for an option that opens the engine or "
                f"makes it call out; give the option in arguments, or leave it out",
            )
    return None


def command(placing: Placing) -> Sequence[str]:  # noqa: ARG001 - one interface
    """The entry point of the image, which is the server."""
    return []


def arguments(placing: Placing) -> Sequence[str]:
    """What identifies the model first, then limits, then what the device needs, and last what the user tunes.

    Of an option that is given twice the last one counts, also before what the image says in LLAMA_ARG_….
    """
    model = placing.model
    return [
        *("--model", f"{MODEL_PATH}/{model.spec.model.weights.file or FILE}", "--alias", model.spec.model.name),
        *("--host", "127.0.0.1", "--port", str(ENGINE_PORT)),
        *("--offline", "--no-webui", "--no-slots", "--metrics"),
        *_limits(model),
        *_adapters(model),
        *placing.need.serving.arguments,
        *model.spec.engine.arguments,
        *(("--no-cache-prompt", "--cache-ram", "0") if model.spec.adapters else ()),
    ]


def environment(placing: Placing) -> Sequence[Mapping[str, Any]]:
    """Nothing but where it may write, and what the device needs."""
    variables = {**{each.name: each.value for each in placing.need.serving.environment}, **_FIXED}
    # An empty value is left out: the API server would drop it, and the object would differ for ever.
    return [{"name": name, **({"value": value} if value else {})} for name, value in sorted(variables.items())]


def _limits(model: SovereignModel) -> Iterator[str]:
    """Its context is one store for all requests: divided among them, or shared where each may fill it alone."""
    context = model.spec.context
    sequences = context.max_sequences or SEQUENCES
    yield from ("--parallel", str(sequences))
    if context.max_length:
        yield from ("--ctx-size", str(context.max_length * sequences))
    else:
        yield "--kv-unified"
    if context.kv_cache_type:
        yield from ("--cache-type-k", context.kv_cache_type, "--cache-type-v", context.kv_cache_type)


def _adapters(model: SovereignModel) -> Iterator[str]:
    """Adapters are loaded at start and change nothing until a request names them by number.

    That takes a scale of nothing: with --lora-init-without-apply they change every request that names none.
    """
    files = [f"{ADAPTER_PATH}/{adapter.name}/{adapter.file or ADAPTER_FILE}:0" for adapter in model.spec.adapters]
    if files:
        yield from ("--lora-scaled", ",".join(files))


def _stray(arguments: Sequence[str]) -> Objection | None:
    """The first argument of a model's that the engine would not read as the option, or the value, that it is."""
    waiting: str | None = None
    for argument in arguments:
        if waiting:
            waiting = None
            continue
        name = argument.replace("_", "-").removeprefix("--")
        if not argument.startswith("--"):
            return Objection(argument, "is a value that no option takes; write it behind its option, in full")
        if "=" in argument or "." in argument:
            return Objection(argument, "holds a value, which llama.cpp reads from the next argument; write it there")
        if not tunes(argument, LLAMA_CPP_TUNING):
            return Objection(argument, "is an option of another engine; leave it out, or set spec.engine.name")
        if name.startswith("no-") and name.removeprefix("no-") not in OPPOSITES:
            return Objection(argument, "is the opposite of an option that has none; leave it out")
        if name.removeprefix("no-") not in SWITCHES | OPPOSITES:
            waiting = argument
    return Objection(waiting, "needs a value; write it behind the option") if waiting else None
