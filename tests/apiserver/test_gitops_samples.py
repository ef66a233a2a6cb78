"""The samples for Argo CD and Flux, by the kinds that these projects publish, on a real API server."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError, documents
from e2e.cluster.apiserver import ApiServer
from e2e.cluster.binaries import binary, other_kinds
from e2e.cluster.places import ROOT
from tests.chart.helm import CHART, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client, Manifest
    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver

SAMPLES = sorted((ROOT / "samples/gitops").rglob("*.yaml"))
PUBLISHED = (
    "github.com/argoproj/argo-cd/v3/manifests/crds/application-crd.yaml",
    "github.com/fluxcd/kustomize-controller/config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",
    "github.com/fluxcd/source-controller/config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",
)
RELEASE = "HelmRelease"
"""Its definition is in no Go module; the types of its controller are."""
MANIFESTS = [manifest for path in SAMPLES for manifest in documents(path)]


def of(kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] == kind}


@pytest.fixture(scope="module")
def published() -> Iterator[Client]:
    server = ApiServer.start()
    try:
        server.install_crds(other_kinds(*PUBLISHED))
        for name in ("argocd", "flux-system"):
            server.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield server.client
    finally:
        server.stop()


@pytest.mark.parametrize(
    "manifest",
    [each for each in MANIFESTS if each["kind"] != RELEASE],
    ids=lambda each: f"{each['kind']}/{each['metadata']['name']}",
)
def test_a_sample_is_accepted_by_the_published_kinds(published: Client, manifest: Manifest) -> None:
    published.create(manifest, dry_run=True)


def test_a_misspelt_field_would_be_found(published: Client) -> None:
    wrong = {**of("Kustomization")["bailiwick-models"]}
    wrong["spec"] = {**wrong["spec"], "dependson": []}
    with pytest.raises(ApiError, match="dependson"):
        published.create(wrong, dry_run=True)


def test_the_helm_release_has_only_fields_that_its_controller_knows() -> None:
    (release,) = of(RELEASE).values()
    assert read(release) == ""
    wrong = {**release, "spec": {**release["spec"], "instal": {}}}
    assert "instal" in read(wrong)


def read(release: Manifest) -> str:
    """What helm-controller's types have against it."""
    told = json.dumps(release)
    done = subprocess.run([binary("helmrelease")], input=told, capture_output=True, text=True, check=False, timeout=60)
    assert bool(done.stderr) == bool(done.returncode)
    return done.stderr


def values() -> dict[str, Any]:
    return {
        "argo": of("Application")["bailiwick-chart"]["spec"]["source"]["helm"]["valuesObject"],
        "flux": of(RELEASE)["bailiwick"]["spec"]["values"],
    }


@pytest.mark.parametrize("by", ["argo", "flux"])
def test_the_chart_takes_the_values(helm: Helm, by: str) -> None:
    text = helm.run("template", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", **values()[by])
    assert "registry.example/bailiwick/operator@sha256:" in text


def test_where_argo_cd_tells_helm_of_the_kinds_the_chart_has_no_hooks(helm: Helm) -> None:
    told = of("Application")["bailiwick-chart"]["spec"]["source"]["helm"]["apiVersions"]
    arguments = ["template", "bailiwick", str(CHART), f"--namespace={NAMESPACE}"]
    assert "helm.sh/hook" in helm.run(*arguments)
    assert "helm.sh/hook" not in helm.run(*arguments, *(f"--api-versions={each}" for each in told))


def test_waves_go_from_the_chart_over_policies_to_models() -> None:
    waves = {
        name: int(each["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for name, each in of("Application").items()
        if name != "bailiwick"
    }
    assert sorted(waves, key=waves.__getitem__) == ["bailiwick-chart", "bailiwick-policies", "bailiwick-models"]
    assert len(set(waves.values())) == 3


def test_each_kustomization_waits_for_the_one_before_and_tells_its_health() -> None:
    found = of("Kustomization")
    assert {name: [each["name"] for each in one["spec"].get("dependsOn", ())] for name, one in found.items()} == {
        "bailiwick-chart": [], "bailiwick-policies": ["bailiwick-chart"], "bailiwick-models": ["bailiwick-policies"],
    }  # fmt: skip
    assert all(each["spec"].get("wait") or each["spec"].get("healthChecks") for each in found.values())
    assert {each["spec"]["sourceRef"]["name"] for each in found.values()} <= of("GitRepository").keys()


def test_what_draws_the_border_is_not_pruned() -> None:
    assert of("Kustomization")["bailiwick-policies"]["spec"]["prune"] is False
    assert of("Application")["bailiwick-policies"]["spec"]["syncPolicy"]["automated"]["prune"] is False
