"""A detector of any kind to and from the tensors of a recipe."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from inspector.domain.errors import RecipeError
from inspector.models.backbones import backbone_names, build_backbone, freeze
from inspector.models.detector import Detector
from inspector.models.registry import build_detector
from inspector.models.tiled import Tiled
from inspector.recipe.store import GOLDEN_FRAME, SCORES, Recipe

_NETWORK = "network."


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and statistic of the network under its name in weights.safetensors.

    Copies: MobileNetV2's taps have two names in the network, and safetensors refuses shared memory.
    """
    return {
        _NETWORK + name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def pack_weights(
    network: nn.Module, scores: Tensor, golden_frame: Tensor, prior: Mapping[str, Tensor] | None = None
) -> bytes:
    """Bytes of weights.safetensors.

    Args:
        network: The calibrated detector, backbones included, so that the line needs no other file.
        scores: float64, (n,), scores of the calibration's good parts.
        golden_frame: uint8 frame of the self-check.
        prior: Named tensors of the refinement's prior, which the line does not read.
    """
    tensors = {**network_tensors(network), **(prior or {})}
    tensors[SCORES] = scores.to(torch.float64).contiguous()
    tensors[GOLDEN_FRAME] = golden_frame.contiguous()
    return save(tensors)


def load_network(recipe: Recipe) -> Detector:
    """The recipe's detector on the CPU in float32, eval mode, without gradients.

    Raises:
        RecipeError: The tensors are not those of the network that the manifest names.
    """
    record = recipe.manifest.network
    for side in record.backbones:
        if side.name not in backbone_names():
            raise RecipeError(f"{recipe.folder}: this version knows no backbone {side.name!r}; calibrate again")
    geometry = recipe.manifest.geometry
    backbones = [build_backbone(side.name) for side in record.backbones]
    network = build_detector(record, backbones, geometry.network_px)
    if geometry.tiling is not None:
        network = Tiled(network, geometry)
    if geometry.ignored_px:
        network.ignored = torch.zeros(1, 1, geometry.height_px, geometry.width_px, dtype=torch.bool)
    try:
        tensors = load_file(recipe.weights_path)
    except (SafetensorError, OSError) as error:
        raise RecipeError(f"{recipe.weights_path}: can't be read: {error}") from error
    _fill(network, tensors, recipe)
    freeze(network)
    return network


def _fill(network: Detector, tensors: Mapping[str, Tensor], recipe: Recipe) -> None:
    state = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    expected = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    if set(state) != expected:
        odd = sorted(set(state) ^ expected)
        raise RecipeError(f"{recipe.weights_path}: {len(odd)} tensors don't fit the manifest, first {odd[0]}")
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise RecipeError(f"{recipe.weights_path}: tensors don't fit the manifest: {error}") from error
