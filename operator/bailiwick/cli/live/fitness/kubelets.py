"""Whether kubelets are held to their own nodes: NodeRestriction, and the Node authorizer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from bailiwick.cli.live.fitness.findings import Unseen, bad, doubtful, good, unseen
from bailiwick.cli.live.fitness.seen import PROBE_LABEL, PROBE_NODE, moment
from bailiwick.control.policy_status import GOOD_FOR
from bailiwick.residency.proofs import NODE_RESTRICTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.cli.live.fitness.findings import Finding
    from bailiwick.cli.live.fitness.seen import Raw, Seen

_PLUG_IN: Final = "NodeRestriction"
_FLAGS: Final = ("--enable-admission-plugins", "--admission-control")
_TURN_ON: Final = "start every kube-apiserver with --enable-admission-plugins=NodeRestriction"
_EXPECTED: Final = f"a kubelet that gives itself {PROBE_LABEL} is refused by the admission plug-in NodeRestriction"
_AUTHORIZER: Final = "Node authorizer"
_NO_RELATIONSHIP: Final = "no relationship found"
"""The Node authorizer's words for an object that no pod of the node refers to."""


def kubelets(seen: Seen) -> Iterator[Finding]:
    """Both. Without the first a kubelet could say that its node is inside; without the second, read any Secret."""
    yield _restriction(seen)
    yield _authorizer(seen)


def _restriction(seen: Seen) -> Finding:
    answer = seen.registers
    if answer.accepted:
        return bad(
            _PLUG_IN, f"a kubelet was allowed to register node {PROBE_NODE} with {PROBE_LABEL} (a dry run)",
            expected=_EXPECTED, remedy=_TURN_ON,
        )  # fmt: skip
    if NODE_RESTRICTION in answer.message:
        return good(_PLUG_IN, "refused what a kubelet may not do (a dry run)")
    return _proved(seen) or _written(seen) or _not_tried(seen)


def _not_tried(seen: Seen) -> Finding:
    answer = seen.registers
    if answer.status == HTTPStatus.FORBIDDEN and "cannot impersonate" in answer.message:
        why = f"you may not impersonate user system:node:{PROBE_NODE} and group system:nodes"
    elif answer.status == HTTPStatus.FORBIDDEN and "cannot create resource" in answer.message:
        return doubtful(
            _PLUG_IN, f"a kubelet may not even register its node, so that was not asked: {answer.message}",
            expected=_EXPECTED,
            remedy="see how this cluster authorizes kubelets; it should be --authorization-mode=Node,RBAC",
        )  # fmt: skip
    else:
        why = f"it could not be tried: {answer.message}"
    return unseen(
        _PLUG_IN,
        Unseen(
            why,
            "ask somebody who may impersonate (cluster-admin) to run this; or look at the command line of "
            "kube-apiserver: --enable-admission-plugins must name NodeRestriction",
        ),
        expected=_EXPECTED,
    )


def _proved(seen: Seen) -> Finding | None:
    """What Bailiwick's canary found, where it tried lately."""
    for policy in seen.policies if not isinstance(seen.policies, Unseen) else ():
        condition = _enforced(policy)
        name = policy["metadata"]["name"]
        if condition.get("reason") == "NodeRestrictionOff":
            return bad(
                _PLUG_IN, f"the canary of policy {name} found it off: {condition.get('message', '')}",
                expected=_EXPECTED, remedy=_TURN_ON,
            )  # fmt: skip
        if condition.get("status") == "True" and _lately(seen, policy):
            return good(_PLUG_IN, f"proved by the canary of policy {name}; you may not try it yourself")
    return None


def _enforced(policy: Raw) -> Raw:
    conditions = (policy.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == "Enforced"), {})


def _lately(seen: Seen, policy: Raw) -> bool:
    proof = moment((policy.get("status") or {}).get("lastProof"))
    return proof is not None and seen.at - proof <= GOOD_FOR


def _written(seen: Seen) -> Finding | None:
    """What the command lines of kube-apiserver say, where its pods can be seen."""
    if isinstance(seen.servers, Unseen) or not seen.servers:
        return None
    without = [each["metadata"]["name"] for each in seen.servers if not _names_it(each)]
    if without:
        return bad(
            _PLUG_IN, f"the command line of {', '.join(without)} does not name it", expected=_EXPECTED, remedy=_TURN_ON
        )
    return good(_PLUG_IN, f"the command lines of {len(seen.servers)} kube-apiserver name it; it was not tried")


def _names_it(pod: Raw) -> bool:
    for container in pod["spec"].get("containers") or ():
        for argument in (*(container.get("command") or ()), *(container.get("args") or ())):
            flag, _, value = argument.partition("=")
            if flag in _FLAGS and _PLUG_IN in value.split(","):
                return True
    return False


def _authorizer(seen: Seen) -> Finding:
    expected = "a kubelet may read no Secret but those of pods on its node"
    review = seen.reads
    if isinstance(review, Unseen):
        return unseen(_AUTHORIZER, review, expected=expected)
    if review.allowed:
        return bad(
            _AUTHORIZER, f"any kubelet may read any Secret of kube-system ({review.reason or 'no reason is given'})",
            expected=expected,
            remedy="take that right from group system:nodes, and start kube-apiserver with "
            "--authorization-mode=Node,RBAC",
        )  # fmt: skip
    if _NO_RELATIONSHIP in review.reason:
        return good(_AUTHORIZER, "lets a kubelet read Secrets of its own pods alone")
    said = f": {review.reason}" if review.reason else ""
    return doubtful(
        _AUTHORIZER, f"a kubelet may not read such a Secret, but it is not the Node authorizer that says so{said}",
        expected=expected,
        remedy="see that kube-apiserver runs with --authorization-mode=Node,RBAC, or ask its provider",
    )  # fmt: skip
