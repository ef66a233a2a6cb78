"""A cluster that has the last release at work, and what people made there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from e2e.client import eventually
from e2e.cluster import last_release
from e2e.cluster.places import ROOT
from e2e.operate.trespasser import Trespasser
from tests.apiserver.operator_process import SERVICE_ACCOUNTS, OperatorProcess
from tests.apiserver.realm import ADMISSION, BINDINGS, CHILDREN, OURS, Policy, Realm, stamp
from tests.chart.helm import NAMESPACE, Helm

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.client import Manifest
    from e2e.cluster.apiserver import ApiServer

KINDS = {
    **dict.fromkeys(
        (
            "AcceleratorClass", "Jurisdiction", "NodeStatement", "ResidencyPolicy", "ResidencyWaiver",
            "SovereignModel", "Territory", "WaiverApproval",
        ),
        OURS,
    ),
    **CHILDREN,
    **dict.fromkeys(BINDINGS, ADMISSION),
    "ReplicaSet": "apps/v1",
    "Pod": "v1",
}  # fmt: skip
"""What must outlast an upgrade, and who serves it."""
MACHINE = "bare://rack-1/7"
NEAR = "10.20.0.0/16"
MODEL = "chat"

Identity = tuple[str, str, str]


def last_code() -> dict[str, str]:
    """The environment in which Python runs the last release's operator."""
    return {"PYTHONPATH": str(last_release.source())}


def next_code() -> dict[str, str]:
    """The same for this one's."""
    return {"PYTHONPATH": str(ROOT / "operator")}


