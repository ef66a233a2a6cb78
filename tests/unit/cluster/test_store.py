"""A store ends with the newest, whatever the order, and forgets what a list no longer shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.cluster import trim
from bailiwick.cluster.resources import CONFIG_MAPS, NODES
from bailiwick.cluster.store import Relist, Store

if TYPE_CHECKING:
    import random

Raw = dict[str, Any]


def thing(name: str, version: int, *, uid: str = "", value: int = 0, labels: dict[str, str] | None = None) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "clinic",
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": str(version),
            "labels": labels or {},
        },
        "data": {"value": value},
    }


def new_store() -> Store:
    return Store(
        CONFIG_MAPS, trim=trim.child, indices={"team": lambda each: each["metadata"].get("labels", {}).values()}
    )


def test_an_event_puts_an_object_in_and_says_what_changed() -> None:
    store = new_store()
    change = store.apply_event("ADDED", thing("a", 5, value=1))
    assert change is not None
    assert (change.key, change.before) == (("clinic", "a"), None)
    assert change.after == store.get(("clinic", "a"))
    assert store.revision == 1
    known = store.get(("clinic", "a"))
    assert known is not None
    assert known["metadata"]["resourceVersion"] == "5"
    assert known["data"] == {"value": 1}


@pytest.mark.parametrize("version", [4, 5])
def test_an_event_that_is_known_or_outdated_changes_nothing(version: int) -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 5, value=1))
    assert store.apply_event("MODIFIED", thing("a", version, value=2)) is None
    assert store.revision == 1
    assert (store.get(("clinic", "a")) or {})["data"] == {"value": 1}


def test_a_change_of_what_is_trimmed_away_is_none_but_the_version_moves_on() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 5))
    assert store.apply_event("MODIFIED", {**thing("a", 6), "status": {"seen": "now"}}) is None
    assert store.revision == 1
    assert (store.get(("clinic", "a")) or {})["metadata"]["resourceVersion"] == "6"


def test_versions_are_compared_as_numbers() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 99, value=1))
    assert store.apply_event("MODIFIED", thing("a", 100, value=2)) is not None


def test_a_deletion_says_what_was_there() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 5, value=1, labels={"team": "red"}))
    change = store.apply_event("DELETED", thing("a", 6))
    assert change is not None
    assert change.after is None
    assert (change.before or {})["data"] == {"value": 1}
    assert change.values("team") == {"red"}
    assert len(store) == 0
    assert store.find("team", "red") == []


def test_the_deletion_of_an_earlier_object_of_the_same_name_removes_nothing() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 9, uid="new"))
    assert store.apply_event("DELETED", thing("a", 7, uid="old")) is None
    assert ("clinic", "a") in store


def test_what_was_read_before_a_deletion_and_comes_after_it_brings_nothing_back() -> None:
    """The answer to our own write may be slower than the event of the deletion."""
    store = new_store()
    store.apply_event("ADDED", thing("a", 5))
    store.apply_event("DELETED", thing("a", 7))
    assert store.apply_event("MODIFIED", thing("a", 6)) is None
    assert len(store) == 0


def test_an_object_that_left_a_selector_can_come_back() -> None:
    """A watch with a selector calls it deleted when an object stops matching; its uid stays the same."""
    store = new_store()
    store.apply_event("ADDED", thing("a", 5))
    store.apply_event("DELETED", thing("a", 6))
    assert store.apply_event("ADDED", thing("a", 8)) is not None


def test_a_list_finds_what_a_broken_watch_lost() -> None:
    store = new_store()
    for name in ("kept", "edited", "gone"):
        store.apply_event("ADDED", thing(name, 5))
    changes = store.replace([thing("kept", 5), thing("edited", 8, value=2), thing("new", 7)], "9")
    assert {change.key[1] for change in changes} == {"edited", "gone", "new"}
    assert sorted(values(store)) == ["edited", "kept", "new"]
    assert store.synced


def test_an_older_list_takes_nothing_back_that_events_told() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("edited", 1))
    store.apply_event("ADDED", thing("deleted", 2))
    relist = store.relist()  # asked for when the world was at 3
    store.apply_event("MODIFIED", thing("edited", 4, value=2))
    store.apply_event("DELETED", thing("deleted", 5))
    store.apply_event("ADDED", thing("added", 6))
    assert relist.add([thing("edited", 1), thing("deleted", 2)], "3") == []
    assert relist.finish() == []
    assert sorted(values(store)) == ["added", "edited"]
    assert (store.get(("clinic", "edited")) or {})["data"] == {"value": 2}


def test_an_event_older_than_the_last_list_brings_nothing_back() -> None:
    """The watch that feeds the store may lag behind the list that replaced it."""
    store = new_store()
    store.apply_event("ADDED", thing("a", 5))
    store.replace([], "9")
    assert store.apply_event("MODIFIED", thing("a", 6)) is None
    assert len(store) == 0


def test_a_list_that_was_not_read_to_its_end_loses_nothing() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 5))
    store.relist().add([thing("b", 6)], "7")
    assert sorted(values(store)) == ["a", "b"]
    assert not store.synced


def test_a_history_that_was_set_back_is_believed() -> None:
    """After a backup of etcd was restored, every version is lower than what the store has seen."""
    store = new_store()
    store.replace([thing("a", 900, value=9), thing("b", 901)], "950")
    store.apply_event("DELETED", thing("c", 960))
    changes = store.replace([thing("a", 500, value=5), thing("c", 501)], "600")
    assert {change.key[1] for change in changes} == {"a", "b", "c"}
    assert (store.get(("clinic", "a")) or {})["data"] == {"value": 5}
    assert store.apply_event("MODIFIED", thing("a", 601, value=6)) is not None


def test_an_index_follows_its_objects() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("b", 1, labels={"team": "red"}))
    store.apply_event("ADDED", thing("a", 2, labels={"team": "red"}))
    assert store.find("team", "red") == [("clinic", "a"), ("clinic", "b")]
    change = store.apply_event("MODIFIED", thing("a", 3, labels={"team": "blue"}))
    assert change is not None
    assert change.values("team") == {"red", "blue"}
    assert store.find("team", "red") == [("clinic", "b")]
    assert store.find("team", "blue") == [("clinic", "a")]


def test_what_is_read_can_be_changed_without_changing_the_store() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 1, value=1))
    (store.get(("clinic", "a")) or {})["data"]["value"] = 2
    assert (store.get(("clinic", "a")) or {})["data"] == {"value": 1}


def test_a_store_is_infinitely_old_until_it_saw_a_whole_list() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 1))
    store.confirm(10.0)
    assert store.age(11.0) == float("inf")
    store.replace([], "2")
    assert store.age(11.0) == 1.0
    store.confirm(9.0)  # an earlier confirmation does not make it older
    assert store.age(11.0) == 1.0


def test_size_is_what_is_held() -> None:
    store = new_store()
    store.apply_event("ADDED", thing("a", 1))
    one = store.size
    store.apply_event("ADDED", thing("b", 2))
    store.apply_event("DELETED", thing("b", 3))
    assert store.size == one > 0
    store.replace([], "4")
    assert store.size == 0


def test_cluster_scoped_objects_have_an_empty_namespace() -> None:
    store = Store(NODES, trim=trim.labelled)
    manifest = thing("worker", 1)
    del manifest["metadata"]["namespace"]
    store.apply_event(None, manifest)
    assert store.keys() == [("", "worker")]
    assert [key for key, _ in store.items()] == [("", "worker")]


# Any history, any order


@dataclass
class World:
    """An API server: objects, a version that grows, and everything that happened."""

    version: int = 0
    objects: dict[str, Raw] = field(default_factory=dict)
    history: list[tuple[str, Raw]] = field(default_factory=list)

    def write(self, name: str, value: int) -> None:
        self.version += 1
        known = self.objects.get(name)
        uid = known["metadata"]["uid"] if known else f"{name}-{self.version}"
        self.objects[name] = thing(name, self.version, uid=uid, value=value)
        self.history.append(("MODIFIED" if known else "ADDED", self.objects[name]))

    def delete(self, name: str) -> None:
        if name in self.objects:
            self.version += 1
            gone = self.objects.pop(name)
            self.history.append(
                ("DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}})
            )

    def values(self) -> dict[str, int]:
        return {name: each["data"]["value"] for name, each in self.objects.items()}


def values(store: Store) -> dict[str, int]:
    return {name: each["data"]["value"] for (_, name), each in store.items()}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "delete", "deliver", "deliver", "replay", "list", "page", "lose"]),
        st.sampled_from("abc"),
    ),
    max_size=60,
)


class Run:
    """Events in order, replays of old answers, and lists whose pages come when they come."""

    def __init__(self, chance: random.Random) -> None:
        self.world, self.store, self.chance = World(), new_store(), chance
        self.delivered = 0
        self.lost = False
        self.listing: tuple[Relist, list[Raw], str] | None = None

    def step(self, action: str, name: str, *, lossy: bool) -> None:
        match action:
            case "write":
                self.world.write(name, self.chance.randrange(100))
            case "delete":
                self.world.delete(name)
            case "deliver":
                self.deliver()
            case "replay" if self.delivered:
                kind, manifest = self.world.history[self.chance.randrange(self.delivered)]
                self.store.apply_event("MODIFIED" if kind == "ADDED" else kind, manifest)
            case "list" if self.listing is None:
                asked = self.store.relist()
                self.listing = (asked, list(self.world.objects.values()), str(self.world.version))
            case "page":
                self.page()
            case "lose" if lossy and self.delivered < len(self.world.history):
                self.delivered += 1

    def deliver(self) -> None:
        if self.delivered < len(self.world.history):
            self.store.apply_event(*self.world.history[self.delivered])
            self.delivered += 1

    def page(self) -> None:
        if self.listing:
            relist, items, version = self.listing
            relist.add(items[:1], version)
            self.listing = (relist, items[1:], version)
            if not items[1:]:
                relist.finish()
                self.listing = None


@given(steps=STEPS, chance=st.randoms(use_true_random=False))
def test_when_all_events_came_the_store_is_the_world(steps: list[tuple[str, str]], chance: random.Random) -> None:
    run = Run(chance)
    for action, name in steps:
        run.step(action, name, lossy=False)
    while run.delivered < len(run.world.history):
        run.deliver()
    while run.listing:
        run.page()
    assert values(run.store) == run.world.values()


@given(steps=STEPS, chance=st.randoms(use_true_random=False))
def test_when_events_were_lost_one_list_makes_the_store_the_world(
    steps: list[tuple[str, str]], chance: random.Random
) -> None:
    run = Run(chance)
    for action, name in steps:
        run.step(action, name, lossy=True)
    run.store.replace(run.world.objects.values(), str(run.world.version))
    assert values(run.store) == run.world.values()
