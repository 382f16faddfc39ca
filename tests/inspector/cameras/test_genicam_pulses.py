"""Pulses that came with frames: how many of them made none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.genicam_pulses import PulseCounter
from inspector.domain.errors import CameraError


def pulse_counter(largest: int = 2**32 - 1, **nodes: Any) -> PulseCounter:
    chunk = SimpleNamespace(max=largest, node=SimpleNamespace(name="ChunkCounterValue", principal_interface_type=2))
    nodes = {"ChunkCounterValue": chunk, "ChunkModeActive": SimpleNamespace(value=True), **nodes}
    node_map = SimpleNamespace(has_node=nodes.__contains__, get_node=nodes.__getitem__, nodes=list(nodes.values()))
    return PulseCounter(node_map, "ChunkCounterValue")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(0, 65535))
def test_counter_of_16_bits_goes_on_over_its_end(gaps: list[int], begin: int) -> None:
    pulses = pulse_counter(65535)
    assert pulses.missed(begin, 1) == 0
    for gap in gaps:
        begin = (begin + 1 + gap) % 65536
        assert pulses.missed(begin, 1) == gap


def test_counter_that_was_reset_has_counted_what_it_says() -> None:
    pulses = pulse_counter()
    assert [pulses.missed(count, 1) for count in (500_000, 500_001, 1, 4)] == [0, 0, 0, 2]


def test_pulse_that_was_kept_for_the_next_frame_makes_no_part_too_many() -> None:
    """The former frame has it in its count already, and told it as missed: that stands for the next one missed."""
    pulses = pulse_counter()
    assert [pulses.missed(count, 1) for count in (1, 3, 3, 4, 5, 7)] == [0, 1, 0, 0, 0, 0]
    assert pulses.missed(9, 1) == 1


def test_counter_that_stands_still_is_an_error() -> None:
    pulses = pulse_counter()
    assert [pulses.missed(7, 1) for _ in range(33)] == [0] * 33
    with pytest.raises(CameraError, match=r"counted 33 pulses too few for the frames.*CounterEventSource"):
        pulses.missed(7, 1)


def test_frames_without_a_count_are_an_error_only_when_they_last() -> None:
    pulses = pulse_counter()
    assert pulses.missed(10, 1) == 0
    assert [pulses.missed(None, 1) for _ in range(32)] == [0] * 32
    assert pulses.missed(45, 1) == 2
    with pytest.raises(CameraError, match="frames bring no ChunkCounterValue"):
        [pulses.missed(None, 1) for _ in range(33)]
