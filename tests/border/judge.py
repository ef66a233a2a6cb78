"""An independent judge of pods: what the rules of the border mean, in Python, by somebody who has not read the CEL.

It knows pods and Territories as plain manifests and shares no code with the operator. Where the API server compares
strings, the judge takes things apart: an image into its components, a path into folders, a command line into options as
argparse resolves them, a toleration into the taints that it tolerates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Spec = dict[str, Any]

OUR_DOMAINS = ("bailiwick.dev", "bailiwick.dev.node-restriction.kubernetes.io")
# Linux capabilities by which a container takes over its node.
POWERS = {"ALL", "BPF", "DAC_READ_SEARCH", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"}
# Kinds of volumes that stay in the pod, hold what the API has, or are judged by another rule.
HARMLESS = {"emptyDir", "configMap", "secret", "downwardAPI", "projected", "persistentVolumeClaim", "hostPath", "image"}
# What copies the files of an image: every name at its root but those that container runtimes make.
COPIER = "/.bailiwick"
COPYING = (
    "copy=/.bailiwick/tools/busybox; files=/.bailiwick/files; $copy rm -rf $files/* $files/.[!.]*; for each in /* "
    "/.[!.]*; do case $each in /.bailiwick|/.dockerenv|/dev|/etc|/proc|/run|/sys|/var|'/*'|'/.[!.]*') ;; *) $copy cp "
    '-R "$each" $files/ ;; esac; done'
)
TRUE = {"1", "true", "yes", "on"}
MUST_BE_ON = {"DO_NOT_TRACK", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
MUST_BE_OFF = {"VLLM_USE_MODELSCOPE": {"false"}, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": {"false"}}
MUST_BE_ZERO = {"VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_INSECURE_SERIALIZATION"}
MUST_NOT_BE = {"HF_ENDPOINT", "VLLM_USAGE_STATS_SERVER"}
# Options of vLLM with a beginning in common with a dangerous one, so that argparse cannot guess.
OPTIONS = [
    *("trust-remote-code", "trust-request-chat-template", "trust-request-mm-kwargs"),
    *("middleware", "model", "max-model-len"),
    *("tool-server", "tool-call-parser", "tool-parser-plugin"),
    *("allowed-media-domains", "allowed-local-media-path", "allowed-origins", "allowed-methods", "allowed-headers"),
]
DANGEROUS = {"trust-remote-code", "middleware", "tool-server", "allowed-media-domains"}
MEDIA = "--allowed-media-domains"
NOWHERE = "none.invalid"


def judge(pod: Mapping[str, Any], territory: Mapping[str, Any]) -> set[str]:
    """Every reason to refuse a pod (a manifest as it is submitted) under a Territory's spec; empty when it may run."""
    spec = pod["spec"]
    verdicts = {
        "MirrorPod": "kubernetes.io/config.mirror" in pod["metadata"].get("annotations", {}),
        "WrongPlace": "nodeName" in spec and spec["nodeName"] not in territory["nodes"],
        "NotPinned": not is_pinned(spec.get("nodeSelector", {}), territory["nodeSelector"]),
        "ForbiddenToleration": any(tolerates_too_much(each) for each in spec.get("tolerations", ())),
        "ForbiddenScheduler": spec.get("schedulerName", "default-scheduler") not in territory["schedulers"],
        "HostAccess": reaches_the_node(spec, territory),
        "ClassNotAllowed": any(lives_elsewhere(each, territory) for each in spec.get("volumes", ())),
        "ForbiddenEnvironment": any(opens(variable) for each in containers(spec) for variable in each.get("env", ())),
        "ForbiddenArgument": any(has_dangerous_words(each) for each in containers(spec)),
        **judge_images(spec, territory),
    }
    return {reason for reason, refused in verdicts.items() if refused}


def containers(spec: Spec) -> Iterator[Spec]:
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        yield from spec.get(kind, ())


