"""How an installation stands, where there is one: programs, policies in force, the webhook.

Nothing is judged anew that the operator and its canary tell.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from cryptography import x509

from bailiwick.api.resource import ConditionStatus
from bailiwick.cli.live.fitness.findings import Unseen, bad, doubtful, good, unseen
from bailiwick.cli.live.fitness.seen import moment
from bailiwick.cli.live.overview import overview
from bailiwick.cluster import exact
from bailiwick.control.chart import NAME as BORDER
from bailiwick.control.chart import read_chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from bailiwick.cli.live.fitness.findings import Finding
    from bailiwick.cli.live.fitness.seen import Found, Raw, Seen

_CHECK: Final = "Bailiwick"
_POLICIES: Final = "In-tree policies"
_LEADER: Final = "Leader"
_WEBHOOK: Final = "Webhook"
_SILENT: Final = timedelta(seconds=60)
"""A leader renews each second; the rest is for clocks that differ."""
_SOON: Final = timedelta(days=7)
"""A certificate is renewed a month before it ends."""
_LOG: Final = "kubectl logs -n {home} deployment/{name}"


def installed(seen: Seen) -> Iterator[Finding]:
    """Nothing but that, where Bailiwick is not there."""
    parts = (*seen.kinds.values(), *seen.deployments.values(), seen.border, seen.webhook)
    if not any(isinstance(each, dict) for each in parts):
        hidden = next((each for each in parts if isinstance(each, Unseen)), None)
        if hidden:
            yield unseen(_CHECK, hidden, expected="to see whether it is installed, and how that stands")
        else:
            yield good(_CHECK, "not installed; this says what it would stand on")
        return
    yield from _programs(seen)
    yield _leader(seen)
    yield from _in_tree(seen)
    yield from _policies(seen)
    yield from _webhook(seen)


def _programs(seen: Seen) -> Iterator[Finding]:
    led = _renewed(seen.lease)
    for name, live in seen.deployments.items():
        check, expected = f"Deployment {name}", "every replica is ready"
        if isinstance(live, Unseen):
            yield unseen(check, live, expected=expected)
            continue
        log = _LOG.format(home=seen.home, name=name)
        if live is None:
            what = doubtful if led and seen.at - led <= _SILENT else bad
            said = f"not there in namespace {seen.home}"
            yield what(check, said, expected=expected, remedy="install or upgrade the chart; see docs/install.md")
            continue
        ready, wanted = (live.get("status") or {}).get("readyReplicas") or 0, live["spec"].get("replicas", 1)
        told = f"{ready} of {wanted} replicas are ready"
        if not ready:
            yield bad(check, told, expected=expected, remedy=f"see why: kubectl get pods -n {seen.home}; {log}")
        elif ready < wanted:
            yield doubtful(check, told, expected=expected, remedy=f"see why: kubectl get pods -n {seen.home}; {log}")
        else:
            yield good(check, told)


def _leader(seen: Seen) -> Finding:
    expected = f"Lease {seen.home}/bailiwick-operator is renewed each second"
    if isinstance(seen.lease, Unseen):
        return unseen(_LEADER, seen.lease, expected=expected)
    renewed = _renewed(seen.lease)
    remedy = f"see why no operator leads: {_LOG.format(home=seen.home, name='bailiwick-operator')}"
    if renewed is None:
        return bad(_LEADER, "nobody has ever led", expected=expected, remedy=remedy)
    if seen.at - renewed > _SILENT:
        said = f"nobody leads: last renewed {renewed:%Y-%m-%d %H:%M:%S} UTC by this computer's clock"
        return bad(_LEADER, said, expected=expected, remedy=remedy)
    holder = (seen.lease or {}).get("spec", {}).get("holderIdentity")
    return good(_LEADER, f"{holder} leads and renewed its lease lately")


def _renewed(lease: Found) -> datetime | None:
    return moment((lease.get("spec") or {}).get("renewTime")) if isinstance(lease, dict) else None


def _in_tree(seen: Seen) -> Iterator[Finding]:
    """Each policy and static binding as the ConfigMap says that it must be."""
    expected = f"every policy and binding that ConfigMap {seen.home}/{BORDER} holds is there, unchanged"
    hidden = next((each for each in (seen.border, seen.in_tree, seen.bindings) if isinstance(each, Unseen)), None)
    if hidden:
        yield unseen(_POLICIES, hidden, expected=expected)
        return
    if not isinstance(seen.border, dict) or isinstance(seen.in_tree, Unseen) or isinstance(seen.bindings, Unseen):
        yield bad(
            _POLICIES, f"there is no ConfigMap {seen.home}/{BORDER}: nothing is put back, and nothing can be proved",
            expected=expected, remedy="upgrade the chart, or write it as docs/install.md says",
        )  # fmt: skip
        return
    live = {(each["kind"], each["metadata"]["name"]): each for each in (*seen.in_tree, *seen.bindings)}
    try:
        chart = read_chart(seen.border)
    except ValueError as error:
        yield bad(_POLICIES, str(error), expected=expected, remedy="upgrade the chart: it writes the ConfigMap")
        return
    wanted = {key: each for key, each in chart.objects.items() if not key[0].startswith("Mutating")}
    wrong = [
        f"{kind} {name} {'is gone' if (kind, name) not in live else 'was changed'}"
        for (kind, name), each in wanted.items()
        if (kind, name) not in live or not exact.same(live[kind, name], each)
    ]
    if wrong:
        yield bad(
            _POLICIES, "; ".join(wrong), expected=expected,
            remedy=f"see why the operator does not put them back: "
            f"{_LOG.format(home=seen.home, name='bailiwick-operator')}; helm upgrade puts them back, too",
        )  # fmt: skip
    else:
        yield good(_POLICIES, f"all {len(wanted)} policies and bindings of the chart are there, unchanged")


def _policies(seen: Seen) -> Iterator[Finding]:
    """What the operator and the canary say of each ResidencyPolicy, as `bailiwick status` tells it."""
    expected = "every policy is accepted, enforced and complied with, and was proved lately"
    if isinstance(seen.policies, Unseen):
        yield unseen("Policies", seen.policies, expected=expected)
        return
    told = overview(seen.policies, (), (), now=seen.at)
    for each in told.findings:
        what = bad if each.status is ConditionStatus.FALSE else doubtful
        said = f"{each.condition} is {each.status.value}: {each.reason}: {each.message}"
        yield what(f"Policy {each.name}", said, expected=expected, remedy="do as it says; `bailiwick status` has more")
    if not told.policies:
        yield doubtful(
            "Policies", "there is no ResidencyPolicy, so no namespace is governed", expected="at least one",
            remedy="write one: docs/guides/platform.md",
        )  # fmt: skip
    elif not told.findings:
        yield good("Policies", f"{len(told.policies)}, and each is as it should be")


def _webhook(seen: Seen) -> Iterator[Finding]:
    expected = "the webhook is configured, fails closed, and answers with a certificate that counts"
    if isinstance(seen.webhook, Unseen):
        yield unseen(_WEBHOOK, seen.webhook, expected=expected)
        return
    if seen.webhook is None or not seen.webhook.get("webhooks"):
        yield bad(
            _WEBHOOK, "ValidatingWebhookConfiguration bailiwick-admission is not there", expected=expected,
            remedy="install or upgrade the chart",
        )  # fmt: skip
        return
    hooks: Sequence[Raw] = seen.webhook["webhooks"]
    if loose := [each["name"] for each in hooks if each.get("failurePolicy", "Fail") != "Fail"]:
        yield bad(_WEBHOOK, f"does not fail closed: {', '.join(loose)}", expected=expected, remedy="upgrade the chart")
    yield from _certificates(seen, hooks, expected)
    yield from _answers(seen, expected)


def _certificates(seen: Seen, hooks: Sequence[Raw], expected: str) -> Iterator[Finding]:
    log = _LOG.format(home=seen.home, name="bailiwick-admission")
    ends = [_ends((each.get("clientConfig") or {}).get("caBundle") or "") for each in hooks]
    known = [each for each in ends if each]
    if len(known) < len(ends):
        yield bad(_WEBHOOK, "has no certificate that can be read", expected=expected, remedy=f"see why: {log}")
    elif min(known) <= seen.at:
        said = f"its certificate ended {min(known):%Y-%m-%d}"
        yield bad(_WEBHOOK, said, expected=expected, remedy=f"see why nobody renewed it: {log}")
    elif min(known) - seen.at < _SOON:
        said = f"its certificate ends {min(known):%Y-%m-%d} and should have been renewed by now"
        yield doubtful(_WEBHOOK, said, expected=expected, remedy=f"see why: {log}")
    else:
        yield good(_WEBHOOK, f"its certificate is good until {min(known):%Y-%m-%d}")


def _ends(bundle: str) -> datetime | None:
    """When the last certificate of a bundle ends: while one follows another, both are in it."""
    try:
        certificates = x509.load_pem_x509_certificates(base64.b64decode(bundle))
    except (ValueError, binascii.Error):
        return None
    return max(each.not_valid_after_utc for each in certificates)


def _answers(seen: Seen, expected: str) -> Iterator[Finding]:
    """A Jurisdiction that is made by dry run: who does not reach the webhook is told so."""
    answer = seen.asked
    if answer.accepted:
        yield good(_WEBHOOK, "answers (a dry run)")
    elif "failed calling webhook" in answer.message:
        yield bad(
            _WEBHOOK, f"is not reached: {answer.message}", expected=expected,
            remedy=f"see whether its pods are ready (kubectl get pods -n {seen.home}) and the API server may connect "
            f"to them (networkPolicy.apiServer.cidrs); {_LOG.format(home=seen.home, name='bailiwick-admission')}",
        )  # fmt: skip
    else:
        why = "you may not create jurisdictions" if answer.status == HTTPStatus.FORBIDDEN else answer.message
        told = Unseen(
            f"whether it answers was not tried: {why}",
            "ask somebody who may (ClusterRole bailiwick-policy-administrator) to run this",
        )
        yield unseen(_WEBHOOK, told, expected=expected)
