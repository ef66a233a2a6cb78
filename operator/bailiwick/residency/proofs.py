"""What the answers to the canary's probes prove. Pure.

A probe must be refused by one in-tree policy, through a binding of ours, with one reason: refused by anybody else, it
says nothing about the border.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from bailiwick.residency.probes import Guard, Identity, Probe

_DENIED: Final = re.compile(
    r"ValidatingAdmissionPolicy '(?P<policy>[^']+)' with binding '(?P<binding>[^']+)' denied request: (?P<reason>\w*)"
)
NODE_RESTRICTION: Final = "is not allowed to set the following labels"
_PUT_BACK: Final = (
    "the operator's log says why it could not put that back; helm upgrade or the chart's folder policies do"
)
_LOOK: Final = "compare the validatingadmissionpolicies that begin with bailiwick-, and their bindings, with the chart"
_NOBODY_SAYS: Final = (
    "what was tried was stopped, but whether all policies are those of the chart cannot be said, because ConfigMap "
    "bailiwick-border cannot be read; put it back by helm upgrade, or from the chart's folder policies"
)
_LONGEST: Final = 4096
_OVER_QUOTA: Final = ("exceeded quota", "failed quota")


class Outcome(StrEnum):
    """What an answer proves."""

    HELD = "held"
    BREACHED = "breached"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server's answer to a request that it did not carry out; ``status`` is None when there was no answer."""

    status: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe showed. ``message`` tells a person about anything but success."""

    probe: Probe
    outcome: Outcome
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one round of probes showed about a policy of this ``generation``: the worst of its findings."""

    generation: int
    at: datetime
    outcome: Outcome
    reason: str
    message: str


def judge(probe: Probe, answer: Refused | None) -> Finding:
    """What an answer proves; None is an admitted request."""
    if probe.guard is None:
        return _judge_compliant(probe, answer)
    if answer is None or _came_through(probe, answer):
        return Finding(probe, Outcome.BREACHED, f"{probe.does} was admitted; {_expected(probe.guard)}")
    denied = _DENIED.search(answer.message)
    if probe.by is Identity.KUBELET:
        return _judge_kubelet(probe, answer, denied)
    if (
        denied
        and denied["policy"] == probe.guard.policy
        and denied["binding"] in probe.guard.bindings
        and denied["reason"] == probe.guard.reason
    ):
        return Finding(probe, Outcome.HELD)
    said = f"{probe.does} was not judged as expected: {_expected(probe.guard)}, but the answer was: {answer.message}"
    return Finding(probe, Outcome.UNCLEAR, said)


def conclude(
    findings: Sequence[Finding], faults: Collection[str] | None, *, generation: int, namespace: str, now: datetime
) -> Proof:
    """What a whole round proves. ``faults`` are sentences about policies and bindings that are gone or changed.

    One breach or fault is enough to say that the border is open; one unclear answer is enough to prove nothing, and so
    is not to know what the policies must look like (``faults`` None).
    """
    gone = f"; {'; '.join(sorted(faults))}: {_PUT_BACK}" if faults else ""
    breached = [found for found in findings if found.outcome is Outcome.BREACHED]
    unclear = [found for found in findings if found.outcome is Outcome.UNCLEAR]
    if breached or faults:
        more = f" (and {len(breached) - 1} more)" if len(breached) > 1 else ""
        said = f"{breached[0].message}{more}" if breached else "what was tried was stopped, but not all is guarded"
        only_plugin = breached and not faults and all(found.probe.by is Identity.KUBELET for found in breached)
        advice = gone or ("" if only_plugin else f"; {_LOOK}")
        reason = "NodeRestrictionOff" if only_plugin else "NotEnforced"
        outcome, message = Outcome.BREACHED, f"{said}{advice}"
    elif unclear:
        more = f" (and {len(unclear) - 1} more)" if len(unclear) > 1 else ""
        outcome, reason, message = Outcome.UNCLEAR, "NotProved", f"{unclear[0].message}{more}"
    elif faults is None:
        outcome, reason, message = Outcome.UNCLEAR, "NotProved", _NOBODY_SAYS
    else:
        reason = "Proved"
        outcome, message = Outcome.HELD, f"{len(findings)} attempts in namespace {namespace} ended as they must"
    return Proof(generation=generation, at=now, outcome=outcome, reason=reason, message=message[:_LONGEST])


def _judge_compliant(probe: Probe, answer: Refused | None) -> Finding:
    # A quota is looked at after every policy has agreed, and so is whether the name is free.
    if answer is None or answer.status == HTTPStatus.CONFLICT or any(it in answer.message for it in _OVER_QUOTA):
        return Finding(probe, Outcome.HELD)
    said = f"{probe.does} was refused, so a refusal of others proves little; the answer was: {answer.message}"
    return Finding(probe, Outcome.UNCLEAR, said)


def _judge_kubelet(probe: Probe, answer: Refused, denied: re.Match[str] | None) -> Finding:
    # NodeRestriction is asked before any policy: when a policy answers, the plug-in is off.
    if NODE_RESTRICTION in answer.message:
        return Finding(probe, Outcome.HELD)
    if denied and probe.guard and denied["policy"] == probe.guard.policy:
        said = (
            f"{probe.does} was refused by {denied['policy']} alone, because the API server's NodeRestriction plug-in "
            "is off, and kubelets can write each other's objects; start kube-apiserver with "
            "--enable-admission-plugins=NodeRestriction"
        )
        return Finding(probe, Outcome.BREACHED, said)
    said = f"{probe.does} was not judged as expected: NodeRestriction should refuse it, but was told: {answer.message}"
    return Finding(probe, Outcome.UNCLEAR, said)


def _came_through(probe: Probe, answer: Refused) -> bool:
    """Whether an error is one that comes after admission: the name is taken, or there is no pod to bind."""
    if probe.patch:
        return False
    return answer.status == HTTPStatus.CONFLICT or (
        probe.body.get("kind") == "Binding" and answer.status == HTTPStatus.NOT_FOUND and "pods" in answer.message
    )


def _expected(guard: Guard) -> str:
    return f"ValidatingAdmissionPolicy {guard.policy} should refuse it with {guard.reason}"
