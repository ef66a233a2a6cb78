from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from e2e.cluster import cluster, kind
from e2e.cluster.kwok import FAKE, fake_nodes
from e2e.cluster.node_engine import podman_configuration
from e2e.cluster.node_image import router_manifest
from e2e.cluster.prerequisites import Prerequisite, require
from e2e.cluster.steps import ClusterError


def test_nodes_from_packages_find_their_images_in_their_stores() -> None:
    stores = {node: Path("/cache") / node for node in kind.NODES}
    told = yaml.safe_load(kind.configuration(kind.Nodes("localhost/node:1", stores)))
    mounts = [node["extraMounts"] for node in told["nodes"]]
    assert mounts == [[{"hostPath": f"/cache/{node}", "containerPath": "/var/lib/containerd"}] for node in kind.NODES]
    assert told["networking"]["disableDefaultCNI"] is False


def test_published_nodes_keep_their_images_and_get_our_network() -> None:
    told = yaml.safe_load(kind.configuration(kind.Nodes("published", {})))
    assert not any("extraMounts" in node for node in told["nodes"])
    assert told["networking"]["disableDefaultCNI"] is True


def test_one_worker_is_inside_and_one_abroad() -> None:
    told = yaml.safe_load(kind.configuration(kind.Nodes("any", {})))
    assert [node["role"] for node in told["nodes"]] == ["control-plane", "worker", "worker"]
    assert [node.get("labels") for node in told["nodes"]] == [None, {kind.SITE: "inside"}, {kind.SITE: "abroad"}]


def test_services_have_the_subnet_that_the_router_exempts() -> None:
    manifests = yaml.safe_load_all(router_manifest("the-image"))
    router = next(manifest for manifest in manifests if manifest["kind"] == "DaemonSet")
    container = router["spec"]["template"]["spec"]["containers"][0]
    assert f"--service-cluster-ip-range={kind.SERVICE_SUBNET}" in container["args"]
    assert container["image"] == "the-image"


def test_podman_asks_for_no_more_than_the_machine_grants() -> None:
    told = tomllib.loads(podman_configuration(Path("/bin/runc"), 20_000, 1_000))
    assert told["containers"]["default_ulimits"] == ["nofile=20000:20000", "nproc=1000:1000"]
    assert told["engine"]["runtime"] == "/bin/runc"


def test_fake_nodes_say_that_they_are_fake_and_offer_what_they_are_given() -> None:
    nodes = fake_nodes(
        2, prefix="gpu", provider_id="aws:///eu-central-1a/i-{index:03x}", capacity={"nvidia.com/gpu": 8}
    )
    assert [node["metadata"]["name"] for node in nodes] == ["gpu-0", "gpu-1"]
    assert nodes[1]["spec"]["providerID"] == "aws:///eu-central-1a/i-001"
    for node in nodes:
        assert node["metadata"]["annotations"] == FAKE
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert node["status"]["allocatable"]["cpu"]


def test_what_may_not_be_installed_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"no-such-program is missing .* apt-get install .* its-package"):
        require([Prerequisite("no-such-program", "its-package", "a test")])


def test_an_unknown_kind_of_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "minikube")
    with pytest.raises(ClusterError, match="CLUSTER=minikube is unknown"):
        cluster.external()


def test_a_given_cluster_is_never_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = tmp_path / "kubeconfig"
    given.write_text("{}")
    monkeypatch.setenv("CLUSTER", "external")
    monkeypatch.setenv("KUBECONFIG", str(given))
    assert cluster.up() == given
    with pytest.raises(ClusterError, match="given to us"):
        cluster.down()
