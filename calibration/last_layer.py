"""The last layers of a mapping in closed form: where a short training starts, and how it ends.

Layer 6 of each direction is linear, and the loss is a squared error, so neither needs an optimiser to be found:
the start is the mean of what is to be predicted, the end the least-squares solution for the layers before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from calibration.features import FeatureCache, Rows
from inspector.models.feature_mapping import Direction, HierarchyMapping
from inspector.models.network import MappingPyramid

#: Position codes of source and target; None without position encoding.
Codes: TypeAlias = "tuple[Tensor | None, Tensor | None]"

#: Rows that the mean and the solution are taken over, or all where there are fewer.
_ROWS = 8192
#: What the initial weights are multiplied with: the start predicts little else than the mean.
_START_SCALE = 0.05
#: Ridge of the solution, in units of the mean variance of what enters the layer.
_RIDGE = 1e-3


def start_from_mean(mapping: MappingPyramid, cache: FeatureCache, images: Sequence[int], seed: int) -> None:
    """Makes an untrained mapping predict about the mean feature, whatever it is given.

    PyTorch's initialisation predicts values some ten times larger than those of unit-norm features, and a short
    training spends most of its steps on bringing them down.

    Args:
        mapping: The pyramid, changed in place.
        cache: Features of all images.
        images: Indices of the images to train on; no others are looked at.
        seed: Of the rows that are looked at.
    """
    with torch.no_grad():
        for hierarchy, rows, _ in _sampled(mapping, cache, images, seed):
            for direction, wanted in hierarchy.directions(rows.source, rows.target):
                direction.layer6.weight.mul_(_START_SCALE)
                _bias(direction).copy_(wanted.mean(dim=(0, 2, 3)))


def solve_last_layers(mapping: MappingPyramid, cache: FeatureCache, images: Sequence[int], seed: int) -> None:
    """Sets the last layers of a trained mapping to the ridge regression on what the layers before them give.

    It is solved with running statistics, as the line computes, and depends on nothing that it replaces.

    Args:
        mapping: The pyramid, changed in place and left in eval mode.
        cache: Features of all images.
        images: Indices of the images to train on; no others are looked at.
        seed: Of the rows that are looked at.
    """
    mapping.eval()
    with torch.no_grad():
        for hierarchy, rows, codes in _sampled(mapping, cache, images, seed + 1):
            directions = hierarchy.directions(rows.source, rows.target)
            for (direction, wanted), entering in zip(directions, _entering(hierarchy, rows, codes), strict=True):
                _solve(direction, entering, wanted)


def _entering(hierarchy: HierarchyMapping, rows: Rows, codes: Codes) -> list[Tensor]:
    """What enters the last layer of each direction, (1, width, count, 1) each."""
    entering: list[Tensor] = []
    hooks = [
        direction.layer6.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
        for direction, _ in hierarchy.directions(rows.source, rows.target)
    ]
    hierarchy(rows.source, rows.target, *codes)
    for hook in hooks:
        hook.remove()
    return entering


def _solve(direction: Direction, entering: Tensor, wanted: Tensor) -> None:
    inputs, outputs = (rows[0, :, :, 0].double() for rows in (entering, wanted))
    input_mean, output_mean = (rows.mean(dim=1, keepdim=True) for rows in (inputs, outputs))
    centred = inputs - input_mean
    gram = centred @ centred.T
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean().clamp_min(1e-12))
    weight = torch.linalg.solve(gram, centred @ (outputs - output_mean).T).T
    direction.layer6.weight.copy_(weight[:, :, None, None])
    _bias(direction).copy_((output_mean - weight @ input_mean)[:, 0])


def _bias(direction: Direction) -> Tensor:
    return cast("Tensor", direction.layer6.bias)


def _sampled(
    mapping: MappingPyramid, cache: FeatureCache, images: Sequence[int], seed: int
) -> Iterator[tuple[HierarchyMapping, Rows, Codes]]:
    """Each hierarchy with rows of the images, and its position codes at these rows."""
    device = next(mapping.parameters()).device
    random = np.random.default_rng((seed, len(images)))
    chosen = np.asarray(images, np.int64)
    for index, features in enumerate(cache.levels):
        if len(chosen) * features.locations <= _ROWS:
            rows = features.whole(chosen, device)
        else:
            places = random.integers(0, features.locations, _ROWS)
            rows = features.rows(random.choice(chosen, _ROWS), places, device)
        yield cast("HierarchyMapping", mapping.hierarchies[index]), rows, codes_at(mapping, index, rows)


def codes_at(mapping: MappingPyramid, index: int, rows: Rows) -> Codes:
    """Position codes of source and target at the rows' locations, (1, c, count, 1); None without codes."""
    source, target = (
        None if code is None else code.flatten(2)[:, :, rows.locations, None] for code in mapping.codes(index)
    )
    return source, target
