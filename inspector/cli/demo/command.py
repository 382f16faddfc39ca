"""The arguments of `inspector demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inspector.cli.demo.request import CAMERAS, Demo


@click.command()
@click.option(
    "--camera",
    type=click.Choice(CAMERAS),
    default=CAMERAS[0],
    show_default=True,
    help="What shows the conveyor's parts: the renderer itself, or a simulated GenICam camera, built with the C "
    "compiler of this machine.",
)
@click.option("--data", type=click.Path(path_type=Path), help="MVTec AD category instead of the conveyor.")
@click.option("--weights", default=None, help="bundled, imagenet or random:SEED.")
@click.option("--weights-dir", type=click.Path(path_type=Path), help="Folder with ImageNet weight files.")
@click.option("--source-network", default=None, help="Source backbone.")
@click.option("--target-network", default=None, help="Target backbone.")
@click.option("--detector", metavar="NAME", help="As calibrate train; padim is calibrated soonest. Default: mb-pfm.")
@click.option(
    "--good-parts",
    type=click.IntRange(min=3),
    help="Good parts of the conveyor to calibrate on; default: 900, enough for the promise.",
)
@click.option("--parts", type=click.IntRange(min=1), default=None, help="Parts to inspect.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Triggers a second; default: on demand.")
@click.option("--deadline-ms", type=click.FloatRange(min=0, min_open=True), default=2000.0, show_default=True)
@click.option(
    "--false-rejects",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Target false-reject rate; default: 0.02 on the conveyor, else that of calibrate train.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Arithmetic of the network; default: bfloat16 where the CPU has it.",
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of everything random.")
def demo(**options: Any) -> None:
    """Calibrate on good parts and run the whole daemon over test parts."""
    from inspector.cli.demo.run import run_demo

    if options["data"] is not None:
        for name, value in (("--camera", options["camera"] != CAMERAS[0]), ("--good-parts", options["good_parts"])):
            if value:
                raise click.UsageError(f"{name} is for the conveyor's parts, --data plays a folder; leave one out")
    run_demo(Demo(**options))
