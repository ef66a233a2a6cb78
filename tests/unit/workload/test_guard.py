"""A model's keys, tokens, certificates and limits reach the gate, and nothing else of the pod."""

from __future__ import annotations

from typing import Any

from bailiwick.workload.service import endpoint
from tests.unit.workload.given import child, model, plan

SERVING: dict[str, Any] = {
    "authentication": {
        "apiKeysSecret": "keys",
        "tokenIssuer": {"issuer": "https://login.example", "audiences": ["chat"], "keysSecret": "login"},
    },
    "tls": {"secret": "certificate", "clientCASecret": "clients"},
    "limits": {"requestsPerMinute": 60},
}


def pod(**serving: Any) -> dict[str, Any]:
    spec: dict[str, Any] = child(plan(model(serving=serving)), "Deployment")["spec"]["template"]["spec"]
    return spec


def gate(**serving: Any) -> dict[str, Any]:
    return next(each for each in pod(**serving)["initContainers"] if each["name"] == "gate")


def test_a_model_that_asks_for_nothing_has_a_gate_that_is_told_of_its_engine_alone() -> None:
    assert [each["name"] for each in gate()["env"]] == ["ENGINE_KEEPS_CONNECTIONS"]
    assert "volumeMounts" not in gate()
    assert pod() == pod(authentication=None, tls=None, limits=None)


def test_secrets_are_mounted_by_the_gate_alone() -> None:
    spec = pod(**SERVING)
    named = {each["name"]: each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each}
    assert set(named.values()) == {"keys", "login", "certificate", "clients"}
    assert named.keys() <= {mount["name"] for mount in gate(**SERVING)["volumeMounts"]}
    others = [each for each in (*spec["containers"], *spec["initContainers"]) if each["name"] != "gate"]
    assert not named.keys() & {mount["name"] for each in others for mount in each.get("volumeMounts", ())}


def test_a_pod_starts_without_its_secrets_so_that_the_gate_can_say_it() -> None:
    assert all(each["secret"]["optional"] for each in pod(**SERVING)["volumes"] if "secret" in each)


def test_limits_alone_need_no_volume() -> None:
    only = gate(limits={"concurrent": 3})
    assert "volumeMounts" not in only
    assert {"name": "GATE_CONCURRENT_REQUESTS", "value": "3"} in only["env"]
    assert "GATE_REQUESTS_PER_MINUTE" not in {each["name"] for each in only["env"]}


def test_a_value_refers_to_no_other_variable() -> None:
    issuer = {"issuer": "https://$(HOSTNAME)", "audiences": ["$(PATH)"], "keysSecret": "login"}
    told = {each["name"]: each["value"] for each in gate(authentication={"tokenIssuer": issuer})["env"]}
    assert told["GATE_TOKEN_ISSUER"] == "https://$$(HOSTNAME)"
    assert told["GATE_TOKEN_AUDIENCES"] == '["$$(PATH)"]'


def test_with_tls_clients_come_to_443_and_nowhere_else() -> None:
    served = plan(model(serving={"tls": {"secret": "certificate"}}))
    (port,) = child(served, "Service")["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("https", 443, 8080)
    assert endpoint(model(serving={"tls": {"secret": "certificate"}})).startswith("https://")
    assert endpoint(model()).startswith("http://")


def test_a_gate_for_more_clients_has_memory_for_clients_that_read_nothing() -> None:
    """Measured: 352 MB with 1990 clients that let their answers lie, 208 MB with 1000."""

    def most(**serving: Any) -> str:
        memory: str = gate(**serving)["resources"]["limits"]["memory"]
        return memory

    assert most() == most(limits={"connections": 1024}) == most(limits={"connections": 1}) == "256Mi"
    assert most(limits={"connections": 2000}) == "500Mi"
    assert most(tls={"secret": "certificate"}) == "512Mi"
    assert most(tls={"secret": "certificate"}, limits={"connections": 2000}) == "1000Mi"
