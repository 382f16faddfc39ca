"""The arguments of `inspector bench`, `inspector tail` and `inspector soak`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_PAIR = click.option(
    "--pair", type=click.Choice(["bundled", "light", "standard"]), default="bundled", show_default=True
)
_SIZE = click.option(
    "--size", "size_px", type=click.IntRange(32, 4096), default=256, show_default=True, help="Input side."
)


@click.command()
@click.option(
    "--pair",
    type=click.Choice(["bundled", "light", "standard"]),
    default="bundled",
    show_default=True,
    help="Backbones: the bundled ones; squeezenet1_1 and mobilenet_v2; resnet34 and resnet50.",
)
@_SIZE
@click.option("--frame", "frame_px", type=click.IntRange(32, 8192), default=512, show_default=True, help="Frame side.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Threads of the network.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the line's worker, default float32, on a GPU float16; the engines are measured in every precision.",
)
@click.option("--rounds", type=click.IntRange(min=0), default=5, show_default=True, help="Engines: rounds; 0: none.")
@click.option("--detectors", default="", help="Other detectors to compare: pfm,padim,patchcore,cflow-ad.")
@click.option("--rates", help="Line: triggers a second; empty: none. Default: 30,60; on a GPU 60,240,1000.")
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="Line: each rate's run.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Write latency over rate to this SVG file.")
def bench(detectors: str, rates: str | None, **options: Any) -> None:
    """Measure engines and the whole line on this machine, in one run, with random pixels."""
    from inspector.cli.bench import Bench, run_bench

    try:
        numbers = None if rates is None else tuple(float(rate) for rate in rates.split(",") if rate)
    except ValueError:
        raise click.BadParameter(f"{rates!r} is not a list of rates such as 30,60", param_hint="--rates") from None
    if any(not rate > 0 for rate in numbers or ()):
        raise click.BadParameter("rates are positive", param_hint="--rates")
    named = tuple(name for name in detectors.split(",") if name)
    run_bench(Bench(detectors=named, rates=numbers, **options))


@click.command()
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="Triggers/s."
)
@click.option("--turns", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each way, in turns.")
@click.option("--seconds", type=click.FloatRange(min=2), default=20.0, show_default=True, help="Length of each run.")
@click.option(
    "--ways",
    default="all",
    show_default=True,
    help="Ways to run the line: all, or a list such as as-it-is,collector-default.",
)
@_PAIR
@_SIZE
@click.option("--frame", "frame_px", type=click.IntRange(32, 8192), default=512, show_default=True, help="Frame side.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Threads of the network.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file.")
def tail(ways: str, **options: Any) -> None:
    """Find out what makes the slowest parts slow: garbage collector, GIL, allocator, or a processor that is taken."""
    from inspector.benchmark.tail import WAYS
    from inspector.cli.tail import Tail, run_tail

    named = tuple(WAYS) if ways == "all" else tuple(ways.split(","))
    if unknown := set(named) - set(WAYS):
        raise click.BadParameter(f"{min(unknown)!r} is not one of {', '.join(WAYS)}", param_hint="--ways")
    run_tail(Tail(ways=tuple(dict.fromkeys(named)), **options))


@click.command()
@click.option("--parts", type=click.IntRange(min=1), help="End after so many parts.")
@click.option("--seconds", type=click.FloatRange(min=1), help="End after so long; default 60 without --parts.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Triggers a second; default: as room is.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of pictures and faults.")
@click.option(
    "--faults",
    default="all",
    show_default=True,
    help="Faults to inject: all, none, or a list such as kill-worker,stop-camera,slow-worker,corrupt-frames.",
)
@click.option(
    "--fault-every",
    "fault_every_s",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Mean pause between two faults, seconds.",
)
@click.option(
    "--stub-engine", "stub", is_flag=True, help="A checksum in the place of the network, to try all the rest."
)
@_PAIR
@_SIZE
@click.option("--frame", "frame_px", type=click.IntRange(32, 8192), default=64, show_default=True, help="Frame side.")
@click.option("--deadline-ms", type=click.FloatRange(min=0, min_open=True), default=500.0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Threads of the network.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Write memory over time to this SVG file.")
def soak(parts: int | None, seconds: float | None, faults: str, **options: Any) -> None:
    """Run the whole line for long with faults, on random pixels; fail if a part is lost or something grows."""
    from inspector.benchmark.soak_faults import ALL_FAULTS
    from inspector.cli.soak import Soak, run

    named = {"all": list(ALL_FAULTS), "none": []}.get(faults, faults.split(","))
    if unknown := set(named) - set(ALL_FAULTS):
        raise click.BadParameter(f"{min(unknown)!r} is not one of {', '.join(ALL_FAULTS)}", param_hint="--faults")
    kinds = tuple(kind for kind in ALL_FAULTS if kind in named)
    if parts is None and seconds is None:
        seconds = 60.0
    run(Soak(parts=parts, seconds=seconds, faults=kinds, **options))
