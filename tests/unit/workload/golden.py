"""Every input in tests/golden/workload: a model, its classes, policies and nodes; and the plan for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.authority import Authority
from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.api.modelsource import ProfileReference
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.endpoints import judge_endpoint
from bailiwick.residency.facts import gather_all
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_policy
from bailiwick.workload.eligibility import eligibility
from bailiwick.workload.plan import Settings, plan_workload
from bailiwick.workload.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.workload.plan import WorkloadPlan

GOLDEN = Path(__file__).parent.parent.parent / "golden/workload"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CASES = sorted(path.name.removesuffix(".input.yaml") for path in GOLDEN.glob("*.input.yaml"))


def given(case: str) -> dict[str, list[dict[str, Any]]]:
    """The objects of an input, by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for document in yaml.safe_load_all((GOLDEN / f"{case}.input.yaml").read_text()):
        found.setdefault(document["kind"], []).append(document)
    return found


def planned(case: str, *, namespace: str | None = None) -> WorkloadPlan:
    """The plan for an input's model, in a namespace of its own choice unless one is given."""
    objects = given(case)
    (model,) = objects["SovereignModel"]
    model["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000001"}
    model["metadata"] |= {"namespace": namespace} if namespace else {}
    atlas = Atlas(())
    facts = gather_all([read_node(raw) for raw in objects["Node"]], (), NOW)
    classes = [AcceleratorClass.read(raw) for raw in objects.get("AcceleratorClass", ())]
    gateways = {
        (namespace or raw["metadata"]["namespace"], raw["metadata"]["name"]): raw["spec"]["gatewayClassName"]
        for raw in objects.get("Gateway", ())
    }
    policies = [compile_policy(ResidencyPolicy.read(raw), atlas) for raw in objects["ResidencyPolicy"]]
    statements = [EndpointStatement.read(raw) for raw in objects.get("EndpointStatement", ())]
    asked = SovereignModel.read(model)
    outside = asked.spec.model.endpoint
    return plan_workload(
        asked,
        policies=policies,
        classes={each.metadata.name: each for each in classes},
        eligible=lambda model, policies, need: eligibility(
            policies, model.spec.residency, need, facts, atlas=atlas, now=NOW
        ),
        settings=Settings(
            gate_image="registry.example/gate:1",
            weights_image="registry.example/weights:1",
            monitoring_namespace="monitoring",
            scaling=Scaling(
                prometheus="http://prometheus.monitoring.svc:9090",
                wake_query='sum(rate(gateway_requests_total{namespace="$namespace",model="$model"}[1m]))',
            ),
        ),
        authorities={each.metadata.name: each for each in map(Authority.read, objects.get("Authority", ()))},
        gateways=gateways,
        profiles=profiles(objects),
        endpoint=judge_endpoint(outside.statement, statements, policies, NOW) if outside else None,
    )


def profiles(objects: dict[str, list[dict[str, Any]]]) -> dict[ProfileReference, str]:
    """What the ConfigMaps of an input hold, by the reference that leads there."""
    return {
        ProfileReference(config_map=each["metadata"]["name"], key=key): text
        for each in objects.get("ConfigMap", ())
        for key, text in each["data"].items()
    }


def templates(objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pod templates among objects: one of a Deployment, or those of leaders and workers."""
    found = []
    for each in objects:
        if each["kind"] == "Deployment":
            found.append(each["spec"]["template"])
        if each["kind"] == "LeaderWorkerSet":
            group = each["spec"]["leaderWorkerTemplate"]
            found += [group["leaderTemplate"], group["workerTemplate"]]
    assert found, "a model has pods"
    return found
