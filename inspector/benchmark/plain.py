"""MB-PFM as its authors' program runs it: what the engines are measured against.

Eager float32, one frame at a time, batch normalisations apart, each hierarchy's map enlarged to full size and copied
to the host before the maps are added up (PFM paper, eqs 13 to 15).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from inspector.domain.frame import Pixels
from inspector.models.feature_mapping import score_map
from inspector.models.network import InspectionNetwork


class PlainMapping:
    """Scores frames one by one.

    Args:
        preprocess: Frame (uint8 tensor) to network input.
        network: Not folded.
        device: "cpu" or "cuda".
    """

    def __init__(self, preprocess: nn.Module, network: InspectionNetwork, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._preprocess = preprocess
        self._network = network.to(self._device)

    def scores(self, frames: Sequence[Pixels]) -> list[float]:
        """Score of each frame."""
        return [self._score(frame) for frame in frames]

    @torch.no_grad()
    def _score(self, frame: Pixels) -> float:
        image = self._preprocess(torch.from_numpy(frame)).to(self._device)
        mapping = self._network.mapping
        maps = []
        for index, (source, target) in enumerate(self._network.features(image)):
            mapped_source, mapped_target = mapping.hierarchies[index](source, target, *mapping.codes(index))
            found = score_map(source, target, mapped_source, mapped_target)
            found = F.interpolate(found, size=mapping.shape.input_px, mode="bilinear", align_corners=False)
            maps.append(found.cpu().numpy())
        return float(np.mean(maps, axis=0).max())
