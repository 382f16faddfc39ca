"""Counters of missed triggers: how far they went, and each trigger counted once whoever told of it first."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inspector.cameras.genicam_missed import MissedTriggerCounter, Reconciled, growth
from inspector.config.cameras import MissedTriggers
from inspector.domain.errors import CameraError

from .conftest import FakeClock


@given(st.integers(0, 65535), st.integers(0, 32767))
def test_counter_of_16_bits_goes_on_over_its_end(last: int, step: int) -> None:
    assert growth(last, (last + step) % 65536, 65535) == step


@pytest.mark.parametrize("largest", [65535, 2**32 - 1, 2**63 - 1, 0])
def test_counter_that_was_reset_has_counted_what_it_says(largest: int) -> None:
    assert growth(20_000, 3, largest) == 3


@given(st.lists(st.sampled_from(["frame", "missed", "dropped", "arrival", "look"]), max_size=60))
@example(["dropped", "missed", "frame", "arrival", "look", "look"])
@example(["missed", "look", "dropped", "frame", "arrival"])
@example(["dropped", "frame", "arrival", "look", "missed", "look"])
def test_each_pulse_is_one_part_when_missed_triggers_also_leave_gaps(happenings: list[str]) -> None:
    """Whatever is lost in whatever order, and however late frames come and the counter is read."""
    both = Reconciled()
    on_the_way = deque[int]()
    pulses = parts = counter = looked = frame_id = last_id = 0

    def arrive() -> int:
        nonlocal last_id
        arrived = on_the_way.popleft()
        gap, last_id = arrived - last_id - 1, arrived
        return 1 + both.left_out(gap)

    def look() -> int:
        nonlocal looked
        grown, looked = counter - looked, counter
        return both.counted(grown)

    for happening in [*happenings, "frame"]:
        if happening in ("frame", "missed", "dropped"):
            pulses += 1
            frame_id += 1
        counter += happening == "missed"
        if happening == "frame":
            on_the_way.append(frame_id)
        elif happening == "look":
            parts += look()
        elif happening == "arrival" and on_the_way:
            parts += arrive()
        assert parts <= pulses
    parts += look()
    while on_the_way:
        parts += arrive()
    assert parts == pulses


def test_missed_trigger_that_no_frame_follows_is_told_all_the_same() -> None:
    both = Reconciled()
    assert both.left_out(1) == 1  # lost on its way
    assert both.counted(0) == 0
    assert both.counted(2) == 2
    both.ids_say_nothing()
    assert both.left_out(1) == 1


class Node:
    """A counter in a node map."""

    def __init__(self, kind: int = 2, access: int = 3) -> None:
        self.values = [0]
        self.max = 65535
        self._access = access
        selector = SimpleNamespace(node=SimpleNamespace(name="CounterSelector"))
        self.node = SimpleNamespace(name="CounterValue", principal_interface_type=kind, selecting_features=[selector])

    def get_access_mode(self) -> int:
        return self._access

    def get_value(self, *, ignore_cache: bool) -> int:
        assert ignore_cache
        return self.values.pop(0)


def counter_of(node: Node, clock: FakeClock, name: str = "CounterValue", **keys: Any) -> MissedTriggerCounter:
    selector = SimpleNamespace(node=SimpleNamespace(name="CounterSelector"), value="Counter1")
    nodes = {"CounterValue": node, "CounterSelector": selector}
    node_map = SimpleNamespace(has_node=nodes.__contains__, get_node=nodes.__getitem__, nodes=list(nodes.values()))
    return MissedTriggerCounter(node_map, name, MissedTriggers(node=name, **keys), clock)


def test_counter_counts_from_the_start(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    node = Node()
    counter = counter_of(node, clock, check_s=0.2)
    assert "missed triggers are counted by CounterValue of CounterSelector Counter1" in caplog.text
    node.values = [7, 7, 10, 65535, 2]
    counter.start()
    assert [counter.look() for _ in range(2)] == [0, 3]
    with pytest.raises(CameraError, match="went from 10 to 65535, which no pulses do"):
        counter.look()
    assert counter.look() == 3


@pytest.mark.parametrize(("readings", "missed"), [([7, 9, 12], 5), ([40_000, 2, 5], 5)])
def test_triggers_missed_while_the_acquisition_starts_are_parts(
    clock: FakeClock, readings: list[int], missed: int
) -> None:
    """Once the counter was first read when frames came already; a camera may also set it to 0 with its start."""
    node = Node()
    counter = counter_of(node, clock)
    node.values = readings
    counter.start()
    counter.running()
    assert counter.look() == missed


def test_counter_is_read_between_frames_or_a_little_later(clock: FakeClock) -> None:
    counter = counter_of(Node(), clock, check_s=0.2)
    counter.start()
    clock.sleep(0.19)
    assert not counter.due(idle=True)
    clock.sleep(0.01)
    assert counter.due(idle=True)
    assert not counter.due(idle=False)
    clock.sleep(0.2)
    assert counter.due(idle=False)


def test_counter_at_its_end_is_told(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    node.values = [65530, 65535]
    counter = counter_of(node, clock)
    counter.start()
    assert counter.look() == 5
    assert "CounterValue has reached its end, 65535" in caplog.text


def test_node_that_is_no_counter_is_refused(clock: FakeClock) -> None:
    with pytest.raises(CameraError, match=r"has no node CounterValu; did you mean CounterValue\?"):
        counter_of(Node(), clock, "CounterValu")
    for node in (Node(kind=9), Node(access=2)):
        with pytest.raises(CameraError, match=r"node: CounterValue holds no whole number that can be read"):
            counter_of(node, clock)
