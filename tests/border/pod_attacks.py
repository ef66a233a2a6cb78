"""Specs of pods that carry what they must not, each beside one that is as near to it as can be and fine."""

from __future__ import annotations

from typing import Any, NamedTuple

from bailiwick.residency.verdict import Reason
from bailiwick.workload.copying import COMMAND
from tests.border.ground import DIGEST

CONTAINER = {"name": "main", "image": f"registry.example/team/app@{DIGEST}"}
STRICT: dict[str, Any] = {
    "schedulers": ["default-scheduler", "device-scheduler"],
    "images": {"registries": ["registry.example/team", "mirror.example:5000/", "library"], "requireDigest": True},
    "models": {"sources": ["oci://models.example/", "hostpath:///srv/models", "pvc://weights"], "requireDigest": False},
    "storage": {"classes": ["fast", "secrets-store.csi.k8s.io"]},
    "access": dict.fromkeys(["exec", "attach", "portForward", "proxy", "ephemeralContainers"], "Deny"),
}


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


def copied(reference: str, *, tools: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A model that is copied out of its image, as the operator does it; ``fields`` of that container differ."""
    mounts = [
        {"name": "tools", "mountPath": "/.bailiwick/tools", "readOnly": True},
        {"name": "model", "mountPath": "/.bailiwick/files"},
    ]
    container = {
        "name": "copy",
        "image": reference,
        "command": list(COMMAND),
        "env": [{"name": "LC_ALL", "value": "C"}],
        "volumeMounts": mounts,
        **fields,
    }
    given = {key: value for key, value in container.items() if value is not None}
    volumes = [{"name": "tools", **(tools or {"emptyDir": {}})}, {"name": "model", "emptyDir": {}}]
    return app() | {"initContainers": [given], "volumes": volumes}


COPIED = "models.example/llama:1"
GOOD_COPY = copied(COPIED)


def mounted(**tools: Any) -> list[dict[str, Any]]:
    """Mounts of a copying container whose program is mounted in another way."""
    first = {"name": "tools", "mountPath": "/.bailiwick/tools", "readOnly": True, **tools}
    return [first, {"name": "model", "mountPath": "/.bailiwick/files"}]


def volume(kind: str, source: dict[str, Any]) -> dict[str, Any]:
    return app() | {"volumes": [{"name": "data", kind: source}]}


def ephemeral(storage_class: str | None) -> dict[str, Any]:
    """A claim that is made for the pod; without a class, of the default one."""
    claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim |= {"storageClassName": storage_class} if storage_class is not None else {}
    return volume("ephemeral", {"volumeClaimTemplate": {"spec": claim}})


CALLS: dict[str, dict[str, Any]] = {"httpGet": {"path": "/?data=1", "port": 80}, "tcpSocket": {"port": 80}}


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
    """The spec of an attack, the reason of its refusal, and the nearest spec that is fine."""

    name: str
    reason: Reason
    attack: dict[str, Any]
    control: dict[str, Any]

    def __str__(self) -> str:
        return self.name


_TOLERATION, _SCHEDULER, _HOST = Reason.FORBIDDEN_TOLERATION, Reason.FORBIDDEN_SCHEDULER, Reason.HOST_ACCESS
_IMAGE, _DIGEST = Reason.IMAGE_NOT_ALLOWED, Reason.DIGEST_REQUIRED
_CLASS = Reason.CLASS_NOT_ALLOWED
_ENV, _ARGUMENT = Reason.FORBIDDEN_ENVIRONMENT, Reason.FORBIDDEN_ARGUMENT
NOT_READY = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}
GPU = {"key": "nvidia.com/gpu", "operator": "Exists"}
_OURS = "bailiwick.dev.node-restriction.kubernetes.io/health"

ROWS = [
    Row("tolerates everything", _TOLERATION, toleration(operator="Exists"), toleration(**NOT_READY)),
    Row("tolerates all NoExecute", _TOLERATION, toleration(operator="Exists", effect="NoExecute"), toleration(**GPU)),
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
        "a scheduler of one's own",
        _SCHEDULER,
        app() | {"schedulerName": "mine"},
        app() | {"schedulerName": "device-scheduler"},
    ),
    Row("the host's network", _HOST, app() | {"hostNetwork": True}, app() | {"hostNetwork": False}),
    Row("the host's processes", _HOST, app() | {"hostPID": True}, app() | {"shareProcessNamespace": True}),
    Row("the host's memory", _HOST, app() | {"hostIPC": True}, app() | {"hostIPC": False}),
    Row(
        "a port of the host",
        _HOST,
        app(ports=[{"containerPort": 80, "hostPort": 80}]),
        app(ports=[{"containerPort": 80}]),
    ),
    *(
        Row(
            f"a {name} that calls another host",
            _HOST,
            app(**{name: {way: {"host": "abroad.example", **CALLS[way]}}}),
            app(**{name: {way: CALLS[way]}}),
        )
        for name, way in (("livenessProbe", "httpGet"), ("readinessProbe", "tcpSocket"), ("startupProbe", "httpGet"))
    ),
    *(
        Row(
            f"a {hook} hook that calls another host",
            _HOST,
            app(lifecycle={hook: {"httpGet": {"host": "192.0.2.1", **CALLS["httpGet"]}}}),
            app(lifecycle={hook: {"httpGet": CALLS["httpGet"]}}),
        )
        for hook in ("postStart", "preStop")
    ),
    Row(
        "a privileged container",
        _HOST,
        app(securityContext={"privileged": True}),
        app(securityContext={"privileged": False, "runAsNonRoot": True}),
    ),
    Row(
        "a privileged init container",
        _HOST,
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
        "models to write to from another container",
        _HOST,
        host_path("/srv/models", second=False),
        host_path("/srv/models", second=True),
    ),
    Row(
        "a file server",
        _CLASS,
        volume("nfs", {"server": "files.example", "path": "/"}),
        volume("persistentVolumeClaim", {"claimName": "data"}),
    ),
    Row(
        "a disk by its number",
        _CLASS,
        volume("awsElasticBlockStore", {"volumeID": "vol-1"}),
        volume("projected", {"sources": [{"configMap": {"name": "any"}}]}),
    ),
    Row("a claim of its own, of a foreign class", _CLASS, ephemeral("slow"), ephemeral("fast")),
    Row("a claim of its own, of the empty class", _CLASS, ephemeral(""), ephemeral(None)),
    Row(
        "a driver of its own",
        _CLASS,
        volume("csi", {"driver": "files.csi.example"}),
        volume("csi", {"driver": "secrets-store.csi.k8s.io", "readOnly": True}),
    ),
    Row("a foreign image", _IMAGE, image(f"foreign.example/app@{DIGEST}"), image(f"mirror.example:5000/app@{DIGEST}")),
    Row(
        "a registry that begins alike",
        _IMAGE,
        image(f"registry.example.net/team/app@{DIGEST}"),
        image(f"registry.example/team/deep/app@{DIGEST}"),
    ),
    Row(
        "a folder of a registry that begins alike",
        _IMAGE,
        image(f"registry.example/teammate/app@{DIGEST}"),
        image(f"registry.example/team@{DIGEST}"),
    ),
    Row(
        "another port of the same host",
        _IMAGE,
        image(f"mirror.example:5001/app@{DIGEST}"),
        image(f"mirror.example:5000/a/b@{DIGEST}"),
    ),
    Row(
        "an image without a registry", _IMAGE, image(f"nginx@{DIGEST}"), image(f"registry.example/team/nginx@{DIGEST}")
    ),
    Row(
        "an image without a registry below a listed name",
        _IMAGE,
        image(f"library/nginx@{DIGEST}"),
        image(f"registry.example/team/library/nginx@{DIGEST}"),
    ),
    Row(
        "a foreign init image",
        _IMAGE,
        init_image(f"foreign.example/app@{DIGEST}"),
        init_image(f"registry.example/team/app@{DIGEST}"),
    ),
    Row(
        "a foreign image volume",
        _IMAGE,
        image_volume("foreign.example/model:1"),
        image_volume("models.example/llama:1"),  # a source of models, which need no digest here
    ),
    Row("a foreign model that is copied", _IMAGE, copied("foreign.example/model:1"), GOOD_COPY),
    Row(
        "a model of a registry that is copied by tag",
        _DIGEST,
        copied("registry.example/team/model:1"),
        copied(f"registry.example/team/model@{DIGEST}"),
    ),
    Row(
        "a model's image that runs something else",
        _IMAGE,
        copied(COPIED, command=[*COMMAND[:3], "/run.sh"]),
        copied(COPIED, env=[{"name": "LWS_GROUP_SIZE", "value": "2"}, {"name": "LC_ALL", "value": "C"}]),
    ),
    Row("a model's image that runs itself", _IMAGE, copied(COPIED, command=None), GOOD_COPY),
    Row("a model's image that runs more", _IMAGE, copied(COPIED, command=[*COMMAND, "x"]), GOOD_COPY),
    Row("a model's image with arguments", _IMAGE, copied(COPIED, args=["x"]), GOOD_COPY),
    Row("a model's image with a program of its own", _IMAGE, copied(COPIED, volumeMounts=mounted()[1:]), GOOD_COPY),
    Row(
        "a model's image with a program from an image",
        _IMAGE,
        copied(COPIED, tools={"image": {"reference": COPIED}}),
        GOOD_COPY,
    ),
    Row(
        "a model's image with a program from a claim",
        _IMAGE,
        copied(COPIED, tools={"persistentVolumeClaim": {"claimName": "weights"}}),
        GOOD_COPY,
    ),
    Row(
        "a model's image with a program in a folder",
        _IMAGE,
        copied(COPIED, volumeMounts=mounted(subPath="x")),
        GOOD_COPY,
    ),
    Row(
        "a model's image with something above it",
        _IMAGE,
        copied(COPIED, volumeMounts=[*mounted(), {"name": "tools", "mountPath": "/lib"}]),
        GOOD_COPY,
    ),
    Row(
        "a model's image with a library before others",
        _IMAGE,
        copied(COPIED, env=[{"name": "LC_ALL", "value": "C"}, {"name": "LD_PRELOAD", "value": "/x.so"}]),
        GOOD_COPY,
    ),
    Row(
        "a model's image whose probe runs it",
        _IMAGE,
        copied(COPIED, restartPolicy="Always", startupProbe={"exec": {"command": ["/run"]}}),
        GOOD_COPY,
    ),
    Row("a model's image with its own words", _IMAGE, copied(COPIED, env=None), GOOD_COPY),
    Row("a model's image with other words", _IMAGE, copied(COPIED, env=[{"name": "LC_ALL", "value": "x"}]), GOOD_COPY),
    Row(
        "a model's image with words from elsewhere",
        _IMAGE,
        copied(COPIED, envFrom=[{"configMapRef": {"name": "any"}}]),
        GOOD_COPY,
    ),
    Row(
        "a model's image beside the others",
        _IMAGE,
        app() | {"containers": [CONTAINER, *GOOD_COPY["initContainers"]], "volumes": GOOD_COPY["volumes"]},
        GOOD_COPY,
    ),
    Row(
        "an image by tag", _DIGEST, image("registry.example/team/app:1"), image(f"registry.example/team/app:1@{DIGEST}")
    ),
    Row(
        "an init image by tag",
        _DIGEST,
        init_image("registry.example/team/app:1"),
        init_image(f"registry.example/team/app:1@{DIGEST}"),
    ),
    Row(
        "a digest that is none",
        _DIGEST,
        image("registry.example/team/app@sha256:0"),
        image(f"registry.example/team/app@{DIGEST}"),
    ),
    Row(
        "an image volume of a registry by tag",
        _DIGEST,
        image_volume("registry.example/team/model:1"),
        image_volume(f"registry.example/team/model@{DIGEST}"),
    ),
    Row("reports use", _ENV, env("VLLM_NO_USAGE_STATS", "0"), env("VLLM_NO_USAGE_STATS", "1")),
    Row(
        "reports use by a word that vLLM ignores", _ENV, env("VLLM_NO_USAGE_STATS", "true"), env("DO_NOT_TRACK", "true")
    ),
    Row("wants to be tracked", _ENV, env("DO_NOT_TRACK", "0"), env("DO_NOT_TRACK", "1")),
    Row("reports to a server", _ENV, env("VLLM_USAGE_STATS_SERVER", "https://a.example"), env("STATS_SERVER", "a")),
    Row("goes to the hub", _ENV, env("HF_HUB_OFFLINE", "0"), env("HF_HUB_OFFLINE", "1")),
    Row(
        "goes to the hub, in other words",
        _ENV,
        env("TRANSFORMERS_OFFLINE", "False"),
        env("TRANSFORMERS_OFFLINE", "YES"),
    ),
    Row("goes to another hub", _ENV, env("HF_ENDPOINT", "https://hub.example"), env("HF_HOME", "/models")),
    Row("goes to a third hub", _ENV, env("VLLM_USE_MODELSCOPE", "True"), env("VLLM_USE_MODELSCOPE", "False")),
    Row("opens the engine for development", _ENV, env("VLLM_SERVER_DEV_MODE", "1"), env("VLLM_SERVER_DEV_MODE", "0")),
    Row(
        "unpickles", _ENV, env("VLLM_ALLOW_INSECURE_SERIALIZATION", "1"), env("VLLM_ALLOW_INSECURE_SERIALIZATION", "0")
    ),
    Row(
        "loads adapters that callers name",
        _ENV,
        env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True"),
        env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "0"),
    ),
    Row("hides what it sets", _ENV, env_from("HF_HUB_OFFLINE"), env_from("HF_TOKEN")),
    Row(
        "sets it in an init container",
        _ENV,
        app() | {"initContainers": [CONTAINER | {"name": "first", "env": [{"name": "HF_ENDPOINT", "value": "x"}]}]},
        app() | {"initContainers": [CONTAINER | {"name": "first", "env": [{"name": "HOME", "value": "x"}]}]},
    ),
    Row("trusts remote code", _ARGUMENT, app(args=["--trust-remote-code"]), app(args=["--no-trust-remote-code"])),
    Row("trusts remote code, in vLLM's spelling", _ARGUMENT, app(args=["--trust_rem=1"]), app(args=["--trust-proxy"])),
    Row(
        "trusts remote code in a shell",
        _ARGUMENT,
        app(command=["sh", "-c", "vllm serve x --trust-remote-code; exit"]),
        app(command=["sh", "-c", "grep trust-remote-code"]),
    ),
    Row(
        "trusts remote code by a variable",
        _ARGUMENT,
        env("EXTRA_ARGS", "--seed 1 --trust-remote-code"),
        env("EXTRA_ARGS", "--seed 1 --dtype auto"),
    ),
    Row("brings middleware", _ARGUMENT, app(args=["--middleware", "x.y"]), app(args=["--middlewares.web=x"])),
    Row("brings middleware, cut short", _ARGUMENT, app(args=["--mid=x.y"]), app(args=["--midnight"])),
    Row("calls tools", _ARGUMENT, app(args=["--tool-server", "a:1"]), app(args=["--tool-call-parser", "hermes"])),
    Row(
        "fetches media",
        _ARGUMENT,
        app(args=["--allowed-media-domains", "a.example"]),
        app(args=["--allowed-media-domains", "none.invalid", "--port", "1"]),
    ),
    Row(
        "fetches media from one more",
        _ARGUMENT,
        app(args=["--allowed-media-domains", "none.invalid", "a.example"]),
        app(args=["--port", "1", "--allowed-media-domains", "none.invalid"]),
    ),
]