def is_pinned(selected: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return bool(wanted) and wanted == {label: selected.get(label) for label in wanted}


def tolerates_too_much(toleration: Mapping[str, Any]) -> bool:
    """Taints that nobody thought of when the pod was written, or those by which we keep pods away."""
    domain, slash, _ = toleration.get("key", "").partition("/")
    return not toleration.get("key") or (slash == "/" and domain in OUR_DOMAINS)


# The host


def reaches_the_node(spec: Spec, territory: Mapping[str, Any]) -> bool:
    if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
        return True
    if any(port.get("hostPort", 0) for each in containers(spec) for port in each.get("ports", ())):
        return True
    if any(_calls_elsewhere(each) for each in containers(spec)):
        return True
    for each in containers(spec):
        security = each.get("securityContext", {})
        powers = {name.upper().removeprefix("CAP_") for name in security.get("capabilities", {}).get("add", ())}
        if security.get("privileged") or powers & POWERS:
            return True
    return any(
        not _is_a_folder_of_models(volume["hostPath"]["path"], territory) or _is_writable(volume["name"], spec)
        for volume in spec.get("volumes", ())
        if "hostPath" in volume
    )


def _calls_elsewhere(container: Mapping[str, Any]) -> bool:
    actions = [container.get(probe, {}) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    actions += container.get("lifecycle", {}).values()
    return any(action.get(way, {}).get("host") for action in actions for way in ("httpGet", "tcpSocket"))


def _is_a_folder_of_models(path: str, territory: Mapping[str, Any]) -> bool:
    parts = path.split("/")
    return any(_continues(parts, folder.split("/")) for folder in _sources("hostpath", territory))


def _is_writable(volume: str, spec: Spec) -> bool:
    mounts = (mount for each in containers(spec) for mount in each.get("volumeMounts", ()))
    return not all(mount.get("readOnly", False) for mount in mounts if mount["name"] == volume)


def _sources(scheme: str, territory: Mapping[str, Any]) -> list[str]:
    sources = territory.get("models", {}).get("sources", [])
    return [rest for found, _, rest in (source.partition("://") for source in sources) if found == scheme]


def _continues(parts: Sequence[str], prefix: Sequence[str]) -> bool:
    """Whether a path goes on from another, folder by folder. One that ends with a slash does not stand for itself."""
    if prefix[-1] == "" and len(prefix) > 1:
        return len(parts) >= len(prefix) and list(parts[: len(prefix) - 1]) == list(prefix[:-1])
    return list(parts[: len(prefix)]) == list(prefix)


# Volumes


def lives_elsewhere(volume: Mapping[str, Any], territory: Mapping[str, Any]) -> bool:
    """Whether the pod itself says on which server, disk or driver its data lives, and nobody listed that."""
    (kind,) = volume.keys() - {"name"}
    listed = territory.get("storage", {}).get("classes")
    if kind == "csi":
        return listed is not None and volume["csi"]["driver"] not in listed
    if kind == "ephemeral":
        asked = volume["ephemeral"]["volumeClaimTemplate"]["spec"].get("storageClassName")
        return listed is not None and asked is not None and asked not in listed
    return kind not in HARMLESS


# Images


@dataclass(frozen=True, slots=True)
class Image:
    """A reference, taken apart as container runtimes do. Without a registry, each of them thinks of its own."""

    registry: str | None
    path: tuple[str, ...]
    has_digest: bool

    @classmethod
    def read(cls, reference: str) -> Image:
        name, _, digest = reference.partition("@")
        parts = name.split("/")
        parts[-1] = parts[-1].partition(":")[0] if len(parts) > 1 else parts[-1]
        first = parts[0]
        known = len(parts) > 1 and (first == "localhost" or "." in first or ":" in first)
        whole = re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is not None
        return cls(first if known else None, tuple(parts[1:] if known else parts), whole)

    def is_from(self, prefixes: Iterable[str]) -> bool:
        if self.registry is None:
            return False
        parts = [self.registry, *self.path]
        return any(_continues(parts, prefix.split("/")) for prefix in prefixes)


def only_copies(container: Mapping[str, Any], spec: Spec) -> bool:
    """Whether an init container copies the files of its image with a program from elsewhere, and does nothing else."""
    scratch = {volume["name"] for volume in spec.get("volumes", ()) if "emptyDir" in volume}
    allowed = {"name", "image", "imagePullPolicy", "command", "env", "volumeMounts", "securityContext", "resources"}
    mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", ())}
    program = mounts.get("/.bailiwick/tools", {})
    words = {
        each["name"]: each.get("value") for each in container.get("env", ()) if not each["name"].startswith("LWS_")
    }
    return (
        container.keys() <= allowed | {"terminationMessagePolicy"}
        and container.get("command", []) == [f"{COPIER}/tools/busybox", "sh", "-ec", COPYING]
        and words == {"LC_ALL": "C"}
        and mounts.keys() <= {"/.bailiwick/tools", "/.bailiwick/files", "/var/run/secrets/kubernetes.io/serviceaccount"}
        and program.get("name") in scratch
        and not {"subPath", "subPathExpr"} & program.keys()
    )


def judge_images(spec: Spec, territory: Mapping[str, Any]) -> dict[str, bool]:
    asked, models = territory.get("images"), territory.get("models")
    if asked is None:
        return {}
    foreign = loose = False
    copies = [each for each in spec.get("initContainers", ()) if only_copies(each, spec)]
    for each in containers(spec):
        if each in copies:
            continue
        image = Image.read(each["image"])
        foreign |= not image.is_from(asked["registries"])
        loose |= asked["requireDigest"] and not image.has_digest
    held = [volume["image"]["reference"] for volume in spec.get("volumes", ()) if "image" in volume]
    for reference in (*held, *(each["image"] for each in copies)):
        image = Image.read(reference)
        ways = [asked["requireDigest"]] if image.is_from(asked["registries"]) else []
        ways += [models["requireDigest"]] if models and image.is_from(_sources("oci", territory)) else []
        foreign |= not ways
        loose |= not image.has_digest and all(ways)
    return {"ImageNotAllowed": foreign, "DigestRequired": loose}


# Engines


def opens(variable: Mapping[str, Any]) -> bool:
    name, value = variable["name"], variable.get("value", "").lower()
    if name in MUST_BE_ON:
        closed = value in TRUE
    elif name in MUST_BE_OFF:
        closed = value in MUST_BE_OFF[name] | {"", "0"}
    elif name in MUST_BE_ZERO:
        closed = value in {"", "0"}
    elif name == "VLLM_NO_USAGE_STATS":
        closed = value == "1"
    else:
        return name in MUST_NOT_BE
    return not closed or "valueFrom" in variable


def has_dangerous_words(container: Spec) -> bool:
    """Whether vLLM would find a dangerous option in the command line, in a shell's words in it, or in a variable."""
    line = _without_media_from_nowhere([*container.get("command", ()), *container.get("args", ())])
    values = [variable.get("value", "") for variable in container.get("env", ())]
    return any(option_of(word) in DANGEROUS for text in [*line, *values] for word in _words(text))


def option_of(word: str) -> str | None:
    """The option that argparse takes a word for: itself, or the only one that begins like it."""
    if not word.startswith("--"):
        return None
    asked = word.removeprefix("--").partition("=")[0].partition(".")[0].replace("_", "-")
    found = [option for option in OPTIONS if asked and option.startswith(asked)]
    return found[0] if len(found) == 1 else None


def _words(text: str) -> list[str]:
    return re.split(r"""[\s"'`;&|()\[\],]+""", text)


def _without_media_from_nowhere(arguments: Sequence[str]) -> list[str]:
    """The arguments without the list of media domains, when it holds none but the one that nobody has."""
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        values = rest[1:]
        end = next((at for at, value in enumerate(values) if value.startswith("-")), len(values))
        if rest[0] == MEDIA and values[:end] == [NOWHERE]:
            rest = values[end:]
        else:
            kept.append(rest.pop(0))
    return kept


# Where a scheduler may put a pod


@dataclass(frozen=True, slots=True)
class Place:
    """A node, as far as a scheduler asks."""

    name: str
    labels: Mapping[str, str]


def may_run_on(spec: Spec, node: Place) -> bool:
    """What kube-scheduler's NodeAffinity plug-in answers; a pod that names its node is not asked about."""
    if "nodeName" in spec:
        return bool(spec["nodeName"] == node.name)
    if any(node.labels.get(label) != value for label, value in spec.get("nodeSelector", {}).items()):
        return False
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(
        all(_meets(expression, node.labels) for expression in term["matchExpressions"])
        for term in required["nodeSelectorTerms"]
    )


def _meets(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", [])
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
