"""Command line: ``python -m calibration.pretraining train | export | probe``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import fields
from pathlib import Path

import torch

from calibration.pretraining.probe import imagenet_pair, probe, random_pair, shipped_pair, trained_pair
from calibration.pretraining.training import Recipe, export, train
from calibration.schedule import schedule_named
from inspector.domain.errors import FatalError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m calibration.pretraining", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU (default: 1)")
    commands = parser.add_subparsers(dest="command", required=True)

    training = commands.add_parser("train", help="train both backbones from generated pictures")
    training.add_argument("folder", type=Path, help="checkpoints; a run that was interrupted goes on from them")
    training.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    training.add_argument("--every", type=int, default=250, help="steps between checkpoints (default: 250)")
    for field in fields(Recipe):
        flag, kind = "--" + field.name.replace("_", "-"), type(field.default)
        training.add_argument(flag, type=kind, default=field.default, help=f"default: {field.default}")

    exporting = commands.add_parser("export", help="write the float16 weights that the package ships")
    exporting.add_argument("checkpoint", type=Path)
    exporting.add_argument("folder", type=Path, help="inspector/models/bundled_weights")

    probing = commands.add_parser("probe", help="measure a pair as inspectors; prints one line of JSON")
    probing.add_argument("pair", help="random, imagenet, shipped, or a checkpoint")
    probing.add_argument("--data", type=Path, help="real images in the layout of MVTec AD")
    probing.add_argument("--imagenet", type=Path, help="folder of squeezenet1_1- and mobilenet_v2-imagenet.safetensors")
    probing.add_argument("--surfaces", type=int, default=4, help="generated surfaces (default: 4)")
    probing.add_argument("--latents", type=int, nargs=3, default=(24, 48, 96), help="default: 24 48 96")
    probing.add_argument("--schedule", default="fast", help="of the MB-PFM calibration (default: fast)")
    probing.add_argument("--seed", type=int, default=0, help="of the calibration and the random pair (default: 0)")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.command == "train":
        recipe = Recipe(**{field.name: getattr(options, field.name) for field in fields(Recipe)})
        train(recipe, options.folder, torch.device(options.device), options.every, logging.info)
    elif options.command == "export":
        for file in export(options.checkpoint, options.folder):
            logging.info("wrote %s, %d bytes", file, file.stat().st_size)
    else:
        if options.pair == "random":
            pair = random_pair(options.seed)
        elif options.pair == "shipped":
            pair = shipped_pair()
        elif options.pair == "imagenet":
            pair = imagenet_pair(options.imagenet)
        else:
            pair = trained_pair(Path(options.pair))
        latents = tuple(options.latents)
        schedule = schedule_named(options.schedule)
        measured = probe(
            pair, options.data, surfaces=options.surfaces, latents=latents, schedule=schedule, seed=options.seed
        )
        row = {"pair": options.pair, "schedule": options.schedule, "latents": latents, "seed": options.seed}
        print(json.dumps(row | {name: round(value, 4) for name, value in measured.items()}))


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        torch.set_num_threads(options.threads)
        _run(options)
    except FatalError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
