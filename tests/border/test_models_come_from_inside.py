"""Which models may be served, and where (charts/bailiwick/policies/models*.yaml)."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.api.resource import API_VERSION
from bailiwick.residency.territories import GOVERNED_LABEL
from e2e.client import eventually
from tests.border.ground import DIGEST, Governed, Ground, refused
from tests.border.model_shapes import (
    ALLOWED,
    PINNED,
    SIGNATURE,
    SIGNED,
    claim,
    folder,
    hub,
    in_force,
    mirrored,
    model,
    oci,
    outside,
    s3,
    variants,
)  # fmt: skip

MODELS = "bailiwick-models"
GOVERNED_ONLY = "bailiwick-models-governed"


@pytest.fixture(scope="module")
def strict(ground: Ground) -> Governed:
    """A policy with sources of every kind that wants digests."""
    return in_force(ground, ground.govern(models={"sources": ALLOWED, "requireDigest": True}))


@pytest.fixture(scope="module")
def loose(ground: Ground) -> Governed:
    """The same sources, by tag as well."""
    return in_force(ground, ground.govern(models={"sources": ALLOWED, "requireDigest": False}))


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
        s3("any", "", "http://storage.example:9000"),
        hub("skt/A.X-K1"),
        mirrored("skt/A.X-K1", "https://huggingface.co"),
        mirrored("skt/A.X-K1"),
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
        (s3("weights", "llama-evil"), "s3://storage.example/weights/llama-evil"),
        (s3("other", "llama"), "s3://storage.example/other/llama"),
        (s3("weights", ""), "s3://storage.example/weights/"),
        (s3("weights", "llama", "https://minio.tenant.svc"), "s3://minio.tenant.svc/weights/llama"),
        (s3("weights", "llama", "https://storage.example:9000"), "s3://storage.example:9000/weights/llama"),
        (s3("weights", "llama", "https://storage.example.evil.net"), "s3://storage.example.evil.net/weights/llama"),
        (s3("weights", "llama", "https://storage.example/evil"), "s3://storage.example/evil/weights/llama"),
        (s3("weights", "llama", "http://storage.example"), "s3+http://storage.example/weights/llama"),
        (s3("weights", "llama", "https://weights"), "s3://weights/weights/llama"),
        (hub("sktx/A.X-K1"), "hf://huggingface.co/sktx/A.X-K1"),
        (mirrored("skt/A.X-K1", "https://hub.tenant.svc"), "hf://hub.tenant.svc/skt/A.X-K1"),
        (mirrored("skt/A.X-K1", "http://huggingface.co"), "hf+http://huggingface.co/skt/A.X-K1"),
        (mirrored("skt/A.X-K1", "https://skt"), "hf://skt/skt/A.X-K1"),
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
def test_files_need_a_digest(ground: Ground, strict: Governed, source: dict[str, Any]) -> None:
    unpinned: tuple[dict[str, Any], ...] = ({}, {"manifest": {"configMap": "files"}})
    for told in unpinned:
        with refused(MODELS, "DigestRequired", f"{MODELS}.{strict.policy}") as refusal:
            ground.editor.create(model(strict.namespace, source, **told), dry_run=True)
        assert "give spec.model.digest (bailiwick weights digest FOLDER)" in refusal.message
    ground.editor.create(model(strict.namespace, source, digest=DIGEST), dry_run=True)


def test_variants_that_may_all_be_served_are_served(ground: Ground, strict: Governed) -> None:
    named = {"source": claim("weights", "llama"), "digest": DIGEST}
    ground.editor.create(variants(strict.namespace, {"source": oci(PINNED)}, named), dry_run=True)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_variant_from_elsewhere_refuses_the_model(ground: Ground, strict: Governed, at: int) -> None:
    listed = [{"source": oci(PINNED)} for _ in range(3)]
    listed[at] = {"source": oci(f"docker.io/llama@{DIGEST}")}
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{strict.policy}") as refusal:
        ground.editor.create(variants(strict.namespace, *listed), dry_run=True)
    assert f"but this one comes from oci://docker.io/llama@{DIGEST}" in refusal.message


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (claim("weights"), "spec.model.variants[v1].source has none; give spec.model.variants[v1].digest (bailiwick"),
        (
            oci("registry.example/models/llama:1"),
            "spec.model.variants[v1].source.oci.image is registry.example/models/llama:1; write name@sha256:",
        ),
    ],
    ids=str,
)
def test_one_variant_without_a_digest_refuses_the_model(
    ground: Ground, strict: Governed, source: dict[str, Any], told: str
) -> None:
    with refused(MODELS, "DigestRequired", f"{MODELS}.{strict.policy}") as refusal:
        ground.editor.create(variants(strict.namespace, {"source": oci(PINNED)}, {"source": source}), dry_run=True)
    assert told in refusal.message


def test_a_variant_may_not_be_added_that_may_not_be_served(ground: Ground, strict: Governed) -> None:
    made = variants(strict.namespace, {"source": oci(PINNED)})
    made["metadata"]["name"] = "growing"
    ground.editor.create(made)
    further = {"name": "v1", "profile": {"configMap": "shape"}, "source": oci(f"docker.io/llama@{DIGEST}")}
    listed = {"spec": {"model": {"variants": [*made["spec"]["model"]["variants"], further]}}}
    with refused(MODELS, "SourceNotAllowed", f"{MODELS}.{strict.policy}"):
        ground.editor.patch(API_VERSION, "SovereignModel", "growing", listed, strict.namespace)


def test_a_commit_is_a_digest(ground: Ground, strict: Governed) -> None:
    ground.editor.create(model(strict.namespace, hub("skt/A.X-K1")), dry_run=True)


def test_a_commit_is_none_where_the_author_of_the_model_names_the_hub(ground: Ground, strict: Governed) -> None:
    with refused(MODELS, "DigestRequired", f"{MODELS}.{strict.policy}"):
        ground.editor.create(model(strict.namespace, mirrored("skt/A.X-K1")), dry_run=True)
    ground.editor.create(model(strict.namespace, mirrored("skt/A.X-K1"), digest=DIGEST), dry_run=True)


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
    return in_force(ground, ground.govern(models=SIGNED), signature={"authority": "ministry"}, licence="MIT")


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


def test_every_variant_is_signed_and_of_a_listed_licence(ground: Ground, signed: Governed) -> None:
    good = {"source": oci(PINNED), "signature": SIGNATURE}
    ground.editor.create(variants(signed.namespace, good, {**good, "licence": "MIT"}, licence="MIT"), dry_run=True)
    with refused(MODELS, "SignatureRequired", f"{MODELS}.{signed.policy}") as refusal:
        ground.editor.create(variants(signed.namespace, good, {"source": oci(PINNED)}, licence="MIT"), dry_run=True)
    assert "but spec.model.variants[v1] names none of them" in refusal.message
    with refused(MODELS, "LicenceNotAllowed", f"{MODELS}.{signed.policy}") as refusal:
        other = {**good, "licence": "MIT-0"}
        ground.editor.create(variants(signed.namespace, good, other, licence="MIT"), dry_run=True)
    assert "but spec.model.variants[v1].licence is MIT-0" in refusal.message
    with refused(MODELS, "LicenceNotAllowed", f"{MODELS}.{signed.policy}") as refusal:
        ground.editor.create(variants(signed.namespace, {**good, "licence": "MIT"}, good), dry_run=True)
    assert "but spec.model.variants[v1].licence is absent" in refusal.message
