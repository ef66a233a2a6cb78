"""Which models may be served, and where (charts/bailiwick/policies/models*.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.resource import API_VERSION
from bailiwick.residency.territories import GOVERNED_LABEL
from e2e.client import eventually
from tests.border.ground import DIGEST, Governed, Ground, refused

if TYPE_CHECKING:
    from e2e.client import Manifest

MODELS = "bailiwick-models"
GOVERNED_ONLY = "bailiwick-models-governed"
PINNED = f"registry.example/models/llama@{DIGEST}"
COMMIT = "a" * 40
ALLOWED = [
    "oci://registry.example/models/",
    "oci://mirror.example",
    "oci://mirror.example/one/llama",
    "oci://team",
    "s3://weights/llama",
    "hf://skt/",
    "pvc://weights",
    "hostpath:///srv/models",
    "endpoint://mac-1",
]


def oci(image: str) -> dict[str, Any]:
    return {"oci": {"image": image}}


def s3(bucket: str, prefix: str) -> dict[str, Any]:
    return {"s3": {"endpoint": "https://storage.example", "bucket": bucket, "prefix": prefix}}


def hub(repository: str) -> dict[str, Any]:
    return {"huggingFace": {"repository": repository, "revision": COMMIT}}


def claim(name: str, path: str = "") -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name, "path": path}}


def folder(path: str) -> dict[str, Any]:
    return {"hostPath": {"path": path}}


def outside(namespace: str, statement: str) -> Manifest:
    """A model that an endpoint outside serves."""
    served = model(namespace, {"endpoint": {"statement": statement}})
    return {**served, "spec": served["spec"] | {"engine": {"name": "external"}}}


def model(
    namespace: str, source: dict[str, Any], *, name: str = "llama", adapters: list[Manifest] | None = None, **of: Any
) -> Manifest:
    spec: dict[str, Any] = {"model": {"name": "llama", "source": source} | of}
    return {
        "apiVersion": API_VERSION,
        "kind": "SovereignModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | ({"adapters": adapters} if adapters else {}),
    }


@pytest.fixture(scope="module")
def strict(ground: Ground) -> Governed:
    """A policy with sources of every kind that wants digests."""
    return in_force(ground, ground.govern(models={"sources": ALLOWED, "requireDigest": True}))


@pytest.fixture(scope="module")
def loose(ground: Ground) -> Governed:
    """The same sources, by tag as well."""
    return in_force(ground, ground.govern(models={"sources": ALLOWED, "requireDigest": False}))


def in_force(ground: Ground, governed: Governed) -> Governed:
    """The namespace's label has reached the API server's own cache."""
    allowed = model(governed.namespace, oci(PINNED))
    eventually(lambda: ground.editor.create(allowed, dry_run=True), what="models are judged", seconds=10)
    return governed


@pytest.mark.parametrize("who", ["editor", "lite", "admin"])
def test_a_model_in_a_namespace_that_no_policy_governs_is_refused(ground: Ground, free: str, who: str) -> None:
    with refused(GOVERNED_ONLY, "Ungoverned") as refusal:
        getattr(ground, who).create(model(free, oci(PINNED)), dry_run=True)
    assert f"none selects namespace {free}; use a governed namespace" in refusal.message


def test_only_true_means_governed(ground: Ground) -> None:
    namespace = ground.namespace()
    ground.operator.patch("v1", "Namespace", namespace, {"metadata": {"labels": {GOVERNED_LABEL: "false"}}})
    with refused(GOVERNED_ONLY, "Ungoverned"):
        ground.editor.create(model(namespace, oci(PINNED)), dry_run=True)


def test_a_model_in_a_system_namespace_is_refused(ground: Ground) -> None:
    with refused(GOVERNED_ONLY, "Ungoverned"):
        ground.editor.create(model("kube-system", oci(PINNED)), dry_run=True)


@pytest.mark.parametrize(
    "source",
    [
        oci(PINNED),
        oci("registry.example/models/llama:latest"),
        oci("mirror.example/anything/llama:latest"),
        oci("mirror.example/one/llama"),
        s3("weights", "llama"),
        s3("weights", "llama/8b"),
        hub("skt/A.X-K1"),
        claim("weights"),
        claim("weights", "llama"),
        folder("/srv/models"),
        folder("/srv/models/llama"),
    ],
    ids=str,
)
def test_an_allowed_source_is_served(ground: Ground, loose: Governed, source: dict[str, Any]) -> None:
    ground.editor.create(model(loose.namespace, source), dry_run=True)


def test_an_endpoint_outside_must_be_named_by_the_policy(ground: Ground, loose: Governed) -> None:
    ground.editor.create(outside(loose.namespace, "mac-1"), dry_run=True)
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{loose.policy}") as refusal:
        ground.editor.create(outside(loose.namespace, "mac-10"), dry_run=True)
    assert "this one comes from endpoint://mac-10" in refusal.message


def test_where_content_must_be_named_nothing_is_served_outside(ground: Ground, strict: Governed) -> None:
    with refused(MODELS, "DigestRequired", f"{MODELS}.{strict.policy}") as refusal:
        ground.editor.create(outside(strict.namespace, "mac-1"), dry_run=True)
    assert "nobody here sees what endpoint://mac-1 loads" in refusal.message


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        (oci(f"docker.io/models/llama@{DIGEST}"), f"oci://docker.io/models/llama@{DIGEST}"),
        (oci(f"llama@{DIGEST}"), f"oci://llama@{DIGEST}"),
        (oci("mirror.example"), "oci://mirror.example"),
        (oci("mirror.example:1"), "oci://mirror.example:1"),
        (oci("team/llama:1"), "oci://team/llama:1"),
        (oci("mirror.example.evil.net/llama:1"), "oci://mirror.example.evil.net/llama:1"),
        (oci("mirror.example:5000/llama:1"), "oci://mirror.example:5000/llama:1"),
        (oci("registry.example/modelsx/llama:1"), "oci://registry.example/modelsx/llama:1"),
        (s3("weights", "llama-evil"), "s3://weights/llama-evil"),
        (s3("other", "llama"), "s3://other/llama"),
        (s3("weights", ""), "s3://weights/"),
        (hub("sktx/A.X-K1"), "hf://sktx/A.X-K1"),
        (claim("weights-2"), "pvc://weights-2/"),
        (folder("/srv/models2"), "hostpath:///srv/models2"),
        (folder("/etc"), "hostpath:///etc"),
    ],
    ids=str,
)
def test_another_source_is_refused(ground: Ground, loose: Governed, source: dict[str, Any], seen: str) -> None:
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{loose.policy}") as refusal:
        ground.editor.create(model(loose.namespace, source), dry_run=True)
    assert f"but this one comes from {seen}; serve a copy from an allowed source" in refusal.message
    assert "allows models from oci://registry.example/models/, " in refusal.message


def test_an_adapter_is_judged_like_the_model(ground: Ground, strict: Governed) -> None:
    foreign = {"name": "foreign", "source": oci(f"docker.io/lora@{DIGEST}")}
    by_tag = {"name": "by-tag", "source": oci("registry.example/models/lora:1")}
    unnamed = {"name": "unnamed", "source": claim("weights", "lora")}
    good = {"name": "good", "source": oci(f"registry.example/models/lora@{DIGEST}")}
    named = {"name": "named", "source": claim("weights", "lora"), "digest": DIGEST}
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{strict.policy}"):
        ground.editor.create(model(strict.namespace, oci(PINNED), adapters=[good, foreign]), dry_run=True)
    with refused(MODELS, "DigestRequired", f"{MODELS}.{strict.policy}") as refusal:
        ground.editor.create(model(strict.namespace, oci(PINNED), adapters=[good, by_tag, unnamed]), dry_run=True)
    assert "adapters by-tag, unnamed have none" in refusal.message
    ground.editor.create(model(strict.namespace, oci(PINNED), adapters=[good, named]), dry_run=True)


@pytest.mark.parametrize("image", ["registry.example/models/llama:latest", "registry.example/models/llama"])
def test_a_tag_is_not_enough_where_a_digest_is_asked(ground: Ground, strict: Governed, image: str) -> None:
    with refused(MODELS, "DigestRequired", f"{MODELS}.{strict.policy}") as refusal:
        ground.editor.create(model(strict.namespace, oci(image)), dry_run=True)
    assert f"spec.model.source.oci.image is {image}; write name@sha256: and the 64" in refusal.message


@pytest.mark.parametrize("source", [s3("weights", "llama"), claim("weights"), folder("/srv/models")], ids=str)
def test_files_need_a_digest_or_a_manifest(ground: Ground, strict: Governed, source: dict[str, Any]) -> None:
    with refused(MODELS, "DigestRequired", f"{MODELS}.{strict.policy}") as refusal:
        ground.editor.create(model(strict.namespace, source), dry_run=True)
    assert "give spec.model.digest or spec.model.manifest" in refusal.message
    ground.editor.create(model(strict.namespace, source, digest=DIGEST), dry_run=True)
    ground.editor.create(model(strict.namespace, source, manifest={"configMap": "files"}), dry_run=True)


def test_a_commit_is_a_digest(ground: Ground, strict: Governed) -> None:
    ground.editor.create(model(strict.namespace, hub("skt/A.X-K1")), dry_run=True)


def test_a_model_may_not_turn_to_another_source(ground: Ground, strict: Governed) -> None:
    ground.editor.create(model(strict.namespace, oci(PINNED), name="turncoat"))
    elsewhere = {"spec": {"model": {"source": oci(f"docker.io/llama@{DIGEST}")}}}
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{strict.policy}"):
        ground.editor.patch(API_VERSION, "SovereignModel", "turncoat", elsewhere, strict.namespace)
    ground.editor.patch(API_VERSION, "SovereignModel", "turncoat", {"spec": {"replicas": 2}}, strict.namespace)


def test_a_policy_without_a_word_on_models_allows_any(ground: Ground) -> None:
    silent = in_force(ground, ground.govern())
    ground.editor.create(model(silent.namespace, oci("docker.io/llama:latest")), dry_run=True)


def test_an_empty_list_of_sources_allows_nothing(ground: Ground) -> None:
    nothing = ground.govern(models={"sources": [], "requireDigest": False})
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{nothing.policy}") as refusal:
        ground.editor.create(model(nothing.namespace, oci(PINNED)), dry_run=True)
    assert "allows models from nowhere" in refusal.message


def test_a_model_whose_policy_turned_against_it_can_still_go(ground: Ground) -> None:
    namespace = in_force(ground, ground.govern()).namespace
    made = model(namespace, oci("docker.io/llama:latest"))
    made["metadata"]["finalizers"] = ["example.com/one"]
    ground.editor.create(made)
    strict = ground.govern(namespace=namespace, models={"sources": ALLOWED, "requireDigest": True})
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{strict.policy}"):
        ground.editor.patch(API_VERSION, "SovereignModel", "llama", {"spec": {"replicas": 2}}, namespace)
    ground.editor.delete(API_VERSION, "SovereignModel", "llama", namespace)
    ground.editor.patch(API_VERSION, "SovereignModel", "llama", {"metadata": {"finalizers": None}}, namespace)
    eventually(lambda: ground.admin.find(API_VERSION, "SovereignModel", "llama", namespace) is None, what="it is gone")


@pytest.fixture(scope="module")
def signed(ground: Ground) -> Governed:
    """A policy that wants the signature of one of two authorities, and one of two licences."""
    rule = {
        "sources": ALLOWED,
        "requireDigest": False,
        "signedBy": ["laboratory", "ministry"],
        "licences": ["Apache-2.0", "MIT"],
    }
    governed = ground.govern(models=rule)
    allowed = model(governed.namespace, oci(PINNED), signature={"authority": "ministry"}, licence="MIT")
    eventually(lambda: ground.editor.create(allowed, dry_run=True), what="models are judged", seconds=10)
    return governed


SIGNATURE = {"authority": "laboratory"}


def test_a_signed_model_of_a_listed_licence_is_served(ground: Ground, signed: Governed) -> None:
    adapters = [{"name": "legal", "source": oci(PINNED), "signature": {"authority": "ministry"}}]
    asked = model(signed.namespace, oci(PINNED), signature=SIGNATURE, licence="Apache-2.0", adapters=adapters)
    ground.editor.create(asked, dry_run=True)


@pytest.mark.parametrize(
    ("of", "adapter", "unsigned"),
    [
        ({}, None, "spec.model"),
        ({"signature": {"authority": "abroad"}}, None, "spec.model"),
        ({"signature": SIGNATURE}, {}, "spec.adapters[legal]"),
        ({"signature": SIGNATURE}, {"signature": {"authority": "abroad"}}, "spec.adapters[legal]"),
    ],
    ids=str,
)
def test_a_model_that_no_named_authority_signed_is_refused(
    ground: Ground, signed: Governed, of: dict[str, Any], adapter: dict[str, Any] | None, unsigned: str
) -> None:
    adapters = None if adapter is None else [{"name": "legal", "source": oci(PINNED), **adapter}]
    with refused(MODELS, "SignatureRequired", f"{MODELS}.{signed.policy}") as refusal:
        asked = model(signed.namespace, oci(PINNED), licence="MIT", adapters=adapters, **of)
        ground.editor.create(asked, dry_run=True)
    assert f"signed by one of laboratory, ministry, but {unsigned} names none of them" in refusal.message


@pytest.mark.parametrize(("licence", "seen"), [({}, "absent"), ({"licence": "MIT-0"}, "MIT-0")], ids=str)
def test_a_model_of_another_licence_is_refused(
    ground: Ground, signed: Governed, licence: dict[str, Any], seen: str
) -> None:
    with refused(MODELS, "LicenceNotAllowed", f"{MODELS}.{signed.policy}") as refusal:
        ground.editor.create(model(signed.namespace, oci(PINNED), signature=SIGNATURE, **licence), dry_run=True)
    assert f"allows the licences Apache-2.0, MIT, but spec.model.licence is {seen}" in refusal.message
