"""What a model refers to of its namespace: whoever writes it must be allowed to read all of that."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.admission.models import references
from tests.unit.workload.given import IMAGE, model

INTO = {"into": {"claimName": "kept"}}
BUCKET = {"endpoint": "https://storage.example", "bucket": "models", **INTO}
HUB = {"repository": "a/b", "revision": "0" * 40, **INTO}
CLAIM = {"persistentVolumeClaim": {"claimName": "weights"}}
ROWS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "an image": ({"source": IMAGE}, []),
    "a claim": ({"source": CLAIM}, [("persistentvolumeclaims", "weights")]),
    "a bucket": ({"source": {"s3": BUCKET}}, [("persistentvolumeclaims", "kept")]),
    "a bucket with credentials": (
        {"source": {"s3": {**BUCKET, "credentialsSecret": "storage"}}},
        [("persistentvolumeclaims", "kept"), ("secrets", "storage")],
    ),
    "a hub with a token": (
        {"source": {"huggingFace": {**HUB, "tokenSecret": "hub"}}},
        [("persistentvolumeclaims", "kept"), ("secrets", "hub")],
    ),
    "a manifest": ({"source": IMAGE, "manifest": {"configMap": "files"}}, [("configmaps", "files")]),
    "a signature": (
        {"source": IMAGE, "signature": {"authority": "us", "configMap": "signed"}}, [("configmaps", "signed")],
    ),
    "a signature beside the files": ({"source": IMAGE, "signature": {"authority": "us"}}, []),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_model_refers_to_what_its_weights_need(row: str) -> None:
    spec, expected = ROWS[row]
    assert sorted(references(model(model={"name": "tiny", **spec}))) == sorted(expected)


@pytest.mark.parametrize("row", ROWS)
def test_every_variant_does_whichever_is_served(row: str) -> None:
    spec, expected = ROWS[row]
    first = {"name": "first", "source": IMAGE, "profile": {"configMap": "shape"}}
    second = {"name": "second", "profile": {"configMap": "small"}, **spec}
    served = model(model={"name": "tiny", "variants": [first, second]})
    assert sorted(references(served)) == sorted([*expected, ("configmaps", "shape"), ("configmaps", "small")])


@pytest.mark.parametrize("row", ROWS)
def test_an_adapter_does_as_well(row: str) -> None:
    spec, expected = ROWS[row]
    if "manifest" not in spec:
        served = model(model={"name": "tiny", "source": IMAGE}, adapters=[{"name": "a", **spec}])
        assert sorted(references(served)) == sorted(expected)
