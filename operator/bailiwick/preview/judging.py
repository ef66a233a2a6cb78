"""One manifest before the whole border: every guard, measured by every policy that governs its namespace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bailiwick.cel.values import EvaluationError, Unknown
from bailiwick.preview.defaults import pinned, shown
from bailiwick.preview.guards import Doubt
from bailiwick.preview.requests import requests
from bailiwick.residency import border
from bailiwick.residency.territories import GOVERNED_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bailiwick.preview.guards import Guard
    from bailiwick.preview.requests import Manifest, Path, Request
    from bailiwick.residency.policies import CompiledPolicy

SOMEBODY = "whoever applies it"
_NAME = "kubernetes.io/metadata.name"
_OF_PEOPLE: Final = frozenset({"bailiwick-waivers"})
"""Guards that compare who asks with a name in the object, which no made-up name may answer."""
_NODES = Unknown("which nodes are inside (give the policy's Territory)")
_RIGHTS = Unknown("the rights of whoever applies it (RBAC of the cluster)")
_WHO = Unknown("who applies it (give --as)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A policy, and what its guards measure by; the nodes are unknown unless a cluster told them."""

    policy: CompiledPolicy
    territory: Manifest

    @property
    def name(self) -> str:
        """Of the policy."""
        return self.policy.name


