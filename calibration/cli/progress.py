"""What a person sees while a calibration runs: bars on a terminal, a few lines elsewhere."""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from calibration.training import Step


class ConsoleReporter:
    """A `calibration.train.Reporter` for the console.

    Args:
        console: Where to write.
        interval_s: Seconds between lines where the console is no terminal.
    """

    def __init__(self, console: Console, interval_s: float = 15.0) -> None:
        self._console = console
        self._interval_s = interval_s
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

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
        self._advance("features", done, total, f"{done} of {total} images")

    def training(self, name: str, step: Step) -> None:
        """A step of a training."""
        losses = " ".join("-" if math.isnan(loss) else f"{loss:.2e}" for loss in step.losses)
        self._advance(f"training {name}", step.done, step.total, f"loss {losses}")

    def scoring(self, name: str, done: int, total: int) -> None:
        """Good parts scored."""
        self._advance(f"scoring {name}", done, total, f"{done} of {total} parts")

    def _advance(self, name: str, done: int, total: int, facts: str) -> None:
        if self._console.is_terminal:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=total, facts="")
            self._bars.update(self._tasks[name], completed=done, facts=facts)
            return
        now = time.monotonic()
        if done >= total or now - self._said.get(name, -math.inf) >= self._interval_s:
            self._said[name] = now
            self.say(f"{name}: {done}/{total} {facts}")
