"""Whatever holds the border is taken away in turn: what holds meanwhile, what the canary says, how long it takes.

The rights are those of the chart. With BORDER_TABLE=write the table goes into docs/border.md.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.residency.territories import GOVERNED_LABEL
from e2e.border.table import put_between
from e2e.client import PROMPT, documents, eventually
from e2e.cluster.places import ROOT
from tests.apiserver.attempts import Scene, refusal
from tests.apiserver.operator_process import SERVICE_ACCOUNTS, SYSTEM, OperatorProcess
from tests.apiserver.realm import ADMISSION, MUTATING, OURS, VALIDATING, Policy, Realm, border
from tests.apiserver.test_operator_canary import (
    CANARY,
    FRANKFURT,
    PERIOD,
    VIRGINIA,
    enforced,
    proved,
    shown,
)  # fmt: skip
from tests.apiserver.worlds import Rights
from tests.in_tree import POLICIES, needs_pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


pytestmark = pytest.mark.apiserver

POLICY, PIN = "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"
BEGIN, END = "<!-- broken: written by tests/apiserver/test_operator_border_broken.py -->\n", "<!-- end of broken -->\n"
TICK = 1.2
"""Seconds until the API server has taken up a policy or binding, or its loss, and a little more."""
GUARDS = sorted(f"bailiwick-{file.stem}" for file in POLICIES if file.stem != "pin")
STATIC = sorted(
    document["metadata"]["name"]
    for file in POLICIES
    for document in documents(file)
    if document["kind"] == VALIDATING
)  # fmt: skip
OPEN: Mapping[str, Any] = {"validations": [{"expression": "true"}]}
MUTE: Mapping[str, Any] = {"validationActions": ["Audit"]}


@dataclass(slots=True)
class Row:
    """What was seen of one thing that was taken away. Times in seconds after that; the longest of its cases."""

    what: str
    opened: set[str] = field(default_factory=set)
    holds: str = ""
    says: str = ""
    noticed: float | None = None
    whole: float | None = None

    def took(self, *, noticed: float | None = None, whole: float | None = None) -> None:
        """One more case."""
        assert max(noticed or 0.0, whole or 0.0) < PROMPT, self.what
        self.noticed = max(self.noticed or 0.0, noticed) if noticed is not None else self.noticed
        self.whole = max(self.whole or 0.0, whole) if whole is not None else self.whole

    def text(self) -> str:
        """A line of the table."""
        times = ["" if each is None else f"{each:.2f} s" for each in (self.noticed, self.whole)]
        opened = ", ".join(sorted(self.opened)) or "nothing"
        return f"| {self.what} | {opened} | {self.holds} | {self.says} | {times[0]} | {times[1]} |\n"


class Rows(defaultdict[str, Row]):
    """The table, by what was taken away."""

    def __missing__(self, what: str) -> Row:
        self[what] = Row(what)
        return self[what]

    def text(self) -> str:
        """As Markdown."""
        head = (
            "| taken away or edited (a policy; each of its bindings) | open meanwhile, while nothing mends it "
            "| still refused | the canary says | "
        )
        lines = [f"{head}told after | whole after |\n", "|---|---|---|---|---|---|\n"]
        return "".join([*lines, *(row.text() for row in self.values())])


@pytest.fixture(scope="module")
def rows() -> Iterator[Rows]:
    found = Rows()
    yield found
    sys.stdout.write(f"\n{found.text()}")
    if os.environ.get("BORDER_TABLE") == "write":
        put_between(BEGIN, END, found.text())


@pytest.fixture(scope="module")
def operator(granted: Realm) -> Iterator[OperatorProcess]:
    process = OperatorProcess(granted.server, "broken", SERVICE_ACCOUNTS, BAILIWICK_CANARY_SECONDS=str(PERIOD))
    try:
        yield process.until_leading()
    finally:
        process.stop()


@pytest.fixture(scope="module")
def scene(granted: Realm, operator: OperatorProcess) -> Iterator[Scene]:
    """A policy with every guard, proved."""
    assert operator.ready()
    account = {"name": "bailiwick-operator", "namespace": SYSTEM}
    granted.client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    with granted.client.impersonate(CANARY, SERVICE_ACCOUNTS) as canary:
        found = Scene.set(granted, granted.node(FRANKFURT), granted.node(VIRGINIA), canary)
        found.policy.holds(found.inside)
        proved(found.policy)
        yield found
        found.somebody.close()
        granted.clear()  # who uses this server next counts nodes


def told(policy: Policy, name: str) -> bool:
    """Whether the policy is said not to be enforced, because of that object."""
    condition = policy.condition("Enforced")
    return condition["status"] == "False" and re.search(rf" {re.escape(name)} ", condition["message"]) is not None


def broken(scene: Scene, row: Row, breaks: Callable[[], object], guard: str) -> None:
    """Break an in-tree policy, and follow what becomes of it until it is mended and told."""

    kind, name = POLICY, guard
    wanted = scene.realm.client.get(ADMISSION, kind, name)["spec"]
    deed = scene.deeds()[guard]
    begun = time.monotonic()
    breaks()
    mended = noticed = None
    opened, last = False, 0.0
    # The server may take a moment to judge by what was put back, so it has to refuse for a while.
    while mended is None or noticed is None or time.monotonic() - begun < max(mended, last) + TICK:
        now = time.monotonic() - begun
        if refusal(deed) is None:
            opened, last = True, now
        found = scene.realm.client.find(ADMISSION, kind, name)
        if mended is None and found and found["spec"] == wanted:
            mended = now
        if noticed is None and told(scene.policy, name):
            noticed = now
        # Long for an event on a busy machine, and short for who only looks each minute.
        assert now < 15, f"{name} is not {'told' if mended else 'mended'}: {scene.policy.condition('Enforced')}"
    row.took(noticed=noticed, whole=max(mended, last if opened else 0.0))
    assert (refusal(deed) or "").startswith(f"{guard} "), "it is whole again"


def test_somebody_tries_everything_and_is_refused(scene: Scene) -> None:
    """The control: each deed is refused by its own policy, and a compliant pod passes."""
    for guard, refused in scene.refusals().items():
        assert refused, f"{guard} admits"
        assert refused.startswith(f"{guard} "), refused
    assert set(scene.deeds()) == set(GUARDS)
    assert scene.somebody.create(scene.pod(), dry_run=True)


@pytest.mark.parametrize("guard", GUARDS)
def test_a_policy_that_is_gone_is_put_back(scene: Scene, rows: Rows, guard: str) -> None:
    client = scene.realm.client
    broken(scene, rows[f"`{guard}`"], lambda: client.delete(ADMISSION, POLICY, guard), guard)


@pytest.mark.parametrize("guard", ["bailiwick-pods", "bailiwick-nodes"])
def test_a_policy_that_was_emptied_is_put_right(scene: Scene, rows: Rows, guard: str) -> None:
    def empty() -> None:
        scene.realm.client.patch(ADMISSION, POLICY, guard, {"spec": OPEN})

    broken(scene, rows[f"`{guard}`"], empty, guard)


def test_a_policy_with_fields_that_nobody_owns_is_put_right(scene: Scene, rows: Rows) -> None:
    """Server-side apply leaves alone what belongs to nobody; the operator does not."""
    guard = "bailiwick-claims"

    def exclude() -> None:
        nothing = [{"name": "nothing", "expression": "false"}]
        patch = {"metadata": {"managedFields": [{}]}, "spec": {"matchConditions": nothing}}
        scene.realm.client.patch(ADMISSION, POLICY, guard, patch)

    broken(scene, rows[f"`{guard}`"], exclude, guard)


def bindings(scene: Scene) -> Iterator[tuple[str, str]]:
    """Every validating binding and its guard."""
    yield from ((name, name) for name in STATIC)
    yield from ((f"{guard}.{scene.policy.name}", guard) for guard in GUARDS if guard in scene.policy.bindings())
    yield "bailiwick-namespaces", "bailiwick-namespaces"


@pytest.mark.parametrize("mute", [False, True], ids=["gone", "muted"])
def test_bindings_are_put_back_and_put_right(scene: Scene, rows: Rows, mute: bool) -> None:
    client = scene.realm.client
    for name, guard in bindings(scene):
        if not mute:
            client.delete(ADMISSION, VALIDATING, name)
        else:
            client.patch(ADMISSION, VALIDATING, name, {"spec": MUTE})
        begun = time.monotonic()
        eventually(lambda name=name: told(scene.policy, name), what=f"{name} is told", every=0.01)  # type: ignore[misc]
        noticed = time.monotonic() - begun
        found = client.get(ADMISSION, VALIDATING, name)
        assert found["spec"]["validationActions"] == ["Deny", "Audit"], name
        rows[f"`{guard}`"].took(noticed=noticed, whole=time.monotonic() - begun)
    eventually(lambda: None not in scene.refusals().values(), what="every deed is refused again")


@needs_pin
def test_what_pins_is_put_back(scene: Scene, rows: Rows) -> None:
    client, name = scene.realm.client, f"bailiwick-pin.{scene.policy.name}"
    row = rows["`bailiwick-pin`, its binding"]
    row.holds, row.says = "a pod that does not pin itself, by `bailiwick-pods`", "nothing"
    for kind, each in ((PIN, "bailiwick-pin"), (MUTATING, name)):
        client.delete(ADMISSION, kind, each)
        begun = time.monotonic()
        eventually(lambda kind=kind, each=each: client.find(ADMISSION, kind, each), what=each, every=0.01)  # type: ignore[misc]
        row.took(whole=time.monotonic() - begun)
    eventually(
        lambda: refusal(lambda: scene.somebody.create(scene.pod(), dry_run=True)) is None, what="pods are pinned"
    )
    assert scene.policy.label in scene.somebody.create(scene.pod(), dry_run=True)["spec"]["nodeSelector"]


def test_every_repair_is_counted_and_told(scene: Scene, operator: OperatorProcess) -> None:
    counted = {
        (dict(labels)["guard"], dict(labels)["fault"])
        for (name, labels), value in operator.metrics().items()
        if name == "bailiwick_border_repairs_total" and dict(labels)["outcome"] == "repaired" and value
    }
    assert counted >= {(guard, "gone") for guard in GUARDS}
    assert counted >= {("bailiwick-pods", "changed"), ("bailiwick-nodes", "changed")}
    proved(scene.policy)
    eventually(
        lambda: ("Warning", "NotEnforced") in scene.realm.events("ResidencyPolicy", scene.policy.name),
        what="an Event",
    )  # fmt: skip
    status = scene.policy.status()
    assert status["lastProof"] >= status["enforcedSince"]


def test_an_operator_that_may_not_mend_names_what_is_gone(scene: Scene, rows: Rows, operator: OperatorProcess) -> None:
    """One policy after the other goes: what opens is what it guards, and nothing else."""
    proved(scene.policy)
    rights = Rights(scene.realm, "bailiwick-operator")
    rights.without("admissionregistration.k8s.io", {"create", "patch"})
    row = rows["the operator's right to write policies and bindings"]
    row.opened, row.holds, row.says = set(), "everything, while nobody takes away more", "NotEnforced, then"
    time.sleep(TICK)  # the authorizer's own delay
    known: set[str] = set()
    try:
        for guard in GUARDS:
            scene.realm.client.delete(ADMISSION, POLICY, guard)
            begun = time.monotonic()
            eventually(lambda guard=guard: told(scene.policy, guard), what=f"{guard} is told", every=0.02)  # type: ignore[misc]
            row.took(noticed=time.monotonic() - begun)
            eventually(lambda guard=guard: refusal(scene.deeds()[guard]) is None, what=f"{guard} is missed", every=0.05)  # type: ignore[misc]
            refusals = scene.refusals()
            opened = {each for each, refused in refusals.items() if refused is None} - known
            known |= opened
            assert opened == {guard}
            what = rows[f"`{guard}`"]
            what.opened, what.says = {f"what `{guard}` refuses"}, "NotEnforced"
            what.holds = "the rest"
            assert all(refused.startswith(f"{each} ") for each, refused in refusals.items() if refused), refusals

        def all_named() -> bool:
            said = scene.policy.condition("Enforced")["message"]
            return all(f"{POLICY} {guard} is gone" in said for guard in GUARDS)

        eventually(all_named, what="the canary names every one")
        assert "was admitted" in scene.policy.condition("Enforced")["message"]
        assert enforced(scene.policy) == ("False", "NotEnforced")
        assert "enforcedSince" not in scene.policy.status()
        eventually(lambda: shown(operator, scene.policy) == 0, what="the metric says so")
    finally:
        rights.back()
    begun = time.monotonic()
    eventually(lambda: None not in scene.refusals().values(), what="every deed is refused again")
    row.took(whole=time.monotonic() - begun)
    proved(scene.policy)


def test_a_canary_that_may_not_ask_proves_nothing(scene: Scene, rows: Rows) -> None:
    """A refusal by RBAC looks like a border and is none. What was proved stays so until it is too old."""
    proved(scene.policy)
    rights = Rights(scene.realm, "bailiwick-canary")
    rights.without("", {"create", "patch"})
    begun = time.monotonic()
    row = rows["the canary's right to ask"]
    row.holds, row.says = "everything", "NotProved, three minutes after the last proof; of another policy at once"
    try:
        other = scene.realm.policy("DE")
        scene.realm.namespace(other.selects)
        eventually(lambda: "cannot" in other.condition("Enforced")["message"], what="it says who cannot ask")
        row.took(noticed=time.monotonic() - begun)
        assert enforced(other) == ("Unknown", "NotProved")
        assert enforced(scene.policy) == ("True", "Proved")
        refusals = scene.refusals()
        del refusals["bailiwick-canary"]
        assert None not in refusals.values()
    finally:
        rights.back()
    begun = time.monotonic()
    proved(other)
    row.took(whole=time.monotonic() - begun)
    other.delete()


def test_without_the_chart_nothing_is_put_back_and_nothing_proved(scene: Scene, rows: Rows) -> None:
    row = rows["ConfigMap `bailiwick-border`"]
    row.holds, row.says = "everything; who removes Bailiwick removes this first", "NotProved, as above"
    client, other = scene.realm.client, scene.realm.policy("DE")
    scene.realm.namespace(other.selects)
    proved(other)
    client.delete("v1", "ConfigMap", "bailiwick-border", SYSTEM)
    try:
        # The next thing that changes makes the operator look.
        client.delete(ADMISSION, POLICY, "bailiwick-claims")
        deed = scene.deeds()["bailiwick-claims"]
        eventually(lambda: refusal(deed) is None, what="it is missed")
        time.sleep(TICK)
        assert client.find(ADMISSION, POLICY, "bailiwick-claims") is None
        third = scene.realm.policy("DE")
        scene.realm.namespace(third.selects)
        eventually(lambda: "bailiwick-border" in third.condition("Enforced")["message"], what="it says what is missing")
        assert enforced(third) == ("Unknown", "NotProved")
        assert "bailiwick-pods" in third.bindings(), "a binding that cannot be written holds up no other"
    finally:
        client.apply(border(client))
        client.apply(next(documents(next(file for file in POLICIES if file.stem == "claims"))))
    eventually(lambda: (refusal(deed) or "").startswith("bailiwick-claims "), what="it is whole")
    for each in (other, third):
        each.delete()
        each.withdrawn()


@pytest.fixture(scope="module")
def almighty(granted: Realm) -> Any:
    """Somebody who became the operator: no policy stops them."""
    return granted.forger


def test_a_territory_that_is_gone_or_edited_is_written_anew(scene: Scene, rows: Rows, almighty: Any) -> None:
    proved(scene.policy)
    policy, row = scene.policy, rows["a Territory"]
    row.holds, row.says = "everything in its namespaces, until it is back", "nothing, for nothing was open"
    almighty.delete(OURS, "Territory", policy.name)
    begun = time.monotonic()
    eventually(lambda: policy.inside() == {scene.inside}, what="it is back", every=0.01)
    row.took(whole=time.monotonic() - begun)
    edited = rows["a Territory, edited by who became the operator"]
    edited.opened, edited.says, edited.holds = {"the nodes added"}, "NotEnforced", "the rest"
    almighty.patch(OURS, "Territory", policy.name, {"spec": {"nodes": {scene.abroad: "DE"}}})
    begun = time.monotonic()
    eventually(lambda: policy.inside() == {scene.inside}, what="it is as it was", every=0.01)
    edited.took(whole=time.monotonic() - begun)
    eventually(lambda: told(policy, policy.name), what="it is told", every=0.01)
    edited.took(noticed=time.monotonic() - begun)
    proved(policy)


def test_labels_are_written_anew(scene: Scene, rows: Rows, almighty: Any) -> None:
    cases = {
        "the label of a node inside": ("Node", scene.inside, scene.policy.label, "no new pod is scheduled there"),
        "the label `bailiwick.dev/governed`": ("Namespace", scene.governed, GOVERNED_LABEL, "everything but models"),
    }
    for what, (kind, name, label, holds) in cases.items():
        row = rows[what]
        row.holds, row.says = holds, "nothing"
        before = scene.realm.client.get("v1", kind, name)["metadata"]["labels"][label]
        almighty.patch("v1", kind, name, {"metadata": {"labels": {label: None}}})
        begun = time.monotonic()

        def back(kind: str = kind, name: str = name, label: str = label, before: str = before) -> bool:
            labels = scene.realm.client.get("v1", kind, name)["metadata"].get("labels") or {}
            return bool(labels.get(label) == before)

        eventually(back, what=f"{what} is back", every=0.01)
        row.took(whole=time.monotonic() - begun)
    row = rows["the label of a node inside, on a node abroad"]
    row.holds, row.says = "`bailiwick-bindings` refuses the node: it is in no Territory", "nothing"
    almighty.patch("v1", "Node", scene.abroad, {"metadata": {"labels": {scene.policy.label: "resident"}}})
    begun = time.monotonic()
    assert (refusal(scene.deeds()["bailiwick-bindings"]) or "").startswith("bailiwick-bindings WrongPlace")
    eventually(lambda: scene.policy.labelled() == {scene.inside}, what="it is taken off", every=0.01)
    row.took(whole=time.monotonic() - begun)


def test_a_namespace_that_the_almighty_takes_out_is_free(scene: Scene, rows: Rows) -> None:
    """That is what the verb `assign` is for. Nobody else can, and the policy says that it governs nothing."""
    label = next(iter(scene.policy.selects.items()))
    client = scene.realm.client
    row = rows["a namespace, out of its policy by the verb `assign`"]
    row.opened, row.holds, row.says = {"all of the namespace"}, "other namespaces", "NothingGoverned"
    client.patch("v1", "Namespace", scene.governed, {"metadata": {"labels": {label[0]: None}}})
    begun = time.monotonic()
    eventually(lambda: enforced(scene.policy) == ("Unknown", "NothingGoverned"), what="it is told", every=0.02)
    row.took(noticed=time.monotonic() - begun)
    assert refusal(scene.deeds()["bailiwick-pods"]) is None
    client.patch("v1", "Namespace", scene.governed, {"metadata": {"labels": dict([label])}})
    begun = time.monotonic()
    eventually(lambda: None not in scene.refusals().values(), what="it is governed again")
    row.took(whole=time.monotonic() - begun)
    proved(scene.policy)


def test_no_pod_leaks_after_enforced_since(scene: Scene) -> None:
    """Policy, namespace and a foreign pod in a tight loop: the pod is refused from before the status says so."""
    label = f"race-{scene.policy.name}"
    team = scene.realm.namespace({"data": label})
    leaks: list[float] = []
    deed = {"name": "leak", "namespace": team}
    pod = {**scene.pod(nodeName=scene.abroad), "metadata": deed}
    policy = scene.realm.policy("DE", namespaceSelector={"matchLabels": {"data": label}})
    begun, since = time.monotonic(), None
    while since is None or time.monotonic() - begun < since + TICK:
        now = time.monotonic() - begun
        if refusal(lambda: scene.somebody.create(pod, dry_run=True)) is None:
            leaks.append(now)
        status = scene.realm.client.get(OURS, "ResidencyPolicy", policy.name).get("status") or {}
        if since is None and "enforcedSince" in status:
            since = now
        assert now < 20, status
    assert leaks, "it takes a moment until the border stands, or nothing was raced"
    assert max(leaks) < since, f"{len(leaks)} pods, the last one after {max(leaks):.2f} s; enforced after {since:.2f} s"
    policy.delete()


def test_without_the_kind_of_territories_governed_namespaces_are_closed(
    scene: Scene, rows: Rows, almighty: Any
) -> None:
    """Its deletion is refused to all but the operator; and then it is closed, not open."""
    proved(scene.policy)
    row = rows["the CRD of Territory"]
    row.holds, row.says = "everything in governed namespaces; others do not notice", "NotProved, as above"
    crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "territories.bailiwick.dev")
    almighty.delete(*crd)
    try:
        eventually(lambda: scene.realm.client.find(*crd) is None, what="the kind is gone")
        time.sleep(TICK)
        bad, good = scene.pod(nodeName=scene.abroad), scene.pod()
        for pod in (bad, good):
            said = refusal(lambda pod=pod: scene.somebody.create(pod)) or ""  # type: ignore[misc]
            assert re.fullmatch("bailiwick-[a-z]+ failed", said), f"no parameters: {said}"
        elsewhere = {**good, "metadata": {"name": "free", "namespace": scene.free}}
        assert scene.somebody.create(elsewhere, dry_run=True)
    finally:
        scene.realm.server.install_crds([ROOT / "crds/bailiwick.dev_territories.yaml"])
    begun = time.monotonic()

    def whole() -> bool:
        assert scene.policy.inside() == {scene.inside}
        return refusal(lambda: scene.somebody.create(scene.pod(), dry_run=True)) is None

    eventually(whole, what="the Territory is back, and counts")
    row.took(whole=time.monotonic() - begun)
    eventually(lambda: None not in scene.refusals().values(), what="every deed is refused")
