"""A recipe to measure speed with: real networks, parameters as they are initialised, no calibration."""

from __future__ import annotations

import argparse
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from inspector.domain.precision import Precision
from inspector.models.backbones import freeze
from inspector.models.detector import Detector
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import pack_weights
from inspector.models.registry import build_detector
from inspector.models.weights import load_backbone
from inspector.recipe.manifest import (
    BackboneRecord,
    CflowRecord,
    DetectorName,
    Geometry,
    Golden,
    NetworkRecord,
    Normalisation,
    PadimRecord,
    PatchCoreRecord,
    RecipeManifest,
    ThresholdRecord,
)
from inspector.recipe.store import Recipe, write_recipe

PairName = Literal["bundled", "light", "standard"]
_SEED = 7


@dataclass(frozen=True)
class Pair:
    """Two backbones and the latents of their mappings, levels 1 to 3."""

    source: str
    target: str
    weights: str
    latents: tuple[int, int, int]


#: Speed does not depend on the weights; those that would need a download are random.
PAIRS: dict[PairName, Pair] = {
    "bundled": Pair("resnet_synth", "vovnet_synth", "bundled", (24, 48, 96)),
    "light": Pair("squeezenet1_1", "mobilenet_v2", "random:0", (24, 48, 96)),
    "standard": Pair("resnet34", "resnet50", "random:0", (200, 400, 900)),
}


def network_record(pair: Pair, detector: DetectorName) -> NetworkRecord:
    """What a calibration with default options would write for this detector, about 200 good parts given."""
    names = (pair.source, pair.target)
    source, target = (BackboneRecord(name=name, weights=pair.weights, sha256="0" * 64) for name in names)
    if detector in ("mb-pfm", "pfm"):
        return NetworkRecord(detector=detector, source=source, target=target, levels=(1, 2, 3), latents=pair.latents)
    if detector == "padim":
        return NetworkRecord(detector=detector, source=source, levels=(1, 2, 3), padim=PadimRecord(channels=100))
    if detector == "patchcore":
        bank = PatchCoreRecord(rows=20_000, neighbours=9)
        return NetworkRecord(detector=detector, source=source, levels=(2, 3), patchcore=bank)
    if detector == "cflow-ad":
        flow = CflowRecord(blocks=8, condition=128, clamp=1.9)
        return NetworkRecord(detector=detector, source=source, levels=(1, 2, 3), cflow=flow)
    raise ValueError(f"no trial of {detector}")


def trial_network(record: NetworkRecord, input_px: tuple[int, int]) -> Detector:
    """The detector of a record, frozen, every number of its own drawn at random and the same each time."""
    backbones = [load_backbone(side.name, side.weights).module for side in record.backbones]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = build_detector(record, backbones, input_px)
        for name, buffer in network.named_buffers():
            if not name.startswith("features.") and buffer.is_floating_point() and not buffer.any():
                buffer.normal_(std=buffer.shape[-1] ** -0.5)
    freeze(network)
    return network


def trial_recipe(
    folder: Path,
    pair: Pair,
    size_px: int,
    precision: Precision,
    limit: float | None = None,
    frame_px: int | None = None,
) -> Recipe:
    """Writes a recipe of MB-PFM with a threshold that says nothing.

    Args:
        folder: Must not exist.
        pair: The backbones.
        size_px: Side of the network's input.
        precision: Precision that the line is to use; the golden score is float32's all the same.
        limit: The threshold; default the golden frame's score.
        frame_px: Side of every frame, grey; default frames of any size.
    """
    geometry = Geometry(width_px=size_px, height_px=size_px)
    if frame_px is not None:
        geometry = geometry.model_copy(update={"frame_px": (frame_px, frame_px), "channels": 1})
    record = network_record(pair, "mb-pfm")
    network = trial_network(record, (size_px, size_px))
    side_px = size_px if frame_px is None else frame_px
    golden = np.random.default_rng(_SEED).integers(0, 256, (side_px, side_px), np.uint8)
    with torch.inference_mode():
        score = float(network(Preprocess(geometry, Normalisation())(torch.from_numpy(golden))).scores[0])
    threshold = ThresholdRecord(
        value=score if limit is None else limit,
        method="extrapolated",
        target=0.5,
        promise=0.5,
        confidence=0.5,
        sample_size=1,
        exceedances_allowed=0,
        exact=True,
        parts_needed=1,
    )
    manifest = RecipeManifest(
        name="trial",
        version=1,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        geometry=geometry,
        network=record,
        precision=precision,
        threshold=threshold,
        golden=Golden(score=score, tolerance=0.02),
        calibration={"trial": "parameters as they are initialised"},
    )
    weights = pack_weights(network, torch.tensor([score], dtype=torch.float64), torch.from_numpy(golden))
    return write_recipe(folder, manifest, weights)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser()
    _parser.add_argument("folder", type=Path)
    _parser.add_argument("pair", choices=PAIRS)
    _parser.add_argument("size_px", type=int)
    _parser.add_argument("precision", choices=get_args(Precision))
    _parser.add_argument("limit", type=float, nargs="?")
    _parser.add_argument("--frame", dest="frame_px", type=int)
    _orders = _parser.parse_args()
    trial_recipe(**{**vars(_orders), "pair": PAIRS[_orders.pair]})
