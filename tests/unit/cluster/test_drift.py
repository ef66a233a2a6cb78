"""What counts as a difference, what does not, and whose fields are taken over."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bailiwick.cluster.drift import adopt_fields, drift, editors, missing, surplus
from bailiwick.cluster.trim import RESTARTED, child

Raw = dict[str, Any]


def thing(spec: Any = None, *, managed: list[Raw] | None = None, **metadata: Any) -> Raw:
    head = {"name": "chat", "namespace": "clinic", **metadata}
    if managed is not None:
        head["managedFields"] = managed
    return {"apiVersion": "v1", "kind": "Thing", "metadata": head, **({} if spec is None else {"spec": spec})}


def ours(fields: Raw) -> Raw:
    return {"manager": "bailiwick", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}


def theirs(fields: Raw, manager: str = "kubectl-edit", **more: Any) -> Raw:
    return {"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsV1": fields, **more}


NO_DIFFERENCE: dict[str, tuple[Any, Any]] = {
    "the same": ({"a": 1}, {"a": 1}),
    "further keys of others": ({"a": 1, "default": 2}, {"a": 1}),
    "further keys, deeper": ({"a": [{"b": 1, "default": 2}]}, {"a": [{"b": 1}]}),
    "empty map wanted, none there": ({}, {"a": {}}),
    "empty map wanted, filled by defaults": ({"a": {"b": 1}}, {"a": {}}),
    "empty list wanted, none there": ({}, {"a": []}),
    "None wanted, none there": ({}, {"a": None}),
    "None wanted, empty list there": ({"a": []}, {"a": None}),
    "canonical cores": ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}}),
    "canonical bytes": ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "1024Mi"}}),
    "canonical size": ({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}),
    "quantity as a number": ({"limits": {"nvidia.com/gpu": "4"}}, {"limits": {"nvidia.com/gpu": 4}}),
}


@pytest.mark.parametrize(("live", "desired"), NO_DIFFERENCE.values(), ids=NO_DIFFERENCE)
def test_this_is_no_difference(live: Any, desired: Any) -> None:
    assert missing(thing(live), thing(desired)) == []


DIFFERENCES: dict[str, tuple[Any, Any, str]] = {
    "another value": ({"a": 1}, {"a": 2}, "spec.a"),
    "absent": ({}, {"a": 2}, "spec.a"),
    "false is not absent": ({}, {"a": False}, "spec.a"),
    "a number is not its text": ({"port": 80}, {"port": "80"}, "spec.port"),
    "deeper": ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, "spec.a.b[1].c"),
    "a longer list": ({"a": [1, 2]}, {"a": [1]}, "spec.a"),
    "a shorter list": ({"a": [1]}, {"a": [1, 2]}, "spec.a"),
    "another order": ({"a": [2, 1]}, {"a": [1, 2]}, "spec.a[0]"),
    "a list that should be empty": ({"a": [1]}, {"a": []}, "spec.a"),
    "a value that should be none": ({"a": 1}, {"a": None}, "spec.a"),
    "a map instead of a list": ({"a": {"b": 1}}, {"a": [1]}, "spec.a"),
    "another amount": ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1000m"}}, "spec.limits.cpu"),
    "amounts are amounts only where quantities stand": ({"args": ["1"]}, {"args": ["1000m"]}, "spec.args[0]"),
    "no quantity": ({"limits": {"cpu": "a"}}, {"limits": {"cpu": "b"}}, "spec.limits.cpu"),
}


@pytest.mark.parametrize(("live", "desired", "path"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_this_is_a_difference(live: Any, desired: Any, path: str) -> None:
    assert path in missing(thing(live), thing(desired))


def test_metadata_is_compared_where_we_write_it() -> None:
    live = thing({}, labels={"a": "1", "other": "x"}, annotations={"n": "1"}, generation=4, resourceVersion="9")
    assert missing(live, thing({}, labels={"a": "1"}, annotations={"n": "1"})) == []
    assert missing(live, thing({}, labels={"a": "2"}, annotations={"m": "1"})) == [
        "metadata.annotations.m",
        "metadata.labels.a",
    ]


def test_others_may_add_owners_and_finalizers() -> None:
    owner, other = {"kind": "SovereignModel", "uid": "1"}, {"kind": "Other", "uid": "2"}
    live = thing({}, ownerReferences=[other, owner], finalizers=["f", "g"])
    assert missing(live, thing({}, ownerReferences=[owner], finalizers=["g"])) == []
    assert missing(live, thing({}, ownerReferences=[{"kind": "SovereignModel", "uid": "3"}])) == [
        "metadata.ownerReferences"
    ]


def test_status_is_nothing_that_we_compare() -> None:
    assert missing({**thing({}), "status": {"a": 1}}, {**thing({}), "status": {"a": 2}}) == []


def test_fields_outside_of_spec_count() -> None:
    live = {**thing(), "automountServiceAccountToken": True}
    assert missing(live, {**thing(), "automountServiceAccountToken": False}) == ["automountServiceAccountToken"]


# Surplus: fields that are ours, and unwanted

CONTAINERS: Raw = {"f:containers": {'k:{"name":"engine"}': {".": {}, "f:name": {}, "f:image": {}, "f:env": {
    'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}}}}  # fmt: skip
SURPLUS: dict[str, tuple[Raw, Any, Any, list[str]]] = {
    "what is wanted is none": (
        {"f:replicas": {}, "f:nodeSelector": {}, **CONTAINERS},
        {
            "replicas": 1,
            "nodeSelector": {"a": "b"},
            "containers": [{"name": "engine", "image": "i", "env": [{"name": "A"}]}],
        },
        {
            "replicas": 1,
            "nodeSelector": {"a": "b"},
            "containers": [{"name": "engine", "image": "i", "env": [{"name": "A"}]}],
        },
        [],
    ),
    "a field that we stopped setting": ({"f:replicas": {}}, {"replicas": 1}, {}, ["spec.replicas"]),
    "an element that we stopped setting": (
        CONTAINERS,
        {"containers": [{"name": "engine", "env": [{"name": "A"}]}]},
        {"containers": [{"name": "engine", "env": []}]},
        ['spec.containers[{"name":"engine"}].env[{"name":"A"}]'],
    ),
    "a field that is ours in name but not there any more": ({"f:hostNetwork": {}}, {}, {}, []),
    "a key in a map that is owned as a whole": (
        {"f:nodeSelector": {}},
        {"nodeSelector": {"a": "b", "evil": "1"}},
        {"nodeSelector": {"a": "b"}},
        ["spec.nodeSelector.evil"],
    ),
    "a selector that should select everything": (
        {"f:podSelector": {}},
        {"podSelector": {"matchLabels": {"app": "one"}}},
        {"podSelector": {}},
        ["spec.podSelector.matchLabels"],
    ),
    "an empty map that defaults fill": ({"f:resources": {}}, {"resources": {"claims": [1]}}, {"resources": {}}, []),
    "a wider peer in a rule that is owned as a whole": (
        {"f:egress": {}},
        {"egress": [{"to": [{"podSelector": {"a": "b"}, "namespaceSelector": {"x": "y"}}]}]},
        {"egress": [{"to": [{"podSelector": {"a": "b"}}]}]},
        ["spec.egress[0].to[0].namespaceSelector"],
    ),
    "a default inside of a value that is owned as a whole": (
        {"f:egress": {}},
        {"egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}]},
        {"egress": [{"ports": [{"port": 53}]}]},
        [],
    ),
    "a key that the API server completed": (
        {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}},
        {"ports": [{"port": 80, "protocol": "TCP"}]},
        {"ports": [{"port": 80}]},
        [],
    ),
    "an element of a set": (
        {"f:items": {'v:"a"': {}, 'v:"b"': {}}},
        {"items": ["a", "b"]},
        {"items": ["a"]},
        ['spec.items["b"]'],
    ),
    "an element by its place": ({"f:items": {"i:1": {}}}, {"items": [1, 2]}, {"items": [1]}, ["spec.items[1]"]),
    "a map where we want a text": ({"f:a": {"f:b": {}}}, {"a": {"b": 1}}, {"a": "text"}, ["spec.a.b"]),
}


@pytest.mark.parametrize(("fields", "live", "desired", "paths"), SURPLUS.values(), ids=SURPLUS)
def test_surplus(fields: Raw, live: Any, desired: Any, paths: list[str]) -> None:
    assert surplus(thing(live, managed=[ours({"f:spec": fields})]), thing(desired)) == paths


def test_labels_that_we_stopped_setting_are_surplus_and_labels_of_others_are_not() -> None:
    live = thing(
        {},
        labels={"a": "1", "old": "1", "other": "1"},
        managed=[ours({"f:metadata": {"f:labels": {"f:a": {}, "f:old": {}}}})],
    )
    assert surplus(live, thing({}, labels={"a": "1"})) == ["metadata.labels.old"]


def test_without_an_apply_of_ours_nothing_is_surplus() -> None:
    assert surplus(thing({"a": 1}, managed=[theirs({"f:spec": {"f:a": {}}})]), thing({})) == []
    assert surplus(thing({"a": 1}), thing({})) == []


def test_drift_is_the_same_for_an_object_that_a_store_trimmed() -> None:
    fields = {"f:metadata": {"f:labels": {"f:old": {}}}, "f:spec": {"f:replicas": {}}}
    managed = [ours(fields), theirs({"f:spec": {"f:paused": {}}}), theirs({"f:status": {}}, subresource="status")]
    live = thing({"replicas": 1, "paused": True}, managed=managed, labels={"old": "1", "new": "1"})
    desired = thing({"template": {}, "selector": {"a": "b"}}, labels={"new": "1"})
    found = drift(live, desired)
    assert found == drift(child(live), desired)
    assert found.missing == ("spec.selector",)
    assert found.surplus == ("metadata.labels.old", "spec.replicas")
    assert found.editors == ("kubectl-edit",)
    assert str(found) == (
        "to write spec.selector; to remove metadata.labels.old, spec.replicas; edited by kubectl-edit"
    )


def test_no_drift_is_false() -> None:
    assert not drift(thing({"a": 1}, managed=[]), thing({"a": 1}))
    assert drift(thing({"a": 1}, managed=[]), thing({"a": 2}))


# Taking over

SPEC: Raw = {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {}}}}}


def test_fields_of_an_editor_become_ours_and_its_metadata_stays() -> None:
    before = [
        ours({"f:spec": {"f:replicas": {}, "f:template": {"f:metadata": {}}}}),
        theirs({**SPEC, "f:metadata": {"f:annotations": {"f:note": {}}}}),
    ]
    assert adopt_fields(before) == [
        ours({"f:spec": {"f:replicas": {}, "f:template": {"f:metadata": {}, "f:spec": {"f:nodeSelector": {}}}}}),
        theirs({"f:metadata": {"f:annotations": {"f:note": {}}}}),
    ]


def test_entries_without_anything_left_go() -> None:
    assert adopt_fields([theirs(SPEC), ours({}), theirs({"f:spec": {"f:b": {}}}, "x")]) == [
        ours({"f:spec": {**SPEC["f:spec"], "f:b": {}}})
    ]


def test_an_update_in_our_name_is_taken_over_too() -> None:
    assert adopt_fields([theirs(SPEC, "bailiwick"), ours({"f:data": {}})]) == [ours({"f:data": {}, **SPEC})]


def test_an_entry_of_ours_is_made_when_there_is_none() -> None:
    (entry,) = adopt_fields([theirs(SPEC)])
    assert entry == {**ours(SPEC), "fieldsType": "FieldsV1"}


@pytest.mark.parametrize(
    "entry",
    [
        theirs(SPEC, subresource="scale"),
        theirs({"f:status": {}}, subresource="status"),
        theirs({"f:metadata": {"f:labels": {}}}),
        theirs({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {f"f:{RESTARTED}": {}}}}}}),
    ],
)
def test_these_entries_stay(entry: Raw) -> None:
    assert adopt_fields([ours(SPEC), entry]) == [ours(SPEC), entry]


def test_nothing_to_take_over_changes_nothing() -> None:
    before = [ours(SPEC)]
    assert adopt_fields(before) == before
    assert adopt_fields([]) == []


def test_the_given_entries_stay_as_they_are() -> None:
    before = [ours({"f:spec": {"f:a": {"f:b": {}}}}), theirs({"f:spec": {"f:a": {"f:c": {}}}})]
    kept = copy.deepcopy(before)
    adopt_fields(before)
    assert before == kept


def test_editors_are_named_once() -> None:
    assert editors([theirs(SPEC), theirs({"f:spec": {"f:b": {}}}), theirs(SPEC, "argocd"), ours(SPEC)]) == [
        "argocd",
        "kubectl-edit",
    ]
