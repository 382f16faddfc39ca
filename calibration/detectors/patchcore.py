"""The fit of PatchCore: the coreset of all patches of good parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from calibration.detectors.base import Fit, Method
from calibration.detectors.coreset import GreedyCoreset, sparse_projection
from calibration.features import FeatureCache
from calibration.training import Step
from inspector.domain.errors import DataError
from inspector.models.bundled import bundled_names
from inspector.models.detector import Detector
from inspector.models.feature_maps import FeatureMaps
from inspector.models.patchcore import PatchCore
from inspector.recipe.manifest import BackboneRecord, NetworkRecord, PatchCoreRecord

if TYPE_CHECKING:
    from calibration.plan import Plan

#: Share of the patches that the bank keeps. The paper's 25, 10 and 1 % differ by 0.1 points of image AUROC, and the
#: time of an image is proportional to it.
_SHARE = 0.01
#: b of eq. 7.
_NEIGHBOURS = 9


class PatchCoreMethod(Method):
    """PatchCore."""

    name = "patchcore"
    levels = (2, 3)
    options = frozenset({"coreset", "neighbours"})

    def default_backbones(self, weights: str) -> tuple[str, str | None]:
        """As `Method.default_backbones`: the paper's network for ImageNet weights."""
        return ("wide_resnet50_2" if weights == "imagenet" else bundled_names()[0]), None

    def complete(self, plan: Plan) -> Plan:
        """As `Method.complete`."""
        share = _SHARE if plan.coreset is None else plan.coreset
        if not 0 < share <= 1:
            raise DataError(f"--coreset is a share of the patches above 0 and at most 1, not {share:g}")
        neighbours = _NEIGHBOURS if plan.neighbours is None else plan.neighbours
        if neighbours < 0:
            raise DataError(f"--neighbours can't be negative: {neighbours}")
        return replace(plan, coreset=share, neighbours=neighbours)

    def build(self, plan: Plan, backbones: Sequence[nn.Module]) -> Detector:
        """As `Method.build`, with an empty bank."""
        features = FeatureMaps(backbones[0], plan.levels or self.levels, plan.network_px)
        return PatchCore(features, 0, _NEIGHBOURS if plan.neighbours is None else plan.neighbours)

    def fit(self, network: Detector, cache: FeatureCache, images: Sequence[int], plan: Plan) -> Fit:
        """As `Method.fit`."""
        return PatchCoreFit(cast("PatchCore", network), cache, images, plan.coreset or _SHARE, plan.seed)

    def record(self, plan: Plan, backbones: Sequence[BackboneRecord], network: Detector) -> NetworkRecord:
        """As `Method.record`."""
        patchcore = cast("PatchCore", network)
        levels = patchcore.features.levels
        own = PatchCoreRecord(rows=len(patchcore.bank), neighbours=patchcore.neighbours)
        return NetworkRecord(detector=self.name, source=backbones[0], levels=levels, patchcore=own)


class PatchCoreFit:
    """Chooses the bank, one patch after the other.

    Args:
        network: The detector, changed in place.
        cache: Features of all images.
        images: Indices of the images to fit to.
        share: Share of their patches that the bank keeps.
        seed: Of the projection and of the first patch.
    """

    def __init__(self, network: PatchCore, cache: FeatureCache, images: Sequence[int], share: float, seed: int) -> None:
        self._network = network
        self._cache = cache
        self._images = np.asarray(images, np.int64)
        self._locations = cache.levels[0].locations
        patches = len(images) * self._locations
        self._total = max(1, round(share * patches))
        projection = sparse_projection(network.bank.shape[1], seed).to(network.bank.device)
        points = torch.cat([self._patches(image) @ projection for image in self._images])
        self._coreset = GreedyCoreset(points, int(np.random.default_rng(seed).integers(patches)))

    def progress(self) -> Step:
        """As `Fit.progress`."""
        return Step(len(self._coreset.chosen), self._total, ())

    def run(self, report: Callable[[Step], None] = lambda step: None) -> None:
        """As `Fit.run`."""
        while len(self._coreset.chosen) < self._total:
            self._coreset.step()
            report(self.progress())
        chosen = np.array(self._coreset.chosen)
        bank = torch.empty(len(chosen), self._network.bank.shape[1], device=self._network.bank.device)
        for number, image in enumerate(self._images):
            rows = np.flatnonzero(chosen // self._locations == number)
            if len(rows):
                bank[torch.from_numpy(rows)] = self._patches(image)[torch.from_numpy(chosen[rows] % self._locations)]
        self._network.bank = bank
        self._network.eval()

    def _patches(self, image: int) -> Tensor:
        """Patch features of one image, (h w, C)."""
        maps = [level.maps(np.array([image]), self._network.bank.device) for level in self._cache.levels]
        with torch.no_grad():
            return self._network.compose(maps)[0].flatten(1).T

    def state(self) -> dict[str, Tensor]:
        """As `Fit.state`."""
        return self._coreset.state()

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """As `Fit.resume`."""
        self._coreset.resume(tensors)
