"""Whatever dies, stops or comes late: a reader is never given other pixels unnoticed, and no slot is lost for good."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inspector.wire.leases import LeaseTable, SlotLeases

LEASE_NS = 100


def table(slots: int) -> LeaseTable:
    return LeaseTable(*([0] * slots for _ in range(4)))


@dataclass
class Frame:
    """A frame that was leased to a worker: on its way, or in the worker's hands."""

    slot: int
    generation: int
    token: int
    worker: int
    leased_ns: int


class Line(RuleBasedStateMachine):
    """A camera process and a worker that die, stop and start again at any moment, on a table that outlives both.

    `pixels` is what lies in the slots: a frame's token, or None while it is half written.
    """

    @initialize(slots=st.integers(1, 4))
    def begin_line(self, slots: int) -> None:
        self.table = table(slots)
        self.pixels: list[int | None] = [None] * slots
        self.now_ns = 0
        self.worker = 1
        self.token = 0
        self.written: list[int] = []
        self.sent: list[Frame] = []
        self.held: list[Frame] = []
        self.start_camera()

    def start_camera(self) -> None:
        self.leases = SlotLeases(self.table, LEASE_NS)
        self.written = []

    @rule()
    def write(self) -> None:
        slot = self.leases.begin(self.now_ns)
        if slot is None:
            assert self.leases.in_use == len(self.pixels)
            return
        assert slot not in self.written
        self.pixels[slot] = None
        self.written.append(slot)

    @precondition(lambda self: self.written)
    @rule(arrives=st.booleans())
    def send(self, arrives: bool) -> None:
        slot = self.written.pop()
        self.token += 1
        self.pixels[slot] = self.token
        generation = self.leases.commit(slot, self.worker, self.now_ns)
        if arrives:
            self.sent.append(Frame(slot, generation, self.token, self.worker, self.now_ns))
        else:
            self.leases.abandon(slot)

    @precondition(lambda self: self.written)
    @rule()
    def give_up_a_frame(self) -> None:
        self.leases.abandon(self.written.pop())

    @precondition(lambda self: self.sent)
    @rule(newest=st.booleans())
    def take_up(self, newest: bool) -> None:
        self.held.append(self.sent.pop(-1 if newest else 0))

    @precondition(lambda self: self.held)
    @rule(newest=st.booleans())
    def release(self, newest: bool) -> None:
        frame = self.held.pop(-1 if newest else 0)
        right = self.pixels[frame.slot] == frame.token
        assert self.table.release(frame.slot, frame.generation) == right
        assert right or self.now_ns - frame.leased_ns >= LEASE_NS, "overwritten within its lease"

    @rule(messages_arrive=st.booleans())
    def kill_the_camera_process(self, messages_arrive: bool) -> None:
        if not messages_arrive:
            self.sent.clear()
        self.start_camera()

    @rule()
    def kill_the_worker(self) -> None:
        self.sent.clear()
        self.held.clear()
        self.worker += 1
        self.leases.end_former(self.worker)

    @rule()
    def kill_both(self) -> None:
        self.sent.clear()
        self.held.clear()
        self.worker += 1
        self.start_camera()
        self.leases.end_former(self.worker)

    @rule(ns=st.integers(1, LEASE_NS + 1))
    def wait(self, ns: int) -> None:
        self.now_ns += ns

    @invariant()
    def what_looks_intact_is_what_was_sent(self) -> None:
        for frame in self.sent + self.held:
            intact = self.table.intact(frame.slot, frame.generation)
            assert intact == (self.pixels[frame.slot] == frame.token)
            assert intact or self.now_ns - frame.leased_ns >= LEASE_NS, "overwritten within its lease"

    def teardown(self) -> None:
        """Nobody answers any more: every slot comes back all the same."""
        if not hasattr(self, "table"):
            return
        self.now_ns += LEASE_NS
        free = [self.leases.begin(self.now_ns) for _ in range(len(self.pixels) - len(self.written))]
        assert None not in free
        assert sorted([*free, *self.written]) == list(range(len(self.pixels)))  # type: ignore[type-var]


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=150, stateful_step_count=40)


def test_worker_that_is_gone_leaves_its_slots_at_once() -> None:
    leases = SlotLeases(table(2), LEASE_NS)
    for _ in range(2):
        slot = leases.begin(0)
        assert slot is not None
        leases.commit(slot, 1, 0)
    assert leases.begin(1) is None
    leases.end_former(1)  # the worker itself opening once more ends nothing
    assert leases.begin(1) is None
    leases.end_former(2)
    assert (leases.in_use, leases.expired) == (0, 0)


def test_lease_ends_by_its_time_and_is_counted_once() -> None:
    words = table(1)
    leases = SlotLeases(words, LEASE_NS)
    leases.begin(0)
    generation = leases.commit(0, 1, 50)
    assert leases.begin(50 + LEASE_NS - 1) is None
    assert leases.begin(50 + LEASE_NS) == 0
    assert leases.expired == 1
    assert not words.intact(0, generation)
    later = leases.commit(0, 1, 200)
    assert not words.release(0, generation), "a worker that wakes up late must not release the next frame's slot"
    assert leases.in_use == 1
    assert words.release(0, later)
    assert leases.in_use == 0


def test_slot_that_was_half_written_when_the_camera_process_died_is_free_for_the_next() -> None:
    words = table(1)
    assert SlotLeases(words, LEASE_NS).begin(0) == 0
    successor = SlotLeases(words, LEASE_NS)
    assert successor.begin(0) == 0
    assert successor.commit(0, 1, 0) == 4


class Killed(Exception):  # noqa: N818  an event
    pass


class MortalWords(list[int]):
    """Words of a process that is killed before a certain write."""

    writes_left = 0

    def __setitem__(self, slot: int, word: int) -> None:  # type: ignore[override]
        if MortalWords.writes_left == 0:
            raise Killed
        MortalWords.writes_left -= 1
        super().__setitem__(slot, word)


@pytest.mark.parametrize("writes", range(5))
def test_camera_process_killed_between_any_two_writes_leaves_a_slot_that_is_free_or_leased(writes: int) -> None:
    words = LeaseTable(*(MortalWords([0]) for _ in range(4)))
    MortalWords.writes_left = 100
    former = SlotLeases(words, LEASE_NS)
    former.begin(0)
    assert words.release(0, former.commit(0, 1, 0))
    MortalWords.writes_left = writes
    sent = None
    try:
        former.begin(10)
        sent = former.commit(0, 2, 10)
    except Killed:
        assert writes < 4
    MortalWords.writes_left = 100
    successor = SlotLeases(words, LEASE_NS)
    assert successor.in_use == (sent is not None)
    assert (successor.begin(11) is None) == (sent is not None)
    if sent is not None:
        assert words.intact(0, sent)
    else:
        assert not any(words.intact(0, generation) for generation in (2, 4))


@pytest.mark.parametrize("slot", [-1, 2, 1 << 40])
def test_slot_that_does_not_exist_holds_nothing(slot: int) -> None:
    assert not table(2).intact(slot, 0)
    assert not table(2).release(slot, 0)
