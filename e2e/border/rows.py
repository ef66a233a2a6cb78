"""The ways around a border that a naive operator draws, each as somebody would try it, with its compliant variant.

The numbers are those of the catalogue in docs/border.md. ``attempts`` must be refused by the named policy with the
named reason; ``controls`` are the same deeds done properly, and must pass: nothing is refused for the wrong reason.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from e2e.demo.attacks import ABROAD, IMAGE, INSIDE, Attempt

NAMESPACE = "fortress"
LABEL = f"bailiwick.dev.node-restriction.kubernetes.io/{NAMESPACE}"
EDITOR, ADMINISTRATOR = "erin", "carl"
CREATE = ("create", "--dry-run=server", "-f", "-")
FOREIGN_IMAGE = "registry.example/tools/shell:1"
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One way around."""

    number: int
    title: str
    attempts: tuple[Attempt, ...]
    controls: tuple[Attempt, ...]

    def __str__(self) -> str:
        return f"{self.number:02}-{self.title.replace(' ', '-')}"


def rows() -> tuple[Row, ...]:
    """All rows that one request can decide, by number."""
    return tuple(sorted((*_placement(), *_facts(), *_paths(), *_namespaces()), key=lambda row: row.number))


def pod(name: str = "probe", container: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """A pod that asks for nothing but to run, with the differences that matter."""
    main = {"name": "main", "image": IMAGE, **(container or {})}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [main], **spec}}


def _refused(name: str, manifest: Manifest, by: str, reason: str, who: str = EDITOR) -> Attempt:
    return Attempt(name=name, who=who, command=CREATE, manifest=manifest, stopped_by=by, reason=reason)


def _passes(name: str, manifest: Manifest, who: str = EDITOR) -> Attempt:
    return Attempt(name=name, who=who, command=CREATE, manifest=manifest, stopped_by="", reason="")


def _pods(name: str, reason: str, manifests: Iterable[Manifest]) -> tuple[Attempt, ...]:
    return tuple(_refused(name, manifest, "bailiwick-pods", reason) for manifest in manifests)


def _object(api_version: str, kind: str, **content: Any) -> Manifest:
    metadata = {"name": "probe", "namespace": NAMESPACE, **content.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _binding(node: str) -> Manifest:
    return _object("v1", "Binding", metadata={"name": "held"}, target={"kind": "Node", "name": node})


_HELD = pod("held", schedulingGates=[{"name": "border.example/wait"}])


def _bind(url: str, node: str) -> Attempt:
    """A binding is refused before anybody looks whether the pod is ready for it."""
    path = f"/api/v1/namespaces/{NAMESPACE}/{url}?dryRun=All"
    command = ("create", "--raw", path, "-f", "-")
    return Attempt(
        name="a binding", who=ADMINISTRATOR, command=command, manifest=_binding(node),
        prepare=(_HELD,), stopped_by="bailiwick-bindings", reason="WrongPlace",
    )  # fmt: skip


def _affinity(*terms: Mapping[str, Any], preferred: bool = False) -> Manifest:
    if preferred:
        wish = [{"weight": 100, "preference": term} for term in terms]
        return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wish}}
    asked = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": asked}}


def _term(operator: str, *values: str, key: str = LABEL) -> Manifest:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": values} if values else {})}]}


def _placement() -> Iterable[Row]:
    compliant = (_passes("a pod that asks for nothing", pod()),)
    outside = {LABEL: "foreign"}
    yield Row(
        1, "nodeName at creation",
        _pods("nodeName", "WrongPlace", [pod(nodeName=ABROAD), pod(nodeName="laptop")]),
        (_passes("nodeName inside", pod(nodeName=INSIDE, nodeSelector={LABEL: "resident"})),),
    )  # fmt: skip
    for number, through, url in ((2, "pods/binding", "pods/held/binding"), (3, "bindings", "bindings")):
        yield Row(number, f"a binding through {through}", (_bind(url, ABROAD),), compliant)
    leads_out = [
        pod(nodeSelector=outside, affinity=_affinity(*terms, preferred=preferred))
        for terms, preferred in (
            ((_term("In", "resident"), _term("In", ABROAD, key="kubernetes.io/hostname")), False),
            ((_term("NotIn", "resident"),), False),
            ((_term("Exists"),), False),
            ((_term("In", ABROAD, key="kubernetes.io/hostname"),), True),
        )
    ]
    yield Row(4, "ORed affinity terms", _pods("terms", "NotPinned", leads_out[:1]), compliant)
    yield Row(5, "weak operators", _pods("operators", "NotPinned", leads_out[1:3]), compliant)
    yield Row(6, "preferred affinity only", _pods("a preference", "NotPinned", leads_out[3:]), compliant)
    yield Row(7, "a plain pod beside the model", _pods("outside", "NotPinned", [pod(nodeSelector=outside)]), compliant)
    wildcard = {"operator": "Exists"}
    quarantine = {"key": "bailiwick.dev/quarantine", "operator": "Exists"}
    yield Row(
        10, "tolerations of everything",
        _pods("tolerations", "ForbiddenToleration", [pod(tolerations=[each]) for each in (wildcard, quarantine)]),
        (_passes("one taint by name", pod(tolerations=[{"key": "example.com/gpu", "operator": "Exists"}])),),
    )  # fmt: skip
    mirror = pod(nodeName=INSIDE)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "0" * 32}
    yield Row(
        12, "the mirror of a static pod",
        (_refused("a mirror", mirror, "bailiwick-pods", "MirrorPod", who=ADMINISTRATOR),),
        compliant,
    )  # fmt: skip
    yield Row(
        13, "a scheduler of one's own",
        _pods("schedulerName", "ForbiddenScheduler", [pod(schedulerName="mine")]),
        (_passes("Kubernetes' own", pod(schedulerName="default-scheduler")),),
    )  # fmt: skip


