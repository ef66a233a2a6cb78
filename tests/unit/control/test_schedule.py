"""The queue's rules, for any sequence of events: no key twice at once, none lost, none starved."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bailiwick.control.schedule import (
    CONFLICT_DELAY,
    DIRTY_DELAY,
    FIRST_DELAY,
    LONGEST_DELAY,
    QUICK_CONFLICTS,
    Item,
    Priority,
    Schedule,
)

ITEMS = [Item("territory", "health"), Item("model", ("clinic", "chat")), Item("model", ("clinic", "code"))]
A, B, C = ITEMS


def schedule(chance: float = 0.0) -> Schedule:
    return Schedule(lambda: chance)


def take(queue: Schedule, now: float) -> Item | None:
    taken = queue.take(now)
    return taken[0] if taken else None


def test_an_item_added_many_times_runs_once() -> None:
    queue = schedule()
    for _ in range(5):
        queue.add(A, 0)
    assert take(queue, 0) == A
    assert take(queue, 0) is None


def test_first_come_first_served() -> None:
    queue = schedule()
    for now, item in enumerate([B, A, C]):
        queue.add(item, now)
    assert [take(queue, 3), take(queue, 3), take(queue, 3)] == [B, A, C]


def test_an_item_that_is_added_while_it_runs_runs_again_once() -> None:
    queue = schedule()
    queue.add(A, 0)
    assert take(queue, 0) == A
    queue.add(A, 1)
    queue.add(A, 2)
    assert take(queue, 3) is None
    queue.succeeded(A, 4, None)
    assert queue.take(5) == (A, 4)  # waited since it was added first
    queue.succeeded(A, 6, None)
    assert take(queue, 7) is None


def test_live_changes_go_before_a_resync_and_urgent_ones_before_both() -> None:
    queue = schedule()
    queue.add(A, 0, Priority.RESYNC)
    queue.add(B, 1)
    queue.add(C, 2, Priority.URGENT)
    assert [take(queue, 3), take(queue, 3), take(queue, 3)] == [C, B, A]


def test_a_resync_that_waited_goes_before_later_live_changes() -> None:
    queue = schedule()
    queue.add(A, 0, Priority.RESYNC)
    queue.add(B, 11)
    assert take(queue, 11) == A


def test_a_better_priority_moves_an_item_forward_and_a_worse_one_does_not_move_it_back() -> None:
    queue = schedule()
    queue.add(A, 0, Priority.RESYNC)
    queue.add(B, 1)
    queue.add(A, 2, Priority.URGENT)
    queue.add(A, 2, Priority.RESYNC)
    assert queue.take(3) == (A, 3)
    assert take(queue, 3) == B
    assert take(queue, 3) is None


def test_a_place_that_an_item_gave_up_for_a_better_one_is_nobody_s() -> None:
    queue = schedule()
    queue.add(A, 0, Priority.RESYNC)
    queue.add(A, 1)
    assert take(queue, 1) == A
    queue.succeeded(A, 1, None)
    queue.add(B, 20)
    queue.add(A, 21)
    assert [take(queue, 21), take(queue, 21)] == [B, A]


def test_look_again_in_so_many_seconds() -> None:
    queue = schedule()
    queue.add(A, 0)
    take(queue, 0)
    queue.succeeded(A, 1, 30)
    assert queue.next_due() == 31
    assert take(queue, 30.9) is None
    assert queue.take(32) == (A, 1)


def test_of_several_times_the_earliest_counts() -> None:
    queue = schedule()
    queue.add_at(A, 30)
    queue.add_at(A, 10)
    queue.add_at(A, 20)
    assert queue.next_due() == 10
    assert take(queue, 10) == A
    queue.succeeded(A, 10, None)
    assert queue.next_due() is None
    assert take(queue, 100) is None


@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.5), (0.999999, 1.0)])
def test_failures_double_the_delay_up_to_five_minutes_by_a_random_part(chance: float, part: float) -> None:
    queue = schedule(chance)
    queue.add(A, 0)
    now, delays = 0.0, []
    for _ in range(14):
        assert take(queue, now) == A
        delays.append(queue.failed(A, now))
        assert take(queue, now + delays[-1] * 0.99) is None
        now += delays[-1]
    expected = [min(FIRST_DELAY * 2**n, LONGEST_DELAY) * part for n in range(14)]
    assert delays == pytest.approx(expected, rel=1e-4)


def test_a_success_forgets_failures() -> None:
    queue = schedule(1.0)
    for _ in range(4):
        queue.add(A, 0)
        take(queue, 1000)
        queue.failed(A, 1000)
    queue.add(A, 2000)
    take(queue, 2000)
    queue.succeeded(A, 2000, None)
    queue.add(A, 3000)
    take(queue, 3000)
    assert queue.failed(A, 3000) == FIRST_DELAY


def test_the_server_may_ask_for_more_patience() -> None:
    queue = schedule()
    queue.add(A, 0)
    take(queue, 0)
    assert queue.failed(A, 0, at_least=7) == 7


def test_a_live_change_does_not_wait_for_the_backoff() -> None:
    queue = schedule()
    queue.add(A, 0)
    take(queue, 0)
    queue.failed(A, 0, at_least=100)
    queue.add(A, 1)
    assert take(queue, 1) == A


def test_an_item_that_failed_and_changed_meanwhile_waits_a_second_at_most() -> None:
    queue = schedule()
    queue.add(A, 0)
    take(queue, 0)
    queue.add(A, 1)
    assert queue.failed(A, 2, at_least=100) == DIRTY_DELAY
    assert take(queue, 2) is None
    assert take(queue, 2 + DIRTY_DELAY) == A


def test_a_refused_item_waits_for_a_change() -> None:
    queue = schedule()
    queue.add(A, 0)
    take(queue, 0)
    queue.refused(A)
    assert queue.next_due() is None
    assert take(queue, 10_000) is None
    queue.add(A, 10_001)
    assert take(queue, 10_001) == A


def test_a_change_during_a_run_that_is_refused_is_not_lost() -> None:
    queue = schedule()
    queue.add(A, 0)
    take(queue, 0)
    queue.add(A, 1)
    queue.refused(A)
    assert take(queue, 1) == A


def test_conflicts_are_tried_again_soon_until_they_are_a_fight() -> None:
    queue = schedule(1.0)
    now = 0.0
    queue.add(A, now)
    delays = []
    for _ in range(QUICK_CONFLICTS + 2):
        assert take(queue, now) == A
        delays.append(queue.conflicted(A, now))
        now += delays[-1]
    assert delays[:QUICK_CONFLICTS] == [CONFLICT_DELAY] * QUICK_CONFLICTS
    assert delays[QUICK_CONFLICTS] > FIRST_DELAY
    assert delays[QUICK_CONFLICTS + 1] > delays[QUICK_CONFLICTS]


def test_what_waits_and_runs_is_counted_by_loop() -> None:
    queue = schedule()
    for item in ITEMS:
        queue.add(item, 0)
    take(queue, 5)
    assert queue.waiting() == {"model": 2}
    assert queue.running() == {"territory": 1}
    assert queue.oldest_start() == 5


class AnySequence(RuleBasedStateMachine):
    """Adds, delays, runs and outcomes in any order, against what must always be true."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = Schedule(lambda: 0.5)
        self.running: set[Item] = set()
        self.wanted: set[Item] = set()
        """Items that must run once more, as soon as they may."""
        self.due: dict[Item, float] = {}
        """When an item becomes wanted by itself."""

    def want_at(self, item: Item, when: float) -> None:
        self.due[item] = min(when, self.due.get(item, float("inf")))

    @rule(item=st.sampled_from(ITEMS), priority=st.sampled_from(list(Priority)))
    def add(self, item: Item, priority: Priority) -> None:
        self.queue.add(item, self.now, priority)
        self.wanted.add(item)

    @rule(item=st.sampled_from(ITEMS), seconds=st.floats(0, 50))
    def add_later(self, item: Item, seconds: float) -> None:
        self.queue.add_at(item, self.now + seconds)
        self.want_at(item, self.now + seconds)

    @rule(seconds=st.floats(0, 20))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        self.taken()

    def taken(self) -> Item | None:
        self.wanted |= {item for item, when in self.due.items() if when <= self.now}
        self.due = {item: when for item, when in self.due.items() if when > self.now}
        taken = self.queue.take(self.now)
        if taken is None:
            assert not self.wanted - self.running, "lost"
            return None
        item, waited = taken
        assert item not in self.running, "twice at once"
        assert item in self.wanted, "nobody asked for it"
        assert waited >= 0
        self.running.add(item)
        self.wanted.remove(item)
        return item

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(["good", "again", "failed", "conflict", "refused"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        item = data.draw(st.sampled_from(sorted(self.running, key=str)))
        self.running.remove(item)
        match outcome:
            case "good":
                self.queue.succeeded(item, self.now, None)
            case "again":
                self.queue.succeeded(item, self.now, 7.0)
                self.want_at(item, self.now + 7.0)
            case "refused":
                self.queue.refused(item)
            case _:
                end = self.queue.failed if outcome == "failed" else self.queue.conflicted
                delay = end(item, self.now)
                assert 0 < delay <= (DIRTY_DELAY if item in self.wanted else LONGEST_DELAY)
                self.wanted.discard(item)
                self.want_at(item, self.now + delay)

    @invariant()
    def counts_agree(self) -> None:
        assert sum(self.queue.running().values()) == len(self.running)

    def teardown(self) -> None:
        """Whatever was asked for runs in the end."""
        for item in self.running:
            self.queue.succeeded(item, self.now, None)
        self.running.clear()
        self.now += LONGEST_DELAY
        while (one := self.taken()) is not None:
            self.queue.succeeded(one, self.now, None)
            self.running.remove(one)
        assert not self.wanted
        assert not self.due


TestAnySequence = AnySequence.TestCase
