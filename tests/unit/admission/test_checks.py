"""Every check: what it refuses, what it warns of, and what it lets pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from bailiwick.admission.known import STALE_SECONDS
from bailiwick.admission.review import parse
from bailiwick.admission.server import judge
from tests.unit.admission.cluster import Cluster, Manifest, group, manifest, model, policy, review
from tests.unit.api.objects import CERTIFICATE

if TYPE_CHECKING:
    from bailiwick.admission.judgement import Judgement


async def ask(cluster: Cluster, *arguments: Any, **request: Any) -> Judgement:
    return await judge(parse(orjson.dumps(review(*arguments, **request))), cluster.known)


def refusal(judgement: Judgement) -> str:
    """What somebody reads who is refused: always with what to do, after the last semicolon."""
    assert not judgement.verdict.allowed
    said = str(judgement.verdict)
    assert "; " in said, said
    return said


def warnings(judgement: Judgement) -> str:
    assert judgement.verdict.allowed, judgement.verdict
    return "\n".join(judgement.warnings)


async def test_a_policy_names_only_what_means_something() -> None:
    cluster = Cluster()
    assert warnings(await ask(cluster, "ResidencyPolicy", policy("EU", "CH"))) == ""
    assert refusal(await ask(cluster, "ResidencyPolicy", policy("ATLANTIS"))).startswith("UnknownJurisdiction: policy")


async def test_a_policy_that_names_a_circle_is_refused() -> None:
    cluster = Cluster(jurisdictions=[group("one", "TWO"), group("two", "ONE")])
    assert refusal(await ask(cluster, "ResidencyPolicy", policy("ONE"))).startswith("CyclicJurisdiction")


async def test_a_change_that_puts_nodes_out_and_models_outside_warns_with_their_names() -> None:
    cluster = Cluster(sovereignmodels=[model(nodes=("frankfurt",))])
    said = warnings(await ask(cluster, "ResidencyPolicy", policy("FR"), policy("EU")))
    assert "puts out the nodes frankfurt" in said
    assert "clinic/chat (on frankfurt)" in said
    assert "leaves no node inside for clinic" in said


async def test_a_policy_that_goes_names_the_namespaces_and_models_that_it_releases() -> None:
    cluster = Cluster(sovereignmodels=[model(nodes=("frankfurt",))])
    said = warnings(await ask(cluster, "ResidencyPolicy", None, policy("EU")))
    assert said == "policy health no longer governs the namespaces clinic, and with them the models clinic/chat"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (group("baltic", "EE", "NOWHERE"), "UnknownJurisdiction"),
        (group("eu", "DE", "EEA"), "CyclicJurisdiction"),
        (group("baltic", "EE", "LV"), ""),
    ],
)
async def test_members_are_known_and_no_group_contains_itself(changed: Manifest, reason: str) -> None:
    judgement = await ask(Cluster(), "Jurisdiction", changed)
    assert judgement.verdict.allowed == (not reason)
    assert str(judgement.verdict).startswith(reason)


async def test_a_jurisdiction_in_use_stays_and_its_users_are_named() -> None:
    said = refusal(await ask(Cluster(), "Jurisdiction", None, group("eu", "DE", "FR")))
    assert "policy health" in said
    assert "jurisdiction EEA" in said
    assert warnings(await ask(Cluster(), "Jurisdiction", None, group("eea", "EU"))) == ""


async def test_a_jurisdiction_that_changes_tells_whom_it_changes() -> None:
    cluster = Cluster(residencypolicies=[policy("EEA")], sovereignmodels=[model(nodes=("frankfurt",))])
    said = warnings(await ask(cluster, "Jurisdiction", group("eu", "FR"), group("eu", "DE", "FR")))
    assert "EU is used by the policies health" in said
    assert "puts out the nodes frankfurt" in said


def own(*allow: str, **more: Any) -> Manifest:
    return {"place": {"allow": list(allow), "assurance": "Declared"}, **more}


@pytest.mark.parametrize("allow", [("DE",), ("DE-BY", "FR"), ("EU",)])
async def test_a_model_may_tighten(allow: tuple[str, ...]) -> None:
    assert (await ask(Cluster(), "SovereignModel", model(residency=own(*allow)))).verdict.allowed


@pytest.mark.parametrize("allow", [("US",), ("DE", "US"), ("EEA",)])
async def test_a_model_that_widens_is_told_what_the_policy_says(allow: tuple[str, ...]) -> None:
    said = refusal(await ask(Cluster(), "SovereignModel", model(residency=own(*allow))))
    assert said.startswith("WrongPlace: spec.residency.place")
    assert "policy health allows EU in spec.place" in said


async def test_what_a_policy_denies_no_model_allows() -> None:
    denying = policy("EU")
    denying["spec"]["place"]["deny"] = ["DE"]
    cluster = Cluster(residencypolicies=[denying])
    assert "denies DE" in refusal(await ask(cluster, "SovereignModel", model(residency=own("DE"))))


@pytest.mark.parametrize(("mode", "warned"), [("Warn", True), ("Audit", False)])
async def test_only_a_policy_that_enforces_refuses(mode: str, warned: bool) -> None:
    cluster = Cluster(residencypolicies=[policy("EU", mode=mode)])
    said = warnings(await ask(cluster, "SovereignModel", model(residency=own("US"))))
    assert ("WrongPlace: spec.residency" in said) == warned


async def test_a_model_names_only_what_means_something() -> None:
    said = refusal(await ask(Cluster(), "SovereignModel", model(residency=own("ATLANTIS"))))
    assert said.startswith("UnknownJurisdiction: spec.residency of the model")


REFERRING: list[tuple[Manifest, str]] = [
    ({"source": {"persistentVolumeClaim": {"claimName": "taken"}}}, "PersistentVolumeClaim"),
    ({"source": {"oci": {"image": "registry.example/m:1", "pullSecrets": ["taken"]}}}, "Secret"),
    ({"model": {"manifest": {"configMap": "taken"}}}, "ConfigMap"),
    ({"model": {"profile": {"configMap": "taken"}}}, "ConfigMap"),
    ({"model": {"signature": {"authority": "a", "configMap": "taken"}}}, "ConfigMap"),
    ({"serving": {"tls": {"secret": "taken"}}}, "Secret"),
    ({"serving": {"tls": {"secret": "taken", "clientCASecret": "taken"}}}, "Secret"),
    ({"serving": {"authentication": {"apiKeysSecret": "taken"}}}, "Secret"),
    (
        {"serving": {"authentication": {"tokenIssuer": {"issuer": "i", "audiences": ["a"], "keysSecret": "taken"}}}},
        "Secret",
    ),
]


@pytest.mark.parametrize(("spec", "kind"), REFERRING)
async def test_nobody_uses_by_a_model_what_he_may_not_read(spec: Manifest, kind: str) -> None:
    cluster = Cluster()
    said = refusal(await ask(cluster, "SovereignModel", model(**spec)))
    assert f"AccessDenied: the model uses {kind} taken, which erika may not read in namespace clinic" in said
    asked = cluster.api.asked[0]["spec"]
    assert asked["user"] == "erika"
    assert asked["groups"] == ["team"]
    assert asked["resourceAttributes"]["namespace"] == "clinic"
    assert asked["resourceAttributes"]["verb"] == "get"
    cluster.api.may.add("taken")
    assert (await ask(cluster, "SovereignModel", model(**spec))).verdict.allowed


async def test_a_class_that_nobody_has_and_a_model_without_nodes_are_explained() -> None:
    said = warnings(await ask(Cluster(), "SovereignModel", model(accelerators={"classes": ["rngd"]})))
    assert "no AcceleratorClass rngd" in said
    cluster = Cluster(residencypolicies=[policy("FR")])
    said = warnings(await ask(cluster, "SovereignModel", model()))
    assert "no node is eligible now" in said
    assert "2 WrongPlace" in said


async def test_profiles_are_not_looked_at_and_so_not_missed() -> None:
    shape = {"configMap": "shape"}
    cluster = Cluster()
    cluster.api.may.add("shape")
    image = {"oci": {"image": "registry.example/m@sha256:" + "0" * 64}}
    variants = [{"name": name, "source": image, "profile": shape} for name in ("a", "b")]
    for asked in ({"name": "m", "source": image, "profile": shape}, {"name": "m", "variants": variants}):
        judgement = await ask(cluster, "SovereignModel", {**model(), "spec": {"model": asked}})
        assert judgement.verdict.allowed
        assert "MissingProfile" not in " ".join(judgement.warnings)


@pytest.mark.parametrize(
    ("place", "said"), [("DE", ""), ("US", "WrongPlace: EndpointStatement mac-1"), (None, "EndpointUnknown")]
)
async def test_a_model_that_is_served_outside_is_told_what_is_said_of_its_endpoint(
    place: str | None, said: str
) -> None:
    server = {
        "address": "192.0.2.7", "port": 8443, "serverName": "mac-1.models.example", "certificateAuthority": CERTIFICATE,
    }  # fmt: skip
    times = {"issuedAt": "2026-11-01T00:00:00Z", "expiresAt": "2027-11-01T00:00:00Z"}
    statement = manifest("mac-1", {"endpoint": server, "place": {"jurisdiction": place}, **times})
    cluster = Cluster(acceleratorclasses=[], endpointstatements=[statement] if place else [])
    asked = model(source={"endpoint": {"statement": "mac-1"}}, engine={"name": "external"})
    told = warnings(await ask(cluster, "SovereignModel", asked))
    assert told.startswith(f"the model would not be served: {said}") if said else not told


def claim(volume: str = "") -> Manifest:
    return manifest("data", {"volumeName": volume} if volume else {"storageClassName": "fast"})


def volume(zone: str = "", storage_class: str = "fast", driver: str = "disks.example", **metadata: Any) -> Manifest:
    spec: Manifest = {"storageClassName": storage_class, **({"csi": {"driver": driver}} if driver else {})}
    if zone:
        term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return manifest("v", spec, metadata=metadata)


LISTED = {"classes": ["fast", "by-hand", "gone"]}
MADE_BY = "pv.kubernetes.io/provisioned-by"


@pytest.mark.parametrize(
    ("behind", "storage", "reason"),
    [
        (volume("eu"), None, ""),
        (volume("us"), None, "ClaimNotAllowed: volume v is reached from virginia"),
        (volume("mars"), None, "ClaimNotAllowed: volume v is reached from no node"),
        (volume(), None, "ClaimNotAllowed: volume v has no nodeAffinity"),
        (volume(), LISTED, ""),
        (volume("eu", "slow"), LISTED, "ClassNotAllowed: volume v has the StorageClass slow"),
        (volume("us"), LISTED, "ClaimNotAllowed"),
        (volume(driver="abroad.example"), LISTED, "ClassNotAllowed: volume v says that it is of StorageClass fast"),
        (volume("eu", driver=""), LISTED, "ClassNotAllowed: volume v says that it is of StorageClass fast"),
        (volume(driver="", annotations={MADE_BY: "disks.example"}), LISTED, ""),
        (volume("eu", "gone"), LISTED, "ClassNotAllowed: volume v says that it is of StorageClass gone"),
        (volume("eu", "by-hand"), LISTED, ""),
        (volume("", "by-hand"), LISTED, "ClaimNotAllowed: volume v has no nodeAffinity"),
        (None, LISTED, "ClaimNotAllowed: the claim names volume v, which is not there"),
    ],
)
async def test_the_volume_behind_a_claim_leads_inside(
    behind: Manifest | None, storage: Manifest | None, reason: str
) -> None:
    cluster = Cluster(residencypolicies=[policy("EU", storage=storage)])
    if behind:
        cluster.api.volumes["v"] = behind
    for before in (None, claim()):  # named at creation, and at bind
        judgement = await ask(cluster, "PersistentVolumeClaim", claim("v"), before)
        assert judgement.verdict.allowed == (not reason)
        assert str(judgement.verdict).startswith(reason)


async def test_a_model_does_not_use_a_volume_outside_that_a_claim_has_already() -> None:
    cluster = Cluster()
    cluster.api.may.add("weights")
    uses = model(source={"persistentVolumeClaim": {"claimName": "weights"}})
    assert (await ask(cluster, "SovereignModel", uses)).verdict.allowed, "the claim does not exist yet"
    cluster.api.claims["weights"] = claim("v")
    cluster.api.volumes["v"] = volume("eu")
    assert (await ask(cluster, "SovereignModel", uses)).verdict.allowed
    cluster.api.volumes["v"] = volume("us")
    said = refusal(await ask(cluster, "SovereignModel", uses))
    assert said.startswith("ClaimNotAllowed: volume v is reached from virginia, outside (WrongPlace: ")


async def test_a_claim_without_volume_and_one_in_a_free_namespace_pass() -> None:
    cluster = Cluster()
    assert (await ask(cluster, "PersistentVolumeClaim", claim())).verdict.allowed
    assert (await ask(cluster, "PersistentVolumeClaim", claim("v"), namespace="free")).verdict.allowed


ASKED = [
    ("ResidencyPolicy", policy("EU")),
    ("Jurisdiction", group("baltic", "EE")),
    ("SovereignModel", model()),
    ("PersistentVolumeClaim", claim("v")),
]


@pytest.mark.parametrize(("kind", "asked"), ASKED, ids=[kind for kind, _ in ASKED])
async def test_old_knowledge_is_a_refusal(kind: str, asked: Manifest) -> None:
    cluster = Cluster()
    cluster.clock = STALE_SECONDS + 1
    assert refusal(await ask(cluster, kind, asked)).startswith("LookupFailed")


LOOKUPS = [
    ("persistentvolumes", "PersistentVolumeClaim", claim("v")),
    ("storageclasses", "PersistentVolumeClaim", claim("v")),
    ("subjectaccessreviews", "SovereignModel", model(**REFERRING[0][0])),
    ("persistentvolumeclaims", "SovereignModel", model(**REFERRING[0][0])),
]


@pytest.mark.parametrize(("broken", "kind", "asked"), LOOKUPS, ids=[broken for broken, _, _ in LOOKUPS])
async def test_a_lookup_that_fails_is_a_refusal(broken: str, kind: str, asked: Manifest) -> None:
    cluster = Cluster(residencypolicies=[policy("EU", storage=LISTED)])
    cluster.api.volumes["v"] = volume("eu")
    cluster.api.may.add("taken")
    assert (await ask(cluster, kind, asked)).verdict.allowed
    cluster.api.broken.add(broken)
    assert refusal(await ask(cluster, kind, asked)).startswith("LookupFailed")


async def test_a_namespace_that_cannot_be_looked_up_is_a_refusal() -> None:
    cluster = Cluster()
    cluster.api.broken.add("namespaces")
    said = refusal(await ask(cluster, "SovereignModel", model(), namespace="new"))
    assert said.startswith("LookupFailed: Namespace new could not be read")


async def test_a_namespace_that_nobody_knows_is_a_refusal() -> None:
    assert refusal(await ask(Cluster(), "SovereignModel", model(), namespace="new")).startswith("LookupFailed")


@pytest.mark.parametrize(
    ("kind", "request_"),
    [("Pod", {}), ("SovereignModel", {"subResource": "scale"}), ("Jurisdiction", {"operation": "CONNECT"})],
)
async def test_what_nobody_judges_is_refused(kind: str, request_: Manifest) -> None:
    assert refusal(await ask(Cluster(), kind, manifest("x"), **request_)).startswith("UnknownRequest")


def unreadable(**spec: Any) -> Manifest:
    """A policy that another release took: it says `mode: Hesitate`."""
    return policy("DE", name="health", mode="Hesitate", **spec)


@pytest.mark.parametrize("after", [policy("EU"), None], ids=["corrected", "removed"])
async def test_a_policy_that_cannot_be_read_may_be_corrected_and_removed(after: Manifest | None) -> None:
    cluster = Cluster(residencypolicies=[unreadable()])
    said = warnings(await ask(cluster, "ResidencyPolicy", after, unreadable()))
    assert "policy health could not be read as it was" in said


async def test_a_policy_that_cannot_be_read_is_not_replaced_by_another() -> None:
    cluster = Cluster(residencypolicies=[unreadable()])
    said = refusal(await ask(cluster, "ResidencyPolicy", unreadable(unknown="Perhaps"), unreadable()))
    assert "spec.mode: Input should be" in said
    assert "and 1 more" in said


ELSEWHERE = {"matchLabels": {"data": "tax"}}
"""A selector of namespaces that are not here."""
GOVERNED = {
    "a model": ("SovereignModel", model(), None),
    "a claim": ("PersistentVolumeClaim", manifest("data", {"volumeName": "v"}), None),
}


@pytest.mark.parametrize("asked", GOVERNED)
@pytest.mark.parametrize(
    ("selector", "refused"),
    [({"matchLabels": {"data": "health"}}, True), (ELSEWHERE, False), ({"matchLabels": 1}, True), (None, True)],
    ids=["selects", "does not", "unreadable, too", "none"],
)
async def test_where_a_policy_that_cannot_be_read_may_govern_nothing_passes_unjudged(
    asked: str, selector: Any, refused: bool
) -> None:
    other = policy("DE", name="other", mode="Hesitate", namespaceSelector=selector)
    judgement = await ask(Cluster(residencypolicies=[policy("EU"), other]), *GOVERNED[asked])
    says_so = str(judgement.verdict).startswith("InvalidPolicy: policy other cannot be read")
    assert says_so == refused
    if refused:
        assert refusal(judgement).endswith("; correct the policy as its status says")


async def test_no_jurisdiction_goes_that_a_policy_which_cannot_be_read_may_name() -> None:
    cluster = Cluster(jurisdictions=[group("eu", "DE")], residencypolicies=[unreadable(namespaceSelector=ELSEWHERE)])
    said = refusal(await ask(cluster, "Jurisdiction", None, group("eu", "DE")))
    assert said.startswith("InvalidPolicy: policy health cannot be read, so nobody knows what it names; ")
