"""Command line: ``python -m calibration.refinement RECIPE DATA --output DIR``: the ablation table of F2PAD.

DATA is a category with pixel-exact masks, such as ``calibrate synthesise`` writes. Prints the table; writes
table.json and gallery.png (image, truth, anomaly map, inpainted start, recovered image, outlines in each row).
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import torch

from calibration.evaluate import write_json
from calibration.refinement.files import recipe_prior
from calibration.refinement.measure import VARIANTS, Measurement, measure
from inspector.domain.errors import DataError, FatalError
from inspector.models.refinement.settings import Settings
from inspector.recipe.store import load_recipe

log = logging.getLogger("refinement")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m calibration.refinement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for table.json and gallery.png")
    parser.add_argument("--images", type=int, help="most images (default: all)")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="default: %(default)s")
    parser.add_argument("--good", type=Path, help="good images for the prior (default: those of the calibration)")
    parser.add_argument("--prior", type=Path, help="file with the prior; written if it doesn't exist")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a field of refinement.settings.Settings"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads of the CPU")
    return parser


def _settings(changes: list[str]) -> Settings:
    kinds = {field.name: type(getattr(Settings(), field.name)) for field in fields(Settings)}
    values: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in kinds or kinds[name] not in (int, float, type(None)):
            raise DataError(f"--set {change}: no number of the settings is called {name!r}")
        try:
            values[name] = int(text) if kinds[name] is int else float(text)
        except ValueError as error:
            raise DataError(f"--set {change}: {text!r} is no number") from error
    return replace(Settings(), **values)


def _table(measured: Measurement) -> str:
    lines = [f"{'':<26}{'IoU':>7}{'DICE':>7}{'worst':>7}{'iterations':>12}{'s/image':>9}"]
    for name, row in measured.rows.items():
        record = row.as_record()
        line = f"{name:<26}{record['mean_iou']:7.3f}{record['mean_dice']:7.3f}{record['worst_iou']:7.3f}"
        if row.seconds:
            line += f"{record['iterations_per_image']:12.0f}{record['seconds_per_image']:9.1f}"
        lines.append(line)
    return "\n".join(lines)


def _run(options: argparse.Namespace) -> None:
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    settings = _settings(options.set)
    recipe = load_recipe(options.recipe)
    prior = recipe_prior(recipe, good=options.good, file=options.prior, device=options.device, say=log.info)
    measured = measure(
        recipe,
        options.data,
        prior,
        settings=settings,
        variants=tuple(options.variants.split(",")),
        count=options.images,
        device=options.device,
        progress=lambda done, total: log.info("%d of %d refined", done, total),
    )
    print(_table(measured))
    record = {
        "recipe_hash": recipe.content_hash,
        "images": [str(path) for path in measured.images],
        "settings": vars(settings),
        "device": options.device,
        "threads": torch.get_num_threads(),
        "rows": {name: row.as_record() for name, row in measured.rows.items()},
    }
    write_json(options.output / "table.json", record)
    gallery = options.output / "gallery.png"
    try:
        gallery.write_bytes(cv2.imencode(".png", measured.gallery[..., ::-1])[1].tobytes())
    except OSError as error:
        raise DataError(f"{gallery} can't be written: {error.strerror}") from error


def main(arguments: list[str] | None = None) -> int:
    """Runs the measurement and returns its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        _run(options)
    except FatalError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