def measure(policy: CompiledPolicy, territory: Manifest, *, nodes_known: bool) -> Measure:
    """``territory`` as the operator would write it, or as a cluster has it (then its nodes are known)."""
    spec = territory["spec"]
    told = spec if nodes_known else {**spec, "nodes": _NODES}
    return Measure(policy=policy, territory={**territory, "spec": told})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that a manifest breaks, or (``doubt``) that nobody can judge without a cluster.

    ``policy`` is None for what holds whatever policies there are. ``path`` leads to what is wrong as far as known.
    """

    guard: str
    policy: CompiledPolicy | None
    message: str
    path: Path
    doubt: bool = False


class MalformedError(Exception):
    """An object is not of its kind's shape; the API server would not take it as valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """Everything that is known of a cluster."""

    guards: tuple[Guard, ...]
    measures: tuple[Measure, ...]
    namespaces: Mapping[str, Mapping[str, str]]
    """Their labels."""
    exempt: frozenset[str]
    default_namespace: str = "default"
    assumed: frozenset[str] = frozenset()
    """Policies that are taken to govern every namespace whose labels are not known."""
    classes: Mapping[str, str | None] = field(default_factory=dict)
    """The default by kind (StorageClass, IngressClass); None where there is none, absent where nobody knows."""
    pins: bool = True
    """Whether bailiwick-pin is in force, as the chart's value ``pin`` has it."""
    who: str | None = None
    """Who applies the manifests, where that is known."""
    whole: bool = False
    """Whether ``measures`` are of all policies that there are: then none means that there is none."""
    _by_kind: dict[tuple[str, str, str, bool], tuple[Guard, ...]] = field(default_factory=dict, repr=False)

    def judge(self, manifest: Manifest) -> Iterator[Finding]:
        """What the border would refuse of a manifest and of what is made of it. Raises MalformedError."""
        for request in requests(manifest, default_namespace=self.default_namespace):
            shown_to = shown(request, self.classes)
            governing, unsure = self._governing(request)
            if self.pins and (request.group, request.kind) == ("", "Pod") and isinstance(shown_to.get("spec"), dict):
                # As bailiwick-pin would: it looks at every policy in turn, and so do the guards afterwards.
                for each in governing:
                    shown_to = pinned(shown_to, each.territory["spec"]["nodeSelector"])
            try:
                yield from self._ask(request, shown_to, governing, unsure)
            except EvaluationError as error:
                where = f" (its {'.'.join(map(str, request.path))})" if request.path else ""
                raise MalformedError(
                    f"the API server would not take it as a valid {request.kind}{where}: {error}"
                ) from None

    def _ask(
        self, request: Request, seen: Manifest, governing: tuple[Measure, ...], unsure: tuple[Measure, ...]
    ) -> Iterator[Finding]:
        for guard in self._asked(request):
            scope = self._scope(request, seen, governing, unsure, by=guard)
            if not guard.measured:
                yield from _findings(guard, None, request, guard.judge({**scope, "params": None}))
                continue
            for each in self.measures if guard.name == border.NAMESPACES_BINDING else governing:
                if guard.name in border.guards(each.policy):
                    told = guard.judge({**scope, "params": each.territory})
                    yield from _findings(guard, each.policy, request, told)
            for each in unsure:
                if guard.name in border.guards(each.policy) and guard.name != border.NAMESPACES_BINDING:
                    doubt = Doubt(
                        f"whether it governs namespace {request.namespace} (give the Namespace, or --governed-by)"
                    )
                    yield from _findings(guard, each.policy, request, [doubt])

    def _asked(self, request: Request) -> Iterator[Guard]:
        """The guards of this kind of object, where no selector of theirs leaves the namespace out."""
        kind = (request.group, request.version, request.resource, request.namespace is not None)
        if kind not in self._by_kind:
            group, version, resource, namespaced = kind
            self._by_kind[kind] = tuple(
                guard
                for guard in self.guards
                if guard.guards(group=group, version=version, resource=resource, namespaced=namespaced)
            )
        space = request.name if _is_namespace(request) else request.namespace
        for guard in self._by_kind[kind]:
            # They select by the name alone, which is always known.
            if space is None or guard.namespaces.matches({_NAME: space}):
                yield guard

    def _governing(self, request: Request) -> tuple[tuple[Measure, ...], tuple[Measure, ...]]:
        """The policies that govern where it is created, and those of which nobody knows it here."""
        if _is_namespace(request):
            name, labels = request.name, request.object["metadata"].get("labels") or {}
        elif request.namespace is None:
            return self.measures, ()  # a selector of namespaces leaves nothing out that has none
        else:
            name, labels = request.namespace, self.namespaces.get(request.namespace)
        if name in self.exempt:
            return (), ()
        if labels is not None:
            return tuple(each for each in self.measures if each.policy.governs(name, labels, exempt=self.exempt)), ()
        sure, unsure = [], []
        for each in self.measures:
            if each.name in self.assumed:
                sure.append(each)
            elif each.policy.spec.namespace_selector.keys() <= {_NAME}:
                sure += [each] if each.policy.governs(name, {}, exempt=self.exempt) else []
            else:
                unsure.append(each)
        return tuple(sure), tuple(unsure)

    def _scope(
        self,
        request: Request,
        seen: Manifest,
        governing: tuple[Measure, ...],
        unsure: tuple[Measure, ...],
        *,
        by: Guard,
    ) -> dict[str, Any]:
        """What expressions see. Absent is what a request does not have, as in the API server."""
        kind = {"group": request.group, "version": request.version, "kind": request.kind}
        user: Any = {"username": self.who or SOMEBODY, "groups": ["system:authenticated"]}
        asked = {
            "kind": kind,
            "resource": {"group": request.group, "version": request.version, "resource": request.resource},
            "name": request.name,
            "operation": "CREATE",
            "userInfo": _WHO if self.who is None and by.name in _OF_PEOPLE else user,
        }
        if request.namespace is not None:
            asked["namespace"] = request.namespace
        return {
            "object": seen,
            "oldObject": None,
            "request": asked,
            "namespaceObject": self._namespace(request, governing, unsure),
            "authorizer": _RIGHTS,
        }

    def _namespace(self, request: Request, governing: tuple[Measure, ...], unsure: tuple[Measure, ...]) -> Any:
        if request.namespace is None:
            return None
        if unsure and not governing:
            return Unknown(f"whether a policy governs namespace {request.namespace} (give the Namespace)")
        if not self.measures and not self.whole and request.namespace not in self.exempt:
            return Unknown(f"whether a policy governs namespace {request.namespace} (give the ResidencyPolicies)")
        labels = {**self.namespaces.get(request.namespace, {}), _NAME: request.namespace}
        labels.pop(GOVERNED_LABEL, None)  # the operator alone writes it, as follows
        governed = {GOVERNED_LABEL: "true"} if governing else {}
        return {"metadata": {"name": request.namespace, "labels": {**labels, **governed}}}


def _is_namespace(request: Request) -> bool:
    return (request.group, request.kind) == ("", "Namespace")


def _findings(
    guard: Guard, policy: CompiledPolicy | None, request: Request, told: Iterable[str | Doubt]
) -> Iterator[Finding]:
    for each in told:
        doubt = isinstance(each, Doubt)
        message = each.what if isinstance(each, Doubt) else each
        yield Finding(guard=guard.name, policy=policy, message=message, path=request.path, doubt=doubt)
