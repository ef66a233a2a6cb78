"""Pods of every shape, for hypothesis: most of each is fine, and something about it may be wild."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.border.ground import DIGEST
from tests.border.pod_attacks import copied
from tests.in_tree import IMAGE_VOLUMES

Strategy = st.SearchStrategy[Any]

_REGISTRIES = ["registry.example", "registry.example:5000", "registry.example.net", "mirror.example:5000", "localhost"]
_WILD_REGISTRIES = [*_REGISTRIES, "models.example", "Registry.example", "registry", ""]
_PATHS = ["team/app", "team", "teammate/app", "team/deep/er", "app", "llama/team"]
_SUFFIXES = ["", ":1", f"@{DIGEST}", f":1@{DIGEST}", "@sha256:0", f"@{DIGEST}0"]


def _named(registry: str, path: str, suffix: str) -> str:
    return (f"{registry}/{path}" if registry else path) + suffix


FINE_IMAGE = st.just(f"registry.example/team/app@{DIGEST}")
WILD_IMAGE = st.builds(_named, st.sampled_from(_WILD_REGISTRIES), st.sampled_from(_PATHS), st.sampled_from(_SUFFIXES))

_SWITCHES = [
    *("DO_NOT_TRACK", "VLLM_NO_USAGE_STATS", "VLLM_USAGE_STATS_SERVER", "HF_ENDPOINT", "HF_HUB_OFFLINE"),
    *("TRANSFORMERS_OFFLINE", "VLLM_USE_MODELSCOPE", "VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_INSECURE_SERIALIZATION"),
    *("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "hf_endpoint", "HF_HUB_OFFLINE_"),
]
_VALUES = [
    "",
    "0",
    "1",
    "true",
    "True",
    "FALSE",
    "false",
    "yes",
    "No",
    "on",
    "off",
    " 1",
    "$(HOME)",
    "--trust-remote-code",
]
_OPTIONS = [
    *("--trust-remote-code", "--trust_remote_code", "--trust-rem", "--trust-re", "--no-trust-remote-code", "--trust"),
    *("--trust-remote-code=1", "-trust-remote-code", "--middleware", "--mi", "--mid=a.b", "--middlewares", "--model"),
    *(
        "--tool-server",
        "--tool_s",
        "--tool-call-parser",
        "--tool",
        "--allowed-media-domains",
        "--allowed-med=a.example",
        "--allowed-m=x",
    ),
    *("--allowed-media-domains=none.invalid", "--allowed-methods", "--allowed-local-media-path", "none.invalid"),
    *("a.example", "x", "-O2", "sh", "-c", "vllm serve x --trust-remote-code;", "echo '--trust-remote-code'", ""),
    *(
        "exec vllm --seed=1 --mid a",
        "[--tool-server]",
        '{"a": "--middleware"}',
        "a--middleware",
        "--trust-remote-code\n",
    ),
]


def _value_from(name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


FINE_ENV = st.sampled_from([{"name": "HOME", "value": "/tmp"}, {"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "A"}])  # noqa: S108
WILD_ENV = st.one_of(
    st.builds(lambda name, value: {"name": name, "value": value}, st.sampled_from(_SWITCHES), st.sampled_from(_VALUES)),
    st.builds(lambda value: {"name": "ARGS", "value": value}, st.sampled_from(_OPTIONS)),
    st.builds(_value_from, st.sampled_from(_SWITCHES)),
)
FINE_ARGUMENTS = st.sampled_from([["--port", "1"], ["-c", "exec x"], ["--allowed-media-domains", "none.invalid", "-v"]])
WILD_ARGUMENTS = st.lists(st.sampled_from(_OPTIONS), max_size=4)

_KEYS = [
    *(
        "node.kubernetes.io/not-ready",
        "nvidia.com/gpu",
        "bailiwick.dev",
        "bailiwick.dev/quarantine",
        "a.bailiwick.dev/b",
    ),
    *("bailiwick.development/x", "bailiwick.dev.node-restriction.kubernetes.io/health", "dedicated"),
]
_EFFECTS: Strategy = st.sampled_from([{}, {"effect": "NoSchedule"}, {"effect": "NoExecute"}])
FINE_TOLERATION = st.just({"key": "nvidia.com/gpu", "operator": "Exists"})
WILD_TOLERATION = st.one_of(
    _EFFECTS.map(lambda effect: {"operator": "Exists", **effect}),
    st.builds(lambda key, effect: {"key": key, "operator": "Exists", **effect}, st.sampled_from(_KEYS), _EFFECTS),
    st.builds(lambda key, effect: {"key": key, "value": "x", **effect}, st.sampled_from(_KEYS), _EFFECTS),
)

FINE_SECURITY: Strategy = st.sampled_from([None, {}, {"privileged": False}, {"capabilities": {"drop": ["ALL"]}}])
_CAPABILITIES = ["NET_ADMIN", "SYS_ADMIN", "CAP_SYS_ADMIN", "IPC_LOCK", "ALL", "SYS_NICE", "cap_bpf", "DAC_READ_SEARCH"]
WILD_SECURITY: Strategy = st.one_of(
    FINE_SECURITY,
    st.just({"privileged": True}),
    st.lists(st.sampled_from(_CAPABILITIES), max_size=2).map(lambda names: {"capabilities": {"add": names}}),
)
FINE_PORTS: Strategy = st.sampled_from([None, [], [{"containerPort": 80}]])
WILD_PORTS: Strategy = st.sampled_from([None, [{"containerPort": 80}], [{"containerPort": 80, "hostPort": 80}]])

FINE_CALL: Strategy = st.sampled_from([None, {"httpGet": {"port": 80}}, {"tcpSocket": {"port": 80}}])
WILD_CALL: Strategy = st.sampled_from(
    [None, {"httpGet": {"port": 80, "host": "a.example"}}, {"tcpSocket": {"port": 80, "host": "10.0.0.1"}}]
)

_FOLDERS = ["/srv/models", "/srv/models/", "/srv/models/a", "/srv/models-2", "/srv", "/srv//models", "/", "/etc", "srv"]
FINE_VOLUME: Strategy = st.sampled_from([{"emptyDir": {}}, {"configMap": {"name": "any"}}])


def _ephemeral(storage_class: str | None) -> dict[str, Any]:
    claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim |= {} if storage_class is None else {"storageClassName": storage_class}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


WILD_VOLUME: Strategy = st.one_of(
    st.sampled_from(_FOLDERS).map(lambda path: {"hostPath": {"path": path}}),
    *([WILD_IMAGE.map(lambda name: {"image": {"reference": name}})] if IMAGE_VOLUMES else []),
    st.sampled_from(["fast", "slow", "", None]).map(_ephemeral),
    st.sampled_from(["fast", "files.csi.example"]).map(lambda driver: {"csi": {"driver": driver}}),
    st.sampled_from([{"nfs": {"server": "a.example", "path": "/"}}, {"glusterfs": {"endpoints": "a", "path": "b"}}]),
    FINE_VOLUME,
)

COPYING: list[dict[str, Any]] = [
    *({}, {}, {}),
    *({"args": ["x"]}, {"env": []}, {"command": ["/run"]}, {"volumeMounts": []}, {"restartPolicy": "Always"}),
]
"""What an init container that copies a model out of its image may have of its own."""

ASPECTS = (
    *("image", "env", "arguments", "security", "ports", "calls", "volumes", "tolerations", "scheduler", "host", "node"),
    *("selector", "affinity", "mirror"),
)


def _affinity(label: str, inside: str, abroad: str) -> Strategy:
    key = st.sampled_from([label, "kubernetes.io/hostname"])
    values = st.lists(st.sampled_from(["resident", "foreign", inside, abroad]), min_size=1, max_size=2)
    expression = st.one_of(
        st.builds(
            lambda key, operator, values: {"key": key, "operator": operator, "values": values},
            key, st.sampled_from(["In", "NotIn"]), values,
        ),
        st.builds(
            lambda key, operator: {"key": key, "operator": operator}, key, st.sampled_from(["Exists", "DoesNotExist"])
        ),
    )  # fmt: skip
    terms = st.lists(st.lists(expression, min_size=1, max_size=2), min_size=1, max_size=2)

    def wrapped(made: list[list[Any]]) -> dict[str, Any]:
        listed = [{"matchExpressions": each} for each in made]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": listed}}
        return {"nodeAffinity": required}

    return terms.map(wrapped)


@st.composite
def _container(draw: st.DrawFn, name: str, wild: frozenset[str], volumes: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "image": draw(WILD_IMAGE if "image" in wild else FINE_IMAGE)}
    made["env"] = draw(st.lists(WILD_ENV if "env" in wild else FINE_ENV, max_size=3))
    made[draw(st.sampled_from(["args", "command"]))] = draw(WILD_ARGUMENTS if "arguments" in wild else FINE_ARGUMENTS)
    security = draw(WILD_SECURITY if "security" in wild else FINE_SECURITY)
    if security is not None:
        made["securityContext"] = security
    mounted = draw(st.lists(st.sampled_from(volumes), unique=True)) if volumes else []
    made["volumeMounts"] = [
        {"name": each, "mountPath": f"/{each}", **draw(st.sampled_from([{}, {"readOnly": True}, {"readOnly": True}]))}
        for each in mounted
    ]
    bare: bool = draw(st.booleans())
    return {key: value for key, value in made.items() if value or not bare}


@st.composite
def _spec(draw: st.DrawFn, wild: frozenset[str]) -> dict[str, Any]:
    """What it carries."""
    kinds = draw(st.lists(WILD_VOLUME if "volumes" in wild else FINE_VOLUME, max_size=2))
    volumes = [{"name": f"v{number}", **kind} for number, kind in enumerate(kinds)]
    names = [str(volume["name"]) for volume in volumes]
    made: dict[str, Any] = {"containers": [draw(_container("main", wild, names))], "terminationGracePeriodSeconds": 0}
    if draw(st.booleans()):
        made["initContainers"] = [draw(_container("first", wild, names))]
    if "image" in wild and draw(st.booleans()):
        copying = copied(draw(WILD_IMAGE), **draw(st.sampled_from(COPYING)))
        made["initContainers"] = [*made.get("initContainers", ()), *copying["initContainers"]]
        volumes += copying["volumes"]
    ports = draw(WILD_PORTS if "ports" in wild else FINE_PORTS)
    if ports is not None:
        draw(st.sampled_from([*made["containers"], *made.get("initContainers", ())]))["ports"] = ports
    call = draw(WILD_CALL if "calls" in wild else FINE_CALL)
    if call is not None:
        hook = draw(st.sampled_from(["livenessProbe", "readinessProbe", "startupProbe", "postStart", "preStop"]))
        main = made["containers"][0]
        main |= {hook: call} if hook.endswith("Probe") else {"lifecycle": {hook: call}}
    made["volumes"] = volumes
    made["tolerations"] = draw(st.lists(WILD_TOLERATION if "tolerations" in wild else FINE_TOLERATION, max_size=2))
    bare: bool = draw(st.booleans())
    return {key: value for key, value in made.items() if value or not bare}


@st.composite
def pods(draw: st.DrawFn, namespace: str, label: str, inside: str, abroad: str) -> dict[str, Any]:
    """A pod that the API server takes as valid; ``label`` is the policy's, the rest names two nodes."""
    wild = frozenset(draw(st.sets(st.sampled_from(ASPECTS), max_size=2)))
    spec = draw(_spec(wild)) | {"nodeSelector": {label: "resident"}}
    if "scheduler" in wild:
        spec["schedulerName"] = draw(st.sampled_from(["default-scheduler", "device-scheduler", "mine"]))
    if "host" in wild:
        spec |= draw(st.dictionaries(st.sampled_from(["hostNetwork", "hostPID", "hostIPC"]), st.booleans(), max_size=2))
    if "node" in wild:
        spec["nodeName"] = draw(st.sampled_from([inside, inside, abroad, "nowhere"]))
    if "selector" in wild:
        values = st.sampled_from(["resident", "foreign"])
        spec["nodeSelector"] = draw(st.dictionaries(st.sampled_from([label, f"{label}x", "disk"]), values))
    if "affinity" in wild:
        spec["affinity"] = draw(_affinity(label, inside, abroad))
    metadata: dict[str, Any] = {"name": "pod", "namespace": namespace}
    if "mirror" in wild:
        metadata["annotations"] = {"kubernetes.io/config.mirror": "0"}
        spec.setdefault("nodeName", inside)  # as validation demands
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
