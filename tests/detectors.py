"""One small detector of each kind, with tensors that nobody fitted, but none of them trivial."""

from __future__ import annotations

from typing import Any

import torch

from inspector.models.backbones import build_backbone, freeze
from inspector.models.detector import Detector
from inspector.models.padim import Padim
from inspector.models.patchcore import PatchCore
from inspector.models.registry import build_detector
from inspector.recipe.manifest import NetworkRecord

_SIDE = {"weights": "random:1", "sha256": "0" * 64}
_PAIR = {"source": {"name": "resnet_synth", **_SIDE}, "target": {"name": "vovnet_synth", **_SIDE}}
_ONE = {"source": {"name": "squeezenet1_1", **_SIDE}}
_MAPPING = {**_PAIR, "levels": (1, 2, 3), "latents": (6, 8, 10)}

#: Their records in a manifest, by name.
RECORDS: dict[str, dict[str, Any]] = {
    "mb-pfm": _MAPPING,
    "b-pfm": {**_PAIR, "levels": (3,), "latents": (8,), "mapped": "unit"},
    "pfm": {**_PAIR, "levels": (2, 3), "latents": (8, 8)},
    "pefm": {**_MAPPING, "position": "add", "position_base": 1000.0},
    "padim": {**_ONE, "levels": (1, 3), "padim": {"channels": 9}},
    "patchcore": {**_ONE, "levels": (2, 3), "patchcore": {"rows": 40, "neighbours": 3}},
    "cflow-ad": {**_ONE, "levels": (1, 2), "cflow": {"blocks": 2, "condition": 8, "clamp": 1.9}},
}


def record_of(name: str) -> NetworkRecord:
    """The record of one of them."""
    return NetworkRecord.model_validate({"detector": name, **RECORDS[name]})


def built(name: str, size_px: tuple[int, int]) -> Detector:
    """One of them for images of this height and width, the same at every call."""
    record = record_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(18)
        detector = build_detector(record, [build_backbone(side.name) for side in record.backbones], size_px)
        if isinstance(detector, Padim):
            detector.channels = torch.randperm(sum(detector.features.channels))[: len(detector.channels)]
            detector.whitening.normal_()
        if isinstance(detector, PatchCore):
            detector.bank.uniform_()
    freeze(detector)
    return detector
