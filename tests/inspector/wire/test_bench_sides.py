"""The two sides of the measurement agree on the frames, and a changed one is found out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from inspector.domain.frame import Pixels
from inspector.wire.bench_sides import Orders, Phase, ReceivingSide, SendingSide
from inspector.wire.frames import ReceivedFrame
from inspector.wire.messages import FrameHeader

from .conftest import header


class Receiver:
    def __init__(self, *frames: ReceivedFrame) -> None:
        self.frames = list(frames)

    def receive(self) -> ReceivedFrame | None:
        return self.frames.pop(0) if self.frames else None


class Overwritten(ReceivedFrame):
    def release(self) -> bool:
        return False


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("reading", ["every_byte", "nothing"])
@pytest.mark.parametrize("fault", ["none", "one byte", "no pixels", "overwritten"])
def test_changed_frame_is_found_out(fault: str, reading: Any, phase: Phase) -> None:
    orders = Orders("receiver", "message", "", None, 8, 4, "ready", reading, 1.0, 1.0)
    pixels = orders.pool()[0].copy()
    pixels[3, 7] ^= fault == "one byte"
    made = Overwritten if fault == "overwritten" else ReceivedFrame
    sent = dataclasses.replace(header(0, pixels), triggered_ns=phase)
    receiver: Any = Receiver(made(sent, None if fault == "no pixels" else pixels))
    side = ReceivingSide(orders, receiver)
    assert side._take()
    assert not side._take()
    assert side._wrong == (fault != "none")


class Sender:
    """Always has room."""

    waiting = 0

    def __init__(self) -> None:
        self.phases: list[int] = []

    def choose(self) -> int:
        return 1

    def send(self, worker: int, header: FrameHeader, pixels: Pixels) -> None:
        self.phases.append(header.triggered_ns)

    def take_credits(self) -> None:
        pass

    def counts(self) -> dict[str, float]:
        return {}


def test_a_rate_is_measured_on_a_frame_at_least() -> None:
    """A process that stood still for all of a short time sent none, and the measurement divided by nothing."""
    orders = Orders("sender", "message", "", None, 8, 4, "ready", "nothing", 0.0, 1.0)
    sender: Any = Sender()
    assert SendingSide(orders, sender).run()["frames"] == 1
    assert sender.phases.count(Phase.RATE) == 1


def test_frames_are_the_same_in_both_processes_and_differ_from_each_other() -> None:
    orders = Orders("sender", "message", "", None, 8, 4, "ready", "nothing", 1.0, 1.0)
    one, other = orders.pool(), orders.pool()
    assert np.array_equal(one, other)
    assert len({pixels.tobytes() for pixels in one}) == len(one) > 2
