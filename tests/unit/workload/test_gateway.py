"""The way in from outside: which Gateways are refused, and what is written for the others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.workload.given import child, model, plan, policy

EDGE: Any = {"serving": {"gateway": {"name": "edge"}}}
ABROAD: Any = {"serving": {"gateway": {"name": "edge", "namespace": "gateways"}}}
PICKED: Any = {"serving": {"gateway": {"name": "edge", "endpointPicker": {"service": "picker"}}}}
STRICT = policy(spec={"network": {"gatewayClasses": ["national"]}})
SHUT = policy(spec={"network": {}})
WATCHING = policy(spec={"network": {}, "mode": "Audit"})
KINDS = ["HTTPRoute", "InferencePool"]
NATIONAL = {("clinic", "edge"): "national", ("gateways", "edge"): "national"}


@pytest.mark.parametrize(
    ("spec", "served", "gateways", "under", "reason", "says"),
    [
        (EDGE, [], NATIONAL, STRICT, "NotInstalled", "httproutes.gateway.networking.k8s.io"),
        (PICKED, ["HTTPRoute"], NATIONAL, STRICT, "NotInstalled", "leave spec.serving.gateway.endpointPicker out"),
        (EDGE, KINDS, {("clinic", "edge"): "cloud"}, STRICT, "ClassNotAllowed", "Gateway edge is of class cloud"),
        (EDGE, KINDS, NATIONAL, SHUT, "ClassNotAllowed", "allows Gateways of the classes (none)"),
        (EDGE, KINDS, {}, STRICT, "ClassNotAllowed", "there is no Gateway edge in namespace clinic"),
        (ABROAD, KINDS, NATIONAL, STRICT, "ClassNotAllowed", "wants Gateways of namespace clinic itself"),
        (ABROAD, None, None, STRICT, "ClassNotAllowed", "spec.serving.gateway.namespace is gateways"),
    ],
)
def test_a_way_in_that_the_border_would_refuse_is_refused_beforehand(  # noqa: PLR0917 - a row of the table
    spec: Any, served: Any, gateways: Any, under: Any, reason: str, says: str
) -> None:
    made = plan(model(**spec), policies=[under], served=served, gateways=gateways)
    assert (made.verdict.reason, made.objects) == (reason, ())
    assert says in made.verdict.message
    assert ";" in made.verdict.message


@pytest.mark.parametrize(
    ("spec", "gateways", "under"),
    [(EDGE, NATIONAL, STRICT), (EDGE, None, STRICT), (ABROAD, {}, policy()), (ABROAD, NATIONAL, WATCHING)],
    ids=["an allowed class", "nobody looked", "a policy without a word on networks", "a policy that only watches"],
)
def test_other_ways_in_are_written(spec: Any, gateways: Any, under: Any) -> None:
    made = plan(model(**spec), policies=[under], served=KINDS, gateways=gateways)
    assert made.verdict.allowed, made.verdict
    (parent,) = child(made, "HTTPRoute")["spec"]["parentRefs"]
    assert (parent["name"], parent.get("namespace")) == ("edge", spec["serving"]["gateway"].get("namespace"))


def test_several_policies_must_all_allow_it() -> None:
    made = plan(model(**EDGE), policies=[STRICT, SHUT], served=KINDS, gateways=NATIONAL)
    assert made.verdict.reason == "ClassNotAllowed"


def test_a_route_goes_to_the_service_or_to_the_pool_of_who_picks() -> None:
    def backends(spec: Any) -> Any:
        return child(plan(model(**spec), served=KINDS), "HTTPRoute")["spec"]["rules"][0]["backendRefs"]

    assert backends(EDGE) == [{"group": "", "kind": "Service", "name": "chat", "port": 80}]
    assert backends(PICKED) == [{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "chat"}]
    assert "InferencePool" not in {each["kind"] for each in plan(model(**EDGE), served=KINDS).objects}
    pool = child(plan(model(**PICKED), served=KINDS), "InferencePool")["spec"]
    assert pool["targetPorts"] == [{"number": 8080}], "the gate, never the engine"
    assert pool["endpointPickerRef"]["failureMode"] == "FailClose"