def _facts() -> Iterable[Row]:
    resident = f"{LABEL}=resident"
    kubelet = {"who": f"system:node:{ABROAD}", "groups": ("system:nodes", "system:authenticated")}
    topology = (
        "label",
        "--dry-run=server",
        "--overwrite",
        "node",
        ABROAD,
        "topology.kubernetes.io/region=eu-central-1",
    )
    believed_by_nobody = Attempt(name="its own region", command=topology, stopped_by="", reason="", **kubelet)  # type: ignore[arg-type]
    label = ("label", "--dry-run=server", "--overwrite", "node", ABROAD, resident)
    yield Row(
        18, "a kubelet that says it is inside",
        (Attempt(name="label", command=label, stopped_by="is not allowed to modify labels", reason=LABEL, **kubelet),),  # type: ignore[arg-type]
        (believed_by_nobody,),
    )  # fmt: skip
    through = [("nodes", ()), ("nodes/status", ("--subresource=status",))]
    patch = json.dumps({"metadata": {"labels": {LABEL: "resident"}}})
    yield Row(
        20, "an editor of nodes",
        tuple(
            Attempt(
                name=f"through {url}", who=ADMINISTRATOR, stopped_by="bailiwick-nodes", reason="ProtectedLabel",
                command=("patch", "node", ABROAD, "--dry-run=server", "--type=merge", "-p", patch, *options),
            )
            for url, options in through
        ),
        (Attempt(
            name="another label", who=ADMINISTRATOR, stopped_by="", reason="",
            command=("label", "--dry-run=server", "node", ABROAD, "example.com/rack=7"),
        ),),
    )  # fmt: skip
    born = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "new", "labels": {LABEL: "resident"}}}
    yield Row(
        17, "a node pool that stamps labels",
        (_refused("a new node with the label", born, "bailiwick-nodes", "ProtectedLabel", who=ADMINISTRATOR),),
        (_passes("without it", {**born, "metadata": {"name": "new"}}, who=ADMINISTRATOR),),
    )  # fmt: skip
    yield Row(22, "a node that is not there", (_bind("pods/held/binding", "not-yet"),), (_passes("a pod", pod()),))
    spoofed = _binding(ABROAD)
    spoofed["metadata"]["labels"] = {"topology.kubernetes.io/region": "eu-central-1"}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/held/binding?dryRun=All"
    yield Row(
        25, "topology labels as evidence",
        (Attempt(
            name="a binding that says eu-central-1", who=ADMINISTRATOR, command=("create", "--raw", path, "-f", "-"),
            manifest=spoofed, stopped_by="bailiwick-bindings", reason="WrongPlace", prepare=(_HELD,),
        ),),
        (_passes("a pod", pod()),),
    )  # fmt: skip


