"""What a refinement needs of a detector, and the feature loss that it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

#: Anomaly maps of the levels, (B, 1, h, w) each, differentiable in the (B, 3, H, W) images.
MapFunction = Callable[[Tensor], Sequence[Tensor]]

#: Entries of a feature bank that stay in question at a location (n_c of eq. 5; the paper's number is lost).
CANDIDATES = 20
#: Locations whose distances to the whole bank are formed at once.
_ROWS = 1024


class Scored(Protocol):
    """What a detector says of a batch."""

    @property
    def anomaly_maps(self) -> Tensor:
        """(B, 1, H, W) at the size of the images."""


class Detector(Protocol):
    """Any frozen torch module from normalised images to anomaly maps; that is enough to be refined.

    Two optional methods make the refinement better, `LevelMaps` and `FeatureBank`. Parameters must be frozen
    and in eval mode, and nothing may be detached between image and map.
    """

    def __call__(self, images: Tensor) -> Scored:
        """Scores (B, 3, H, W) normalised images."""


@runtime_checkable
class LevelMaps(Protocol):
    """A detector whose map is made of several hierarchies: MB-PFM, PEFM, PaDiM (eq. 7), CFLOW-AD (eq. 6)."""

    def level_maps(self, images: Tensor) -> Sequence[Tensor]:
        """Scores at the features' own sizes, (B, 1, h, w) each, before smoothing and fusion."""


@runtime_checkable
class FeatureBank(Protocol):
    """A detector that compares with the features of good parts: PatchCore.

    Attributes:
        bank: (n, C), features of good parts.
    """

    bank: Tensor

    def embed(self, images: Tensor) -> Tensor:
        """Features of the images, (B, C, h, w)."""


def map_function(detector: Detector, start: Tensor | None = None) -> MapFunction:
    """The detector's scores in the form that is optimised.

    Args:
        detector: A `FeatureBank`, `LevelMaps`, or any other, whose anomaly map is then the only level.
        start: The initial non-defective image (1, 3, H, W), from which a `FeatureBank` takes its candidates
            (F2PAD eq. 5); without it the whole bank is searched (eq. 4).
    """
    if isinstance(detector, FeatureBank):
        bank = detector.bank
        if start is None:
            return lambda images: [_nearest(detector.embed(images), bank)]
        with torch.no_grad():
            chosen = candidates(detector.embed(start), bank)
        return lambda images: [_candidate_distances(detector.embed(images), chosen)]
    if isinstance(detector, LevelMaps):
        return detector.level_maps
    return lambda images: [detector(images).anomaly_maps]


def candidates(features: Tensor, bank: Tensor, count: int = CANDIDATES) -> Tensor:
    """The nearest entries of the bank at each location (C_q of F2PAD eq. 5).

    Args:
        features: (1, C, h, w), of the initial non-defective image.
        bank: (n, C).
        count: Candidates for a location, at most n.

    Returns:
        (h w, count, C).
    """
    rows = features[0].flatten(1).T
    count = min(count, len(bank))
    nearest = [torch.cdist(part, bank).topk(count, largest=False).indices for part in torch.split(rows, _ROWS)]
    return bank[torch.cat(nearest)]


def _candidate_distances(features: Tensor, chosen: Tensor) -> Tensor:
    """Distance to the nearest candidate, not squared (F2PAD eqs 4 and 5, reconstructed); (B, 1, h, w)."""
    rows = features.flatten(2).transpose(1, 2)
    squared = (rows[:, :, None] - chosen[None]).square().sum(dim=3).amin(dim=2)
    return (squared + 1e-12).sqrt().view(features.shape[0], 1, *features.shape[-2:])


def _nearest(features: Tensor, bank: Tensor) -> Tensor:
    rows = features.flatten(2).transpose(1, 2).reshape(-1, features.shape[1])
    distances = torch.cat([torch.cdist(part, bank).amin(dim=1) for part in torch.split(rows, _ROWS)])
    return distances.view(features.shape[0], 1, *features.shape[-2:])


class FeatureLoss:
    """L(N) of F2PAD eq. 12: the scores of the non-defective image, summed over its pixels, in units of good parts.

    ``L = mean over levels of (H W / h w) sum over locations of psi(s / u)`` (reconstructed; for the detectors of the
    paper it is the sum of its eqs 5 to 7 up to a factor). A location stands for the H W / h w pixels of its cell, so
    that L counts pixels whatever the stride, as the fusion of the maps does, and the mean makes it the same for any
    number of levels. u is the spread of the scores of good parts, from their median to their 95 % quantile, so that
    L counts how far pixels lie from good ones in steps that lie between good ones, whether a detector's scores are
    distances, their squares or likelihoods, and wherever their zero is. psi is the identity or, with a knee, a
    softplus that is flat below the 95 % quantile of good locations.

    Args:
        maps: What `map_function` gives.
        units: u of each level, (K,), positive.
        quantiles: 95 % quantile of s / u of good parts for each level, (K,).
        knee: kappa of the softplus; None for the identity.
    """

    def __init__(self, maps: MapFunction, units: Tensor, quantiles: Tensor, knee: float | None = None) -> None:
        self._maps = maps
        self._units = units
        self._quantiles = quantiles
        self._knee = knee

    def __call__(self, image: Tensor) -> Tensor:
        """The loss of one image (1, 3, H, W), a scalar."""
        pixels = image.shape[-2] * image.shape[-1]
        maps = self._maps(image)
        total = image.new_zeros(())
        for scores, unit, quantile in zip(maps, self._units, self._quantiles, strict=True):
            values = scores / unit.to(scores)
            if self._knee is not None:
                values = F.softplus(self._knee * (values - quantile.to(values))) / self._knee
            total = total + values.sum() * (pixels / (scores.shape[-2] * scores.shape[-1]))
        return total / len(maps)