def version_of(code: dict[str, str]) -> str:
    """What the operator of a release says that it is."""
    command = [sys.executable, "-m", "bailiwick.cli", "--version"]
    done = subprocess.run(command, env={**os.environ, **code}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(slots=True)
class Ground:
    """A server with the chart of some release, one operator that leads, and a team whose namespace is governed.

    One node is inside by a statement, one by a waiver, and one is abroad. A second policy governs the namespace, too,
    and allows more.
    """

    realm: Realm
    helm: Helm
    policy: Policy
    namespace: str
    inside: str
    excused: str
    abroad: str
    leader: OperatorProcess = field(init=False)

    @classmethod
    def lay(cls, server: ApiServer, helm: Helm, **values: Any) -> Ground:
        """Install the last release with some values and make everything; nobody leads yet."""
        realm = Realm(server)
        helm.run(
            "install", "bailiwick", str(last_release.chart()), f"--namespace={NAMESPACE}", "--create-namespace",
            **values,
        )  # fmt: skip
        _without_webhook(realm)
        alliance = {"members": ["DE", "FR"], "asOf": "2026-11-01", "source": "https://alliance.example/"}
        realm.create(
            {"apiVersion": OURS, "kind": "Jurisdiction", "metadata": {"name": "our-alliance"}, "spec": alliance}
        )
        policy = realm.policy("OUR-ALLIANCE", waivers={"approvals": 1, "maxDuration": "4h"}, network=_reaches(NEAR))
        realm.policy("DE", "FR", "US", namespaceSelector={"matchLabels": policy.selects}, network=_reaches("0.0.0.0/0"))
        inside, excused, abroad = realm.node(), realm.node(MACHINE), realm.node()
        for node, country in ((inside, "FR"), (excused, "US"), (abroad, "US")):
            realm.statement(node, country)
        _waive(realm, policy, excused)
        return cls(realm, helm, policy, realm.namespace(policy.selects), inside, excused, abroad)

    def without_webhook(self) -> None:
        """Nobody here answers for the webhook: what people change would be refused. An upgrade puts it back."""
        _without_webhook(self.realm)

    def upgrade(self, chart: Path, *flags: str) -> None:
        """`helm upgrade`, as a person types it."""
        self.helm.run("upgrade", "bailiwick", str(chart), f"--namespace={NAMESPACE}", *flags)

    def start(self, name: str, code: dict[str, str]) -> OperatorProcess:
        """An operator of some release, with the rights and the environment that the chart there gives it."""
        deployment = self.realm.client.get("apps/v1", "Deployment", "bailiwick-operator", NAMESPACE)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        given = {each["name"]: each.get("value", "") for each in container["env"] if "valueFrom" not in each}
        given.pop("BAILIWICK_WEBHOOK")
        return OperatorProcess(self.realm.server, name, SERVICE_ACCOUNTS, **given, **code)

    def hand_over(self, name: str, code: dict[str, str]) -> OperatorProcess:
        """Start an operator beside the one that leads, end that as Kubernetes would, and wait until the new one leads.

        Returns the new one.
        """
        new = self.start(name, code)
        try:
            eventually(new.metrics, what=f"{name} stands by; see {new.log}")
            leads = "bailiwick_leader"
            eventually(
                lambda: (self.leader.metric(leads), new.metric(leads)) == (1, 0), what="the one before leads still"
            )
            assert self.leader.stop() == 0
            self.leader = new.until_leading()
        except BaseException:
            new.kill()
            raise
        return new

    def trespasser(self) -> Trespasser:
        """Somebody who goes on trying."""
        client = self.realm.client
        spec = {"containers": [{"name": "main", "image": "registry.example/image"}]}
        pinned = spec | {"nodeSelector": {self.policy.label: "resident"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "smuggler", "namespace": self.namespace}}
        return Trespasser(
            client, foreign={**pod, "spec": {**pinned, "nodeName": self.abroad}}, welcome=pod | {"spec": pinned}
        )

    def closed(self) -> None:
        """Wait until the team's pods reach what both policies allow."""

        def reached() -> list[str]:
            found = self.realm.client.find("networking.k8s.io/v1", "NetworkPolicy", "bailiwick-egress", self.namespace)
            ways = [to for rule in (found or {"spec": {"egress": []}})["spec"]["egress"] for to in rule["to"]]
            return [way["ipBlock"]["cidr"] for way in ways if "ipBlock" in way]

        eventually(lambda: reached() == [NEAR], what="the namespace is closed but for what both allow")

    def stands(self) -> None:
        """Wait until the policy, the model and the waiver are as they should be, by what the API says of them."""
        self.policy.holds(self.inside, self.excused)
        eventually(partial(self._is, "ResidencyPolicy", "Ready", self.policy.name), what="the policy is ready")
        eventually(partial(self._is, "SovereignModel", "Planned", MODEL, self.namespace), what="the model is planned")
        eventually(partial(self._is, "ResidencyWaiver", "Active", "spare"), what="the waiver is in force")

    def runs(self) -> None:
        """Wait until Kubernetes has made of the model's Deployment a ReplicaSet and pods, which `objects` tells too."""
        client = self.realm.client
        wanted = client.get("apps/v1", "Deployment", MODEL, self.namespace)["spec"]["replicas"]

        def whole() -> bool:
            sets = client.list("apps/v1", "ReplicaSet", self.namespace)
            return (len(sets), len(client.list("v1", "Pod", self.namespace))) == (1, wanted)

        eventually(whole, what="the model has its pods")

    def enforced(self) -> None:
        """Wait until the border is proved: Ready says that it is written, and it takes a moment to be active."""
        eventually(partial(self._is, "ResidencyPolicy", "Enforced", self.policy.name), what="the policy is enforced")

    def proved_anew(self) -> None:
        """Wait until the canary of whoever leads now has proved the border, which stood before."""
        attempts = partial(self.leader.labelled, "bailiwick_canary_attempts_total", policy=self.policy.name)
        eventually(lambda: attempts(outcome="held"), what="the canary has tried")
        self.enforced()
        assert attempts(outcome="breached") == 0

    def acts(self) -> None:
        """Whoever leads lets a machine in that somebody vouches for, and out when nobody does any more."""
        node = self.realm.node()
        statement = self.realm.statement(node, "DE")
        self.policy.holds(self.inside, self.excused, node)
        self.realm.client.delete(OURS, "NodeStatement", statement)
        self.policy.holds(self.inside, self.excused)
        self.realm.client.delete("v1", "Node", node)

    def objects(self) -> dict[Identity, Manifest]:
        """Who is there, and what for: uid, labels and everything but status. Without what is the chart's."""
        found = {}
        for kind, version in KINDS.items():
            for each in self.realm.client.list(version, kind):
                metadata = each["metadata"]
                labels = metadata.get("labels", {})
                if metadata.get("namespace") == NAMESPACE or labels.get("app.kubernetes.io/managed-by") == "Helm":
                    continue
                rest = {key: value for key, value in each.items() if key not in {"metadata", "status"}}
                identity = (kind, metadata.get("namespace", ""), metadata["name"])
                found[identity] = {"uid": metadata["uid"], "labels": labels, **rest}
        return found

    def _is(self, kind: str, aspect: str, name: str, namespace: str | None = None) -> bool:
        condition = self.realm.condition(kind, aspect, name, namespace)
        assert condition["status"] == "True", condition
        return True


def _without_webhook(realm: Realm) -> None:
    realm.client.delete(ADMISSION, "ValidatingWebhookConfiguration", "bailiwick-admission")


def _reaches(cidr: str) -> Manifest:
    return {"egress": [{"cidr": cidr}]}


def _waive(realm: Realm, policy: Policy, node: str) -> None:
    """Anna asks for a machine, and Bert approves."""
    now = datetime.now(UTC)
    asked = {
        "policy": policy.name, "requester": "anna", "node": {"name": node, "providerID": MACHINE},
        "dimensions": ["place"], "reason": "the other rack burnt down",
        "notBefore": stamp(now - timedelta(hours=1)), "expiresAt": stamp(now + timedelta(hours=1)),
    }  # fmt: skip
    with realm.client.impersonate("anna", ["system:masters"]) as anna:
        waiver = anna.create(
            {"apiVersion": OURS, "kind": "ResidencyWaiver", "metadata": {"name": "spare"}, "spec": asked}
        )
    approved = {
        "waiver": "spare", "waiverUID": waiver["metadata"]["uid"], "requester": "anna", "approver": "bert",
    }  # fmt: skip
    with realm.client.impersonate("bert", ["system:masters"]) as bert:
        bert.create({"apiVersion": OURS, "kind": "WaiverApproval", "metadata": {"name": "of-bert"}, "spec": approved})
