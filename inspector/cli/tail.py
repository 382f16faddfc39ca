"""`inspector tail`: what makes the slowest parts slow on this machine, and what does not."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
from rich.table import Table

from inspector.benchmark.tail import TailOrders, measure_tail
from inspector.cli.bench import print_table, table_of, write_trial_recipe
from inspector.cli.results import write_json
from inspector.config.schema import Worker

_DEADLINE_MS = 500.0


@dataclass(frozen=True)
class Tail:
    """What the user asked for.

    Attributes:
        rate: Triggers a second.
        turns: Runs of each way.
        seconds: Length of each run.
        ways: Names in `inspector.benchmark.tail.WAYS`.
        pair: "bundled", "light" or "standard".
        size_px: Side of the network's input.
        frame_px: Side of the frames.
        threads: Threads of the network.
        precision: Of the worker.
        json_path: Where to write the record.
    """

    rate: float
    turns: int
    seconds: float
    ways: tuple[str, ...]
    pair: str
    size_px: int
    frame_px: int
    threads: int
    precision: Literal["float32", "bfloat16"]
    json_path: Path | None


def run_tail(tail: Tail) -> None:
    """Measures, prints tables, writes JSON.

    Raises:
        FatalError: The line could not run, a part was lost, or a file can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="inspector-tail-") as folder:
        recipe = Path(folder, "recipe")
        write_trial_recipe(recipe, tail.pair, tail.size_px, tail.precision, tail.frame_px)
        orders = TailOrders(
            recipe=recipe,
            worker=Worker(precision=tail.precision, threads=tail.threads, allow_random_weights=True),
            ways=tail.ways,
            rate=tail.rate,
            turns=tail.turns,
            seconds=tail.seconds,
            frame_px=tail.frame_px,
            deadline_ms=_DEADLINE_MS,
        )
        record = {
            "command": ["inspector", *sys.argv[1:]],
            "pair": tail.pair,
            **measure_tail(orders, lambda text: click.echo(text, err=True)),
        }
    print_table(_ways_table(record))
    for name in record["ways"]:
        print_table(_causes_table(name, record))
    if tail.json_path is not None:
        write_json(tail.json_path, record)
        click.echo(f"wrote {tail.json_path}", err=True)


def _ways_table(record: dict[str, Any]) -> Table:
    table = table_of(
        f"the line in several ways: {record['orders']['rate']:g} triggers a second, trigger to verdict",
        "way",
        "parts",
        "p50 ms",
        "p99 ms",
        "p99.9",
        "p99.9 by turn",
        "largest",
        "collections/s",
        "longest ms",
        "page faults a part",
        "not inspected",
    )
    for name, way in record["ways"].items():
        latency, processes = way["latency"], way["processes"]
        turns = [turn["p999_ms"] for turn in way["latency_by_turn"]]
        table.add_row(
            name,
            str(way["parts"]),
            *(f"{latency[quantile]:.1f}" for quantile in ("p50_ms", "p99_ms", "p999_ms")),
            f"{min(turns):.1f} - {max(turns):.1f}",
            f"{latency['largest_ms']:.1f}",
            f"{sum(process['collections_a_second'] for process in processes.values()):.1f}",
            f"{max(process['longest_collection_ms'] for process in processes.values()):.2f}",
            ", ".join(f"{role} {process['faults']:.1f}" for role, process in processes.items()),
            str(way["refused"]),
        )
    return table


def _causes_table(name: str, record: dict[str, Any]) -> Table:
    everyone, *slow = record["ways"][name]["groups"].items()
    table = table_of(
        f"{name}: mean ms of a part, share of the parts that feel it, share of what they took longer than the mean",
        "",
        "all ms",
        "felt by",
        *(column for title, _ in slow for column in (f"{title}, ms", "felt by", "of excess")),
    )
    table.add_row(
        f"trigger to verdict, {everyone[1]['parts']} parts",
        f"{everyone[1]['whole_ms']:.2f}",
        "",
        *(cell for _, group in slow for cell in (f"{group['whole_ms']:.2f}", "", "")),
    )
    for kind in ("stages", "causes"):
        for row in everyone[1][kind]:
            weights = [group[kind][row] for _, group in slow]
            whole = everyone[1][kind][row]
            table.add_row(
                row,
                f"{whole['ms']:.3f}",
                f"{whole['felt']:.0%}",
                *(cell for weight in weights for cell in _cells(weight)),
                end_section=row == list(everyone[1][kind])[-1],
            )
    return table


def _cells(weight: dict[str, float | None]) -> tuple[str, str, str]:
    excess = weight["excess"]
    return f"{weight['ms']:.3f}", f"{weight['felt']:.0%}", "" if excess is None else f"{round(excess, 2) + 0.0:.0%}"
