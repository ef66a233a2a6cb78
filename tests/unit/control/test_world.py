"""What the loops observe, and that they see it as soon as it is so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.api.territory import TerritorySpec
from bailiwick.control.stores import Stores
from bailiwick.control.territory import TerritoryLoop
from bailiwick.control.world import World
from bailiwick.evidence.statements import sign
from bailiwick.residency.border import NAMESPACES_BINDING
from bailiwick.residency.rules import judge_all
from bailiwick.residency.territories import GOVERNED_LABEL, compile_territory, digest_of, label_of
from bailiwick.workload.plan import Settings, plan_workload
from tests.unit.api.objects import CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.workload.eligibility import Eligibility

START = datetime(2026, 11, 21, tzinfo=UTC)
CPU = AcceleratorClass.read(
    {"metadata": {"name": "cpu"}, "spec": {"engines": [{"name": "vllm", "image": "registry.example/vllm"}]}}
)
MODEL = SovereignModel.read(
    {
        "metadata": {"name": "chat", "namespace": "clinic", "uid": "u"},
        "spec": {"model": {"name": "tiny", "source": {"oci": {"image": "registry.example/tiny:1"}}}},
    }
)


class Ground:
    """A world whose clock and objects the test sets."""

    def __init__(self) -> None:
        self.now = START
        self.stores = Stores()
        self.world = World(self.stores, clock=lambda: self.now, exempt=frozenset({"kube-system"}))
        self._version = 0

    def put(
        self, store: str, name: str, *, namespace: str = "", labels: dict[str, str] | None = None, **parts: Any
    ) -> None:
        self._version += 1
        metadata = {
            "name": name, "namespace": namespace, "uid": name, "resourceVersion": str(self._version),
            "labels": labels or {}, "generation": 1,
        }  # fmt: skip
        getattr(self.stores, store).apply_event("MODIFIED", {"metadata": metadata, **parts})

    def policy(self, name: str = "health", **place: Any) -> None:
        selector = {"matchLabels": {"data": "health"}}
        place = {"allow": ["DE"], "assurance": "Declared", **place}
        self.put("policies", name, spec={"namespaceSelector": selector, "place": place})

    def node(self, name: str = "n", labels: dict[str, str] | None = None) -> None:
        self.put("nodes", name, labels=labels, spec={}, status={"conditions": [{"type": "Ready", "status": "True"}]})

    def statement(self, name: str = "n", *, hours: float = 24) -> None:
        spec = {
            "node": {"name": name},
            "place": {"jurisdiction": "DE"},
            "issuedAt": f"{START:%Y-%m-%dT%H:%M:%SZ}",
            "expiresAt": f"{START + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}",
        }
        self.put("statements", f"about-{name}", spec=spec)

    def waiver(self, node: str = "n", *, hours: float = 2) -> None:
        spec = {
            "policy": "health",
            "requester": "anna",
            "node": {"name": node, "providerID": "bare://1"},
            "dimensions": ["place", "assurance"],
            "reason": "a test",
            "notBefore": f"{START:%Y-%m-%dT%H:%M:%SZ}",
            "expiresAt": f"{START + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}",
        }
        self.put("waivers", "w", spec=spec)

    def approval(self, by: str) -> None:
        spec = {"waiver": "w", "waiverUID": "w", "requester": "anna", "approver": by}
        self.put("approvals", by, spec=spec)

    def found(self) -> Eligibility:
        """As the model loop asks: policies first, and nobody else has looked at the facts."""
        return plan_workload(
            MODEL,
            policies=self.world.governing("clinic"),
            classes={"cpu": CPU},
            eligible=self.world.eligible,
            settings=Settings(gate_image="gate", weights_image="weights"),
        ).eligibility

    def eligible(self) -> tuple[str, ...]:
        return self.found().nodes


@pytest.fixture
def ground() -> Ground:
    made = Ground()
    made.policy()
    made.node()
    made.put("namespaces", "clinic", labels={"data": "health"})
    return made


def test_a_new_statement_counts_at_once(ground: Ground) -> None:
    assert ground.eligible() == ()
    ground.statement()
    assert ground.eligible() == ("n",)


def test_a_statement_counts_until_it_expires(ground: Ground) -> None:
    ground.statement(hours=2)
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=2)
    assert ground.eligible() == ()


def test_a_statement_counts_until_it_is_too_old_for_the_policy(ground: Ground) -> None:
    ground.policy(maxAge="1h")
    ground.statement()
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=1)
    assert ground.eligible() == ()


def test_a_waiver_counts_with_its_last_approval_until_it_expires(ground: Ground) -> None:
    """For models as for territories, and both look again at its end."""
    selector = {"matchLabels": {"data": "health"}}
    place = {"allow": ["DE"], "assurance": "Declared"}
    ground.put("policies", "health", spec={"namespaceSelector": selector, "place": place, "waivers": {}})
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    ground.put("nodes", "n", spec={"providerID": "bare://1"}, status=ready)
    ground.waiver()
    ground.approval("bert")
    assert ground.eligible() == ()
    ground.approval("cleo")
    assert ground.eligible() == ("n",)
    assert ground.found().until == START + timedelta(hours=2)
    gone = {"metadata": {"name": "bert", "uid": "bert", "resourceVersion": "99"}}
    ground.stores.approvals.apply_event("DELETED", gone)
    assert ground.eligible() == ()
    ground.approval("dora")
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=2)
    assert ground.eligible() == ()


def test_models_that_ask_the_same_share_one_answer(ground: Ground) -> None:
    ground.statement()
    assert ground.found() is ground.found()


def test_a_policy_governs_by_labels_and_never_the_exempt(ground: Ground) -> None:
    ground.put("namespaces", "kube-system", labels={"data": "health"})
    assert [policy.name for policy in ground.world.governing("clinic")] == ["health"]
    assert ground.world.governing("kube-system") == ()
    assert ground.world.governing("absent") == ()
    (policy,) = ground.world.policies().values()
    assert ground.world.governed(policy) == ["clinic"]


def test_a_jurisdiction_changes_the_policies_that_name_it(ground: Ground) -> None:
    ground.policy(allow=["NOWHERE"])
    ground.statement()
    assert ground.eligible() == ()
    spec = {"members": ["DE"], "asOf": "2026-01-01", "source": "a test"}
    ground.put("jurisdictions", "nowhere", spec=spec)
    assert ground.eligible() == ("n",)


def test_the_pods_of_a_model_are_judged_by_its_own_residency_too(ground: Ground) -> None:
    ground.statement()
    facts = ground.world.facts()["n"]
    policies = ground.world.governing("clinic")
    tight = {"residency": {"place": {"allow": ["FR"], "assurance": "Declared"}}}
    strict = SovereignModel.read(
        {"metadata": {"name": "chat", "namespace": "clinic"}, "spec": MODEL.spec.model_dump(by_alias=True) | tight}
    )
    assert judge_all(ground.world.limits(MODEL, policies), facts, START).allowed
    refused = judge_all(ground.world.limits(strict, policies), facts, START)
    assert refused.reason == "WrongPlace"
    assert "the model allows FR" in refused.message


def test_what_cannot_be_read_counts_for_nothing(ground: Ground) -> None:
    ground.put("policies", "broken", spec={"namespaceSelector": {}, "place": {"allow": "everything"}})
    ground.put("statements", "broken", spec={"node": "n"})
    assert list(ground.world.policies()) == ["health"]
    assert ground.eligible() == ()


SIGNER = Ed25519PrivateKey.generate()


def authority(**spec: Any) -> dict[str, Any]:
    pem = SIGNER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"publicKeys": [{"pem": pem}], "mayVouchFor": ["place"], "jurisdictions": ["DE"], **spec}


def signed(ground: Ground) -> None:
    """A node with a machineID, and a signed statement about it."""
    ready = [{"type": "Ready", "status": "True"}]
    ground.put("nodes", "n", spec={}, status={"conditions": ready, "nodeInfo": {"machineID": "m1"}})
    spec: dict[str, Any] = {
        "node": {"name": "n", "machineID": "m1"},
        "place": {"jurisdiction": "DE"},
        "issuedAt": f"{START:%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{START + timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}",
    }
    envelope = sign(NodeStatement.read({"spec": spec}).spec, SIGNER).model_dump(by_alias=True, mode="json")
    ground.put("statements", "about-n", spec={**spec, "authority": "site", "envelope": envelope})


def test_an_authority_counts_from_when_it_is_there_until_it_goes(ground: Ground) -> None:
    ground.policy(assurance="Verified")
    signed(ground)
    assert ground.eligible() == ()
    ground.put("authorities", "site", spec=authority())
    assert ground.eligible() == ("n",)
    ground.put("authorities", "site", spec=authority(jurisdictions=["FR"]))
    assert ground.eligible() == ()
    ground.put("authorities", "site", spec=authority())
    assert ground.eligible() == ("n",)
    ground.stores.authorities.apply_event(
        "DELETED", {"metadata": {"name": "site", "uid": "site", "resourceVersion": "99"}}
    )
    assert ground.eligible() == ()


def test_an_authority_follows_the_jurisdictions_that_it_names(ground: Ground) -> None:
    ground.policy(assurance="Verified")
    signed(ground)
    ground.put("authorities", "site", spec=authority(jurisdictions=["HOME"]))
    assert ground.eligible() == ()
    ground.put("jurisdictions", "home", spec={"members": ["DE"], "asOf": "2026-01-01", "source": "a test"})
    assert ground.eligible() == ("n",)


def test_a_key_counts_until_it_ends(ground: Ground) -> None:
    ground.policy(assurance="Verified")
    signed(ground)
    (key,) = authority()["publicKeys"]
    end = f"{START + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
    ground.put("authorities", "site", spec=authority(publicKeys=[{**key, "notAfter": end}]))
    assert ground.found().until == START + timedelta(hours=2)
    assert ground.eligible() == ("n",)
    ground.now += timedelta(hours=2)
    assert ground.eligible() == ()


def test_territories_and_models_know_the_origin_of_devices_alike(ground: Ground) -> None:
    korea = {"jurisdictions": ["KR"], "source": "a datasheet", "confidence": "Documented"}
    selector = {"matchLabels": {"data": "health"}}
    place = {"allow": ["DE"], "assurance": "Declared"}
    korean = {"namespaceSelector": selector, "place": place, "origin": {"brand": {"allow": ["KR"]}}}
    ground.put("policies", "health", spec=korean)
    ground.statement()

    def inside() -> list[str]:
        (policy,) = ground.world.policies().values()
        return list(compile_territory(policy, ground.world.facts().values(), ground.now).nodes)

    assert (inside(), ground.eligible()) == ([], ())
    ground.put("classes", "npu", spec={"nodeSelector": {"matchLabels": {"npu": "a"}}, "provenance": {"brand": korea}})
    assert (inside(), ground.eligible()) == ([], ())
    ground.node(labels={"npu": "a"})
    assert (inside(), ground.eligible()) == (["n"], ("n",))


class Remembering:
    """A writer that remembers the specs that it was to write, and what else; what it keeps, it finds as it is told."""

    def __init__(self, fault: str | None = None) -> None:
        self.written: dict[str, Any] = {}
        self.deleted: set[str] = set()
        self.labelled: dict[str, set[str]] = {}
        self.alarms = 0
        self._fault = fault

    async def apply(self, manifest: dict[str, Any]) -> None:
        self.written[manifest["metadata"]["name"]] = manifest["spec"]

    async def apply_all(self, manifests: Iterable[dict[str, Any]], **_: object) -> None:
        for each in manifests:
            await self.apply(each)

    async def keep(self, _: object) -> str | None:
        return self._fault

    async def delete(self, _resource: object, name: str, *_: object) -> None:
        self.deleted.add(name)

    async def label(self, _resource: object, names: set[str], label: str, value: str | None) -> None:
        if names:
            self.labelled[f"{label}={value}" if value else label] = set(names)

    def repaired(self, *_: object) -> None:
        self.alarms += 1


class Refusing:
    """A writer that must not be used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the loop calls {name}")


