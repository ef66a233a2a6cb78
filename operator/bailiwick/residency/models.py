"""Which sources, signatures and licences the policies of a namespace ask of a model. Pure.

The API server asks the same when a model is written (charts/bailiwick/policies/models.yaml); this is asked again
whenever the model is planned, because a policy may have come later.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.verdict import Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.api.modelsource import Source
    from bailiwick.api.residencypolicy import ModelRule
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.policies import CompiledPolicy


def judge(model: SovereignModel, policies: Iterable[CompiledPolicy]) -> Verdict | None:
    """The first refusal of a policy that is enforced; None when there is none."""
    asked = ((policy.by, policy.spec.models) for policy in policies if policy.mode is Mode.ENFORCE)
    refusals = (judge_one(model, rule, by) for by, rule in asked if rule for judge_one in _JUDGES)
    return next(filter(None, refusals), None)


def _foreign(model: SovereignModel, asked: ModelRule, by: str) -> Verdict | None:
    for weights in model.spec.weights:
        if not _is_from(told := spelled(weights.source), asked.sources):
            return refuse(
                Reason.SOURCE_NOT_ALLOWED,
                f"{by} allows models from {', '.join(sorted(asked.sources)) or 'nowhere'}, but "
                f"{weights.where}.source is {told}; serve a copy from an allowed source, or ask for the source to be "
                f"added to spec.models.sources of the policy",
            )
    return None


def _unpinned(model: SovereignModel, asked: ModelRule, by: str) -> Verdict | None:
    if not asked.require_digest:
        return None
    for weights in model.spec.weights:
        where, source, hub = weights.where, weights.source, weights.source.hugging_face
        if not (_DIGEST.search(source.oci.image) if source.oci else weights.digest or (hub and not hub.endpoint)):
            seen = f"{where}.source.oci.image is {source.oci.image}" if source.oci else f"{where}.source has none"
            return refuse(
                Reason.DIGEST_REQUIRED,
                f"{by} wants content to be named by digest, but {seen}; write the image as name@sha256:..., or give "
                f"{where}.digest (bailiwick weights digest FOLDER)",
            )
    return None


def spelled(source: Source) -> str:
    """A source as policies name it: where it is fetched from, with the host, whatever the model's author called it."""
    if source.oci:
        return f"oci://{source.oci.image}"
    if source.s3:
        return f"{_origin('s3', source.s3.endpoint)}/{source.s3.bucket}/{source.s3.prefix}"
    if source.hugging_face:
        return f"{_origin('hf', source.hugging_face.hub)}/{source.hugging_face.repository}"
    if source.persistent_volume_claim:
        return f"pvc://{source.persistent_volume_claim.claim_name}/{source.persistent_volume_claim.path}"
    if source.host_path:
        return f"hostpath://{source.host_path.path}"
    return f"endpoint://{source.endpoint.statement}" if source.endpoint else "unknown:"


def _origin(kind: str, url: str) -> str:
    """A server and the path below which it is asked. Without TLS it is another one, for anybody may answer."""
    encryption, _, where = url.partition("://")
    return f"{kind}://{where}" if encryption == "https" else f"{kind}+{encryption}://{where}"


def _is_from(told: str, prefixes: Iterable[str]) -> bool:
    """A prefix ends where a name ends. What an image without registry, or a host without domain, means differs."""
    if (told.startswith("oci://") and not _IN_REGISTRY.match(told)) or _NEARBY.match(told):
        return False
    return any(
        told == prefix
        or told.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
        or (_REPOSITORY.match(prefix) and told.startswith((f"{prefix}:", f"{prefix}@")))
        for prefix in prefixes
    )


_NEARBY = re.compile(r"(s3|hf)([+]http)?://[^/.\[]*/")
"""From a host of one name, which each namespace resolves to a Service of its own."""
_IN_REGISTRY = re.compile("oci://([^/]*[.:][^/]*|localhost)/")
_REPOSITORY = re.compile("oci://[^/]+/.*[^/]$")
_DIGEST = re.compile("@sha256:[0-9a-f]{64}$")


def _unsigned(model: SovereignModel, asked: ModelRule, by: str) -> Verdict | None:
    if not asked.signed_by:
        return None
    wanted = ", ".join(sorted(asked.signed_by))
    for weights in model.spec.weights:
        where, signature = weights.where, weights.signature
        if signature is None or signature.authority not in asked.signed_by:
            seen = f"Authority {signature.authority}" if signature else "nobody"
            return refuse(
                Reason.SIGNATURE_REQUIRED,
                f"{by} wants models to be signed by one of {wanted}, but {where} is signed by {seen}; have one of "
                f"them sign the files, and name it in {where}.signature.authority",
            )
    return None


def _licence(model: SovereignModel, asked: ModelRule, by: str) -> Verdict | None:
    if not asked.licences:
        return None
    for weights in model.spec.model.every:
        if weights.licence not in asked.licences:
            return refuse(
                Reason.LICENCE_NOT_ALLOWED,
                f"{by} allows the licences {', '.join(sorted(asked.licences))}, but {weights.where}.licence is "
                f"{weights.licence or 'absent'}; say under which licence the model is served, or ask for it to be "
                f"added to spec.models.licences of the policy",
            )
    return None


_JUDGES = (_foreign, _unpinned, _unsigned, _licence)
