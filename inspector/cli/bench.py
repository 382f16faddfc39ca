"""`inspector bench`: engines and line on this machine, in one run, as ratios."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Table

from inspector.benchmark.chart import latency_chart
from inspector.benchmark.line import LineRun, measure_line
from inspector.cli.results import write_json, write_text
from inspector.config.schema import Worker
from inspector.domain.errors import FatalError
from inspector.domain.precision import Precision

_DEADLINE_MS = 500.0
_ANY_WIDTH = 1000
#: Batch sizes of the engines, and the largest of the line.
_BATCHES = {"cpu": (1, 4), "cuda": (1, 2, 4, 8, 16, 32)}
#: What is measured where nothing is said: the line's precision, and its rates.
_PRECISIONS: dict[str, Precision] = {"cpu": "float32", "cuda": "float16"}
_RATES = {"cpu": (30.0, 60.0), "cuda": (60.0, 240.0, 1000.0)}


@dataclass(frozen=True)
class Bench:
    """What the user asked for.

    Attributes:
        pair: "bundled", "light" or "standard".
        size_px: Side of the network's input.
        frame_px: Side of the frames.
        threads: Threads of the network.
        device: "cpu" or "cuda".
        precision: Precision of the line's worker; None takes the device's own.
        rounds: Rounds of the engines; 0 leaves them out.
        detectors: Other detectors to compare.
        rates: Offered rates of the line; empty leaves the line out, None takes the device's own.
        seconds: Duration of each run of the line.
        json_path: Where to write the record.
        plot_path: Where to write the chart.
    """

    pair: str
    size_px: int
    frame_px: int
    threads: int
    device: Literal["cpu", "cuda"]
    precision: Precision | None
    rounds: int
    detectors: tuple[str, ...]
    rates: tuple[float, ...] | None
    seconds: float
    json_path: Path | None
    plot_path: Path | None

    @property
    def line_precision(self) -> Precision:
        """The precision, with the default filled in."""
        return self.precision or _PRECISIONS[self.device]

    @property
    def line_rates(self) -> tuple[float, ...]:
        """The rates, with the default filled in."""
        return _RATES[self.device] if self.rates is None else self.rates


def run_bench(bench: Bench) -> None:
    """Measures, prints tables, writes JSON and the chart.

    Raises:
        FatalError: An engine's scores are wrong, a part was lost, or a file can't be written.
    """
    console = Console(stderr=True)
    record: dict[str, Any] = {"command": ["inspector", *sys.argv[1:]]}
    if bench.rounds:
        with console.status("measuring the engines"):
            record["engines"] = _engines(bench)
        print_table(_engine_table(record["engines"], bench))
        if bench.device == "cuda":
            print_table(_device_table(record["engines"]))
    runs: list[LineRun] = []
    with tempfile.TemporaryDirectory(prefix="inspector-bench-") as folder:
        if bench.line_rates:
            recipe = Path(folder, "recipe")
            write_trial_recipe(recipe, bench.pair, bench.size_px, bench.line_precision, bench.frame_px)
            worker = Worker(
                device=bench.device,
                precision=bench.line_precision,
                threads=bench.threads,
                max_batch=max(_BATCHES[bench.device]),
                allow_random_weights=True,
            )
            for rate in bench.line_rates:
                # No status that moves: it is drawn by a thread of this process, which is the gate now.
                click.echo(f"the line at {rate:g} triggers a second", err=True)
                run = measure_line(
                    recipe,
                    worker,
                    offered=rate,
                    parts=max(2, round(rate * bench.seconds)),
                    frame_px=bench.frame_px,
                    deadline_ms=_DEADLINE_MS,
                )
                runs.append(run)
            record["line"] = {"deadline_ms": _DEADLINE_MS, "runs": [run.as_record() for run in runs]}
            print_table(_line_table(runs, bench))
    if bench.json_path is not None:
        write_json(bench.json_path, record)
        click.echo(f"wrote {bench.json_path}", err=True)
    if bench.plot_path is not None and runs:
        where = "GPU" if bench.device == "cuda" else f"{bench.threads} threads"
        title = f"{bench.pair} pair, {bench.size_px} px, {bench.line_precision}, {where}"
        write_text(bench.plot_path, latency_chart(runs, _DEADLINE_MS, title))
        click.echo(f"wrote {bench.plot_path}", err=True)


def _engines(bench: Bench) -> dict[str, Any]:
    orders = {
        "pair": bench.pair,
        "size_px": bench.size_px,
        "frame_px": bench.frame_px,
        "threads": bench.threads,
        "device": bench.device,
        "batches": _BATCHES[bench.device],
        "rounds": bench.rounds,
        "detectors": bench.detectors,
    }
    return dict(json.loads(_program("inspector.benchmark.engines", json.dumps(orders))))


def write_trial_recipe(folder: Path, pair: str, size_px: int, precision: Precision, frame_px: int) -> None:
    """Makes a recipe to measure with (`inspector.benchmark.trial`).

    Raises:
        FatalError: It can't be made.
    """
    _program("inspector.benchmark.trial", str(folder), pair, str(size_px), precision, "--frame", str(frame_px))


def _program(module: str, *arguments: str) -> str:
    """Standard output of a program that loads torch, which this process must not."""
    # Threads that wait by spinning would take the cores from the processes beside them.
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"{module} ended with exit code {done.returncode}"]
        raise FatalError(lines[-1].removeprefix("error: "))
    return done.stdout


def table_of(title: str, first: str, *columns: str) -> Table:
    """An empty table: names on the left, figures on the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def print_table(table: Table) -> None:
    """Prints a table as wide as it is: on a narrow terminal its lines break, but no figure is cut off."""
    Console(width=Console(width=_ANY_WIDTH).measure(table).maximum).print(table)