class Telling:
    """A writer of statuses that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    async def write(self, _resource: object, _manifest: object, status: dict[str, Any]) -> None:
        self.told.append(status)


def territory_loop(ground: Ground, writer: Any, status: Any) -> TerritoryLoop:
    """Whoever writes also hears of what was taken away."""
    return TerritoryLoop(
        world=ground.world, writer=writer, status=status, proof=lambda _: None, audited=lambda _: None,
        alarm=writer, pins=lambda: True,
    )  # fmt: skip


def loop_that_does_nothing(ground: Ground) -> TerritoryLoop:
    return territory_loop(ground, Refusing(), Refusing())


def broken(**spec: Any) -> dict[str, Any]:
    """The spec of a policy that another release took."""
    here = {"matchLabels": {"data": "health"}}
    return {"namespaceSelector": here, "place": {"allow": "everything"}, **spec}


def drawn(nodes: dict[str, str], **more: Any) -> dict[str, Any]:
    """The spec of the Territory that was drawn when it could be read."""
    rest = {"digest": "", "nodeSelector": {}, "namespaceLabels": [], "schedulers": []}
    return {"policy": "broken", "nodes": nodes, **rest, **more}


async def test_the_border_of_a_policy_that_cannot_be_read_stays_as_it_is_and_its_status_says_so(ground: Ground) -> None:
    ground.statement()
    ground.node(labels={label_of("broken"): "resident"})
    ground.put("territories", "broken", spec=drawn({"n": "DE"}))
    ground.put("policies", "broken", spec=broken())
    telling, writer = Telling(), Remembering()
    loop = territory_loop(ground, writer, telling)
    assert "broken" in loop.keys()  # noqa: SIM118 - names of policies, not a map
    assert await loop.reconcile("broken") == timedelta(hours=24).total_seconds(), "then the statement ends"
    assert writer.written == {"broken": drawn({"n": "DE"})}
    assert writer.labelled == {f"{GOVERNED_LABEL}=true": {"clinic"}}
    (status,) = telling.told
    (ready,) = (each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidPolicy")
    assert "spec.place.allow" in ready["message"]


@pytest.mark.parametrize(
    ("hours", "waived"), [(2, {}), (24, {"n": "w"})], ids=["nobody vouches any more", "it was let in by a waiver"]
)
async def test_machines_leave_the_border_of_a_policy_that_cannot_be_read_and_none_enters(
    ground: Ground, hours: float, waived: dict[str, str]
) -> None:
    for node in ("n", "other", "new"):
        ground.node(node, labels={label_of("broken"): "resident"} if node != "new" else {})
        ground.statement(node, hours=hours if node == "n" else 24)
    ground.put(
        "territories", "broken", spec=drawn({"n": "DE", "other": "DE"}, **({"waived": waived} if waived else {}))
    )
    ground.put("policies", "broken", spec=broken())
    ground.now += timedelta(hours=2)
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile("broken")
    left = writer.written["broken"]
    assert left["nodes"] == {"other": "DE"}
    assert "waived" not in left
    assert left["digest"] == digest_of(TerritorySpec.model_validate(left))
    assert writer.labelled[label_of("broken")] == {"n"}


NEAR, FAR = ({"egress": [{"cidr": cidr, "ports": []}]} for cidr in ("10.20.0.0/16", "0.0.0.0/0"))
REACHED = {
    "the other one allows more": (FAR, drawn({}, network=NEAR), "Enforce", ["10.20.0.0/16"]),
    "the other one allows less": (NEAR, drawn({}, network=FAR), "Enforce", ["10.20.0.0/16"]),
    "only it closed anything": (None, drawn({}, network=NEAR), "Enforce", ["10.20.0.0/16"]),
    "it only warned": (FAR, drawn({}, network=NEAR), "Warn", ["0.0.0.0/0"]),
    "it asked nothing": (FAR, drawn({}), "Enforce", ["0.0.0.0/0"]),
    "it was never in force": (FAR, None, "Enforce", ["0.0.0.0/0"]),
    "nobody asked anything": (None, drawn({}), "Enforce", None),
}
"""What the readable policy opens, how the border of the other was drawn, its mode; and what is reached."""


@pytest.mark.parametrize("row", REACHED)
@pytest.mark.parametrize("changed", ["health", "broken"])
async def test_of_a_policy_that_cannot_be_read_counts_what_it_opened_before(
    ground: Ground, row: str, changed: str
) -> None:
    network, territory, mode, reached = REACHED[row]
    here = {"namespaceSelector": {"matchLabels": {"data": "health"}}}
    asks = {"place": {"allow": ["DE"], "assurance": "Declared"}, **({"network": network} if network else {})}
    ground.put("policies", "health", spec={**here, **asks})
    ground.put("policies", "broken", spec=broken(mode=mode))
    if territory:
        ground.put("territories", "broken", spec=territory)
    closing = {"bailiwick-closed", "bailiwick-egress"}
    for name in closing:
        ground.put("network_policies", name, namespace="clinic")
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile(changed)
    assert writer.deleted & closing == (set() if reached else closing)
    if reached:
        ways = [to for rule in writer.written["bailiwick-egress"]["egress"] for to in rule["to"]]
        assert [each["ipBlock"]["cidr"] for each in ways if "ipBlock" in each] == reached
        assert "egress" not in writer.written["bailiwick-closed"]


@pytest.mark.parametrize(
    ("selector", "marked"), [({"matchLabels": {"data": "tax"}}, set()), (None, {"new", "former"})], ids=["apart", "any"]
)
async def test_a_namespace_is_marked_that_a_policy_may_govern_which_cannot_be_read(
    ground: Ground, selector: Any, marked: set[str]
) -> None:
    ground.put("namespaces", "former", labels={GOVERNED_LABEL: "true"})
    ground.put("namespaces", "new")
    ground.put("policies", "broken", spec=broken(namespaceSelector=selector))
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile("broken")
    assert writer.labelled[f"{GOVERNED_LABEL}=true"] == {"clinic"} | marked - {"former"}
    assert writer.labelled.get(GOVERNED_LABEL, set()) == {"former"} - marked


async def test_the_guard_of_namespaces_goes_before_the_last_territory(ground: Ground) -> None:
    """Without any it would refuse to write every namespace. A policy that was never in force has none."""
    ground.put("policies", "broken", spec=broken())
    ground.put("territories", "gone", spec=drawn({}))
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile("gone")
    assert NAMESPACES_BINDING in writer.deleted


async def test_what_was_never_written_of_a_policy_that_could_not_be_read_was_not_taken_away(ground: Ground) -> None:
    """A release that reads it again finds another border than it wants: nobody tampered with it."""
    said = {"type": "Ready", "status": "False", "reason": "InvalidPolicy", "message": "spec.mode: wrong"}
    said["lastTransitionTime"] = f"{START:%Y-%m-%dT%H:%M:%SZ}"
    policy = ground.stores.policies.get(("", "health")) or {}
    for conditions, alarms in (([said], False), ([], True)):
        status = {"observedGeneration": 1, "conditions": conditions}
        ground.put("policies", "health", spec=policy["spec"], status=status)
        writer = Remembering(fault="changed")
        await territory_loop(ground, writer, Telling()).reconcile("health")
        assert bool(writer.alarms) == alarms


async def test_a_policy_that_is_gone_is_known_by_what_it_left(ground: Ground) -> None:
    ground.node(labels={label_of("left"): "resident"})
    ground.put("territories", "drawn", spec={"nodes": {}})
    ground.put("validating_bindings", "bailiwick-pods.bound", labels={"bailiwick.dev/policy": "bound"}, spec={})
    loop = loop_that_does_nothing(ground)
    assert loop.keys() == {"health", "left", "drawn", "bound"}


def outside(ground: Ground, until: timedelta = timedelta(hours=24)) -> SovereignModel:
    """A model that is served by a server in Germany, of which somebody said so."""
    said = {
        "endpoint": {
            "address": "192.0.2.7", "port": 8443, "serverName": "mac-1.models.example",
            "certificateAuthority": CERTIFICATE,
        },
        "place": {"jurisdiction": "DE"},
        "issuedAt": f"{START - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{START + until:%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip
    ground.put("endpoints", "mac-1", spec=said)
    source = {"endpoint": {"statement": "mac-1"}}
    spec = {"engine": {"name": "external"}, "model": {"name": "tiny", "source": source}}
    return SovereignModel.read({"metadata": {"name": "chat", "namespace": "clinic", "uid": "u"}, "spec": spec})


def judged(ground: Ground, model: SovereignModel) -> str:
    found = ground.world.endpoint(model, list(ground.world.policies().values()))
    return str(found.verdict.reason) if found else "nobody knows it"


def test_an_endpoint_is_judged_by_what_is_so_now() -> None:
    ground = Ground()
    ground.policy()
    model = outside(ground)
    assert ground.world.endpoint(MODEL, []) is None
    assert judged(ground, model) == "Allowed"
    ground.policy(allow=["FR"])
    assert judged(ground, model) == "WrongPlace"
    ground.policy()
    ground.now = START + timedelta(hours=24)
    assert judged(ground, model) == "StatementExpired"
    ground.stores.endpoints.apply_event(
        "DELETED", {"metadata": {"name": "mac-1", "uid": "mac-1", "resourceVersion": "99"}}
    )
    assert judged(ground, model) == "nobody knows it"


@pytest.mark.parametrize(
    ("selector", "over"),
    [
        ({"matchLabels": {"data": "health"}}, ["clinic"]),
        ({"matchLabels": {"data": "tax"}}, []),
        ({"matchLabels": 1}, ["clinic", "free"]),
        (None, ["clinic", "free"]),
    ],
    ids=["selects", "does not", "unreadable, too", "none"],
)
def test_a_policy_that_cannot_be_read_may_govern_what_it_selects_or_anything_but_the_system(
    ground: Ground, selector: Any, over: list[str]
) -> None:
    ground.put("namespaces", "free")
    ground.put("namespaces", "kube-system", labels={"data": "health"})
    assert not any(ground.world.unreadable_over(each) for each in ("clinic", "free"))
    ground.put("policies", "broken", spec={"namespaceSelector": selector, "place": {"allow": "everything"}})
    assert list(ground.world.unreadable()) == ["broken"]
    named = [each for each in ("clinic", "free", "kube-system") if ground.world.unreadable_over(each) == ["broken"]]
    assert named == over
    assert ground.world.unreadable_over("too-new-to-be-known") == ["broken"]
    ground.policy("broken")
    assert not ground.world.unreadable_over("clinic")


def test_a_statement_that_cannot_be_read_counts_for_nothing() -> None:
    ground = Ground()
    ground.policy()
    model = outside(ground)
    ground.put("endpoints", "mac-1", spec={"endpoint": {}})
    assert judged(ground, model) == "nobody knows it"
