"""Models: they only tighten what their policies ask, refer only to what their author may read, and can be served."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bailiwick.admission.claims import bound, by_mode
from bailiwick.admission.judgement import Judgement, refused
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.dimensions import WORDING, Dimension
from bailiwick.residency.jurisdictions import contains
from bailiwick.residency.policies import compile_residency
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse
from bailiwick.workload.eligibility import eligibility
from bailiwick.workload.plan import Settings, plan_workload
from bailiwick.workload.scaling import Scaling
from bailiwick.workload.sources import into

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bailiwick.admission.known import Known
    from bailiwick.admission.review import Review
    from bailiwick.api.modelsource import Source
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.residency.policies import CompiledPolicy, Limits
    from bailiwick.workload.eligibility import Eligibility, Need

_SETTINGS = Settings(
    gate_image="none",
    weights_image="none",
    serves_ungoverned=True,
    scaling=Scaling(prometheus="http://none.invalid", wake_query="none"),
)
"""Whether ungoverned models are served is decided by the in-tree policy; here only the explanation is wanted. What the
installation lacks, the operator says."""
_KINDS = {"persistentvolumeclaims": "PersistentVolumeClaim", "secrets": "Secret", "configmaps": "ConfigMap"}


async def check(review: Review, known: Known) -> Judgement:
    """Refuse widened residency and borrowed rights; warn when no node could serve the model."""
    if review.after is None or (review.before and review.before.get("spec") == review.after.get("spec")):
        return Judgement()
    model = SovereignModel.read(review.after)
    policies = await known.governing(review.namespace)
    own = model.spec.residency
    warnings: tuple[str, ...] = ()
    if own:
        limits = compile_residency(own, known.atlas(), by=f"model {review.namespace}/{model.metadata.name}")
        if limits.problems:
            return refused(limits.problems[0].reason, f"spec.residency of the model: {limits.problems[0].message}")
        tightening = by_mode((policy, tightens(limits, policy)) for policy in policies)
        if not tightening.verdict.allowed:
            return tightening
        warnings = tightening.warnings
    borrowed = await _borrowed(review, model, known)
    if not borrowed.allowed:
        return Judgement(borrowed)
    claims = [name for plural, name in references(model) if plural == "persistentvolumeclaims"]
    data = await bound(review.namespace, claims, policies, known)
    if not data.verdict.allowed:
        return data
    return Judgement(warnings=(*warnings, *data.warnings, *_prospects(model, policies, known)))


def tightens(own: Limits, policy: CompiledPolicy) -> Verdict:
    """Everything that a model allows is allowed by a policy, question by question."""
    for dimension in Dimension:
        asked, limit = own.bounds(dimension), policy.bounds(dimension)
        if asked is None or limit is None:
            continue
        outside = sorted(
            place for place in asked.allow if contains(limit.deny, place) or not contains(limit.allow, place)
        )
        if outside:
            words = WORDING[dimension]
            denied = f" and denies {limit.deny_names}" if limit.deny else ""
            return refuse(
                words.wrong,
                f"spec.residency.{words.field} of the model allows {asked.allow_names}, of which {outside[0]} is "
                f"outside: {policy.by} allows {limit.allow_names}{denied} in spec.{words.field}; a model may "
                f"only tighten its policies, so leave it out",
            )
    return ALLOWED


def references(model: SovereignModel) -> Iterator[tuple[str, str]]:
    """What a model uses of its namespace, as (plural, name)."""
    spec = model.spec
    for weights in spec.weights:
        yield from _of_source(weights.source)
        told = (weights.manifest, weights.profile, weights.signature)
        yield from (("configmaps", each.config_map) for each in told if each and each.config_map)
    serving = spec.serving
    secrets = [serving.tls.secret, serving.tls.client_ca_secret] if serving.tls else []
    if serving.authentication:
        secrets.append(serving.authentication.api_keys_secret)
        if serving.authentication.token_issuer:
            secrets.append(serving.authentication.token_issuer.keys_secret)
    yield from (("secrets", name) for name in secrets if name)


def _of_source(source: Source) -> Iterator[tuple[str, str]]:
    if source.persistent_volume_claim:
        yield "persistentvolumeclaims", source.persistent_volume_claim.claim_name
    if kept := into(source):
        yield "persistentvolumeclaims", kept.claim_name
    if source.oci:
        yield from (("secrets", name) for name in source.oci.pull_secrets)
    if source.s3 and source.s3.credentials_secret:
        yield "secrets", source.s3.credentials_secret
    if source.hugging_face and source.hugging_face.token_secret:
        yield "secrets", source.hugging_face.token_secret


async def _borrowed(review: Review, model: SovereignModel, known: Known) -> Verdict:
    """Nobody reaches by a model what he may not read himself: the operator makes pods with its own rights.

    Who changes a model answers for all that it refers to then, not only for what he added.
    """
    may = await known.may_get(review.user, review.namespace, references(model))
    for (plural, name), allowed in may.items():
        if not allowed:
            return refuse(
                Reason.ACCESS_DENIED,
                f"the model uses {_KINDS[plural]} {name}, which {review.user.name} may not read in namespace "
                f"{review.namespace}; ask for the right to get it, or have somebody create the model who has it",
            )
    return ALLOWED


def _prospects(model: SovereignModel, policies: Sequence[CompiledPolicy], known: Known) -> Iterator[str]:
    """Why the model would not be served as the cluster is now. It may be served tomorrow, so this refuses nothing."""
    classes = known.classes()
    absent = [name for name in model.spec.accelerators.classes if name not in classes]
    if absent and model.spec.model.endpoint is None:
        yield f"there is no AcceleratorClass {', '.join(absent)}; classes of this cluster: {', '.join(sorted(classes))}"
    plan = plan_workload(
        model, policies=policies, classes=classes, eligible=partial(_eligible, known), settings=_SETTINGS,
        authorities=known.authorities(), endpoint=_endpoint(known, model, policies),
    )  # fmt: skip
    if plan.verdict.reason is Reason.MISSING_PROFILE:
        return  # profiles are not looked at here: they may be there, or come later
    if not plan.verdict.allowed:
        yield f"the model would not be served: {plan.verdict}"
    elif not plan.eligibility.nodes:
        counts = "; ".join(f"{each.count} {each.reason}: {each.message}" for each in plan.eligibility.ineligible)
        yield f"no node is eligible now, and the model will wait ({counts or 'the cluster has no nodes'})"


def _endpoint(known: Known, model: SovereignModel, policies: Sequence[CompiledPolicy]) -> JudgedEndpoint | None:
    source, own = model.spec.model.endpoint, model.spec.residency
    if source is None:
        return None
    limits = [*policies, *([compile_residency(own, known.atlas(), by="the model")] if own else [])]
    return known.endpoint(source.statement, limits)


def _eligible(known: Known, model: SovereignModel, policies: Sequence[CompiledPolicy], need: Need) -> Eligibility:
    return eligibility(
        policies, model.spec.residency, need, known.facts().values(), atlas=known.atlas(), now=known.now()
    )
