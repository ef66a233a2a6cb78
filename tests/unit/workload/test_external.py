"""Models that are served outside: what is refused, what the pods are, and which of them must end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.residency.endpoints import identity_of, judge_endpoint
from bailiwick.residency.policies import compile_residency
from bailiwick.workload.external import ENDPOINT_LABEL, labels, leads_elsewhere
from bailiwick.workload.plan import Settings, plan_workload
from bailiwick.workload.status import Seen, summarise
from tests.unit.api.objects import CERTIFICATE
from tests.unit.workload.given import ATLAS, NOW, child, gpus, model, node, plan, pod, policy

if TYPE_CHECKING:
    from bailiwick.workload.plan import WorkloadPlan

STATEMENT = EndpointStatement.read(
    {
        "metadata": {"name": "mac-1"},
        "spec": {
            "endpoint": {
                "address": "192.0.2.7", "port": 8443, "serverName": "mac-1.models.example",
                "certificateAuthority": CERTIFICATE,
            },
            "place": {"jurisdiction": "DE-BE"},
            "issuedAt": "2026-11-01T00:00:00Z",
            "expiresAt": "2027-02-01T00:00:00Z",
        },
    }
)  # fmt: skip
SIX = STATEMENT.model_copy(
    update={
        "spec": STATEMENT.spec.model_copy(
            update={"endpoint": STATEMENT.spec.endpoint.model_copy(update={"address": "2001:db8::7"})}
        )
    }
)
OUTSIDE: dict[str, Any] = {
    "model": {"name": "tiny", "source": {"endpoint": {"statement": "mac-1"}}},
    "engine": {"name": "external"},
}
OPEN = {"egress": [{"cidr": "192.0.2.0/24", "ports": [{"port": 8443}]}]}


def planned(*policies: Any, said: EndpointStatement | None = STATEMENT, **spec: Any) -> WorkloadPlan:
    asked = policies or (policy(spec={"network": OPEN}),)
    served = model(**{**OUTSIDE, **spec})
    own = served.spec.residency
    limits = [*asked, *([compile_residency(own, ATLAS, by="the model")] if own else [])]
    endpoint = judge_endpoint("mac-1", [said] if said else [], limits, NOW)
    return plan(served, policies=asked, nodes=[node()], endpoint=endpoint)


def of_models(**rule: Any) -> Any:
    return policy(spec={"models": {"requireDigest": False, **rule}})


@pytest.mark.parametrize(
    ("policies", "spec", "reason", "says"),
    [
        ([policy(allow=["FR"])], {}, "WrongPlace", "EndpointStatement mac-1: endpoint 192.0.2.7:8443 stands in DE-BE"),
        ([policy(), policy("strict", allow=["FR"])], {}, "WrongPlace", "policy strict"),
        ([policy(assurance="Verified")], {}, "AssuranceTooLow", "as Declared by EndpointStatement mac-1"),
        ([policy()], {"residency": {"place": {"allow": ["DE-HE"]}}}, "WrongPlace", "the model allows DE-HE"),
        ([policy(spec={"network": {"egress": []}})], {}, "EgressNotAllowed", "ask for the address"),
        ([policy(spec={"network": {"egress": [{"cidr": "192.0.2.7/32", "ports": [{"port": 443}]}]}})], {},
         "EgressNotAllowed", "192.0.2.7:8443"),
        ([policy(spec={"network": OPEN}), policy("two", spec={"network": {"egress": []}})], {}, "EgressNotAllowed",
         "health, two"),
        ([of_models(sources=[])], {}, "SourceNotAllowed", "allows models from nowhere"),
        ([of_models(sources=["endpoint://mac"])], {}, "SourceNotAllowed", "endpoint://mac-1"),
        ([of_models(sources=["endpoint://mac-1"], requireDigest=True)], {}, "DigestRequired", "nobody here sees"),
        ([of_models(sources=["endpoint://mac-1"], signedBy=["vendor"])], {}, "SignatureRequired", "signed by one of"),
        ([of_models(sources=["endpoint://mac-1"], licences=["MIT"])], {}, "LicenceNotAllowed", "MIT"),
        ([policy()], {"serving": {"gateway": {"name": "edge", "endpointPicker": {"service": "picker"}}}},
         "UnsupportedFeature", "leave endpointPicker out"),
    ],
)  # fmt: skip
def test_what_may_not_be_served_there_is_refused_with_a_remedy(
    policies: Any, spec: Any, reason: str, says: str
) -> None:
    made = planned(*policies, **spec)
    assert (made.verdict.reason, made.objects, made.endpoint) == (reason, (), None)
    assert says in made.verdict.message


@pytest.mark.parametrize("source", ["endpoint://mac-1", "endpoint://"])
def test_a_policy_that_asks_of_models_must_name_the_endpoint(source: str) -> None:
    assert planned(of_models(sources=[source])).verdict.allowed


def test_a_policy_that_is_not_enforced_refuses_no_source_and_closes_nothing() -> None:
    audited = policy(spec={"mode": "Audit", "models": {"sources": []}, "network": {"egress": []}})
    assert planned(audited).verdict.allowed


def test_without_a_statement_nothing_is_sent() -> None:
    made = planned(said=None)
    assert made.verdict.reason == "EndpointUnknown"
    assert "EndpointStatement mac-1, which is not there" in made.verdict.message


def test_an_ungoverned_namespace_serves_nothing_outside_either() -> None:
    endpoint = judge_endpoint("mac-1", [STATEMENT], (), NOW)
    assert plan(model(**OUTSIDE), policies=[], nodes=[node()], endpoint=endpoint).verdict.reason == "Ungoverned"


def test_a_gate_on_a_node_inside_is_all_that_runs() -> None:
    made = planned()
    spec = pod(made)
    assert [each["name"] for each in (*spec["initContainers"], *spec["containers"])] == ["seal", "gate"]
    assert {each["image"] for each in (*spec["initContainers"], *spec["containers"])} == {"gate"}
    assert spec["nodeSelector"] == {"bailiwick.dev.node-restriction.kubernetes.io/health": "resident"}
    assert "restartPolicy" not in spec["containers"][0]
    assert [each["kind"] for each in made.objects] == [
        "NetworkPolicy", "NetworkPolicy", "ServiceAccount", "PodDisruptionBudget", "Service", "Deployment",
    ]  # fmt: skip


def test_the_classes_of_the_cluster_have_no_say() -> None:
    endpoint = judge_endpoint("mac-1", [STATEMENT], [policy()], NOW)
    made = plan(model(**OUTSIDE), classes=[gpus()], nodes=[node()], endpoint=endpoint)
    assert made.verdict.allowed
    assert made.eligibility.nodes == ("n",)


@pytest.mark.parametrize(("said", "cidr"), [(STATEMENT, "192.0.2.7/32"), (SIX, "2001:db8::7/128")])
def test_one_address_and_port_is_open_to_gates_of_this_server_alone(said: EndpointStatement, cidr: str) -> None:
    made = planned(policy(), said=said)
    shut, way = (each for each in made.objects if each["kind"] == "NetworkPolicy")
    assert "egress" not in shut["spec"]
    assert way["spec"]["egress"] == [
        {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"protocol": "TCP", "port": 8443}]}
    ]
    wanted = {"bailiwick.dev/model": "chat", ENDPOINT_LABEL: identity_of(said.spec.endpoint)}
    assert way["spec"]["podSelector"] == {"matchLabels": wanted}
    template = child(made, "Deployment")["spec"]["template"]
    assert wanted.items() <= template["metadata"]["labels"].items()


def test_the_way_has_a_name_that_no_model_can_have() -> None:
    with pytest.raises(ValueError, match="the name becomes a Service"):
        type(model()).read({"metadata": {"name": "chat.endpoint"}, "spec": OUTSIDE})


def test_the_gate_is_told_by_which_certificate_it_knows_the_server_and_until_when() -> None:
    (gate,) = pod(planned(policy(), said=SIX))["containers"]
    told = {each["name"]: each["value"] for each in gate["env"]}
    assert told == {
        "ENDPOINT_ADDRESS": "[2001:db8::7]:8443",
        "ENDPOINT_NAME": "mac-1.models.example",
        "ENDPOINT_CA": CERTIFICATE,
        "ENDPOINT_UNTIL": "1801440000",
        "ENGINE_HEALTH": "/v1/models",
        "GATE_DRAIN_SECONDS": "60",
    }
    assert {"name": "gate-run", "mountPath": "/run/gate"} in gate["volumeMounts"]


def test_a_model_that_is_served_here_is_told_nothing_of_it() -> None:
    spec = pod(plan(model(), nodes=[node()]))
    assert "ENDPOINT" not in str(spec)
    assert "gate-run" not in str(spec)


def test_the_status_says_where_data_goes() -> None:
    made = planned()
    seen = Seen(manifest={"metadata": {}}, deployment=None, pods=[], facts={}, outside={}, failure=None)
    status = summarise(model(**OUTSIDE), made, seen, now=NOW)
    conditions = {each["type"]: each for each in status["conditions"]}
    assert status["jurisdictions"] == ["DE-BE"]
    assert conditions["Planned"]["message"] == (
        "external; gates lead to 192.0.2.7:8443, which stands in DE-BE (Declared by EndpointStatement mac-1)"
    )
    assert (conditions["Verified"]["status"], conditions["Verified"]["reason"]) == ("Unknown", "NotSeen")


def test_a_refused_model_names_no_place_where_data_would_go() -> None:
    refused = planned(policy(allow=["FR"]))
    seen = Seen(manifest={"metadata": {}}, deployment=None, pods=[], facts={}, outside={}, failure=None)
    status = summarise(model(**OUTSIDE), refused, seen, now=NOW)
    assert status["jurisdictions"] == []
    assert next(each["reason"] for each in status["conditions"] if each["type"] == "Ready") == "WrongPlace"


HERE = labels(judge_endpoint("mac-1", [STATEMENT], (), NOW))
THERE = labels(judge_endpoint("mac-1", [SIX], (), NOW))
EXTERNAL = {"app.kubernetes.io/name": "external"}


@pytest.mark.parametrize(
    ("kind", "labelled", "plan", "ends"),
    [
        ("Pod", {**EXTERNAL, **HERE}, HERE, False),
        ("Pod", {**EXTERNAL, **HERE}, THERE, True),
        ("Pod", {**EXTERNAL, **HERE}, {}, True),
        ("Pod", HERE, {}, True),
        ("Pod", EXTERNAL, HERE, True),
        ("Pod", {"app.kubernetes.io/name": "vllm"}, {}, False),
        ("Pod", {"app.kubernetes.io/name": "vllm"}, HERE, False),
        ("Deployment", {**EXTERNAL, **HERE}, {}, True),
        ("Deployment", {"app.kubernetes.io/name": "vllm"}, HERE, False),
        ("NetworkPolicy", {**EXTERNAL, **HERE}, {}, True),
        ("NetworkPolicy", {**EXTERNAL, **HERE}, HERE, False),
        # The one that shuts all pods of the model.
        ("NetworkPolicy", EXTERNAL, HERE, False),
        ("NetworkPolicy", EXTERNAL, {}, False),
    ],
)
def test_what_leads_elsewhere_than_planned_ends(kind: str, labelled: Any, plan: Any, ends: bool) -> None:
    assert leads_elsewhere({"kind": kind, "metadata": {"labels": labelled}}, plan) is ends


def test_what_is_planned_leads_nowhere_else() -> None:
    made = planned()
    looked_at = [each for each in made.objects if each["kind"] in {"NetworkPolicy", "Deployment"}]
    assert not any(leads_elsewhere(each, labels(made.endpoint)) for each in looked_at)
    ended = [each["metadata"]["name"] for each in looked_at if leads_elsewhere(each, {})]
    assert ended == ["chat.endpoint", "chat"]


def test_laboratories_may_serve_outside_without_a_policy_but_not_without_a_statement() -> None:
    settings = Settings(gate_image="gate", weights_image="weights", serves_ungoverned=True)
    for said, allowed in (([STATEMENT], True), ([], False)):
        endpoint = judge_endpoint("mac-1", said, (), NOW)
        made = plan_workload(
            model(**OUTSIDE), policies=[], classes={}, eligible=lambda *_: plan(model()).eligibility,
            settings=settings, endpoint=endpoint,
        )  # fmt: skip
        assert made.verdict.allowed is allowed
