"""The command `calibrate`: train, evaluate, compare, show, synthesise, refine."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

import inspector
from calibration.cli.evaluating import compare_command, evaluate_command
from calibration.cli.refining import refine, synthesise
from calibration.schedule import SCHEDULES
from inspector.domain.errors import FatalError

log = logging.getLogger("calibrate")


if TYPE_CHECKING:
    _NumbersType = click.ParamType[tuple[float, ...]]
else:  # not generic before click 8.2
    _NumbersType = click.ParamType


class _Numbers(_NumbersType):
    """Numbers separated by commas.

    Args:
        kind: int for whole numbers, or float.
    """

    name = "N,N,..."

    def __init__(self, kind: type[int] | type[float] = int) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self._kind(number) for number in str(value).split(","))
        except ValueError:
            such = "whole numbers such as 1,2,3" if self._kind is int else "numbers such as 3e-3,3e-4,3e-4"
            self.fail(f"{value!r} is not a list of {such}", param, ctx)


class _Commands(click.Group):
    """Ends with one line and 130 after Ctrl-C, where click would print an empty line before."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            log.warning("%s", str(stop) or "stopped")
            raise _Stopped from stop


class _Stopped(Exception):  # noqa: N818  not an error
    """Ctrl-C, already told of."""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(inspector.__version__, prog_name="calibrate")
def cli() -> None:
    """Makes recipes from good parts, and measures them."""


@cli.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--recipe", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--name", help="Name of the recipe; default the folder's.")
@click.option("--version", "version", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--detector",
    metavar="NAME",
    help="mb-pfm (default), b-pfm, pfm, pefm (two backbones), padim, patchcore or cflow-ad (one).",
)
@click.option(
    "--preset",
    metavar="NAME",
    help="A detector with its authors' settings and ImageNet weights, wherever an option is not given.",
)
@click.option("--weights", help="bundled, imagenet or random:SEED. Default: imagenet with a GPU, else bundled.")
@click.option("--weights-dir", type=click.Path(path_type=Path), help="Folder with ImageNet weight files.")
@click.option("--source-network", "source", help="Source backbone, or the only one.")
@click.option("--target-network", "target", help="Target backbone.")
@click.option("--size", type=_Numbers(), help="Size of the inspected image: SIDE or HEIGHT,WIDTH. Default: 256.")
@click.option("--tile", type=_Numbers(), help="Inspect the image in tiles of SIDE or HEIGHT,WIDTH.")
@click.option("--overlap", type=click.IntRange(min=0), default=32, show_default=True, help="Of the tiles, in pixels.")
@click.option("--region", type=_Numbers(), help="LEFT,TOP,WIDTH,HEIGHT of what is inspected, in pixels of the frame.")
@click.option(
    "--ignore",
    type=click.Path(path_type=Path),
    help="Picture of a frame's size, white where nothing is inspected, such as a moving clamp or a printed date.",
)
@click.option(
    "--levels",
    type=_Numbers(),
    help="Hierarchies in use. Default: 1,2,3; for pfm and b-pfm 3, for patchcore and cflow-ad 2,3.",
)
@click.option("--latents", type=_Numbers(), help="Mapping: latent width for each level.")
@click.option("--position", type=click.Choice(["none", "add", "concat"]), help="Mapping. Default: add for pefm.")
@click.option(
    "--position-base", type=float, help="Mapping: constant of the position code, 10000; the paper prints 1000."
)
@click.option(
    "--smoothing",
    type=click.FloatRange(min=0),
    help="Mapping: deviation in pixels of a Gaussian filter of the anomaly map. Default: 0, none, as in the papers.",
)
@click.option("--mapped", type=click.Choice(["raw", "unit"]), help="Mapping: raw, or normalised as in the PFM paper.")
@click.option("--channels", type=int, help="padim: channels kept. Default: 100; 550 of wide_resnet50_2.")
@click.option("--coreset", type=float, help="patchcore: share of all patches kept. Default: 0.01.")
@click.option("--neighbours", type=int, help="patchcore: b of the score's weight, 0 for none. Default: 9.")
@click.option("--schedule", help=f"Mapping: one of {', '.join(SCHEDULES)}; cflow-ad: fast, published. Default: fast.")
@click.option("--rates", type=_Numbers(float), help="Learning rates of levels 1,2,3; the PFM paper has 3e-4 for all.")
@click.option("--false-rejects", "target_rate", type=float, default=0.005, show_default=True, help="Target rate.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Confidence of the promise.")
@click.option("--folds", type=int, help="0 holds parts out. Default: 0 where that promises the target, else 5.")
@click.option("--calibration-share", type=float, default=0.4, show_default=True, help="Share held out with --folds 0.")
@click.option("--residual-limit", type=float, default=1.5, show_default=True, help="Soundness bound.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Default: cuda if there is one, else cpu.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Arithmetic of the line that the threshold is set for: bfloat16 for CPUs that have it and GPUs, float16 for "
    "GPUs; the scores are computed on --device.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads on the CPU.")
@click.option(
    "--memory-gib",
    type=click.FloatRange(min=0),
    help="Features beyond it go to --scratch. Default: 4, at most half of what is free.",
)
@click.option(
    "--scratch", type=click.Path(path_type=Path), help="Folder for features beyond --memory-gib. Default: the system's."
)
def train(data: Path, recipe: Path, **options: Any) -> None:
    """Make a recipe from the good images in DATA (a folder, or a category in MVTec AD's layout).

    Ctrl-C keeps the state; the same command goes on where it stopped.
    """
    from calibration.cli.planning import make_plan
    from calibration.cli.progress import ConsoleReporter
    from calibration.cli.tables import recipe_summary
    from calibration.train import calibrate

    plan, remark = make_plan(data, recipe, options)
    with ConsoleReporter(Console(stderr=True)) as reporter:
        if remark:
            reporter.say(remark)
        try:
            made = calibrate(plan, reporter)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped; the same command goes on from here") from None
    click.echo(recipe_summary(made))


@cli.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(recipe: Path, as_json: bool) -> None:
    """Show what RECIPE is and what it promises; checks its content hash."""
    from calibration.cli.tables import recipe_json, recipe_summary
    from inspector.recipe.store import load_recipe

    loaded = load_recipe(recipe)
    click.echo(recipe_json(loaded) if as_json else recipe_summary(loaded))


@cli.command(hidden=True)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("sheet", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
def sheet(recipe: Path, sheet: Path, images: tuple[Path, ...]) -> None:
    """Write SHEET (PNG): each of IMAGES beside its anomaly map, with its score in units of the threshold."""
    from calibration.contact_sheet import write_sheet
    from inspector.recipe.store import load_recipe

    write_sheet(load_recipe(recipe), images, sheet)


compare = compare_command(train)
cli.add_command(compare)
cli.add_command(evaluate_command(compare))
cli.add_command(synthesise)
cli.add_command(refine)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        Exit code: 0, or that of the error (`inspector.domain.errors`), 2 for wrong arguments, 130 after Ctrl-C.
    """
    # Before torch is imported: threads that wait by spinning are ten times slower beside any other load, such as a
    # running line.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        # Without its standalone mode click returns the code of --help and the like instead of exiting with it.
        result = cli.main(args=argv, prog_name="calibrate", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (_Stopped, click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except FatalError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_code
    except Exception:
        log.exception("defect of the program")
        return 70
    return result if isinstance(result, int) else 0
