"""What a person sees while a calibration runs: bars on a terminal, a few lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from calibration.training import Step

_ALL, _FEATURES = "all trainings", "features"


class ConsoleReporter:
    """A `calibration.train.Reporter` for the console.

    Args:
        console: Where to write.
        interval_s: Seconds between lines where the console is no terminal.
        clock_s: Monotonic clock.
    """

    def __init__(
        self, console: Console, interval_s: float = 15.0, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._bars = Progress(
            TextColumn("{task.description:<17}"),
            BarColumn(24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun: set[str] = set()
        self._said_s = -math.inf
        self._started: tuple[float, float] | None = None

    def __enter__(self) -> ConsoleReporter:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """A line for people."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def features(self, done: int, total: int) -> None:
        """Images through the backbones."""
        self._show(_FEATURES, done, total, f"{done} of {total} images")

    def training(self, name: str, number: int, trainings: int, step: Step) -> None:
        """A step of one of the trainings, which count from 1; a bar of its own stands for all of them."""
        losses = " ".join("-" if math.isnan(loss) else f"{loss:.2e}" for loss in step.losses)
        losses = f"loss {losses}" if losses else "no loss to follow"
        share = number - 1 + step.done / max(1, step.total)
        if self._console.is_terminal:
            self._show(_ALL, share, trainings, f"{number} of {trainings}")
            self._show(f"training {name}", step.done, step.total, losses)
        else:
            facts = f"{step.done} of {step.total} steps, {losses}, {self._left(share, number, trainings)}"
            self._show(f"training {number} of {trainings}", step.done, step.total, facts)

    def scoring(self, name: str, done: int, total: int) -> None:
        """Good parts scored."""
        self._show(f"scoring {name}", done, total, f"{done} of {total} parts")

    def _show(self, name: str, done: float, total: float, facts: str) -> None:
        if self._console.is_terminal:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=total, facts="")
            kept = done < total or name in (_ALL, _FEATURES)
            self._bars.update(self._tasks[name], completed=done, facts=facts, visible=kept)
            return
        now_s = self._clock_s()
        if name not in self._begun or done >= total or now_s - self._said_s >= self._interval_s:
            self._begun.add(name)
            self._said_s = now_s
            self.say(f"{name}: {facts}")

    def _left(self, share: float, number: int, trainings: int) -> str:
        """How long all trainings will take yet, from their pace so far."""
        now_s = self._clock_s()
        if self._started is None and share < number:  # finished ones may be those of a former run
            self._started = now_s, share
        if self._started is None or share <= self._started[1]:
            return "time left unknown"
        began_s, first = self._started
        seconds = round((now_s - began_s) / (share - first) * (trainings - share))
        return f"about {seconds // 60}:{seconds % 60:02d} left"
