"""`inspector soak`: the whole line for long, with faults; what it lost, and what grew."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console

from inspector.benchmark.soak import SoakOrders, SoakResult, run_soak
from inspector.benchmark.soak_chart import soak_chart
from inspector.benchmark.soak_faults import FaultKind
from inspector.cli.results import write_json, write_text
from inspector.config.schema import Worker
from inspector.domain.errors import FatalError
from inspector.domain.precision import Precision

#: Scores of the checksum worker spread evenly up to 2**32: so many of the parts fail.
_STUB_LIMIT = 0.96 * 2**32


@dataclass(frozen=True)
class Soak:
    """What the user asked for.

    Attributes:
        parts: End after so many parts.
        seconds: End after so long.
        rate: Triggers a second; None for a part whenever there is room.
        seed: Of pictures and faults.
        faults: Kinds of faults.
        fault_every_s: Mean pause between two faults.
        stub: The checksum worker in the place of the network.
        pair: Backbones of the network.
        size_px: Side of the network's input.
        frame_px: Side of the frames.
        deadline_ms: Deadline of a verdict.
        threads: Threads of the network.
        device: "cpu" or "cuda".
        precision: Arithmetic of the network.
        json_path: Where to write the record.
        plot_path: Where to write the chart.
    """

    parts: int | None
    seconds: float | None
    rate: float | None
    seed: int
    faults: tuple[FaultKind, ...]
    fault_every_s: float
    stub: bool
    pair: str
    size_px: int
    frame_px: int
    deadline_ms: float
    threads: int
    device: Literal["cpu", "cuda"]
    precision: Precision
    json_path: Path | None
    plot_path: Path | None


def run(soak: Soak) -> None:
    """Runs the soak, prints what it came to, writes JSON and the chart.

    Raises:
        FatalError: A part was lost, sums don't balance, something grew, or the line could not run.
    """
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="inspector-soak-") as name:
        recipe = Path(name, "recipe")
        with console.status("making a recipe"):
            _trial_recipe(recipe, soak)
        orders = SoakOrders(
            recipe=recipe,
            parts=soak.parts,
            seconds=soak.seconds,
            rate=soak.rate,
            seed=soak.seed,
            faults=soak.faults,
            fault_every_s=soak.fault_every_s,
            stub=soak.stub,
            frame_px=soak.frame_px,
            deadline_ms=soak.deadline_ms,
            worker=Worker(
                device=soak.device, precision=soak.precision, threads=soak.threads, allow_random_weights=True
            ),
        )
        with console.status("the line is starting; Ctrl-C ends the run with its report") as status:
            result = run_soak(orders, lambda parts, s: status.update(f"{parts:,} parts in {s:,.0f} s"))
    record = {"command": ["inspector", *sys.argv[1:]], **result.record, "problems": result.problems}
    for line in told(result):
        click.echo(line)
    if soak.json_path is not None:
        write_json(soak.json_path, record)
        click.echo(f"wrote {soak.json_path}", err=True)
    if soak.plot_path is not None and result.samples.time_s:
        title = f"{result.record['parts']:,} parts, {sum(result.record['faults'].values())} faults"
        write_text(soak.plot_path, soak_chart(result.samples, title))
        click.echo(f"wrote {soak.plot_path}", err=True)
    if result.problems:
        raise FatalError("\n".join(result.problems))


def told(result: SoakResult) -> list[str]:
    """The result in lines of text."""
    record = result.record
    sums, latency = record["sums"], record["latency_ms"]
    lines = [
        f"{record['parts']:,} parts in {record['seconds']:,.0f} s ({record['parts_per_second']:,.0f} a second) = "
        f"{sums['pass']:,} pass + {sums['fail']:,} fail + {sums['not_inspected']:,} not inspected",
        "by cause: " + _listed(record["causes"]),
        f"verdict log: {record['verdict_log']['records']:,} records; {record['scores_checked']:,} scores compared",
        "trigger to verdict, ms: " + _listed(latency),
    ]
    for kind, count in record["faults"].items():
        felt = record["recovery_s"].get(kind)
        times = f", good verdicts again after {felt['median']:g} s, at most {felt['largest']:g} s" if felt else ""
        lines.append(f"{kind}: {count}{times}")
    for name, grown in record["growth"].items():
        lines.append(f"{name}: memory {grown['memory_mb']:+.1f} MB, descriptors {grown['descriptors']:+.0f}")
    return lines


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def _trial_recipe(folder: Path, soak: Soak) -> None:
    """By a program that loads torch, which this process must not."""
    # The checksum worker runs only with random weights, which the light pair has.
    pair, limit = ("light", [str(_STUB_LIMIT)]) if soak.stub else (soak.pair, [])
    size_px = 32 if soak.stub else soak.size_px
    done = subprocess.run(
        [sys.executable, "-m", "inspector.benchmark.trial", str(folder), pair, str(size_px), soak.precision, *limit],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"no trial recipe, exit code {done.returncode}"]
        raise FatalError(lines[-1])
