"""What the webhook refuses and warns of, asked by a real API server with the chart's configuration and rights."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError, eventually
from tests.apiserver.realm import ADMISSION, OURS, Realm, fresh, oci
from tests.apiserver.webhook import CONFIGURATION, NAME, Webhook, claim, group, policy, standing, volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.client import Client, Manifest
    from tests.apiserver.realm import Policy
    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver

RBAC = "rbac.authorization.k8s.io/v1"
FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"


@pytest.fixture(scope="module")
def realm(cleared: Realm) -> Iterator[Realm]:
    """What the tests of this module make goes with the last of them: a namespace takes five seconds to go."""
    own = Realm(cleared.server)
    yield own
    for kind in ("PersistentVolumeClaim", "PersistentVolume"):  # no controller releases them here
        for found in own.client.list("v1", kind):
            where = found["metadata"]
            unheld = {"metadata": {"finalizers": None}}
            own.client.patch("v1", kind, where["name"], unheld, where.get("namespace"))
    own.clear()


@pytest.fixture(scope="module")
def webhook(realm: Realm, helm: Helm) -> Iterator[Webhook]:
    with standing(realm, helm) as webhook:
        yield webhook


@pytest.fixture(scope="module")
def law(webhook: Webhook, realm: Realm) -> Policy:
    """A policy that allows Germany."""
    return realm.policy("DE")


@pytest.fixture(scope="module")
def clinic(realm: Realm, law: Policy) -> str:
    """A namespace that it governs, marked as the operator marks it."""
    return governed(realm, law)


def governed(realm: Realm, law: Policy) -> str:
    name = realm.namespace(law.selects)
    govern(realm, name)
    return name


def govern(realm: Realm, namespace: str) -> None:
    operator = realm.forger
    operator.patch("v1", "Namespace", namespace, {"metadata": {"labels": {"bailiwick.dev/governed": "true"}}})


def model(namespace: str, source: Manifest | None = None, **spec: Any) -> Manifest:
    whole = {"model": {"name": "tiny", "source": source or oci()}, **spec}
    metadata = {"name": "chat", "namespace": namespace}
    return {"apiVersion": OURS, "kind": "SovereignModel", "metadata": metadata, "spec": whole}


def refusal(act: Callable[[], object], by: str) -> str:
    """What somebody reads whom this webhook refuses, as soon as it has heard of what was just written."""
    return eventually(partial(_said, act, by), what=f"{by} refuses it")


def _said(act: Callable[[], object], by: str) -> str:
    try:
        act()
    except ApiError as error:
        said = error.message
    else:
        return ""
    assert f'admission webhook "{by}.bailiwick.dev" denied the request: ' in said, said
    return said.partition("denied the request: ")[2]


def refused(client: Client, manifest: Manifest, by: str) -> str:
    """The same of something that is created, by dry run."""
    return refusal(partial(client.create, manifest, dry_run=True), by)


def passes(client: Client, manifest: Manifest) -> None:
    """It is not refused, as soon as the webhook has heard of what was just written."""
    eventually(partial(client.create, manifest, dry_run=True), what="it passes")


def own(*allow: str) -> Manifest:
    return {"place": {"allow": list(allow), "assurance": "Declared"}}


def test_jurisdictions_are_known_and_contain_not_themselves(webhook: Webhook, realm: Realm) -> None:
    client = realm.client
    said = refused(client, group("baltic", "EE", "NOWHERE"), "jurisdictions")
    assert said.startswith("UnknownJurisdiction: ")
    assert "NOWHERE" in said
    realm.create(group("left", "DE"))
    eventually(lambda: realm.create(group("right", "LEFT")), what="LEFT is known")
    circle = {"spec": {"members": ["RIGHT"]}}
    said = refusal(lambda: client.patch(OURS, "Jurisdiction", "left", circle, dry_run=True), "jurisdictions")
    assert said.startswith("CyclicJurisdiction: ")
    assert "LEFT is named by jurisdiction RIGHT" in refusal(
        lambda: client.delete(OURS, "Jurisdiction", "left"), "jurisdictions"
    )
    assert refused(client, policy("ATLANTIS"), "policies").startswith("UnknownJurisdiction: policy sound: ")


def test_groups_of_the_chart_are_made_unasked_and_changed_only_when_that_is_sound(
    webhook: Webhook, realm: Realm
) -> None:
    realm.client.create(group("nato", "NOWHERE"), dry_run=True)
    realm.create(group("nato", "DE"))
    unsound = {"spec": {"members": ["NOWHERE"]}}
    said = refusal(lambda: realm.client.patch(OURS, "Jurisdiction", "nato", unsound, dry_run=True), "jurisdictions")
    assert said.startswith("UnknownJurisdiction: ")


def test_a_model_tightens_its_policies_and_never_widens_them(webhook: Webhook, realm: Realm, clinic: str) -> None:
    said = refused(realm.client, model(clinic, residency=own("DE", "US")), "models")
    assert said.startswith(
        "WrongPlace: spec.residency.place of the model allows DE, US, of which US is outside: policy "
    )
    assert "allows DE in spec.place" in said
    assert said.endswith("a model may only tighten its policies, so leave it out")
    passes(realm.client, model(clinic, residency=own("DE-BY")))


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("secrets", {"serving": {"tls": {"secret": "hidden"}}}),
        ("persistentvolumeclaims", {"source": {"persistentVolumeClaim": {"claimName": "hidden"}}}),
    ],
)
def test_row_42_nobody_uses_by_a_model_what_he_may_not_read(
    webhook: Webhook, realm: Realm, clinic: str, kind: str, spec: dict[str, Any]
) -> None:
    erika = realm.server.as_user("erika", ("doctors",))
    allow(realm, clinic, {"apiGroups": ["bailiwick.dev"], "resources": ["sovereignmodels"], "verbs": ["create"]})
    eventually(partial(erika.create, model(clinic), dry_run=True), what="she may create models")
    asked = model(clinic, **spec)
    said = refused(erika, asked, "models")
    assert said.startswith("AccessDenied: the model uses ")
    assert f"hidden, which erika may not read in namespace {clinic}; ask for the right to get it" in said
    # The right to another one, or to this one elsewhere, is not the right to this one.
    allow(realm, clinic, {"apiGroups": [""], "resources": [kind], "resourceNames": ["other"], "verbs": ["get"]})
    allow(realm, realm.namespace(), {"apiGroups": [""], "resources": [kind], "verbs": ["get"]})
    with pytest.raises(ApiError, match="AccessDenied"):
        erika.create(asked, dry_run=True)
    allow(realm, clinic, {"apiGroups": [""], "resources": [kind], "resourceNames": ["hidden"], "verbs": ["get"]})
    passes(erika, asked)


def allow(realm: Realm, namespace: str, rule: Manifest) -> None:
    """Give the group doctors a right in a namespace."""
    metadata = {"name": fresh("right"), "namespace": namespace}
    group, name = RBAC.partition("/")[0], metadata["name"]
    realm.client.create({"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": [rule]})
    realm.client.create({
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "doctors"}],
    })  # fmt: skip


def test_a_change_that_orphans_running_models_warns_with_their_names(
    webhook: Webhook, realm: Realm, law: Policy
) -> None:
    inside, clinic = realm.node(FRANKFURT), governed(realm, law)
    eventually(lambda: realm.model(clinic), what="the model is taken")
    status = {"status": {"placements": [{"pod": "chat-1", "node": inside, "ready": True}]}}
    operator = realm.forger
    operator.patch(OURS, "SovereignModel", "chat", status, clinic, subresource="status")

    def warned() -> bool:
        realm.client.warnings.clear()
        place = {"spec": {"place": {"allow": ["FR"]}}}
        realm.client.patch(OURS, "ResidencyPolicy", law.name, place, dry_run=True)
        said = "\n".join(realm.client.warnings)
        return f"policy {law.name} leaves models running outside: {clinic}/chat (on {inside})" in said

    eventually(warned, what="the model is named")


def test_row_49_a_claim_gets_no_volume_that_leads_outside(webhook: Webhook, realm: Realm, law: Policy) -> None:
    tag = fresh("v")
    client = realm.client
    inside, outside, clinic = realm.node(FRANKFURT), realm.node(VIRGINIA), governed(realm, law)
    for name, manifest in {
        "inside": volume(f"{tag}-inside", node=inside),
        "outside": volume(f"{tag}-outside", node=outside),
        "anywhere": volume(f"{tag}-anywhere"),
    }.items():
        assert realm.create(manifest), name
    passes(client, claim(clinic, f"{tag}-inside"))
    said = refused(client, claim(clinic, f"{tag}-outside"), "claims")
    assert f"is reached from {outside}, outside (WrongPlace: " in said
    assert "has no nodeAffinity" in refused(client, claim(clinic, f"{tag}-anywhere"), "claims")
    assert "is not there" in refused(client, claim(clinic, "nowhere"), "claims")
    # One that Kubernetes binds later is judged then.
    client.create(claim(clinic))
    bound = {"spec": {"volumeName": f"{tag}-outside"}}
    path = partial(client.patch, "v1", "PersistentVolumeClaim", "data", bound, clinic, dry_run=True)
    assert refusal(path, "claims").startswith("ClaimNotAllowed: ")
    passes(client, claim(realm.namespace(), f"{tag}-outside"))


def test_row_49_a_class_vouches_only_for_what_its_driver_made(webhook: Webhook, realm: Realm) -> None:
    tag = fresh("v")
    law = realm.policy("DE", storage={"classes": ["fast"]})
    clinic = realm.namespace(law.selects)
    govern(realm, clinic)
    realm.create({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"},
        "provisioner": "disks.example",
    })  # fmt: skip
    realm.create(volume(f"{tag}-made", storage_class="fast"))
    realm.create(volume(f"{tag}-posing", storage_class="fast", driver="abroad.example"))
    passes(realm.client, claim(clinic, f"{tag}-made", "fast"))
    said = refused(realm.client, claim(clinic, f"{tag}-posing", "fast"), "claims")
    assert said.startswith("ClassNotAllowed: volume ")
    assert "its driver is abroad.example and that of the class is disks.example" in said


def test_a_volume_that_a_claim_has_already_is_judged_with_the_model_that_uses_it(
    webhook: Webhook, realm: Realm, law: Policy
) -> None:
    tag = fresh("v")
    clinic = realm.namespace(law.selects)
    outside = realm.node(VIRGINIA)
    realm.create(volume(f"{tag}-old", node=outside))
    realm.client.create(claim(clinic, f"{tag}-old"))  # before anybody governed it
    govern(realm, clinic)
    uses = model(clinic, {"persistentVolumeClaim": {"claimName": "data"}})
    said = refused(realm.client, uses, "models")
    assert said.startswith(f"ClaimNotAllowed: volume {tag}-old is reached from {outside}, outside")


def test_row_41_without_its_rights_it_refuses(webhook: Webhook, realm: Realm, law: Policy, clinic: str) -> None:
    realm.create(volume(name := fresh("v"), node=realm.node(FRANKFURT)))
    passes(realm.client, claim(clinic, name))
    realm.client.delete(RBAC, "ClusterRoleBinding", NAME)
    try:
        said = refused(realm.client, claim(clinic, name), "claims")
        assert said.startswith(f"LookupFailed: PersistentVolume {name} could not be read: ")
        uses = model(clinic, serving={"tls": {"secret": "some"}})
        assert refused(realm.client, uses, "models").startswith("LookupFailed: whether ")
    finally:
        webhook.grant()
    passes(realm.client, claim(clinic, name))


@contextmanager
def taking(realm: Realm, mode: str) -> Iterator[None]:
    """The API server takes a mode of policies that this release does not know, and nobody judges what it takes."""
    crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "residencypolicies.bailiwick.dev")
    there = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum"
    (version,) = realm.client.get(*crd)["spec"]["versions"]
    known = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["mode"]["enum"]
    realm.client.delete(ADMISSION, CONFIGURATION, NAME)
    realm.client.patch(*crd, [{"op": "replace", "path": there, "value": [*known, mode]}], how="json")
    eventually(lambda: realm.client.create(policy("DE", mode=mode), dry_run=True), what="the mode is taken")
    try:
        yield
    finally:
        realm.client.patch(*crd, [{"op": "replace", "path": there, "value": known}], how="json")


def test_a_policy_that_this_release_cannot_read_lets_nothing_pass_until_it_is_corrected_or_removed(
    webhook: Webhook, realm: Realm, clinic: str
) -> None:
    with taking(realm, "Hesitate"):
        laws = [realm.policy("DE", mode="Hesitate") for _ in range(2)]
    webhook.configure()
    webhook.answers()
    first, second = (governed(realm, law) for law in laws)
    for law, space in zip(laws, (first, second), strict=True):
        said = refused(realm.client, model(space), "models")
        assert said == (
            f"InvalidPolicy: policy {law.name} cannot be read, and it may govern namespace {space}; "
            f"correct the policy as its status says"
        )
    passes(realm.client, model(clinic))
    realm.client.patch(OURS, "ResidencyPolicy", laws[0].name, {"metadata": {"labels": {"a": "b"}}})
    realm.client.patch(OURS, "ResidencyPolicy", laws[0].name, {"spec": {"mode": "Enforce"}})
    passes(realm.client, model(first))
    realm.client.delete(OURS, "ResidencyPolicy", laws[1].name)
    passes(realm.client, model(second))


def test_a_dry_run_leaves_no_trace(webhook: Webhook, realm: Realm, clinic: str) -> None:
    before, kept = realm.everything(), webhook.kept()
    version = realm.client.get(ADMISSION, CONFIGURATION, NAME)["metadata"]["resourceVersion"]
    asked = webhook.replicas[0].outcomes()["allowed"]
    passes(realm.client, model(clinic, residency=own("DE-BY")))
    passes(realm.client, policy("DE", "FR"))
    assert webhook.replicas[0].outcomes()["allowed"] >= asked + 2
    assert (realm.everything(), webhook.kept()) == (before, kept)
    assert realm.client.get(ADMISSION, CONFIGURATION, NAME)["metadata"]["resourceVersion"] == version
