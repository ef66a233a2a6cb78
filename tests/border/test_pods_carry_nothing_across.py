"""What a pod of a governed namespace may carry (charts/bailiwick/policies/pods.yaml): each attack beside what is fine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bailiwick.residency.verdict import Reason
from tests.border.ground import DIGEST, Governed, Ground, pod, refused

if TYPE_CHECKING:
    from e2e.client import Client, Manifest

PODS = "bailiwick-pods"
CONTAINER = {"name": "main", "image": f"registry.example/team/app@{DIGEST}"}
STRICT: dict[str, Any] = {
    "schedulers": ["default-scheduler", "device-scheduler"],
    "images": {"registries": ["registry.example/team", "mirror.example:5000/"], "requireDigest": True},
    "models": {"sources": ["oci://models.example/", "hostpath:///srv/models", "pvc://weights"], "requireDigest": False},
    "access": dict.fromkeys(["exec", "attach", "portForward", "proxy", "ephemeralContainers"], "Deny"),
}
LAX = {asked: answer for asked, answer in STRICT.items() if asked not in {"images", "access"}}


def app(**fields: Any) -> dict[str, Any]:
    """A pod spec whose one container has these fields."""
    return {"containers": [CONTAINER | fields]}


def env(name: str, value: str) -> dict[str, Any]:
    return app(env=[{"name": name, "value": value}])


def env_from(name: str) -> dict[str, Any]:
    return app(env=[{"name": name, "valueFrom": {"configMapKeyRef": {"name": "any", "key": "any"}}}])


def image(name: str) -> dict[str, Any]:
    return app(image=name)


def init_image(name: str) -> dict[str, Any]:
    return app() | {"initContainers": [{"name": "first", "image": name}]}


def image_volume(reference: str) -> dict[str, Any]:
    volume = {"name": "model", "image": {"reference": reference}}
    return app(volumeMounts=[{"name": "model", "mountPath": "/model"}]) | {"volumes": [volume]}


def host_path(path: str, *, read_only: bool = True, second: bool | None = None) -> dict[str, Any]:
    mount = {"name": "folder", "mountPath": "/model", **({"readOnly": True} if read_only else {})}
    spec = app(volumeMounts=[mount]) | {"volumes": [{"name": "folder", "hostPath": {"path": path}}]}
    if second is not None:
        other = CONTAINER | {"name": "second", "volumeMounts": [mount | {"readOnly": second}]}
        spec["initContainers"] = [other]
    return spec


def toleration(**fields: Any) -> dict[str, Any]:
    return app() | {"tolerations": [fields]}


def capability(*names: str) -> dict[str, Any]:
    return app(securityContext={"capabilities": {"add": list(names)}})


class Row(NamedTuple):
    """An attack, the reason of its refusal, and what is nearest to it and fine."""

    name: str
    reason: Reason
    attack: dict[str, Any]
    control: dict[str, Any]

    def __str__(self) -> str:
        return self.name


_TOLERATION, _SCHEDULER, _HOST = Reason.FORBIDDEN_TOLERATION, Reason.FORBIDDEN_SCHEDULER, Reason.HOST_ACCESS
_IMAGE, _DIGEST = Reason.IMAGE_NOT_ALLOWED, Reason.DIGEST_REQUIRED
_ENV, _ARGUMENT = Reason.FORBIDDEN_ENVIRONMENT, Reason.FORBIDDEN_ARGUMENT
_READY = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}
_GPU = {"key": "nvidia.com/gpu", "operator": "Exists"}
_OURS = "bailiwick.dev.node-restriction.kubernetes.io/health"

ROWS = [
    Row("tolerates everything", _TOLERATION, toleration(operator="Exists"), toleration(**_READY)),
    Row("tolerates all NoExecute", _TOLERATION, toleration(operator="Exists", effect="NoExecute"), toleration(**_GPU)),
    Row(
        "tolerates quarantine",
        _TOLERATION,
        toleration(key="bailiwick.dev/quarantine", operator="Exists"),
        toleration(key="example.bailiwick.development/quarantine", operator="Exists"),
    ),
    Row(
        "tolerates a taint under our label prefix",
        _TOLERATION,
        toleration(key=_OURS, operator="Equal", value="foreign"),
        toleration(key="node-role.kubernetes.io/control-plane", operator="Exists", effect="NoSchedule"),
    ),
    Row(
        "a scheduler of one's own", _SCHEDULER, app() | {"schedulerName": "mine"},
        app() | {"schedulerName": "device-scheduler"},
    ),
    Row("the host's network", _HOST, app() | {"hostNetwork": True}, app() | {"hostNetwork": False}),
    Row("the host's processes", _HOST, app() | {"hostPID": True}, app() | {"shareProcessNamespace": True}),
    Row("the host's memory", _HOST, app() | {"hostIPC": True}, app() | {"hostIPC": False}),
    Row(
        "a port of the host", _HOST, app(ports=[{"containerPort": 80, "hostPort": 80}]),
        app(ports=[{"containerPort": 80}]),
    ),
    Row(
        "a privileged container", _HOST, app(securityContext={"privileged": True}),
        app(securityContext={"privileged": False, "runAsNonRoot": True}),
    ),
    Row(
        "a privileged init container", _HOST,
        app() | {"initContainers": [CONTAINER | {"name": "first", "securityContext": {"privileged": True}}]},
        app() | {"initContainers": [CONTAINER | {"name": "first", "securityContext": {}}]},
    ),
    Row("every capability", _HOST, capability("ALL"), app(securityContext={"capabilities": {"drop": ["ALL"]}})),
    Row("the capability to mount", _HOST, capability("CAP_SYS_ADMIN"), capability("NET_ADMIN", "IPC_LOCK")),
    Row("a folder of the host", _HOST, host_path("/etc"), host_path("/srv/models")),
    Row("a folder that only begins alike", _HOST, host_path("/srv/models-2"), host_path("/srv/models/llama")),
    Row("a folder above the models", _HOST, host_path("/srv"), host_path("/srv/models/a/b")),
    Row("models to write to", _HOST, host_path("/srv/models", read_only=False), host_path("/srv/models")),
    Row(
        "models to write to from another container", _HOST, host_path("/srv/models", second=False),
        host_path("/srv/models", second=True),
    ),
    Row("a foreign image", _IMAGE, image(f"foreign.example/app@{DIGEST}"), image(f"mirror.example:5000/app@{DIGEST}")),
    Row(
        "a registry that begins alike", _IMAGE, image(f"registry.example.net/team/app@{DIGEST}"),
        image(f"registry.example/team/deep/app@{DIGEST}"),
    ),
    Row(
        "a folder of a registry that begins alike", _IMAGE, image(f"registry.example/teammate/app@{DIGEST}"),
        image(f"registry.example/team@{DIGEST}"),
    ),
    Row(
        "another port of the same host", _IMAGE, image(f"mirror.example:5001/app@{DIGEST}"),
        image(f"mirror.example:5000/a/b@{DIGEST}"),
    ),
    Row("an image without a registry", _IMAGE, image(f"nginx@{DIGEST}"), image(f"registry.example/team/nginx@{DIGEST}")),
    Row(
        "a foreign init image", _IMAGE, init_image(f"foreign.example/app@{DIGEST}"),
        init_image(f"registry.example/team/app@{DIGEST}"),
    ),
    Row(
        "a foreign image volume", _IMAGE, image_volume("foreign.example/model:1"),
        image_volume("models.example/llama:1"),  # a source of models, which need no digest here
    ),
    Row("an image by tag", _DIGEST, image("registry.example/team/app:1"), image(f"registry.example/team/app:1@{DIGEST}")),
    Row(
        "an init image by tag", _DIGEST, init_image("registry.example/team/app:1"),
        init_image(f"registry.example/team/app:1@{DIGEST}"),
    ),
    Row(
        "a digest that is none", _DIGEST, image("registry.example/team/app@sha256:0"),
        image(f"registry.example/team/app@{DIGEST}"),
    ),
    Row(
        "an image volume of a registry by tag", _DIGEST, image_volume("registry.example/team/model:1"),
        image_volume(f"registry.example/team/model@{DIGEST}"),
    ),
    Row("reports use", _ENV, env("VLLM_NO_USAGE_STATS", "0"), env("VLLM_NO_USAGE_STATS", "1")),
    Row("reports use by a word that vLLM ignores", _ENV, env("VLLM_NO_USAGE_STATS", "true"), env("DO_NOT_TRACK", "true")),
    Row("wants to be tracked", _ENV, env("DO_NOT_TRACK", "0"), env("DO_NOT_TRACK", "1")),
    Row("reports to a server", _ENV, env("VLLM_USAGE_STATS_SERVER", "https://a.example"), env("STATS_SERVER", "a")),
    Row("goes to the hub", _ENV, env("HF_HUB_OFFLINE", "0"), env("HF_HUB_OFFLINE", "1")),
    Row("goes to the hub, in other words", _ENV, env("TRANSFORMERS_OFFLINE", "False"), env("TRANSFORMERS_OFFLINE", "YES")),
    Row("goes to another hub", _ENV, env("HF_ENDPOINT", "https://hub.example"), env("HF_HOME", "/models")),
    Row("goes to a third hub", _ENV, env("VLLM_USE_MODELSCOPE", "True"), env("VLLM_USE_MODELSCOPE", "False")),
    Row("opens the engine for development", _ENV, env("VLLM_SERVER_DEV_MODE", "1"), env("VLLM_SERVER_DEV_MODE", "0")),
    Row("unpickles", _ENV, env("VLLM_ALLOW_INSECURE_SERIALIZATION", "1"), env("VLLM_ALLOW_INSECURE_SERIALIZATION", "0")),
    Row(
        "loads adapters that callers name", _ENV, env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True"),
        env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "0"),
    ),
    Row("hides what it sets", _ENV, env_from("HF_HUB_OFFLINE"), env_from("HF_TOKEN")),
    Row(
        "sets it in an init container", _ENV,
        app() | {"initContainers": [CONTAINER | {"name": "first", "env": [{"name": "HF_ENDPOINT", "value": "x"}]}]},
        app() | {"initContainers": [CONTAINER | {"name": "first", "env": [{"name": "HOME", "value": "x"}]}]},
    ),
    Row("trusts remote code", _ARGUMENT, app(args=["--trust-remote-code"]), app(args=["--no-trust-remote-code"])),
    Row("trusts remote code, in vLLM's spelling", _ARGUMENT, app(args=["--trust_rem=1"]), app(args=["--trust-proxy"])),
    Row(
        "trusts remote code in a shell", _ARGUMENT, app(command=["sh", "-c", "vllm serve x --trust-remote-code; exit"]),
        app(command=["sh", "-c", "grep trust-remote-code"]),
    ),
    Row(
        "trusts remote code by a variable", _ARGUMENT, env("EXTRA_ARGS", "--seed 1 --trust-remote-code"),
        env("EXTRA_ARGS", "--seed 1 --dtype auto"),
    ),
    Row("brings middleware", _ARGUMENT, app(args=["--middleware", "x.y"]), app(args=["--middlewares.web=x"])),
    Row("brings middleware, cut short", _ARGUMENT, app(args=["--mid=x.y"]), app(args=["--midnight"])),
    Row("calls tools", _ARGUMENT, app(args=["--tool-server", "a:1"]), app(args=["--tool-call-parser", "hermes"])),
    Row(
        "fetches media", _ARGUMENT, app(args=["--allowed-media-domains", "a.example"]),
        app(args=["--allowed-media-domains", "none.invalid", "--port", "1"]),
    ),
    Row(
        "fetches media from one more", _ARGUMENT, app(args=["--allowed-media-domains", "none.invalid", "a.example"]),
        app(args=["--port", "1", "--allowed-media-domains", "none.invalid"]),
    ),
]  # fmt: skip


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
    with refused(PODS, row.reason, by(strict)) as refusal:
        ground.editor.create(carrying(strict, row.attack), dry_run=True)
    assert f"policy {strict.policy} " in refusal.message, "the message came from an expression that failed"
    ground.editor.create(carrying(strict, row.control), dry_run=True)


@pytest.mark.parametrize("row", [row for row in ROWS if row.reason in {_IMAGE, _DIGEST}], ids=str)
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
    ground.editor.patch("v1", "Pod", running, with_tolerations(seen, _GPU), strict.namespace, dry_run=True)


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
        (_HOST, {"securityContext": {"privileged": True}}),
        (_ENV, {"env": [{"name": "VLLM_SERVER_DEV_MODE", "value": "1"}]}),
        (_ARGUMENT, {"args": ["--trust-remote-code"]}),
    ],
)
def test_an_ephemeral_container_is_judged_like_any_other(
    ground: Ground, lax: Governed, reason: Reason, fields: dict[str, Any]
) -> None:
    name = f"debugged-{reason.lower()}"
    ground.editor.create(carrying(lax, app(), name))
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
