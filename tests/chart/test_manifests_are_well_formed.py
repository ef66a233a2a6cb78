"""What the chart renders, and what we ship beside it, meets the schemas of a real API server, judged by kubeconform."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import eventually
from e2e.cluster.binaries import binary, other_kinds
from tests.chart.helm import AS_SERVED, CHART, NAMESPACE, Helm
from tests.chart.schemas import write_schemas

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.client import Client
    from e2e.cluster.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

ROOT = CHART.parents[1]
PROMETHEUS_OPERATOR = (
    "github.com/prometheus-operator/prometheus-operator/example/prometheus-operator-crd/monitoring.coreos.com"
)
SAMPLES = sorted(path for path in (ROOT / "samples").rglob("*.yaml") if ROOT / "samples/gitops" not in path.parents)
"""tests/apiserver/test_gitops_samples.py has the kinds of Argo CD and Flux."""
FAMILIES = sorted(path.stem for path in (CHART / "acceleratorclasses").glob("*.yaml") if path.stem != "cpu")


@pytest.fixture(scope="module")
def location(server: ApiServer, release: Helm, cluster: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the schemas are of everything that the cluster serves, ours and PrometheusRules among it."""
    server.install_crds(other_kinds(f"{PROMETHEUS_OPERATOR}_prometheusrules.yaml"))
    eventually(
        lambda: "apis/monitoring.coreos.com/v1" in cluster.request("GET", "/openapi/v3").json()["paths"],
        what="the schema of PrometheusRules is told",
    )
    return write_schemas(cluster, tmp_path_factory.mktemp("schemas"))


def wrong(text: str, location: str) -> list[str]:
    """What kubeconform finds, as ``kind/name: message``; a kind without a schema is wrong, too."""
    arguments = ["-strict", "-output=json", f"-schema-location={location}", "-"]
    done = subprocess.run([binary("kubeconform"), *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return [f"{each['kind']}/{each['name']}: {each['msg']}" for each in json.loads(done.stdout).get("resources") or ()]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"acceleratorClasses": {"families": FAMILIES}},
        {"rbac": {"aggregateToBuiltIn": True}, "pin": False, "ungoverned": "Allow"},
        {"monitoring": {"dashboards": {"install": True}, "rules": {"install": True}}, "admission": {"replicas": 1}},
        {"image": {"repository": "registry.example/operator", "digest": "sha256:" + "0" * 64}},
        {
            "operator": {
                "replicas": 3,
                "priorityClassName": "system-cluster-critical",
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "control", "operator": "Exists"}],
                "podAnnotations": {"a": "b"},
            }
        },
    ],
    ids=str,
)
def test_the_chart_renders_well_formed_manifests(helm: Helm, location: str, values: dict[str, Any]) -> None:
    text = helm.run("template", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", AS_SERVED, **values)
    assert wrong(text, location) == []


def test_a_misspelt_field_is_found(helm: Helm, location: str) -> None:
    text = helm.run("template", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", AS_SERVED)
    (found,) = wrong(text.replace("terminationGracePeriodSeconds: 30", "terminationGraceSeconds: 30", 1), location)
    assert found.startswith("Deployment/bailiwick-admission: ")
    assert "terminationGraceSeconds" in found


def test_a_kind_that_nobody_serves_is_found(location: str) -> None:
    (found,) = wrong("apiVersion: bailiwick.dev/v1alpha1\nkind: Moon\nmetadata: {name: io}\n", location)
    assert found.startswith("Moon/io: could not find schema")


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.name)
def test_samples_are_well_formed(location: str, file: Path) -> None:
    assert wrong(file.read_text(), location) == []
