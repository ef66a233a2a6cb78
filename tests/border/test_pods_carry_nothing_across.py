"""What a pod of a governed namespace may carry (charts/bailiwick/policies/pods.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.residency.verdict import Reason
from e2e.client import ApiError
from tests.border.ground import DIGEST, Governed, Ground, pod, refused
from tests.border.pod_attacks import CONTAINER, GPU, ROWS, STRICT, Row, app, env, ephemeral, host_path, volume
from tests.in_tree import skip_if_dropped

if TYPE_CHECKING:
    from e2e.client import Client, Manifest

PODS = "bailiwick-pods"
LAX = {asked: answer for asked, answer in STRICT.items() if asked not in {"images", "access"}}


@pytest.fixture(scope="module")
def strict(ground: Ground) -> Governed:
    """A policy that asks everything that it can about pods."""
    return ground.govern(pin=False, **STRICT)


@pytest.fixture(scope="module")
def lax(ground: Ground) -> Governed:
    """A policy that asks nothing about images and access."""
    return ground.govern(pin=False, **LAX)


def carrying(governed: Governed, spec: dict[str, Any], name: str = "pod") -> Manifest:
    """A pod that is where it must be, so that nothing is wrong with it but what it carries."""
    return pod(governed.namespace, name, nodeSelector=governed.selector, **spec)


def by(governed: Governed) -> str:
    return f"{PODS}.{governed.policy}"


def test_no_two_rows_have_one_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_attack_is_refused_with_its_reason_and_what_is_fine_is_admitted(
    ground: Ground, strict: Governed, row: Row
) -> None:
    skip_if_dropped(row.attack)
    with refused(PODS, row.reason, by(strict)) as refusal:
        ground.editor.create(carrying(strict, row.attack), dry_run=True)
    assert f"policy {strict.policy} " in refusal.message, "the message came from an expression that failed"
    ground.editor.create(carrying(strict, row.control), dry_run=True)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.reason in {Reason.IMAGE_NOT_ALLOWED, Reason.DIGEST_REQUIRED}], ids=str
)
def test_a_policy_that_asks_nothing_about_images_allows_any(ground: Ground, lax: Governed, row: Row) -> None:
    ground.editor.create(carrying(lax, row.attack), dry_run=True)


def test_a_refusal_says_what_was_expected_what_was_seen_and_what_to_do(ground: Ground, strict: Governed) -> None:
    with refused(PODS, "ForbiddenEnvironment", by(strict)) as refusal:
        ground.editor.create(carrying(strict, env("HF_HUB_OFFLINE", "0")), dry_run=True)
    assert "sets HF_HUB_OFFLINE otherwise" in refusal.message
    assert "value that closes: HF_HUB_OFFLINE=1" in refusal.message
    with refused(PODS, "ForbiddenArgument", by(strict)) as refusal:
        ground.editor.create(carrying(strict, app(args=["a", "--trust-remote-code", "b"])), dry_run=True)
    assert "variable has --trust-remote-code; leave it out" in refusal.message
    with refused(PODS, "HostAccess", by(strict)) as refusal:
        ground.editor.create(carrying(strict, host_path("/etc", read_only=False)), dry_run=True)
    assert "has hostPath /etc, hostPath /etc mounted without readOnly; leave it out" in refusal.message


@pytest.mark.parametrize("prefix", ["hostpath://", "hostpath:///"])
def test_a_policy_may_allow_every_folder(ground: Ground, prefix: str) -> None:
    everywhere = ground.govern(pin=False, models={"sources": [prefix], "requireDigest": False})
    ground.editor.create(carrying(everywhere, host_path("/anywhere")), dry_run=True)


def test_a_policy_that_says_nothing_about_models_allows_no_folder(ground: Ground, unpinned: Governed) -> None:
    with refused(PODS, "HostAccess", by(unpinned)):
        ground.editor.create(carrying(unpinned, host_path("/srv/models")), dry_run=True)


def test_a_mirror_pod_is_refused_inside_too(ground: Ground, strict: Governed, free: str) -> None:
    node = ground.admin.get("v1", "Node", ground.inside)["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": ground.inside, "uid": node["uid"], "controller": True}

    def mirror(namespace: str) -> Manifest:
        made = pod(namespace, nodeName=ground.inside, nodeSelector=strict.selector, **app())
        made["metadata"] |= {"annotations": {"kubernetes.io/config.mirror": "0"}, "ownerReferences": [owner]}
        return made

    kubelet = ground.kubelet(ground.inside)
    with refused(PODS, "MirrorPod", by(strict)):
        kubelet.create(mirror(strict.namespace), dry_run=True)
    kubelet.create(mirror(free), dry_run=True)


# Pods that run already


@pytest.fixture(scope="module")
def running(ground: Ground, strict: Governed) -> str:
    """A pod that is as the policy wants it."""
    spec = app(resources={"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})
    ground.editor.create(carrying(strict, spec | {"nodeName": ground.inside}, "running"))
    return "running"


@pytest.fixture(scope="module")
def earlier(ground: Ground) -> Governed:
    """A pod called earlier that was there before the policy, and that nobody pinned."""
    namespace = ground.namespace()
    spec = app(resources={"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})
    ground.editor.create(pod(namespace, "earlier", nodeName=ground.inside, **spec))
    return ground.govern(namespace=namespace, pin=False)


def with_tolerations(seen: Manifest, *added: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"tolerations": [*seen["spec"]["tolerations"], *added]}}


def test_a_running_pod_cannot_come_to_tolerate_everything(ground: Ground, strict: Governed, running: str) -> None:
    seen = ground.admin.get("v1", "Pod", running, strict.namespace)
    with refused(PODS, "ForbiddenToleration", by(strict)):
        added = with_tolerations(seen, {"operator": "Exists"})
        ground.editor.patch("v1", "Pod", running, added, strict.namespace, dry_run=True)
    ground.editor.patch("v1", "Pod", running, with_tolerations(seen, GPU), strict.namespace, dry_run=True)


def test_a_running_pod_cannot_change_to_a_foreign_image(ground: Ground, strict: Governed, running: str) -> None:
    def change(image_name: str) -> None:
        changed = {"spec": {"containers": [{"name": "main", "image": image_name}]}}
        ground.editor.patch("v1", "Pod", running, changed, strict.namespace, how="strategic", dry_run=True)

    with refused(PODS, "ImageNotAllowed", by(strict)):
        change(f"foreign.example/app@{DIGEST}")
    with refused(PODS, "DigestRequired", by(strict)):
        change("registry.example/team/other:2")
    change(f"registry.example/team/other@{DIGEST}")


def debug(client: Client, namespace: str, name: str, **fields: Any) -> None:
    """Add an ephemeral container, as kubectl debug does."""
    added = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": CONTAINER["image"]} | fields]}}
    client.patch("v1", "Pod", name, added, namespace, how="strategic", subresource="ephemeralcontainers", dry_run=True)


def test_an_ephemeral_container_is_refused_where_the_policy_denies_them(
    ground: Ground, strict: Governed, running: str
) -> None:
    with refused(PODS, "AccessDenied", by(strict)):
        debug(ground.admin, strict.namespace, running)


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        (Reason.HOST_ACCESS, {"securityContext": {"privileged": True}}),
        (Reason.FORBIDDEN_ENVIRONMENT, {"env": [{"name": "VLLM_SERVER_DEV_MODE", "value": "1"}]}),
        (Reason.FORBIDDEN_ARGUMENT, {"args": ["--trust-remote-code"]}),
    ],
)
def test_an_ephemeral_container_is_judged_like_any_other(
    ground: Ground, lax: Governed, reason: Reason, fields: dict[str, Any]
) -> None:
    name = f"debugged-{reason.lower()}"
    ground.editor.create(
        carrying(lax, app() | {"schedulerName": "device-scheduler"}, name)
    )  # nobody's: it stays unbound
    with refused(PODS, reason, by(lax)):
        debug(ground.admin, lax.namespace, name, **fields)
    debug(ground.admin, lax.namespace, name)


def test_the_image_of_an_ephemeral_container_is_judged(ground: Ground) -> None:
    governed = ground.govern(pin=False, **{key: value for key, value in STRICT.items() if key != "access"})
    ground.editor.create(carrying(governed, app(), "debugged"))
    with refused(PODS, "ImageNotAllowed", by(governed)):
        debug(ground.admin, governed.namespace, "debugged", image=f"foreign.example/app@{DIGEST}")
    debug(ground.admin, governed.namespace, "debugged")


def resize(client: Client, namespace: str, name: str) -> None:
    more = {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}
    changed = {"spec": {"containers": [{"name": "main", "resources": more}]}}
    client.patch("v1", "Pod", name, changed, namespace, how="strategic", subresource="resize", dry_run=True)


def test_a_resized_pod_is_judged(ground: Ground, earlier: Governed, strict: Governed, running: str) -> None:
    with refused(PODS, "NotPinned", by(earlier)):
        resize(ground.admin, earlier.namespace, "earlier")
    resize(ground.admin, strict.namespace, running)


def test_a_debugged_pod_is_judged(ground: Ground, earlier: Governed) -> None:
    with refused(PODS, "NotPinned", by(earlier)):
        debug(ground.admin, earlier.namespace, "earlier")


def test_a_pod_from_before_keeps_its_labels_and_finalizers(ground: Ground, earlier: Governed) -> None:
    metadata = {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/one"]}}
    ground.editor.patch("v1", "Pod", "earlier", metadata, earlier.namespace, dry_run=True)


# What Kubernetes may change under us


JUDGED = {"ephemeralcontainers", "resize"}
ELSEWHERE = {
    "binding": "bindings.yaml",
    "attach": "access.yaml",
    "exec": "access.yaml",
    "portforward": "access.yaml",
    "proxy": "access.yaml",
    "eviction": "deletes, and carries no pod",
    "log": "reads",
    "status": "cannot change a spec",
}


def test_every_subresource_of_pods_is_accounted_for(ground: Ground) -> None:
    """A new minor of Kubernetes must not open a way to write specs that nobody judges."""
    resources = ground.admin.request("GET", "/api/v1").json()["resources"]
    found = {name.partition("/")[2] for name in (each["name"] for each in resources) if name.startswith("pods/")}
    assert found == JUDGED | ELSEWHERE.keys()


# Kinds of volumes that the pods policy looks at, or that need no look; all others are refused.
STAY = {"emptyDir", "projected", "configMap", "secret", "downwardAPI", "persistentVolumeClaim"}
ASKED = {"hostPath", "image", "ephemeral", "csi"}
SMALLEST: dict[str, dict[str, Any]] = {
    "awsElasticBlockStore": {"volumeID": "a"},
    "azureDisk": {"diskName": "a", "diskURI": "https://a.example/disk"},
    "azureFile": {"secretName": "a", "shareName": "b"},
    "cephfs": {"monitors": ["a"]},
    "cinder": {"volumeID": "a"},
    "fc": {"wwids": ["a"]},
    "flexVolume": {"driver": "a/b"},
    "flocker": {"datasetName": "a"},
    "gcePersistentDisk": {"pdName": "a"},
    "gitRepo": {"repository": "https://a.example/b"},
    "glusterfs": {"endpoints": "a", "path": "b"},
    "iscsi": {"targetPortal": "a", "iqn": "iqn.2026-01.example:a", "lun": 0},
    "nfs": {"server": "a", "path": "/"},
    "photonPersistentDisk": {"pdID": "a"},
    "portworxVolume": {"volumeID": "a"},
    "quobyte": {"registry": "a:1", "volume": "b"},
    "rbd": {"monitors": ["a"], "image": "b"},
    "scaleIO": {"gateway": "a", "system": "b", "volumeName": "c", "secretRef": {"name": "d"}},
    "storageos": {"volumeName": "a"},
    "vsphereVolume": {"volumePath": "a"},
}


def test_every_kind_of_volume_has_been_thought_about(ground: Ground) -> None:
    """As the API server describes its own kinds. One that is new is refused until somebody lists it here and there."""
    described = ground.admin.request("GET", "/openapi/v3/api/v1").json()
    found = set(described["components"]["schemas"]["io.k8s.api.core.v1.Volume"]["properties"]) - {"name"}
    assert found == STAY | ASKED | SMALLEST.keys()


@pytest.mark.parametrize("kind", sorted(SMALLEST))
def test_a_volume_that_names_where_its_data_lives_is_refused(ground: Ground, unpinned: Governed, kind: str) -> None:
    """Also where the policy asks nothing about storage: a kubelet mounts it, past every NetworkPolicy."""
    with refused(PODS, "ClassNotAllowed", by(unpinned)) as refusal:
        ground.editor.create(carrying(unpinned, volume(kind, SMALLEST[kind])), dry_run=True)
    assert f"but this pod has volume data ({kind}); use a claim" in refusal.message


@pytest.mark.parametrize("spec", [ephemeral("slow"), volume("csi", {"driver": "any.csi.example"})])
def test_a_policy_that_asks_nothing_about_storage_allows_every_class(
    ground: Ground, unpinned: Governed, spec: dict[str, Any]
) -> None:
    ground.editor.create(carrying(unpinned, spec), dry_run=True)


def test_a_volume_is_of_one_kind(ground: Ground, unpinned: Governed) -> None:
    """The API server sees to it before anybody else, so one harmless kind proves that there is no other."""
    both = app() | {"volumes": [{"name": "data", "emptyDir": {}, "nfs": SMALLEST["nfs"]}]}
    with pytest.raises(ApiError, match="may not specify more than 1 volume type"):
        ground.editor.create(carrying(unpinned, both), dry_run=True)


# What it costs


def test_a_pod_of_many_containers_is_judged_within_the_budget(ground: Ground, strict: Governed) -> None:
    """An expression that exceeds the API server's budget refuses, so the largest pods that people have must fit."""
    variables = [{"name": f"VARIABLE_{number}", "value": "-Dkey=value --flag=" + "x" * 200} for number in range(100)]
    arguments = [f"--option-{number}=" + "x" * 50 for number in range(60)]
    ports = [{"containerPort": 1000 + number} for number in range(10)]
    many = [
        CONTAINER | {"name": f"c{number}", "env": variables, "args": arguments, "ports": ports} for number in range(30)
    ]
    tolerations = [{"key": f"example.com/{number}", "operator": "Exists"} for number in range(100)]
    large = {"containers": many, "tolerations": tolerations}
    ground.editor.create(carrying(strict, large), dry_run=True)
    many[-1]["args"] = [*arguments, "--trust-remote-code"]
    with refused(PODS, "ForbiddenArgument", by(strict)):
        ground.editor.create(carrying(strict, large), dry_run=True)
