from __future__ import annotations

import os

from inspector.roles.lifeline import Lifeline


def test_commands_are_taken_up_whole_however_they_arrive() -> None:
    reading, writing = os.pipe()
    lifeline = Lifeline(reading)
    try:
        lifeline.take()
        assert not lifeline.armed
        os.write(writing, b"ar")
        lifeline.take()
        assert not lifeline.armed
        os.write(writing, b"m\n")
        lifeline.take()
        assert lifeline.armed
        os.write(writing, b"disarm\narm\ndisarm\nnonsense\n")
        lifeline.take()
        assert not lifeline.armed
        assert not lifeline.stopping
        os.write(writing, b"leave station.side\n")
        lifeline.take()
        assert lifeline.left == {"station.side"}
        os.write(writing, b"stop\n")
        lifeline.take()
        assert lifeline.stopping
    finally:
        os.close(reading)
        os.close(writing)


def test_the_end_of_the_gate_stops_the_child() -> None:
    reading, writing = os.pipe()
    lifeline = Lifeline(reading)
    os.close(writing)
    try:
        lifeline.take()
        assert lifeline.stopping
    finally:
        os.close(reading)
