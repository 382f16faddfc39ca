"""`inspector simulator`: a GenICam camera to try things with, and its faults."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def simulator() -> None:
    """Build a simulated GenICam camera, let parts come by, pull its cable."""


@simulator.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--parts", type=click.IntRange(1, 4096), default=200, show_default=True, help="Parts on its belt.")
@click.option(
    "--defect-ratio",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of parts with a defect; with 0 they are good parts to calibrate on.",
)
@click.option("--size", "size_px", type=click.IntRange(64, 2048), default=384, show_default=True, help="Frame side.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the parts.")
def build(folder: Path, parts: int, defect_ratio: float, size_px: int, seed: int) -> None:
    """Build the simulator into FOLDER with this machine's C compiler, and put rendered parts on its belt."""
    from inspector.cameras.simulator import SERIAL, build_simulator, check_folder, fill_belt
    from inspector.cameras.synthetic import good_parts, inspected_parts
    from inspector.config.cameras import SyntheticCamera

    check_folder(folder)
    producer = build_simulator(folder)
    conveyor = SyntheticCamera(
        kind="synthetic",
        seed=seed,
        width_px=size_px,
        height_px=size_px,
        defect_ratio=defect_ratio,
        defect_scale=3.0,
    )
    shown = inspected_parts(conveyor, parts) if defect_ratio else good_parts(conveyor, parts)
    fill_belt(folder, (part.pixels for part in shown))
    click.echo(f"{producer}: camera {SERIAL} with {parts} parts on its belt; list it with:")
    click.echo(f"inspector cameras --producer {producer}")


@simulator.command(context_settings={"ignore_unknown_options": True})
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("command", nargs=-1, required=True)
def tell(folder: Path, command: tuple[str, ...]) -> None:
    """Give a COMMAND to the simulator in FOLDER: trigger SIM0001 1, unplug SIM0001, plug SIM0001, drop SIM0001 2 and
    the others of docs/cameras.md.
    """
    from inspector.cameras.simulator import set_plugged
    from inspector.cameras.simulator import tell as tell_simulator
    from inspector.domain.errors import CameraError

    if len(command) == 2 and command[0] in ("plug", "unplug"):  # also while no process plays the camera
        set_plugged(folder, command[1], command[0] == "plug")
        return
    answers = tell_simulator(folder, " ".join(command))
    if not answers:
        raise CameraError(f"no process plays the cameras of {folder}; is the line running?")
    for answer in filter(None, answers):
        click.echo(answer)
