"""The commands `calibrate synthesise` and `calibrate refine`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(24),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to write; must not exist.")
@click.option(
    "--count", type=click.IntRange(min=1), default=50, show_default=True, help="Defective images of each kind."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--kinds",
    default="colour",
    show_default=True,
    help="colour (filled with one colour), structural (cut from another good image), or both with a comma.",
)
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of real masks to take the shapes from.")
@click.option(
    "--area",
    type=(float, float),
    default=(0.005, 0.08),
    show_default=True,
    help="Smallest and largest area of a defect, as shares of the image's.",
)
@click.option(
    "--contrast",
    type=float,
    default=40.0,
    show_default=True,
    help="Smallest change of a defective pixel, in grey levels (0 to 255).",
)
@click.option("--size", type=click.IntRange(32, 4096), help="Resize everything to SIDE x SIDE px first.")
@click.option("--copy", is_flag=True, help="Copy good images instead of linking to them.")
def synthesise(data: Path, output: Path, **options: Any) -> None:
    """Make defects with exact masks on good images.

    Writes a category in MVTec AD's layout from the good images of DATA: a folder of images, or a category.

    The defects are drawn on good images that are not in train/good: those of DATA's own test split, else up to 40 %
    of the images. The same seed on the same images gives the same bytes.
    """
    from calibration.synthesis.defects import KINDS, Look
    from calibration.synthesis.folder import SynthesisPlan
    from calibration.synthesis.folder import synthesise as make

    kinds = tuple(kind for kind in KINDS if kind in options["kinds"].split(","))
    unknown = set(options["kinds"].split(",")) - set(KINDS)
    if unknown or not kinds:
        raise click.BadParameter(f"{options['kinds']!r}: known kinds are {', '.join(KINDS)}", param_hint="--kinds")
    side = options["size"]
    plan = SynthesisPlan(
        data=data,
        output=output,
        count=options["count"],
        seed=options["seed"],
        kinds=kinds,
        look=Look(options["area"], options["contrast"]),
        masks=options["masks"],
        size_px=(side, side) if side else None,
        copy=options["copy"],
    )
    with _bars(Console(stderr=True)) as bars:
        task = bars.add_task("defects", total=plan.count * len(kinds))
        made = make(plan, lambda done, total: bars.update(task, completed=done))
    defects = ", ".join(f"{count} {kind}" for kind, count in made.defects.items())
    click.echo(f"{output}: {made.train} good images to train on, {made.good} to test, defects: {defects}")


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option(
    "--good",
    type=click.Path(path_type=Path),
    help="Good images whose scores and colours are learnt. Default: what the recipe holds, else the calibration's.",
)
@click.option(
    "--prior",
    type=click.Path(path_type=Path),
    help="File that keeps what is learnt from the good images: read if it exists, else written.",
)
@click.option(
    "--iterations", type=click.IntRange(min=1), help="Most steps of the optimisation. Default: 100.", default=None
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads on the CPU.")
def refine(
    recipe: Path,
    images: tuple[Path, ...],
    output: Path,
    good: Path | None,
    prior: Path | None,
    iterations: int | None,
    device: str,
    threads: int | None,
) -> None:
    """Find the exact pixels of defects (F2PAD).

    Writes for each of IMAGES NAME_mask.png, NAME_recovered.png (without its defects), NAME_overlay.png (with their
    outlines) and NAME_outlines.json (area, bounding box and outline of each, in pixels of the image). Takes seconds
    to minutes an image; the verdict stays that of the recipe.
    """
    import torch

    from calibration.refinement.files import output_stems, read_frame, recipe_prior, refine_file
    from inspector.models.refinement.frame_refiner import FrameRefiner
    from inspector.models.refinement.settings import Settings
    from inspector.recipe.store import load_recipe

    if threads is not None:
        torch.set_num_threads(threads)
    console = Console(stderr=True)
    settings = Settings() if iterations is None else Settings(iterations=iterations)
    loaded = load_recipe(recipe)
    stems = output_stems(images)
    for path in images:  # a file that can't be used should not cost the minutes of those before it
        read_frame(path, loaded)
    learnt = recipe_prior(
        loaded,
        good=good,
        file=prior,
        device=device,
        say=lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True),
    )
    refiner = FrameRefiner(loaded, learnt, settings, device)
    with _bars(console) as bars:
        for path, stem in zip(images, stems, strict=True):
            task = bars.add_task(path.name, total=settings.iterations + settings.reestimation)
            found, decision = refine_file(
                refiner,
                path,
                output,
                stem,
                lambda done, loss, task=task: bars.update(task, advance=1),  # type: ignore[misc]
            )
            bars.remove_task(task)
            pieces = f"{len(found.outlines)} defect{'' if len(found.outlines) == 1 else 's'}"
            click.echo(
                f"{path}: {decision}, score {found.score:.4g}; {pieces}, {found.area_px} px "
                f"(map {found.coarse_px} px), {found.seconds:.1f} s"
            )
    click.echo(f"written to {output}")
