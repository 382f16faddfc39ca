"""Which module each detector of a recipe is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from inspector.models.cflow import Cflow
from inspector.models.detector import Detector
from inspector.models.feature_maps import FeatureMaps
from inspector.models.network import build_network
from inspector.models.padim import Padim
from inspector.models.patchcore import PatchCore
from inspector.recipe.manifest import NetworkRecord

#: From a record, its backbones and the height and width of the input to a detector.
Builder = Callable[[NetworkRecord, Sequence[nn.Module], tuple[int, int]], Detector]


def build_detector(record: NetworkRecord, backbones: Sequence[nn.Module], input_px: tuple[int, int]) -> Detector:
    """The detector that a record describes, its own tensors yet to be filled.

    Args:
        record: From a recipe's manifest.
        backbones: As many as the record names, in its order.
        input_px: Height and width of the input.
    """
    return _BUILDERS[record.detector](record, backbones, input_px)


def _mapping(record: NetworkRecord, backbones: Sequence[nn.Module], input_px: tuple[int, int]) -> Detector:
    source, target = backbones
    return build_network(
        source,
        target,
        latents=record.latents or (),
        levels=record.levels,
        position=record.position,
        input_px=input_px,
        bidirectional=record.detector != "pfm",
        mapped=record.mapped,
        smoothing_px=record.smoothing_px,
        position_base=record.position_base,
    )


def _padim(record: NetworkRecord, backbones: Sequence[nn.Module], input_px: tuple[int, int]) -> Detector:
    assert record.padim is not None  # the record's own rule
    return Padim(FeatureMaps(backbones[0], record.levels, input_px), record.padim.channels)


def _patchcore(record: NetworkRecord, backbones: Sequence[nn.Module], input_px: tuple[int, int]) -> Detector:
    assert record.patchcore is not None
    features = FeatureMaps(backbones[0], record.levels, input_px)
    return PatchCore(features, record.patchcore.rows, record.patchcore.neighbours)


def _cflow(record: NetworkRecord, backbones: Sequence[nn.Module], input_px: tuple[int, int]) -> Detector:
    assert record.cflow is not None
    own = record.cflow
    return Cflow(FeatureMaps(backbones[0], record.levels, input_px), own.blocks, own.condition, own.clamp)


_BUILDERS: dict[str, Builder] = {
    "mb-pfm": _mapping,
    "b-pfm": _mapping,
    "pfm": _mapping,
    "pefm": _mapping,
    "padim": _padim,
    "patchcore": _patchcore,
    "cflow-ad": _cflow,
}
