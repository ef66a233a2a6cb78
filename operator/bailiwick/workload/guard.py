"""Whom the gate lets in, and how much they may take: what a model says, as the gate's environment and volumes.

Secrets are mounted by the gate alone; the operator may not read them. They are mounted as optional, so that
a pod whose Secret is missing starts its gate, which then says so and ends. A kubelet would tell it in an event alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bailiwick.workload.layout import GATE_RUN_PATH, SECRETS_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.api.sovereignmodel import Limits, SovereignModel
    from bailiwick.workload.naming import Manifest

_RUN = "gate-run"
_READABLE = 0o444


def environment(model: SovereignModel) -> list[Manifest]:
    """The gate's environment; empty for a model that asks for nothing."""
    told = {f"GATE_{name}": f"{SECRETS_PATH}/{_volume(name)}" for name, _ in _secrets(model)}
    authentication, limits = model.spec.serving.authentication, model.spec.serving.limits
    if authentication and (issuer := authentication.token_issuer):
        told["GATE_TOKEN_ISSUER"] = issuer.issuer
        told["GATE_TOKEN_AUDIENCES"] = json.dumps(issuer.audiences)
    told |= _limits(limits) if limits else {}
    # The kubelet reads $(NAME) in a value as a reference; $$ is a dollar.
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in told.items()]


def volumes(model: SovereignModel) -> list[Manifest]:
    """The model's Secrets, and a folder in memory for what the gate makes of them."""
    mounted = [
        {"name": _volume(name), "secret": {"secretName": secret, "optional": True, "defaultMode": _READABLE}}
        for name, secret in _secrets(model)
    ]
    run = {"name": _RUN, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}
    return [*mounted, run] if mounted or _leads_outside(model) else []


def mounts(model: SovereignModel) -> list[Manifest]:
    """Where the gate finds them."""
    mounted: list[Manifest] = [
        {"name": _volume(name), "mountPath": f"{SECRETS_PATH}/{_volume(name)}", "readOnly": True}
        for name, _ in _secrets(model)
    ]
    return [*mounted, {"name": _RUN, "mountPath": GATE_RUN_PATH}] if mounted or _leads_outside(model) else []


def _leads_outside(model: SovereignModel) -> bool:
    """Whether the gate writes down by which CA it recognises an endpoint."""
    return model.spec.model.endpoint is not None


def _secrets(model: SovereignModel) -> Iterator[tuple[str, str]]:
    """What the gate calls a Secret, and the Secret's name."""
    authentication, tls = model.spec.serving.authentication, model.spec.serving.tls
    if authentication and authentication.api_keys_secret:
        yield "API_KEYS", authentication.api_keys_secret
    if authentication and authentication.token_issuer:
        yield "TOKEN_KEYS", authentication.token_issuer.keys_secret
    if tls:
        yield "TLS", tls.secret
    if tls and tls.client_ca_secret:
        yield "CLIENT_CA", tls.client_ca_secret


def _volume(name: str) -> str:
    return f"gate-{name.lower().replace('_', '-')}"


def _limits(limits: Limits) -> dict[str, str]:
    told = {
        "GATE_REQUESTS_PER_MINUTE": limits.requests_per_minute,
        "GATE_CONCURRENT_REQUESTS": limits.concurrent,
        "GATE_MAX_CONNECTIONS": limits.connections,
        "GATE_MAX_BODY_BYTES": limits.max_body_bytes,
        "GATE_MAX_HEADER_BYTES": limits.max_header_bytes,
        "GATE_REQUEST_TIMEOUT": f"{limits.request_seconds}s",
        "GATE_IDLE_TIMEOUT": f"{limits.idle_seconds}s",
        "GATE_ANSWER_TIMEOUT": f"{limits.answer_seconds}s",
    }
    return {name: str(value) for name, value in told.items() if value is not None}
