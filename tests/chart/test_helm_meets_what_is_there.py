"""`helm install` on a cluster that has a Bailiwick, or parts of one, already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.client import documents
from e2e.cluster.apiserver import ApiServer
from tests.chart.helm import CHART, NAMESPACE, Helm, HelmError
from tests.in_tree import taken_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client

pytestmark = pytest.mark.apiserver

ROOT = CHART.parents[1]
INSTALL = ("install", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", "--create-namespace")
ADMISSION = "admissionregistration.k8s.io/v1"


@pytest.fixture(scope="module")
def by_hand() -> Iterator[ApiServer]:
    """A cluster where somebody applied kinds and policies without Helm, as docs/install.md says."""
    server = ApiServer.start()
    try:
        server.install_crds(sorted((ROOT / "crds").glob("*.yaml")))
        for file in taken_by(server.client):
            server.client.apply_file(file)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def installer(helm: Helm, by_hand: ApiServer) -> Helm:
    return Helm(helm.program, helm.home, by_hand.kubeconfig())


@pytest.fixture(scope="module")
def client(by_hand: ApiServer) -> Client:
    return by_hand.client


def test_what_somebody_made_by_hand_is_not_taken_silently(installer: Helm) -> None:
    with pytest.raises(HelmError, match="cannot be imported into the current release"):
        installer.run(*INSTALL)


def test_it_is_taken_over_when_that_is_asked_for(installer: Helm, client: Client) -> None:
    law = {"apiVersion": "bailiwick.dev/v1alpha1", "kind": "ResidencyPolicy", "metadata": {"name": "law"}}
    spec = {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": {"allow": ["DE"]}}
    uid = client.create(law | {"spec": spec})["metadata"]["uid"]
    installer.run(*INSTALL, "--take-ownership", "--force-conflicts")
    assert client.get("bailiwick.dev/v1alpha1", "ResidencyPolicy", "law")["metadata"]["uid"] == uid
    for file in taken_by(client):
        for policy in documents(file):
            found = client.get(policy["apiVersion"], policy["kind"], policy["metadata"]["name"])
            assert found["metadata"]["annotations"]["meta.helm.sh/release-name"] == "bailiwick"
    assert client.list("bailiwick.dev/v1alpha1", "Jurisdiction")


@pytest.mark.parametrize(
    ("release", "namespace"), [("second", NAMESPACE), ("bailiwick", "elsewhere"), ("second", "elsewhere")]
)
def test_a_second_one_is_refused_and_told_about_the_first(installer: Helm, release: str, namespace: str) -> None:
    expected = rf'AlreadyInstalled: .* found release "bailiwick" in namespace "{NAMESPACE}"; upgrade that one'
    with pytest.raises(HelmError, match=expected):
        installer.run("install", release, str(CHART), f"--namespace={namespace}", "--create-namespace")


def test_the_first_one_is_upgraded(installer: Helm, client: Client) -> None:
    installer.run("upgrade", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", operator={"replicas": 3})
    assert client.get("apps/v1", "Deployment", "bailiwick-operator", NAMESPACE)["spec"]["replicas"] == 3
