"""FuriosaAI's own server for RNGD: OpenAI's API, models that were compiled ahead (FXB). It has not been run here.

Source: furiosa-llm 2026.4.0, `cli/serve.py`, `server/app.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.arguments import tunes
from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.arguments import forbidden, option_of, stray
from bailiwick.workload.environment import opened
from bailiwick.workload.layout import ENGINE_PORT, MODEL_PATH, SCRATCH_PATH
from bailiwick.workload.placing import Manners

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Need
    from bailiwick.workload.placing import Placing

MANNERS = Manners(shared_memory=True)

TUNING = frozenset(
    """
    chat-template-content-format default-chat-template-kwargs disable-log-stats enable-auto-tool-choice
    enable-prefix-caching interleave-mm-strings max-num-batched-tokens reasoning-parser response-role tool-call-parser
    """.split()  # noqa: SIM905
)
"""Of the options that the API lets a model give, those of this engine."""
SWITCHES = frozenset(
    "disable-log-stats enable-auto-tool-choice enable-prefix-caching interleave-mm-strings".split()  # noqa: SIM905
)

_OPENS = "allowed-local-media-path allowed-origins api-key enable-responses-api-store host port"
_CALLS_OUT = "allowed-media-domains experimental-kv-transfer-config revision"
_OURS = "data-parallel-size devices max-concurrency max-model-len pipeline-parallel-size served-model-name"
_TELLS = "enable-payload-logging no-disable-uvicorn-access-log uvicorn-log-level use-mock-backend"
FORBIDDEN: Mapping[str, str] = {
    option: why
    for options, why in (
        (_OPENS, "it opens the engine, which only the gate may face; leave it out"),
        (_CALLS_OUT, "it makes the engine call out, and nothing leaves its pod; leave it out"),
        (_OURS, "Bailiwick sets it from the model; leave it out"),
        (_TELLS, "it writes prompts or answers to the log, or answers without a model; leave it out"),
    )
    for option in options.split()
}
"""Long options that no accelerator class may give, and why."""

_FIXED: Mapping[str, str] = {
    "FURIOSA_SERVER_DEV_MODE": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "HOME": SCRATCH_PATH,
    "TMPDIR": SCRATCH_PATH,
    "XDG_CACHE_HOME": f"{SCRATCH_PATH}/.cache",
}
_NOT_TO_SET = frozenset({"HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
_NOWHERE = "none.invalid"
"""No host has this name (RFC 6761). Without a list every host is allowed."""


def refusal(model: SovereignModel) -> Verdict | None:
    """What was decided when the model was compiled, and what the server cannot do."""
    spec, parallelism = model.spec, model.spec.parallelism
    asked = {
        "spec.context.kvCacheType": spec.context.kv_cache_type,
        "spec.context.quantization": spec.context.quantization,
        "spec.adapters": spec.adapters,
        "spec.model.file": spec.model.file,
        "spec.parallelism.tensor": parallelism and parallelism.tensor > 1,
        "spec.parallelism.expert": parallelism and parallelism.expert,
        "spec.parallelism.data": parallelism and parallelism.data > 1,
    }
    if field := next((field for field, value in asked.items() if value), None):
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            f"{field} is nothing that furiosa-llm can be told when it serves: its models are compiled ahead, with all "
            f"that; leave it out, and compile the model so",
        )
    other = next((each for each in spec.engine.arguments if option_of(each) and not tunes(each, TUNING)), None)
    if other:
        return refuse(
            Reason.FORBIDDEN_ARGUMENT,
            f"{other!r} in spec.engine.arguments is an option of another engine; leave it out, or set spec.engine.name",
        )
    if found := stray(spec.engine.arguments, switches=SWITCHES, lists=()):
        return refuse(Reason.FORBIDDEN_ARGUMENT, f"{found.argument!r} in spec.engine.arguments {found.why}")
    return None


def refusal_on(need: Need, model: SovereignModel) -> Verdict | None:  # noqa: ARG001 - one interface
    """What an accelerator class must not make of the engine."""
    where = f"of engine furiosa-llm in accelerator class {need.accelerator.metadata.name}"
    if found := forbidden(need.serving.arguments, FORBIDDEN, known=TUNING, anywhere=()):
        return refuse(Reason.FORBIDDEN_ARGUMENT, f"argument {found.argument} {where} is refused: {found.why}")
    return opened(need, where, never=_NOT_TO_SET, fixed=_FIXED)


def command(placing: Placing) -> Sequence[str]:  # noqa: ARG001 - one interface
    """Its program by name: what the entry point of its image starts is not documented."""
    return ["furiosa-llm", "serve"]


def arguments(placing: Placing) -> Sequence[str]:
    """It takes all devices that it finds, which are those of its container."""
    return [
        MODEL_PATH,
        *("--served-model-name", placing.model.spec.model.name),
        *("--host", "127.0.0.1", "--port", str(ENGINE_PORT)),
        *("--allowed-origins", "[]", "--disable-uvicorn-access-log"),
        *_limits(placing.model),
        *placing.need.serving.arguments,
        *placing.model.spec.engine.arguments,
        *("--allowed-media-domains", _NOWHERE),  # a list, so last
    ]


def environment(placing: Placing) -> Sequence[Mapping[str, Any]]:
    """Offline by construction; what the device needs adds to it."""
    variables = {**{each.name: each.value for each in placing.need.serving.environment}, **_FIXED}
    # An empty value is left out: the API server would drop it, and the object would differ for ever.
    return [{"name": name, **({"value": value} if value else {})} for name, value in sorted(variables.items())]


def _limits(model: SovereignModel) -> Iterator[str]:
    context, parallelism = model.spec.context, model.spec.parallelism
    asked = {
        "--max-model-len": context.max_length,
        "--max-concurrency": context.max_sequences,
        "--pipeline-parallel-size": parallelism.pipeline if parallelism and parallelism.pipeline > 1 else None,
    }
    for option, value in asked.items():
        if value is not None:
            yield f"{option}={value}"