def _engine_table(record: dict[str, Any], bench: Bench) -> Table:
    machine = record["machine"]
    device = machine["cuda"] if bench.device == "cuda" else f"{machine['cpu']}, {bench.threads} threads"
    batches = record["orders"]["batches"]
    table = table_of(
        f"engines: {bench.pair} pair, {bench.size_px} px, {device}",
        "engine",
        "p50 ms",
        "p99 ms",
        "p99.9",
        *(f"frames/s by {batch}" for batch in batches),
        "times plain",
        "CPU ms",
        "score off by",
    )
    digits = 2 if bench.device == "cuda" else 1
    for one in record["contenders"]:
        latency, differs = one["latency"], one["largest_score_difference"]
        rates = [one["frames_per_second"].get(str(batch)) for batch in batches]
        table.add_row(
            one["name"],
            *_quantiles(latency, digits),
            *("" if rate is None else f"{rate:.{2 - digits}f}" for rate in rates),
            f"{max(one['times_plain'].values()):.2f}",
            f"{one['cpu_ms_per_frame']:.1f}",
            "" if differs is None else f"{differs:.0e}",
        )
    return table


def _device_table(record: dict[str, Any]) -> Table:
    table = table_of(
        "one frame on the device, copied in, computed, copied out", "engine", "p50 ms", "p99 ms", "p99.9", "frames"
    )
    for one in record["contenders"]:
        latency = one["latency_on_device"]
        if latency is not None:
            table.add_row(one["name"], *_quantiles(latency, 3), str(latency["samples"]))
    return table


def _quantiles(latency: dict[str, Any], digits: int) -> list[str]:
    return [f"{latency[name]:.{digits}f}" for name in ("p50_ms", "p99_ms", "p999_ms")]


def _line_table(runs: list[LineRun], bench: Bench) -> Table:
    table = table_of(
        f"the line: {bench.line_precision}, deadline {_DEADLINE_MS:g} ms, trigger to verdict",
        "offered/s",
        "parts",
        "judged",
        "verdicts/s",
        "p50 ms",
        "p99 ms",
        "p99.9",
        "CPU ms",
        "not inspected",
    )
    for run in runs:
        latency = run.latency
        refused = {cause: count for cause, count in run.causes.items() if not cause.startswith("score_")}
        table.add_row(
            f"{run.offered:g}",
            str(run.parts),
            str(run.judged),
            f"{run.parts_per_second:.1f}",
            f"{latency.p50_ms:.1f}",
            f"{latency.p99_ms:.1f}",
            f"{latency.p999_ms:.1f}",
            f"{run.cpu_ms_per_part:.1f}",
            ", ".join(f"{count} {cause}" for cause, count in refused.items()),
        )
    return table
