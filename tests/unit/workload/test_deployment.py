"""The pods of a model, in sentences; tests/golden/workload shows them whole."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.workload.layout import DRAIN_SECONDS, GRACE_SECONDS, PRE_STOP_SECONDS
from tests.unit.workload.given import accelerator, child, engine, gpus, model, node, plan, pod, policy


def test_a_rollout_never_drops_below_what_runs() -> None:
    strategy = child(plan(model()), "Deployment")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_replicas_are_the_models_so_that_its_scale_subresource_works() -> None:
    assert child(plan(model(replicas=3)), "Deployment")["spec"]["replicas"] == 3


def test_nothing_that_is_not_the_pods_changes_its_template() -> None:
    """Not the number of replicas, the generation, another policy's rules, or the state of nodes."""
    calm = plan(model(), nodes=[node()])
    others = [
        plan(model(generation=9, replicas=7, status={"observedGeneration": 8}), nodes=[node()]),
        plan(model(), policies=[policy(allow=["DE", "FR"])], nodes=[node(ready=False)]),
        plan(model(), monitoring_namespace="monitoring"),
    ]
    template = child(calm, "Deployment")["spec"]["template"]
    assert all(child(other, "Deployment")["spec"]["template"] == template for other in others)


def test_the_engine_starts_after_the_seal_and_behind_the_gate() -> None:
    made = pod(plan(model()))
    seal, gate = made["initContainers"]
    assert (seal["name"], seal["command"], "restartPolicy" in seal) == (
        "seal",
        ["/usr/local/bin/wait-until-sealed"],
        False,
    )
    assert (gate["name"], gate["restartPolicy"]) == ("gate", "Always")
    assert "startupProbe" in gate, "the engine starts when the gate answers"
    assert {port["containerPort"] for port in gate["ports"]} == {8080, 8081}
    assert "ports" not in engine(plan(model()))


def test_every_probe_of_the_engine_goes_through_the_gate() -> None:
    container = engine(plan(model()))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": 8081}


def test_stopping_takes_no_request_away() -> None:
    made = pod(plan(model()))
    (container,) = made["containers"]
    assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": PRE_STOP_SECONDS}}
    assert made["terminationGracePeriodSeconds"] == GRACE_SECONDS >= PRE_STOP_SECONDS + DRAIN_SECONDS + 15
    assert f"{DRAIN_SECONDS}" == container["args"][container["args"].index("--shutdown-timeout") + 1]


def test_pods_have_no_token_and_no_service_links() -> None:
    made = pod(plan(model()))
    assert made["automountServiceAccountToken"] is False
    assert made["enableServiceLinks"] is False
    assert made["serviceAccountName"] == "chat"
    assert child(plan(model()), "ServiceAccount")["automountServiceAccountToken"] is False


def test_shared_memory_grows_with_the_devices() -> None:
    def size(made: Any) -> str:
        (volume,) = (each for each in pod(made)["volumes"] if each["name"] == "shared-memory")
        return str(volume["emptyDir"]["sizeLimit"])

    assert size(plan(model())) == "1Gi"
    assert size(plan(model(accelerators={"classes": ["gpu"], "perReplica": 8}), classes=[gpus()])) == "8Gi"


@pytest.mark.parametrize(
    ("source", "volume", "mount"),
    [
        (
            {"oci": {"image": "registry.example/a:1", "pullPolicy": "Always"}},
            {"image": {"reference": "registry.example/a:1", "pullPolicy": "Always"}}, {},
        ),
        (
            {"persistentVolumeClaim": {"claimName": "weights", "path": "a/b"}},
            {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}}, {"subPath": "a/b"},
        ),
        ({"hostPath": {"path": "/srv/a"}}, {"hostPath": {"path": "/srv/a", "type": "Directory"}}, {}),
    ],
)  # fmt: skip
def test_weights_are_mounted_read_only(source: Any, volume: Any, mount: Any) -> None:
    made = plan(model(model={"name": "a", "source": source}))
    assert pod(made)["volumes"][0] == {"name": "model", **volume}
    assert engine(made)["volumeMounts"][0] == {"name": "model", "mountPath": "/model", "readOnly": True, **mount}


def test_pull_secrets_of_all_sources_are_the_pods() -> None:
    def source(*secrets: str) -> dict[str, Any]:
        return {"oci": {"image": "registry.example/a:1", "pullSecrets": list(secrets)}}

    asked = model(model={"name": "a", "source": source("b", "a")}, adapters=[{"name": "x", "source": source("c", "a")}])
    assert pod(plan(asked))["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}, {"name": "c"}]


def test_what_a_device_requires_is_in_the_pod() -> None:
    on = gpus(
        tolerations=[{"key": "vendor.example/gpu", "effect": "NoSchedule"}],
        schedulerName="vendor", runtimeClassName="vendor", nodeSelector={"matchLabels": {"gpu": "a"}},
    )  # fmt: skip
    made = pod(plan(model(accelerators={"classes": ["gpu"]}), classes=[on]))
    assert made["tolerations"] == [{"key": "vendor.example/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert (made["schedulerName"], made["runtimeClassName"]) == ("vendor", "vendor")
    assert made["nodeSelector"] == {"gpu": "a", "bailiwick.dev.node-restriction.kubernetes.io/health": "resident"}


def test_a_class_cannot_take_a_territorys_label_away() -> None:
    label = "bailiwick.dev.node-restriction.kubernetes.io/health"
    on = accelerator(nodeSelector={"matchLabels": {label: "foreign"}})
    assert pod(plan(model(), classes=[on]))["nodeSelector"] == {label: "resident"}


def test_clients_reach_the_gate_and_nothing_else_and_nothing_leaves() -> None:
    made = plan(model())
    (port,) = child(made, "Service")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, 8080)
    network = child(made, "NetworkPolicy")["spec"]
    assert network["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in network
    assert network["ingress"] == [{"from": [{"podSelector": {}}], "ports": [{"port": 8080, "protocol": "TCP"}]}]


def test_prometheus_reaches_the_metrics_where_it_is_named() -> None:
    _, second = child(plan(model(), monitoring_namespace="monitoring"), "NetworkPolicy")["spec"]["ingress"]
    (peer,) = second["from"]
    assert peer == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert second["ports"] == [{"port": 8081, "protocol": "TCP"}]


def test_a_drain_takes_one_replica_at_a_time_and_broken_ones_at_once() -> None:
    budget = child(plan(model(replicas=1)), "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_every_object_belongs_to_its_model_and_tells_so() -> None:
    made = plan(model())
    for each in made.objects:
        metadata = each["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("SovereignModel", "chat", "u")
        assert owner["controller"] is owner["blockOwnerDeletion"] is True
        assert metadata["labels"] == {
            "app.kubernetes.io/managed-by": "bailiwick", "app.kubernetes.io/name": "vllm",
            "app.kubernetes.io/instance": "chat", "bailiwick.dev/model": "chat",
        }  # fmt: skip
    assert child(made, "Deployment")["spec"]["selector"] == {"matchLabels": {"bailiwick.dev/model": "chat"}}
