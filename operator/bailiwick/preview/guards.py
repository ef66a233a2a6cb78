"""The in-tree policies of the chart (ValidatingAdmissionPolicy), ready to be asked without an API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.resource import LabelSelector
from bailiwick.cel.programs import program
from bailiwick.cel.values import Deferred, EvaluationError, UnknownError, truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bailiwick.cel.programs import Program, Variables

_POLICY, _BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
_CREATE: Final = frozenset({"CREATE", "*"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One validation: what must hold, and what is said where it does not."""

    holds: Program
    message: str
    told: Program | None


@dataclass(frozen=True, slots=True)
class Guard:
    """One in-tree policy. ``measured`` by a Territory, or the same for everybody."""

    name: str
    measured: bool
    resources: tuple[Mapping[str, Any], ...]
    namespaces: LabelSelector
    conditions: tuple[Program, ...]
    variables: tuple[tuple[str, Program], ...]
    rules: tuple[Rule, ...]

    def guards(self, *, group: str, version: str, resource: str, namespaced: bool) -> bool:
        """Whether it is asked when such an object is created."""
        return any(
            not _CREATE.isdisjoint(rule["operations"])
            and _among(group, rule["apiGroups"])
            and _among(version, rule["apiVersions"])
            and _among(resource, rule["resources"])
            and rule.get("scope", "*") in {"*", "Namespaced" if namespaced else "Cluster"}
            for rule in self.resources
        )

    def judge(self, scope: Variables) -> Iterator[str | Doubt]:
        """What it refuses, and what hangs on something that is not known here; nothing where all is well.

        Raises EvaluationError where a rule has no answer: an object that the API server would not even take as valid.
        """
        scope = {**scope, "variables": {}}
        for name, work_out in self.variables:
            scope["variables"][name] = Deferred(_bound(work_out, scope))
        try:
            if not all(truth(condition(scope)) for condition in self.conditions):
                return
        except UnknownError as error:
            yield Doubt(str(error))
            return
        for rule in self.rules:
            try:
                if not truth(rule.holds(scope)):
                    yield _told(rule, scope)
            except UnknownError as error:
                yield Doubt(str(error))


@dataclass(frozen=True, slots=True, order=True)
class Doubt:
    """Why a rule was not judged: what it hangs on."""

    what: str


def read_guards(manifests: Iterable[Mapping[str, Any]]) -> tuple[Guard, ...]:
    """The in-tree policies among manifests; those that no Territory measures only with a binding, as the chart has it.

    Raises GrammarError for an expression that nothing here understands.
    """
    manifests = tuple(manifests)
    bound = {each["spec"]["policyName"] for each in manifests if each["kind"] == _BINDING}
    guards = (_guard(each) for each in manifests if each["kind"] == _POLICY)
    return tuple(guard for guard in guards if guard.measured or guard.name in bound)


def _guard(manifest: Mapping[str, Any]) -> Guard:
    spec = manifest["spec"]
    matched = spec["matchConstraints"]
    return Guard(
        name=manifest["metadata"]["name"],
        measured="paramKind" in spec,
        resources=tuple(matched["resourceRules"]),
        namespaces=LabelSelector.model_validate(matched.get("namespaceSelector", {})),
        conditions=tuple(program(each["expression"]) for each in spec.get("matchConditions", ())),
        variables=tuple((each["name"], program(each["expression"])) for each in spec.get("variables", ())),
        rules=tuple(
            Rule(
                holds=program(each["expression"]),
                message=each["message"],
                told=program(each["messageExpression"]) if "messageExpression" in each else None,
            )
            for each in spec["validations"]
        ),
    )


def _bound(work_out: Program, scope: Variables) -> Any:
    return lambda: work_out(scope)


def _told(rule: Rule, scope: Variables) -> str:
    """The message of a rule; the short one where the long one has no value, as the API server does it."""
    try:
        told = rule.told(scope) if rule.told else ""
    except EvaluationError:
        told = ""
    return " ".join(told.split()) if isinstance(told, str) and told.strip() else rule.message


def _among(value: str, listed: Iterable[str]) -> bool:
    return any(each in {"*", value} for each in listed)
