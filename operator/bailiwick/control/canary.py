"""The canary: tries to cross the border of every policy, by dry run, and says whether it holds.

What it finds is kept here and told by the policy's status, which the territory loop alone writes: two writers of one
status would undo each other's work.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from bailiwick.api.residencypolicy import Mode
from bailiwick.cluster import exact, resources
from bailiwick.cluster.api import Person
from bailiwick.cluster.errors import ApiError
from bailiwick.residency import border
from bailiwick.residency.probes import NAME, Identity, Probe, Setting, probes
from bailiwick.residency.proofs import Finding, Outcome, Proof, Refused, conclude, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.control.chart import Chart
    from bailiwick.control.world import World
    from bailiwick.residency.policies import CompiledPolicy

EVERY_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 3.0
"""After a change: the API server takes up a new binding on a tick of one second, and is not to be accused before."""
APART_SECONDS: Final = 10.0
"""Between two rounds for one policy, however often it changes. A round has about a dozen requests."""
CONFIRM_SECONDS: Final = 2.0
"""A breach is looked at twice: what was tried may have become legal, or guarded, at that very moment."""
CALL_SECONDS: Final = 5.0
MOST_NAMESPACES: Final = 32
"""Among so many the one with the fewest other policies is looked for; each costs a look at every policy."""


class Observer(Protocol):
    """Told about every attempt."""

    def tried(self, policy: str, attempt: str, outcome: str) -> None:
        """``outcome``: held, breached or unclear."""

    def retired(self, policy: str) -> None:
        """A policy is no longer tried."""


def identities(namespace: str) -> Mapping[Identity, Person]:
    """As whom the canary asks, where Bailiwick runs in ``namespace``. Neither the account nor the node need exist."""
    return {
        Identity.CANARY: Person(f"system:serviceaccount:{namespace}:{NAME}"),
        Identity.KUBELET: Person(f"system:node:{NAME}", "system:nodes"),
    }


class CanaryLoop:
    """Tries one policy by name. ``speaks`` are ports that act as the canary; ``chart`` says what must be there.

    ``webhook`` names the webhook configuration that must be there as well; None where there is none.
    ``tell`` is called with a policy's name when there is something new to tell about it.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        world: World,
        chart: Callable[[], Chart | None],
        webhook: str | None,
        speaks: Mapping[Identity, Api],
        tell: Callable[[str], None],
        observer: Observer,
        seconds: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._world = world
        self._chart = chart
        self._webhook = webhook
        self._speaks = speaks
        self._tell = tell
        self._observer = observer
        self._seconds = seconds
        self._apart = min(APART_SECONDS, seconds)
        self._clock = clock
        self._proofs: dict[str, Proof] = {}
        self._suspected: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._broken: dict[str, float] = {}

    def keys(self) -> list[str]:
        """Every policy that is there."""
        return [name for _, name in self._world.stores.policies.keys()]  # noqa: SIM118

    def proof(self, name: str) -> Proof | None:
        """What was found last about a policy; None when it was not tried since the operator began."""
        return self._proofs.get(name)

    def broken(self, name: str, what: str) -> bool:
        """Something of a policy's border was found gone or changed: it is not enforced until the canary proves it anew.

        Returns whether the policy is one that can be tried, `SETTLE_SECONDS` from now.
        """
        setting = self._setting(name)
        if setting is None:
            return False
        now = self._clock()
        self._broken[name], self._not_before[name] = now, now + SETTLE_SECONDS
        self._proofs[name] = Proof(
            generation=setting.generation, at=self._world.clock(), outcome=Outcome.BREACHED, reason="NotEnforced",
            message=what,
        )  # fmt: skip
        self._tell(name)
        return True

    async def reconcile(self, name: str) -> float | None:
        """Try one policy; seconds until it is tried again, or None when there is nothing to try."""
        setting = self._setting(name)
        if setting is None:
            self._retire(name)
            return None
        early = self._not_before.get(name, 0.0) - self._clock()
        if early > 0:
            return early
        begun = self._clock()
        findings = await self._try(name, probes(setting))
        if self._broken.get(name, float("-inf")) >= begun:  # what was asked before that proves nothing now
            return SETTLE_SECONDS
        proof = conclude(
            findings,
            self._faults(setting.policy),
            generation=setting.generation,
            namespace=setting.namespace,
            now=self._world.clock(),
        )
        known = self._proofs.get(name)
        if (
            proof.outcome is Outcome.BREACHED
            and name not in self._suspected
            and not (known and known.outcome is Outcome.BREACHED)
        ):
            self._suspected.add(name)
            self._not_before[name] = self._clock() + CONFIRM_SECONDS
            return CONFIRM_SECONDS
        self._suspected.discard(name)
        self._not_before[name] = self._clock() + self._apart
        self._proofs[name] = proof
        self._tell(name)
        return self._seconds

    def _retire(self, name: str) -> None:
        self._suspected.discard(name)
        self._not_before.pop(name, None)
        self._broken.pop(name, None)
        self._observer.retired(name)
        if self._proofs.pop(name, None):
            self._tell(name)

    def _setting(self, name: str) -> Setting | None:
        """Where to try a policy: in the governed namespace with the fewest other policies, whose refusals hide ours.

        One that cannot be read refuses, too, and nobody knows what.
        """
        stores = self._world.stores
        policy, manifest = self._world.policies().get(name), stores.policies.get(("", name))
        if policy is None or manifest is None or policy.mode is not Mode.ENFORCE:
            return None
        living = [
            namespace
            for namespace in sorted(self._world.governed(policy))
            if not self._metadata(namespace).get("deletionTimestamp")
        ]
        if not living:
            return None
        others = {namespace: self._others(policy, namespace) for namespace in living[:MOST_NAMESPACES]}
        namespace = min(others, key=lambda each: (len(self._world.unreadable_over(each)), len(others[each]), each))
        asked = (policy.name, *(other.name for other in others[namespace]))
        territories = {each: stores.territories.get(("", each)) or {"spec": {}} for each in asked}
        return Setting(
            policy=policy,
            generation=manifest["metadata"].get("generation", 0),
            others=others[namespace],
            namespace=namespace,
            namespace_labels=self._metadata(namespace).get("labels", {}),
            nodes={node: labelled["metadata"].get("labels", {}) for (_, node), labelled in stores.nodes.items()},
            inside={each: territory["spec"].get("nodes") or {} for each, territory in territories.items()},
        )

    def _metadata(self, namespace: str) -> Mapping[str, Any]:
        found = self._world.stores.namespaces.get(("", namespace))
        return found["metadata"] if found else {}

    def _others(self, policy: CompiledPolicy, namespace: str) -> tuple[CompiledPolicy, ...]:
        governing = self._world.governing(namespace)
        return tuple(each for each in governing if each.name != policy.name and each.mode is Mode.ENFORCE)

    async def _try(self, policy: str, tried: Sequence[Probe]) -> list[Finding]:
        findings = []
        for probe in tried:
            answer = await self._ask(probe)
            finding = judge(probe, answer)
            self._observer.tried(policy, probe.attempt, finding.outcome)
            findings.append(finding)
            if answer and answer.status is None:  # nobody answers, so nobody will answer the rest
                break
        return findings

    async def _ask(self, probe: Probe) -> Refused | None:
        api, resource, body = self._speaks[probe.by], resources.of_kind(probe.kind), dict(probe.body)
        try:
            if probe.patch:
                await api.patch_merge(
                    resource, probe.name, probe.namespace, body,
                    subresource=probe.subresource, dry_run=probe.dry_run, seconds=CALL_SECONDS,
                )  # fmt: skip
            elif probe.subresource:
                await api.post_subresource(
                    resource, probe.name, probe.namespace, probe.subresource, body,
                    dry_run=probe.dry_run, seconds=CALL_SECONDS,
                )  # fmt: skip
            else:
                await api.create(resource, body, dry_run=probe.dry_run, seconds=CALL_SECONDS)
        except ApiError as error:
            return Refused(error.status, error.message)
        return None

    def _faults(self, policy: CompiledPolicy) -> list[str] | None:
        """What refuses for a policy and is gone or changed, whether an attempt needs it or not; None: nobody says."""
        chart = self._chart()
        if chart is None:
            return None
        kind = resources.VALIDATING_POLICIES.kind
        found = [
            f"{kind} {guard} is unknown to the chart that is installed"
            for guard in border.guards(policy)
            if (kind, guard) not in chart.objects
        ]
        for wanted in self._needed(policy, chart):
            what = f"{wanted['kind']} {wanted['metadata']['name']}"
            live = self._world.stores.of(resources.of_kind(wanted["kind"])).get(("", wanted["metadata"]["name"]))
            if live is None:
                found.append(f"{what} is gone")
            elif not exact.same(live, wanted):
                found.append(f"{what} is not as it must be")
        return found + self._webhook_faults()

    def _webhook_faults(self) -> list[str]:
        """It must be asked, and who does not reach it must be refused. Whom it is asked about is the chart's."""
        if self._webhook is None:
            return []
        live = self._world.stores.webhooks.get(("", self._webhook))
        what = f"{resources.VALIDATING_WEBHOOKS.kind} {self._webhook}"
        if live is None or not live.get("webhooks"):
            return [f"{what} is gone"]
        closed = all(each.get("failurePolicy", "Fail") == "Fail" for each in live["webhooks"])
        return [] if closed else [f"{what} does not fail closed"]

    def _needed(self, policy: CompiledPolicy, chart: Chart) -> Iterator[Raw]:
        """Policies and bindings that refuse. What pins is a convenience: without it more is refused, not less."""
        guards = border.guards(policy) | chart.static
        for (kind, name), manifest in chart.objects.items():
            if kind == resources.VALIDATING_POLICIES.kind and name in guards:
                yield manifest
        yield from chart.bindings()
        exempt = self._world.exempt
        for binding in (*border.bindings(policy, exempt=exempt), border.namespaces_binding(exempt=exempt)):
            if binding["kind"] == resources.VALIDATING_BINDINGS.kind:
                yield binding
