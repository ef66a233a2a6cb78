"""What the API server refuses of sources, signatures and licences of a model, the operator refuses, and nothing else.

The one judges when a model is written (charts/bailiwick/policies/models.yaml), the other whenever it plans.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bailiwick.api.modelsource import Source
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.models import judge, spelled
from bailiwick.residency.policies import compile_policy
from e2e.client import ApiError, eventually
from tests.border.ground import DIGEST, Governed, Ground
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
    s3,
    variants,
)  # fmt: skip


@pytest.fixture(scope="module")
def strict(ground: Ground) -> Governed:
    """A policy with sources of every kind that wants digests."""
    return in_force(ground, ground.govern(models={"sources": ALLOWED, "requireDigest": True}))


@pytest.fixture(scope="module")
def signed(ground: Ground) -> Governed:
    """A policy that wants the signature of one of two authorities, and one of two licences."""
    return in_force(ground, ground.govern(models=SIGNED), signature=SIGNATURE, licence="MIT")


@pytest.mark.parametrize("licence", [None, "MIT", "MIT-0"])
def test_the_operator_judges_variants_as_the_border_does(ground: Ground, signed: Governed, licence: str | None) -> None:
    """Whatever is signed by whom and under which licence: what one refuses the other refuses, with the same reason."""
    spec = {"namespaceSelector": {}, "place": {"allow": ["DE"]}, "models": SIGNED}
    policy = compile_policy(ResidencyPolicy.read({"metadata": {"name": signed.policy}, "spec": spec}), Atlas(()))
    forms = [
        {"source": oci(PINNED)}
        | ({"signature": {"authority": signer}} if signer else {})
        | ({"licence": own} if own else {})
        for signer, own in product(("laboratory", "abroad", None), ("Apache-2.0", "MIT-0", None))
    ]
    differ = []
    for first, second in product(forms, forms):
        asked = variants(signed.namespace, first, second, **({"licence": licence} if licence else {}))
        verdict = judge(SovereignModel.read(asked), [policy])
        try:
            ground.editor.create(asked, dry_run=True)
            told = ""
        except ApiError as refusal:
            told = refusal.message
        agree = f"{verdict.reason}: " in told if verdict else not told
        if not agree:
            differ.append((asked["spec"]["model"], verdict, told))
    assert differ == []


ENDPOINTS = [
    f"{scheme}://{host}"
    for scheme in ("https", "http")
    for host in (
        "storage.example", "storage.example:9000", "storage.example/weights", "weights", "weights:9000", "hub.example",
        "huggingface.co", "skt", "[2001:db8::7]:9000",
    )
]  # fmt: skip


def test_the_operator_judges_sources_as_the_border_does(ground: Ground, strict: Governed) -> None:
    """A policy that changed later asks the same of a model that is there."""
    spec = {"namespaceSelector": {}, "place": {"allow": ["DE"]}, "models": {"sources": ALLOWED, "requireDigest": True}}
    policy = compile_policy(ResidencyPolicy.read({"metadata": {"name": strict.policy}, "spec": spec}), Atlas(()))
    images = ("mirror.example/one/llama", "mirror.example:1/llama", "llama", "registry.example/modelsx/llama")
    sources = [
        *(oci(f"{image}{end}") for image in images for end in ("", ":1", f"@{DIGEST}", f":1@{DIGEST}")),
        *(oci(f"registry.example/models/llama{end}") for end in ("", ":1", f"@{DIGEST}")),
        *(s3(bucket, prefix) for bucket in ("weights", "weightsx") for prefix in ("llama", "llamas", "llama/8b", "")),
        *(s3("weights", "llama", endpoint) for endpoint in ENDPOINTS),
        *(hub(name) for name in ("skt/A.X-K1", "sktx/A.X-K1")),
        *(mirrored(name, endpoint) for name in ("skt/A.X-K1", "sktx/A.X-K1") for endpoint in ENDPOINTS),
        *(claim(name, path) for name in ("weights", "weightsx") for path in ("", "llama")),
        *(folder(path) for path in ("/srv/models", "/srv/modelsx", "/srv/models/llama", "/srv")),
    ]
    differ = []
    said_of_files: tuple[dict[str, Any], ...] = ({}, {"digest": DIGEST}, {"manifest": {"configMap": "files"}})
    for source, told in product(sources, said_of_files):
        asked = model(strict.namespace, source, **told)
        verdict = judge(SovereignModel.read(asked), [policy])
        try:
            ground.editor.create(asked, dry_run=True)
            said = ""
        except ApiError as refusal:
            said = refusal.message
        if not (f"{verdict.reason}: " in said if verdict else not said):
            differ.append((source, told, verdict, said))
    assert differ == []


_WORDS = st.text("a0.-", min_size=1, max_size=6)
_FOLDERS = st.text("aA0./%?\\ \u00e4", max_size=8)
_URLS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["https", "http"]),
    st.one_of(_WORDS, st.sampled_from(["storage.example", "a@b.example", "[::1]", "[::0]", "B.example"])),
    st.sampled_from(["", ":443", ":65536", ":0"]),
    st.sampled_from(["", "/", "/a/b", "/a/../b", "//a", "/%61", "?a", "#a", "/http://a", "/https://a"]),
)
_SOURCES = st.one_of(
    st.builds(s3, st.builds("a{}a".format, _WORDS), _FOLDERS, _URLS),
    st.builds(mirrored, st.builds("a{}/b{}".format, _WORDS, _WORDS), _URLS),
    st.builds(hub, st.builds("a{}/b{}".format, _WORDS, _WORDS)),
    st.builds(claim, st.just("weights"), _FOLDERS),
    st.builds(lambda path: folder(f"/a{path}"), _FOLDERS),
)


def test_border_and_operator_spell_every_source_that_is_accepted_alike(ground: Ground) -> None:
    """What the schema accepts is read and spelt the same by both; what it refuses the operator does not read."""
    nothing = ground.govern(models={"sources": [], "requireDigest": False})
    eventually(lambda: _told(ground, nothing.namespace, oci(PINNED)), what="models are judged")
    kinds = set()

    @settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_SOURCES)
    @example(s3("models", "tiny/v2/", "https://storage.example:9000/s3"))
    @example(s3("models", "tiny", "http://storage.example"))
    @example(mirrored("skt/tiny", "http://hub.example/mirror"))
    @example(hub("skt/tiny"))
    @example(claim("weights", "tiny"))
    @example(folder("/srv/models"))
    def alike(source: dict[str, Any]) -> None:
        told = _told(ground, nothing.namespace, source)
        try:
            expected = spelled(Source.model_validate(source))
        except ValidationError:
            assert "SourceNotAllowed" not in told
            kinds.add("refused")
        else:
            assert f"but this one comes from {expected}; serve a copy" in told
            kinds.add(expected.partition("://")[0])

    alike()
    assert kinds == {"refused", "s3", "s3+http", "hf", "hf+http", "pvc", "hostpath"}


def _told(ground: Ground, namespace: str, source: dict[str, Any]) -> str:
    """Why a model of this source is refused. Raises AssertionError when it is not."""
    with pytest.raises(ApiError) as refusal:
        ground.editor.create(model(namespace, source), dry_run=True)
    return refusal.value.message
