"""Ways on which data leaves without a pod that moves."""

from collections.abc import Iterable
from typing import Any

from e2e.border.attempts import ADMINISTRATOR, EDITOR, NAMESPACE, Manifest, Row, passes, pod, pods, refused, thing
from e2e.demo.attacks import IMAGE, Attempt

HERE = ("--dry-run=server", "-n", NAMESPACE)
FOREIGN_IMAGE = "registry.example/tools/shell:1"


def paths() -> Iterable[Row]:
    compliant = (passes("a pod", pod()),)
    yield from _access()
    yield from _elsewhere()
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    inside = {**claim, "storageClassName": "standard"}
    claims = [{**claim, "storageClassName": "abroad"}, {**inside, "volumeName": "a-volume"}]
    yield Row(
        49, "volumes elsewhere",
        tuple(
            refused("a claim", thing("v1", "PersistentVolumeClaim", spec=spec), "bailiwick-storage", reason)
            for spec, reason in zip(claims, ("ClassNotAllowed", "ClassNotAllowed"), strict=True)
        ),
        (passes("the allowed class", thing("v1", "PersistentVolumeClaim", spec=inside)),),
    )  # fmt: skip
    host = [{"name": "host", "hostPath": {"path": "/srv"}}]
    yield Row(51, "what a host leaves behind", pods("hostPath", "HostAccess", [pod(volumes=host)]), compliant)
    strange = {"name": "strange", "image": FOREIGN_IMAGE}
    volume = {"name": "image", "image": {"reference": FOREIGN_IMAGE}}
    yield Row(
        52, "images from anywhere",
        pods("an image", "ImageNotAllowed", [
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
        yield Row(number, title, pods(variable["name"], "ForbiddenEnvironment", opened), (passes("closed", closed),))
    tools = [
        pod(container={"args": ["--tool-server", "tools.example"]}),
        pod(container={"args": ["--trust-remote-code"]}),
    ]
    yield Row(55, "a server that fetches", pods("arguments", "ForbiddenArgument", tools), compliant)
    network = [pod(hostNetwork=True), pod(hostPID=True)]
    egress = {"podSelector": {}, "policyTypes": ["Egress"]}
    neighbours: list[Manifest] = [{"to": [{"podSelector": {}}]}]
    anywhere = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, {}, {"to": [{"namespaceSelector": {}}]}]
    yield Row(
        57, "general egress",
        (
            *pods("hostNetwork", "HostAccess", network),
            *(
                refused(
                    "a way out", thing("networking.k8s.io/v1", "NetworkPolicy", spec={**egress, "egress": [rule]}),
                    "bailiwick-networks", "EgressNotAllowed",
                )
                for rule in anywhere
            ),
            Attempt(
                name="the closing one goes", who=EDITOR, command=("delete", "netpol", "bailiwick-closed", *HERE),
                stopped_by="bailiwick-networks", reason="OperatorOnly",
            ),
        ),
        (
            *compliant,
            passes(
                "the same namespace",
                thing("networking.k8s.io/v1", "NetworkPolicy", spec={**egress, "egress": neighbours}),
            ),
        ),
    )  # fmt: skip
    port = {"ports": [{"port": 80}], "selector": {"app": "a"}}
    services = [
        {**port, "type": "LoadBalancer"}, {**port, "type": "NodePort"}, {**port, "externalIPs": ["192.0.2.1"]},
        {"type": "ExternalName", "externalName": "abroad.example"},
    ]  # fmt: skip
    yield Row(
        58, "services that leave",
        tuple(
            refused("a Service", thing("v1", "Service", spec=spec), "bailiwick-services", "ServiceNotAllowed")
            for spec in services
        ),
        (passes("ClusterIP", thing("v1", "Service", spec=port)),),
    )  # fmt: skip
    slice_ = thing(
        "discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4",
        endpoints=[{"addresses": ["192.0.2.1"]}], ports=[{"port": 80}],
    )  # fmt: skip
    yield Row(
        59, "endpoints by hand",
        (refused("a slice", slice_, "bailiwick-endpoints", "EndpointNotAllowed", who=ADMINISTRATOR),),
        compliant,
    )  # fmt: skip
    backend = {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}
    allowed = {**backend, "ingressClassName": "inside"}
    yield Row(
        60, "TLS ends abroad",
        tuple(
            refused(
                "an Ingress", thing("networking.k8s.io/v1", "Ingress", spec=spec), "bailiwick-ingresses",
                "ClassNotAllowed",
            )
            for spec in (backend, {**backend, "ingressClassName": "abroad"})
        ),
        (passes("the allowed class", thing("networking.k8s.io/v1", "Ingress", spec=allowed)),),
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


def _elsewhere() -> Iterable[Row]:
    """Copies: of the work in another cluster, of the data in a snapshot."""
    spread = {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]}
    template = {"spec": {"restartPolicy": "Never", "containers": pod()["spec"]["containers"]}}
    queued: dict[str, Any] = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}}
    yield Row(
        28, "a copy in another cluster",
        (
            refused(
                "Karmada", thing("policy.karmada.io/v1alpha1", "PropagationPolicy", spec=spread),
                "bailiwick-propagation", "Propagation", who=ADMINISTRATOR,
            ),
            refused(
                "MultiKueue",
                thing(
                    "batch/v1", "Job", **queued, spec={"template": template, "managedBy": "kueue.x-k8s.io/multikueue"}
                ),
                "bailiwick-propagation", "Propagation",
            ),
        ),
        (
            passes(
                "Karmada elsewhere",
                thing(
                    "policy.karmada.io/v1alpha1", "PropagationPolicy", metadata={"namespace": "default"}, spec=spread
                ),
                who=ADMINISTRATOR,
            ),
            passes("a queue of this cluster", thing("batch/v1", "Job", **queued, spec={"template": template})),
        ),
    )  # fmt: skip
    source = {"source": {"persistentVolumeClaimName": "data"}}
    snapshots = [
        thing("snapshot.storage.k8s.io/v1", "VolumeSnapshot", spec=source | more)
        for more in ({}, {"volumeSnapshotClassName": "abroad"})
    ]
    listed = thing(
        "snapshot.storage.k8s.io/v1", "VolumeSnapshot", spec=source | {"volumeSnapshotClassName": "standard"}
    )
    yield Row(
        50, "snapshots elsewhere",
        tuple(
            refused("a snapshot", each, "bailiwick-storage", "ClassNotAllowed", who=ADMINISTRATOR)
            for each in snapshots
        ),
        (passes("the allowed class", listed, who=ADMINISTRATOR),),
    )  # fmt: skip
