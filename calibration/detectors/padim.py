"""The fit of PaDiM: mean and covariance of the features at every location."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from calibration.detectors.base import Fit, Method
from calibration.features import FeatureCache
from calibration.training import Step
from inspector.domain.errors import DataError
from inspector.models.bundled import bundled_names
from inspector.models.detector import Detector
from inspector.models.feature_maps import FeatureMaps
from inspector.models.padim import Padim, whitening_of
from inspector.recipe.manifest import BackboneRecord, NetworkRecord, PadimRecord

if TYPE_CHECKING:
    from calibration.plan import Plan

#: Channels that are kept, by backbone, as published; others keep `_KEPT`, or all where there are fewer.
_PUBLISHED_KEPT = {"resnet18": 100, "wide_resnet50_2": 550}
_KEPT = 100
#: Images at once.
_BATCH = 16
#: Entries of covariance matrices that are inverted at once.
_ENTRIES = 1 << 24


class PadimMethod(Method):
    """PaDiM."""

    name = "padim"
    levels = (1, 2, 3)
    options = frozenset({"channels"})

    def default_backbones(self, weights: str) -> tuple[str, str | None]:
        """As `Method.default_backbones`: the lighter of the paper's networks for ImageNet weights."""
        return ("resnet18" if weights == "imagenet" else bundled_names()[0]), None

    def complete(self, plan: Plan) -> Plan:
        """As `Method.complete`; how many channels there are to choose from is known to `build`."""
        if plan.channels is not None and plan.channels < 1:
            raise DataError(f"--channels must be positive, not {plan.channels}")
        return replace(plan)

    def knows_places(self, plan: Plan) -> bool:
        """As `Method.knows_places`."""
        return True

    def build(self, plan: Plan, backbones: Sequence[nn.Module]) -> Detector:
        """As `Method.build`, with a random subset of the channels, the same for all locations.

        Raises:
            DataError: There are not so many channels.
        """
        features = FeatureMaps(backbones[0], plan.levels or self.levels, plan.network_px)
        total = sum(features.channels)
        kept = plan.channels or min(_PUBLISHED_KEPT.get(plan.source, _KEPT), total)
        if kept > total:
            raise DataError(f"{plan.source} has {total} channels in these levels; take at most as many with --channels")
        network = Padim(features, kept)
        network.channels = torch.randperm(total)[:kept]
        return network

    def fit(self, network: Detector, cache: FeatureCache, images: Sequence[int], plan: Plan) -> Fit:
        """As `Method.fit`."""
        return PadimFit(cast("Padim", network), cache, images)

    def record(self, plan: Plan, backbones: Sequence[BackboneRecord], network: Detector) -> NetworkRecord:
        """As `Method.record`."""
        padim = cast("Padim", network)
        levels = padim.features.levels
        own = PadimRecord(channels=len(padim.channels))
        return NetworkRecord(detector=self.name, source=backbones[0], levels=levels, padim=own)


class PadimFit:
    """Estimates the Gaussians. It takes seconds, so a stopped one starts again.

    Args:
        network: The detector, changed in place.
        cache: Features of all images.
        images: Indices of the images to fit to, at least 2.
    """

    def __init__(self, network: Padim, cache: FeatureCache, images: Sequence[int]) -> None:
        self._network = network
        self._cache = cache
        self._images = np.asarray(images, np.int64)
        self._total = math.ceil(len(images) / _BATCH)
        self._done = 0

    def progress(self) -> Step:
        """As `Fit.progress`."""
        return Step(self._done, self._total, ())

    def run(self, report: Callable[[Step], None] = lambda step: None) -> None:
        """As `Fit.run`: mean, then covariance (PaDiM paper, eq. 1), then the inverse of its Cholesky factor."""
        network = self._network.eval()
        parts = np.array_split(self._images, self._total)
        with torch.no_grad():
            network.mean.zero_()
            for part in parts:
                network.mean += self._vectors(part).sum(dim=2) / len(self._images)
            scatter = network.whitening.zero_()  # the covariances take the place of what they become
            for part in parts:
                deviation = self._vectors(part) - network.mean[:, :, None]
                scatter.baddbmm_(deviation, deviation.transpose(1, 2))
                self._done += 1
                report(self.progress())
            width = scatter.shape[1]
            for some in torch.split(scatter, max(1, _ENTRIES // width**2)):
                some.copy_(whitening_of(some / (len(self._images) - 1)))

    def _vectors(self, images: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        """Embeddings of images, (h w, d, B)."""
        maps = [level.maps(images, self._network.mean.device) for level in self._cache.levels]
        return self._network.compose(maps).flatten(2).permute(2, 1, 0)

    def state(self) -> dict[str, Tensor]:
        """As `Fit.state`: nothing that would be kept."""
        return {"done": torch.tensor(0)}

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """As `Fit.resume`: from the start."""
