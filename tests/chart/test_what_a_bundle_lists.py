"""`bailiwick bundle` reads the chart without Helm; this is what Helm makes of the same values."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cli.files.chart import families, install, open_chart
from bailiwick.cli.files.manifests import UnusableError
from bailiwick.workload.images import uses
from e2e.cluster.digests import NAMES, values
from tests.chart.helm import CHART, Helm, HelmError

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.client import Manifest

pytestmark = pytest.mark.apiserver  # they need Helm, which is built like the servers

DIGEST = "sha256:" + "a" * 64
FAMILIES = families(open_chart(CHART))


def images(rendered: list[Manifest]) -> set[str]:
    """Every image of containers, of engines, and those that the operator is told by its environment."""
    told = {each["value"] for each in _all(rendered) if str(each.get("name")).endswith("_IMAGE")}
    return {use.reference for use in uses(rendered)} | told


def _all(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, dict):
        return [part, *(found for each in part.values() for found in _all(each))]
    return [found for each in part for found in _all(each)] if isinstance(part, list) else []


@pytest.mark.parametrize(
    "layers",
    [
        [{}],
        [{"acceleratorClasses": {"families": FAMILIES}}],
        [{"acceleratorClasses": {
            "families": ["nvidia", "amd"], "registry": "mirror.example:5000/ai",
            "resources": {"nvidia.com/gpu": "nvidia.com/gpu.shared", "absent.example/x": "a/b"},
        }}],
        [{"acceleratorClasses": {"cpu": {"install": False}}}],
        [{"acceleratorClasses": {"cpu": {"image": "m.example/v:1", "llamaCpp": {"image": "m.example/l:1"}}}}],
        [{"image": {"repository": "m.example/o", "tag": "2"}}, {"image": {"digest": DIGEST}}],
        [{"gate": {"image": "a.example/a"}, "weights": {"image": "a.example/w"}}, {"gate": {"image": "m.example/b:1"}}],
        [{"acceleratorClasses": {"families": ["x86"]}}, {"acceleratorClasses": {"families": ["arm"]}}],
        [values("m.example", dict.fromkeys(NAMES, DIGEST))],
        [{"requireDigests": True}, values("m.example", {"operator": DIGEST, "gate": DIGEST})],
    ],
    ids=[
        "as it comes", "the whole catalogue", "mirrored and renamed", "no plain CPU", "images of plain CPUs",
        "a digest over a tag", "the gate and what verifies", "a list is replaced, not added to",
        "every image by digest", "every image by digest, without plain CPUs",
    ],
)  # fmt: skip
def test_it_lists_what_helm_would_install(helm: Helm, tmp_path: Path, layers: list[Manifest]) -> None:
    files = [tmp_path / f"{number}.yaml" for number in range(len(layers))]
    for file, layer in zip(files, layers, strict=True):
        file.write_text(json.dumps(layer))
    rendered = helm.template(*(f"--values={file}" for file in files))
    installation = install(open_chart(CHART), files)
    classes = installation.classes
    engines = {serving.image for each in classes.values() for serving in each.spec.engines}
    assert images(rendered) == {*installation.images.values(), *engines}
    assert {each["metadata"]["name"]: each["spec"] for each in rendered if each["kind"] == "AcceleratorClass"} == {
        name: each.spec.model_dump(mode="json", by_alias=True, exclude_unset=True) for name, each in classes.items()
    }


@pytest.mark.parametrize(
    "values",
    [
        {"imgae": {}},
        {"gate": {"img": "a"}},
        {"gate": {"image": 1}},
        {"acceleratorClasses": {"families": ["cpu"]}},
        {"requireDigests": True},
        {"gate": {"image": "m.example/gate@sha256:1"}},
    ],
    ids=str,
)
def test_values_that_helm_refuses_are_refused(helm: Helm, tmp_path: Path, values: Manifest) -> None:
    """Those that matter to images; for others there is Helm."""
    with pytest.raises(HelmError):
        helm.template(**values)
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values))
    with pytest.raises(UnusableError, match=str(file)):
        install(open_chart(CHART), [file])


def test_a_package_of_helms_is_read(helm: Helm, tmp_path: Path) -> None:
    helm.run("package", str(CHART), f"--destination={tmp_path}")
    (package,) = tmp_path.glob("*.tgz")
    chart = open_chart(package)
    assert chart.digest == f"sha256:{hashlib.sha256(package.read_bytes()).hexdigest()}"
    assert install(chart) == install(open_chart(CHART))
    assert set(chart.files) == set(open_chart(CHART).files), "nothing else is packed, and nothing is missing"
