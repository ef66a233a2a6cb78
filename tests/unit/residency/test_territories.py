"""What a policy is compiled into."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from bailiwick.api.territory import Territory
from bailiwick.residency import territories
from bailiwick.residency.facts import gather_all
from bailiwick.residency.territories import CompiledTerritory, compile_territory, digest_of, label_of
from tests.unit.residency.given import FRANKFURT, NOW, VIRGINIA, day, node, policy, statement, vouched

NODES = [node("n1", provider_id=FRANKFURT), node("n2", provider_id=VIRGINIA), node("n3"), node("n4")]
SAID = [statement("a", about="n3", place="FR", control="FR"), statement("b", about="n4", place="DE", expires=5)]


def territory(now: float = 20, **spec: Any) -> CompiledTerritory:
    return compile_territory(policy(**spec), gather_all(NODES, SAID, day(now), vouching=vouched), day(now))


def test_the_territory_holds_the_nodes_inside_with_their_places() -> None:
    assert dict(territory().nodes) == {"n1": "DE", "n3": "FR"}


def test_the_others_are_counted_by_reason_with_the_refusal_of_the_first() -> None:
    told = {count.reason: (count.count, count.examples, count.message) for count in territory().outside}
    assert told["WrongPlace"][:2] == (1, ("n2",))
    assert told["WrongPlace"][2].startswith("node n2 stands in US")
    assert told["StatementExpired"][:2] == (1, ("n4",))
    assert set(told) == {"WrongPlace", "StatementExpired"}


def test_the_commonest_reason_comes_first_with_at_most_five_examples_in_order() -> None:
    many = [node(f"n{number}", provider_id=VIRGINIA) for number in (7, 3, 5, 1, 9, 2)] + [node("n4")]
    compiled = compile_territory(policy(), gather_all(many, [], NOW), NOW)
    assert [(count.reason, count.count) for count in compiled.outside] == [("WrongPlace", 6), ("PlaceUnknown", 1)]
    assert compiled.outside[0].examples == ("n1", "n2", "n3", "n5", "n7")
    assert "node n1 stands" in compiled.outside[0].message


def test_nodes_inside_in_spite_of_a_doubt_are_told() -> None:
    told = territory(control={"allow": ["EU"]}, unknown="Warn", place={"allow": ["EU"]})
    assert dict(told.nodes) == {"n3": "FR"}, "n1 is controlled from the US"
    assert not told.doubts
    doubtful = compile_territory(
        policy(control={"allow": ["EU"]}, unknown="Warn"),
        gather_all([node("n4")], [statement(about="n4", place="DE")], NOW),
        NOW,
    )
    assert dict(doubtful.nodes) == {"n4": "DE"}
    assert [(count.reason, count.examples) for count in doubtful.doubts] == [("ControlUnknown", ("n4",))]
    assert not doubtful.outside


def test_pods_are_pinned_by_one_label_per_policy() -> None:
    assert dict(territory().spec.node_selector) == {"bailiwick.dev.node-restriction.kubernetes.io/health": "resident"}
    assert label_of("health") == "bailiwick.dev.node-restriction.kubernetes.io/health"


def test_the_lists_of_the_policy_are_carried_over() -> None:
    told = territory(
        namespaceSelector={
            "matchLabels": {"data": "health"},
            "matchExpressions": [{"key": "team", "operator": "Exists"}, {"key": "data", "operator": "Exists"}],
        },
        models={
            "sources": ["oci://b/", "oci://a/"],
            "requireDigest": False,
            "signedBy": ["us", "them"],
            "licences": ["MIT"],
        },
        images={"registries": ["registry.example/"]},
        network={"services": ["NodePort", "ClusterIP"], "ingressClasses": ["b", "a"]},
        storage={"classes": ["local"]},
        access={"exec": "Allow"},
    ).manifest["spec"]
    assert told["namespaceLabels"] == ["data", "team"]
    assert told["models"] == {
        "sources": ["oci://a/", "oci://b/"], "requireDigest": False, "signedBy": ["them", "us"], "licences": ["MIT"],
    }  # fmt: skip
    assert told["images"] == {"registries": ["registry.example/"], "requireDigest": True}
    assert told["network"] == {
        "egress": [],
        "services": ["ClusterIP", "NodePort"],
        "ingressClasses": ["a", "b"],
        "gatewayClasses": [],
    }
    assert told["storage"] == {"classes": ["local"]}
    assert told["access"] == {
        "exec": "Allow",
        "attach": "Deny",
        "portForward": "Deny",
        "proxy": "Deny",
        "ephemeralContainers": "Deny",
    }
    assert told["schedulers"] == ["default-scheduler"]


def test_what_the_policy_does_not_ask_is_left_out_and_empty_lists_are_written() -> None:
    told = territory(namespaceSelector={}, place={"allow": []}, models={"sources": []}).manifest["spec"]
    assert told["nodes"] == {}
    assert told["namespaceLabels"] == []
    assert told["models"]["sources"] == []
    assert not {"images", "network", "storage", "access"} & told.keys()


def test_the_manifest_is_a_valid_territory_in_the_operators_name() -> None:
    manifest = territory(models={"sources": ["oci://a/"]}).manifest
    read = Territory.read(manifest)
    assert manifest["kind"] == "Territory"
    assert manifest["apiVersion"] == "bailiwick.dev/v1alpha1"
    assert manifest["metadata"] == {"name": "health", "labels": {"app.kubernetes.io/managed-by": "bailiwick"}}
    assert read.spec.policy == read.metadata.name == "health"


def test_the_digest_covers_everything_else() -> None:
    told = territory().spec
    assert told.digest == digest_of(told)
    assert told.digest.startswith("sha256:")
    assert len(told.digest) == 71
    changes: list[dict[str, Any]] = [
        {"policy": "other"},
        {"nodes": {"n1": "DE"}},
        {"nodes": {"n1": "DE", "n3": "IE"}},
        {"node_selector": {}},
        {"namespace_labels": ()},
    ]
    for change in changes:
        assert digest_of(told.model_copy(update=change)) != told.digest
    assert digest_of(told.model_copy(update={"digest": "sha256:0"})) == told.digest


def test_the_digest_is_that_of_sorted_json_without_spaces() -> None:
    """As sha256sum computes it: whoever checks evidence in ten years must find the same."""
    content = (
        '{"namespaceLabels":["data"],'
        '"nodeSelector":{"bailiwick.dev.node-restriction.kubernetes.io/health":"resident"},'
        '"nodes":{"n3":"FR"},"policy":"health","schedulers":["default-scheduler"]}'
    )
    digest = hashlib.sha256(content.encode()).hexdigest()
    assert territory(place={"allow": ["FR"]}).digest == f"sha256:{digest}"


@pytest.mark.parametrize(
    ("spec", "now", "look_again"),
    [
        ({}, 0, 5),  # b ends
        ({}, 20, 365),  # a ends
        ({}, 365, None),
        ({"place": {"maxAge": "72h"}}, 0, 3),  # both become too old
        ({"place": {"maxAge": "480h"}}, 6, 20),  # a becomes too old
        ({"place": {"maxAge": "480h"}}, 20, 365),
    ],
)
def test_it_looks_again_when_time_alone_may_change_it(
    spec: dict[str, Any], now: float, look_again: float | None
) -> None:
    seconds = territory(now, **spec).look_again_in
    assert seconds == (None if look_again is None else (day(look_again) - day(now)).total_seconds())


def test_more_nodes_than_an_object_can_hold_are_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(territories, "MOST_NODES", 1)
    told = territory()
    assert dict(told.nodes) == {"n1": "DE"}
    assert ("TerritoryFull", 1, ("n3",)) in [(count.reason, count.count, count.examples) for count in told.outside]


def test_the_bound_is_that_of_the_schema() -> None:
    schema = Territory.model_json_schema()["$defs"]["TerritorySpec"]["properties"]["nodes"]
    assert schema["maxProperties"] == territories.MOST_NODES


def test_a_refusal_is_cut_to_what_a_status_can_hold() -> None:
    broken = policy(place={"deny": [f"NOWHERE-{'X' * 50}-{number}" for number in range(30)]})
    (count,) = compile_territory(broken, gather_all([node()], [], NOW), NOW).outside
    assert len(count.message) == 1024
