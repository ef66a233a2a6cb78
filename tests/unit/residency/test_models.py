"""What policies ask of a model is asked whenever it is planned, not only when it is written."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.residency.verdict import Reason
from tests.unit.workload.given import DIGEST, IMAGE, model, plan, policy

CLAIM: dict[str, Any] = {"persistentVolumeClaim": {"claimName": "weights", "path": "tiny"}}
HUB: dict[str, Any] = {"huggingFace": {"repository": "clinic/tiny", "revision": "0" * 40, "into": {"claimName": "w"}}}
MIRROR = {"huggingFace": {**HUB["huggingFace"], "endpoint": "http://hub.example"}}


def bucket(endpoint: str, prefix: str = "") -> dict[str, Any]:
    return {"s3": {"endpoint": endpoint, "bucket": "models", "prefix": prefix, "into": {"claimName": "w"}}}


def mirrored(endpoint: str) -> dict[str, Any]:
    return {"huggingFace": {**HUB["huggingFace"], "endpoint": endpoint}}


def planned(source: dict[str, Any], *sources: str, pinned: bool = False, mode: str = "Enforce", **told: Any) -> Any:
    rule = {"models": {"sources": list(sources), "requireDigest": pinned}, "mode": mode}
    engine: dict[str, Any] = {"engine": {"name": "external"}} if "endpoint" in source else {}
    of = model(model={"name": "tiny", "source": source, **told}, **engine)
    return plan(of, policies=[policy(spec=rule)]).verdict


@pytest.mark.parametrize(
    ("source", "prefix", "allowed"),
    [
        (IMAGE, "oci://registry.example/", True),
        (IMAGE, "oci://registry.example/tiny", True),
        (IMAGE, "oci://registry.example/tin", False),
        (IMAGE, "oci://registry.example.net/", False),
        ({"oci": {"image": f"tiny@{DIGEST}"}}, "oci://tiny", False),
        (CLAIM, "pvc://weights", True),
        (CLAIM, "pvc://weights/tiny", True),
        (CLAIM, "pvc://weigh", False),
        (HUB, "hf://huggingface.co/clinic/", True),
        (HUB, "hf://huggingface.co", True),
        (HUB, "hf://huggingface.co/clinic/tin", False),
        (HUB, "hf+http://huggingface.co/clinic/", False),
        (HUB, "hf://clinic/", False),
        (mirrored("https://hub.example"), "hf://hub.example/clinic/", True),
        (mirrored("https://hub.example/mirror"), "hf://hub.example/mirror/clinic/tiny", True),
        (mirrored("https://hub.example"), "hf://huggingface.co/clinic/", False),
        (mirrored("https://hub.clinic.svc"), "hf://huggingface.co/clinic/", False),
        (MIRROR, "hf+http://hub.example/", True),
        (MIRROR, "hf://hub.example/", False),
        (mirrored("https://clinic"), "hf://clinic/", False),
        (bucket("https://s3.example"), "s3://s3.example/models/", True),
        (bucket("https://s3.example", "tiny/v2"), "s3://s3.example/models/tiny", True),
        (bucket("https://s3.example:9000/s3", "tiny/"), "s3://s3.example:9000/s3/models/tiny/", True),
        (bucket("https://[2001:db8::7]:9000"), "s3://[2001:db8::7]:9000/models/", True),
        (bucket("https://s3.example"), "s3://s3.example/model", False),
        (bucket("https://s3.example"), "s3://s3.exampl", False),
        (bucket("https://s3.example.evil.net"), "s3://s3.example", False),
        (bucket("https://s3.example:9000"), "s3://s3.example", False),
        (bucket("https://minio.clinic.svc"), "s3://s3.example/models/", False),
        (bucket("https://s3.example"), "s3+http://s3.example/models/", False),
        (bucket("http://s3.example"), "s3://s3.example/models/", False),
        (bucket("http://s3.example"), "s3+http://s3.example/models/", True),
        # A policy that means a bucket of this name, and a Service of the namespace that is called like it.
        (bucket("https://models"), "s3://models/", False),
        (bucket("https://models:9000"), "s3://models:9000/", False),
        ({"endpoint": {"statement": "mac-1"}}, "endpoint://mac-1", True),
        ({"hostPath": {"path": "/srv/models"}}, "hostpath:///srv", True),
        ({"hostPath": {"path": "/srv/models"}}, "hostpath:///srv/m", False),
    ],
    ids=str,
)
def test_a_policy_that_no_longer_allows_a_source_refuses_the_plan(
    source: dict[str, Any], prefix: str, allowed: bool
) -> None:
    verdict = planned(source, prefix)
    assert (verdict.reason is not Reason.SOURCE_NOT_ALLOWED) is allowed
    if not allowed:
        assert f"allows models from {prefix}, but spec.model.source is " in verdict.message
    assert planned(source, prefix, mode="Audit").reason is not Reason.SOURCE_NOT_ALLOWED


@pytest.mark.parametrize(
    ("source", "told", "pinned"),
    [
        (IMAGE, {}, True),
        ({"oci": {"image": "registry.example/tiny:1"}}, {}, False),
        (CLAIM, {}, False),
        (CLAIM, {"digest": DIGEST}, True),
        (CLAIM, {"manifest": {"configMap": "files"}}, False),
        (HUB, {}, True),
        (MIRROR, {}, False),
        (MIRROR, {"digest": DIGEST}, True),
    ],
    ids=str,
)
def test_a_policy_that_asks_for_digests_by_now_refuses_the_plan(
    source: dict[str, Any], told: dict[str, Any], pinned: bool
) -> None:
    everywhere = ("oci://registry.example/", "pvc://weights", "hf://huggingface.co/clinic/", "hf+http://hub.example/")
    assert (planned(source, *everywhere, pinned=True, **told).reason is not Reason.DIGEST_REQUIRED) is pinned


def test_adapters_and_every_variant_are_asked_too() -> None:
    rule = policy(spec={"models": {"sources": ["oci://registry.example/"], "requireDigest": True}})
    adapted = model(adapters=[{"name": "legal", "source": CLAIM, "digest": DIGEST}])
    assert "spec.adapters[legal].source is pvc://weights/tiny" in plan(adapted, policies=[rule]).verdict.message
    forms = [
        {"name": name, "profile": {"configMap": "shape"}, "source": {"oci": {"image": f"registry.example/tiny{end}"}}}
        for name, end in (("a", f"@{DIGEST}"), ("b", ":1"))
    ]
    verdict = plan(model(model={"name": "tiny", "variants": forms}), policies=[rule]).verdict
    assert verdict.reason is Reason.DIGEST_REQUIRED
    assert "spec.model.variants[b].source.oci.image is registry.example/tiny:1" in verdict.message
