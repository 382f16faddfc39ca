"""Is a trained mapping sound? Judged on good parts alone, so that no defect is needed and none is tuned to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from calibration.features import FeatureCache
from calibration.training import residuals
from inspector.domain.errors import DataError
from inspector.models.network import MappingPyramid

#: Parts that the residuals are averaged over.
_PARTS = 32


@dataclass(frozen=True)
class Soundness:
    """Residuals of each hierarchy in use: the mean loss over good parts.

    Attributes:
        levels: Hierarchies in use.
        training: Of parts that were learned from, with batch statistics as the optimiser saw them or with running
            ones as the line computes, whichever is smaller.
        held_out: Of parts that were not, with running statistics.
        constant: Of a mapping that predicts the mean feature whatever it is given.
    """

    levels: tuple[int, ...]
    training: tuple[float, ...]
    held_out: tuple[float, ...]
    constant: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Held-out over training residual, about 1 for a sound mapping."""
        return tuple(held / max(seen, 1e-12) for held, seen in zip(self.held_out, self.training, strict=True))

    @property
    def unexplained(self) -> tuple[float, ...]:
        """Held-out residual over that of the constant: 0 is a perfect mapping, 1 one that has learned nothing."""
        return tuple(held / max(flat, 1e-12) for held, flat in zip(self.held_out, self.constant, strict=True))

    def check(self, limit: float) -> None:
        """Refuses a mapping whose held-out residual is out of proportion.

        A residual that is sound with batch statistics and not with running ones is the mismatch behind the broken
        checkpoints of the published schedule; one that is sound for learned parts alone is overfitting.

        Args:
            limit: Largest accepted ratio.

        Raises:
            DataError: A ratio is above the limit or not a number, or a level explains nothing.
        """
        for level, ratio, unexplained in zip(self.levels, self.ratios, self.unexplained, strict=True):
            if not ratio <= limit:
                raise DataError(
                    f"the mapping of level {level} is not sound: its residual on held-out good parts is {ratio:.2f} "
                    f"times that in training (at most {limit:g}). Add good parts or take another --seed or --schedule. "
                    "The trainings are kept, so the same command with another --residual-limit takes seconds"
                )
            if not unexplained < 1.0:
                raise DataError(
                    f"the mapping of level {level} is not sound: on held-out good parts it is no better than a constant"
                    ". Take another --seed or --schedule, or leave the level out with --levels"
                )

    def as_record(self) -> dict[str, Any]:
        """What the recipe keeps."""
        return {
            "residual_training": [float(value) for value in self.training],
            "residual_held_out": [float(value) for value in self.held_out],
            "residual_ratio": [round(value, 4) for value in self.ratios],
            "residual_unexplained": [round(value, 4) for value in self.unexplained],
        }


def measure_soundness(
    mapping: MappingPyramid, cache: FeatureCache, learned: Sequence[int], held_out: Sequence[int]
) -> Soundness:
    """Measures the residuals of a trained mapping and leaves it as it was, in eval mode.

    Args:
        mapping: The pyramid.
        cache: Features of all images.
        learned: Indices of the parts that it was trained on.
        held_out: Indices of parts that it never saw.
    """
    known, unseen = list(learned)[:_PARTS], list(held_out)[:_PARTS]
    state = {name: value.clone() for name, value in mapping.state_dict().items()}
    seen = residuals(mapping, cache, known, train_mode=True)
    mapping.load_state_dict(state)  # the pass with batch statistics moved the running ones
    training = tuple(min(pair) for pair in zip(seen, residuals(mapping, cache, known), strict=True))
    return Soundness(
        levels=mapping.shape.levels,
        training=training,
        held_out=residuals(mapping, cache, unseen),
        constant=_constant_residuals(cache, known, mapping.shape.bidirectional),
    )


def _constant_residuals(cache: FeatureCache, images: Sequence[int], bidirectional: bool) -> tuple[float, ...]:
    """Loss of predicting the mean feature: features have norm 1, so their variance is 1 less that of the mean."""
    out = []
    for features in cache.levels:
        means: list[list[torch.Tensor]] = []
        for image in images:
            rows = features.whole(np.array([image], np.int64), torch.device("cpu"))
            predicted = (rows.target, rows.source) if bidirectional else (rows.target,)
            means.append([side.mean(dim=(0, 2, 3)).double() for side in predicted])
        sides = [torch.stack(side).mean(dim=0) for side in zip(*means, strict=True)]
        out.append(sum((1.0 - float(mean.square().sum())) / len(mean) for mean in sides))
    return tuple(out)
