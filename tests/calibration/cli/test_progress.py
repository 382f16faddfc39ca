"""People see losses and the time left, on a terminal and in a log."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from calibration.cli.progress import ConsoleReporter
from calibration.training import Step


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_log_gets_a_line_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    with ConsoleReporter(Console(file=stream), interval_s=10.0, clock_s=clock) as reporter:
        for done in range(5):
            reporter.training("fold-1", 1, 2, Step(done, 4, (math.nan if done == 0 else 0.5 / done, 0.25)))
            clock.now_s += 6.0
        reporter.scoring("fold-1", 7, 7)
    assert lines_of(stream) == [
        "training 1 of 2: 0 of 4 steps, loss - 2.50e-01, time left unknown",
        "training 1 of 2: 2 of 4 steps, loss 2.50e-01 2.50e-01, about 0:36 left",
        "training 1 of 2: 4 of 4 steps, loss 1.25e-01 2.50e-01, about 0:24 left",
        "scoring fold-1: 7 of 7 parts",
    ]


def test_time_left_of_a_resumed_calibration_is_by_the_present_pace(clock: Clock) -> None:
    stream = io.StringIO()
    with ConsoleReporter(Console(file=stream), interval_s=10.0, clock_s=clock) as reporter:
        reporter.training("fold-1", 1, 3, Step(4, 4, ()))
        reporter.training("fold-2", 2, 3, Step(2, 4, (0.5,)))
        clock.now_s += 20.0
        reporter.training("fold-2", 2, 3, Step(4, 4, (0.5,)))
    assert "training 2 of 3: 4 of 4 steps, loss 5.00e-01, about 0:40 left" in lines_of(stream)


def test_a_terminal_gets_bars(clock: Clock) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, legacy_windows=False)
    with ConsoleReporter(console, clock_s=clock) as reporter:
        reporter.say("[weights]: bundled")
        reporter.features(8, 20)
        reporter.training("fold-1", 1, 6, Step(100, 300, (1.9e-3, 1.4e-3)))
        reporter.scoring("fold-1", 3, 7)
    shown = stream.getvalue()
    for words in ("[weights]: bundled", "8 of 20 images", "all trainings", "1 of 6", "loss 1.90e-03 1.40e-03", "33%"):
        assert words in shown
