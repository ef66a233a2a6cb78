"""hailo-ollama: chat on a Hailo-10H, one request at a time. It has not been run here.

Source: hailo-ai/hailo_model_zoo_genai 5.1, `src/apps/server/main.cpp`, `config/hailo-ollama.json`, `docs/USAGE.rst`.
It takes no argument: a file says where it listens and whom it asks for models, and that file must be ours, because the
one it comes with listens everywhere. Models are compiled by the vendor (HEF) and lie with their manifests in the
volume, in the vendor's own folders: `hailo-ollama/models/manifests` and `hailo-ollama/models/blob`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.layout import ENGINE_PORT, MODEL_PATH, SCRATCH_PATH
from bailiwick.workload.placing import Manners

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Need
    from bailiwick.workload.placing import Placing

MANNERS = Manners(health="/api/version")

_CONFIG_HOME = f"{SCRATCH_PATH}/.config"
_CONFIG = json.dumps({
    "server": {"host": "127.0.0.1", "port": ENGINE_PORT},
    # No host has this name (RFC 6761): it downloads models for whoever asks it to, and nobody can.
    "library": {"host": "none.invalid", "port": 443},
    "main_poll_time_ms": 200,
})  # fmt: skip
_START = (
    f'mkdir -p {_CONFIG_HOME}/hailo-ollama && printf %s "$HAILO_OLLAMA_CONFIG" > '
    f"{_CONFIG_HOME}/hailo-ollama/hailo-ollama.json && exec hailo-ollama"
)
_FIXED: Mapping[str, str] = {
    "HAILO_OLLAMA_CONFIG": _CONFIG,
    "HOME": SCRATCH_PATH,
    "TMPDIR": SCRATCH_PATH,
    "XDG_CONFIG_HOME": _CONFIG_HOME,
    "XDG_DATA_HOME": MODEL_PATH,
}


def refusal(model: SovereignModel) -> Verdict | None:
    """It can be told nothing at all: what it serves, the vendor compiled."""
    spec = model.spec
    asked = {
        "spec.engine.arguments": spec.engine.arguments,
        "spec.context": spec.context.model_dump(exclude_none=True),
        "spec.parallelism": spec.parallelism,
        "spec.adapters": spec.adapters,
        "spec.model.file": spec.model.file,
        "spec.accelerators.perReplica": spec.accelerators.per_replica not in {"auto", 1},
    }
    field = next((field for field, value in asked.items() if value), None)
    if field is None:
        return None
    return refuse(
        Reason.UNSUPPORTED_FEATURE,
        f"{field} is nothing that hailo-ollama can be told: it serves what the vendor compiled, one request at a time "
        f"on one device; leave it out",
    )


def refusal_on(need: Need, model: SovereignModel) -> Verdict | None:  # noqa: ARG001 - one interface
    """What an accelerator class must not make of the engine."""
    where = f"of engine hailo in accelerator class {need.accelerator.metadata.name}"
    if need.serving.arguments:
        return refuse(
            Reason.FORBIDDEN_ARGUMENT,
            f"argument {need.serving.arguments[0]} {where} is refused: hailo-ollama takes none; leave it out",
        )
    for variable in need.serving.environment:
        if variable.name.startswith("XDG_") or variable.name in _FIXED:
            return refuse(
                Reason.FORBIDDEN_ARGUMENT,
                f"variable {variable.name} {where} is refused: it says where the engine finds its configuration, which "
                f"keeps it closed; leave it out",
            )
    return None


def command(placing: Placing) -> Sequence[str]:  # noqa: ARG001 - one interface
    """A shell writes the file: the vendor's image is an ordinary Ubuntu."""
    return ["/bin/sh", "-c", _START]


def arguments(placing: Placing) -> Sequence[str]:  # noqa: ARG001 - one interface
    """None."""
    return []


def environment(placing: Placing) -> Sequence[Mapping[str, Any]]:
    """Where it finds its configuration and its models; what the device needs adds to it."""
    variables = {**{each.name: each.value for each in placing.need.serving.environment}, **_FIXED}
    return [{"name": name, **({"value": value} if value else {})} for name, value in sorted(variables.items())]