def _paths() -> Iterable[Row]:
    compliant = (_passes("a pod", pod()),)
    yield from _access()
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    inside = {**claim, "storageClassName": "standard"}
    claims = [{**claim, "storageClassName": "abroad"}, {**inside, "volumeName": "a-volume"}]
    yield Row(
        49, "volumes elsewhere",
        tuple(
            _refused("a claim", _object("v1", "PersistentVolumeClaim", spec=spec), "bailiwick-storage", reason)
            for spec, reason in zip(claims, ("ClassNotAllowed", "ClassNotAllowed"), strict=True)
        ),
        (_passes("the allowed class", _object("v1", "PersistentVolumeClaim", spec=inside)),),
    )  # fmt: skip
    host = [{"name": "host", "hostPath": {"path": "/srv"}}]
    yield Row(51, "what a host leaves behind", _pods("hostPath", "HostAccess", [pod(volumes=host)]), compliant)
    strange = {"name": "strange", "image": FOREIGN_IMAGE}
    volume = {"name": "image", "image": {"reference": FOREIGN_IMAGE}}
    yield Row(
        52, "images from anywhere",
        _pods("an image", "ImageNotAllowed", [
            pod(container={"image": FOREIGN_IMAGE}), pod(initContainers=[strange]), pod(volumes=[volume]),
            pod(container={"image": IMAGE.replace("localhost/", "localhost.example/")}),
        ]),
        compliant,
    )  # fmt: skip
    for number, title, variable in (
        (53, "weights from a hub", {"name": "HF_HUB_OFFLINE", "value": "0"}),
        (54, "usage statistics", {"name": "VLLM_NO_USAGE_STATS", "value": "0"}),
    ):
        opened = [pod(container={"env": [variable]})]
        closed = pod(container={"env": [{**variable, "value": "1"}]})
        yield Row(number, title, _pods(variable["name"], "ForbiddenEnvironment", opened), (_passes("closed", closed),))
    tools = [
        pod(container={"args": ["--tool-server", "tools.example"]}),
        pod(container={"args": ["--trust-remote-code"]}),
    ]
    yield Row(55, "a server that fetches", _pods("arguments", "ForbiddenArgument", tools), compliant)
    network = [pod(hostNetwork=True), pod(hostPID=True)]
    yield Row(57, "the host's network", _pods("hostNetwork", "HostAccess", network), compliant)
    port = {"ports": [{"port": 80}], "selector": {"app": "a"}}
    services = [
        {**port, "type": "LoadBalancer"}, {**port, "type": "NodePort"}, {**port, "externalIPs": ["192.0.2.1"]},
        {"type": "ExternalName", "externalName": "abroad.example"},
    ]  # fmt: skip
    yield Row(
        58, "services that leave",
        tuple(
            _refused("a Service", _object("v1", "Service", spec=spec), "bailiwick-services", "ServiceNotAllowed")
            for spec in services
        ),
        (_passes("ClusterIP", _object("v1", "Service", spec=port)),),
    )  # fmt: skip
    slice_ = _object(
        "discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4",
        endpoints=[{"addresses": ["192.0.2.1"]}], ports=[{"port": 80}],
    )  # fmt: skip
    yield Row(
        59, "endpoints by hand",
        (_refused("a slice", slice_, "bailiwick-endpoints", "EndpointNotAllowed", who=ADMINISTRATOR),),
        compliant,
    )  # fmt: skip
    backend = {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}
    allowed = {**backend, "ingressClassName": "inside"}
    yield Row(
        60, "TLS ends abroad",
        tuple(
            _refused(
                "an Ingress", _object("networking.k8s.io/v1", "Ingress", spec=spec), "bailiwick-ingresses",
                "ClassNotAllowed",
            )
            for spec in (backend, {**backend, "ingressClassName": "abroad"})
        ),
        (_passes("the allowed class", _object("networking.k8s.io/v1", "Ingress", spec=allowed)),),
    )  # fmt: skip


def _access() -> Iterable[Row]:
    """Connections into a pod, by an administrator: a tenant may not even have the verb."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/open"
    ways = (
        ("exec", "open", "-n", NAMESPACE, "--", "true"),
        ("attach", "open", "-n", NAMESPACE),
        ("get", "--raw", f"{path}/portforward"),  # kubectl itself waits for a pod that runs
        ("get", "--raw", f"{path}/proxy/"),
    )
    yield Row(
        45, "a terminal from abroad",
        tuple(
            Attempt(
                name=way[0], who="admin", command=way, stopped_by="bailiwick-access", reason="AccessDenied",
                prepare=(pod("open"),),
            )
            for way in ways
        ),
        (Attempt(name="the pod itself", who="admin", command=("get", "--raw", path), stopped_by="", reason=""),),
    )  # fmt: skip


def _namespaces() -> Iterable[Row]:
    leave = ("label", "--dry-run=server", "namespace", NAMESPACE, "data-")
    born = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "born", "labels": {"data": NAMESPACE}}}
    yield Row(
        34, "a namespace that leaves its policy",
        (
            Attempt(
                name="leave", who=ADMINISTRATOR, command=leave, stopped_by="bailiwick-namespaces",
                reason="ProtectedLabel",
            ),
            _refused("join", born, "bailiwick-namespaces", "ProtectedLabel", who=ADMINISTRATOR),
        ),
        (Attempt(
            name="another label", who=ADMINISTRATOR, stopped_by="", reason="",
            command=("label", "--dry-run=server", "namespace", NAMESPACE, "team=a"),
        ),),
    )  # fmt: skip
