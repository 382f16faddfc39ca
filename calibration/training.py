"""Training of the mapping networks on cached features: each hierarchy with its own optimiser and loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calibration.features import FeatureCache, LevelFeatures, Rows
from calibration.schedule import Schedule
from inspector.models.feature_mapping import HierarchyMapping, mapping_loss
from inspector.models.network import MappingPyramid


@dataclass(frozen=True)
class Step:
    """Where a training stands.

    Attributes:
        done: Steps done.
        total: Steps in all.
        losses: Running loss of each hierarchy, NaN before the first step.
    """

    done: int
    total: int
    losses: tuple[float, ...]


class Training:
    """Trains the mappings of a pyramid; can be stopped after any step and resumed exactly.

    Args:
        mapping: The pyramid, trained in place.
        cache: Features of all images.
        images: Indices of the images to train on.
        schedule: What is sampled and at which rate.
        seed: Seed of the sampling.
    """

    def __init__(
        self, mapping: MappingPyramid, cache: FeatureCache, images: Sequence[int], schedule: Schedule, seed: int
    ) -> None:
        self.mapping = mapping.train()
        self.schedule = schedule
        self.total = schedule.total_steps(len(images))
        self.done = 0
        self.losses = [math.nan] * len(cache.levels)
        self._cache = cache
        self._images = np.asarray(images, np.int64)
        self._seed = seed
        self._device = next(mapping.parameters()).device
        self._optimisers = [
            torch.optim.Adam(hierarchy.parameters(), lr=1e-3, weight_decay=schedule.weight_decay)
            for hierarchy in mapping.hierarchies
        ]

    def run(self, report: Callable[[Step], None] = lambda step: None) -> None:
        """Trains to the end, reporting after every step; leaves the mapping in eval mode."""
        while self.done < self.total:
            self.step()
            report(self.progress())
        self.mapping.eval()

    def progress(self) -> Step:
        """Where the training stands."""
        return Step(self.done, self.total, tuple(self.losses))

    def step(self) -> None:
        """One step of every hierarchy."""
        for index, optimiser in enumerate(self._optimisers):
            level = self.mapping.shape.levels[index]
            rows = self._draw(index, level)
            optimiser.param_groups[0]["lr"] = self.schedule.rate(level, self.done, self.total)
            loss = hierarchy_loss(self.mapping, index, rows)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.schedule.clip is not None:
                nn.utils.clip_grad_norm_(self.mapping.hierarchies[index].parameters(), self.schedule.clip)
            optimiser.step()
            value = float(loss.detach())
            former = self.losses[index]
            self.losses[index] = value if math.isnan(former) else 0.95 * former + 0.05 * value
        self.done += 1

    def _draw(self, index: int, level: int) -> Rows:
        """The rows of the current step: a function of seed, step and level alone, so that resuming is exact."""
        features = self._cache.levels[index]
        batch = self.schedule.batch[level - 1]
        if self.schedule.sampling == "locations":
            random = np.random.default_rng((self._seed, self.done, level))
            images = random.choice(self._images, batch)
            return features.rows(images, random.integers(0, features.locations, batch), self._device)
        per_epoch = math.ceil(len(self._images) / batch)
        epoch, position = divmod(self.done, per_epoch)
        order = np.random.default_rng((self._seed, epoch)).permutation(self._images)
        return whole_maps(features, order[position * batch : (position + 1) * batch], self._device)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to resume, as tensors for safetensors."""
        tensors = {f"mapping.{name}": value for name, value in self.mapping.state_dict().items()}
        tensors["done"] = torch.tensor(self.done)
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        for index, optimiser in enumerate(self._optimisers):
            for key, entry in optimiser.state_dict()["state"].items():
                for name, value in entry.items():
                    tensors[f"optimiser.{index}.{key}.{name}"] = torch.as_tensor(value)
        return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Takes up a state of `state`; the next steps are those that the stopped training would have made."""
        self.mapping.load_state_dict(
            {name.removeprefix("mapping."): t for name, t in tensors.items() if name.startswith("mapping.")}
        )
        self.done = int(tensors["done"])
        self.losses = [float(value) for value in tensors["losses"]]
        for index, optimiser in enumerate(self._optimisers):
            prefix = f"optimiser.{index}."
            state: dict[int, dict[str, Any]] = {}
            for name, value in tensors.items():
                if name.startswith(prefix):
                    key, field = name.removeprefix(prefix).split(".", 1)
                    state.setdefault(int(key), {})[field] = value.clone()
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def whole_maps(features: LevelFeatures, images: NDArray[np.int64], device: torch.device) -> Rows:
    """All locations of the given images as rows."""
    locations = np.tile(np.arange(features.locations, dtype=np.int64), len(images))
    return features.rows(np.repeat(images, features.locations), locations, device)


def hierarchy_loss(mapping: MappingPyramid, index: int, rows: Rows) -> Tensor:
    """The loss of one hierarchy on rows (`inspector.models.feature_mapping.mapping_loss`)."""
    hierarchy = mapping.hierarchies[index]
    assert isinstance(hierarchy, HierarchyMapping)
    codes = [
        None if code is None else code.flatten(2)[:, :, rows.locations, None] for code in mapping.codes(index)
    ]
    mapped_source, mapped_target = hierarchy(rows.source, rows.target, codes[0], codes[1])
    return mapping_loss(rows.source, rows.target, mapped_source, mapped_target)


def residuals(
    mapping: MappingPyramid,
    cache: FeatureCache,
    images: Sequence[int],
    *,
    train_mode: bool = False,
    limit: int = 64,
) -> tuple[float, ...]:
    """Mean loss of each hierarchy over at most `limit` images.

    Args:
        mapping: The pyramid; left in the mode asked for. In train mode its running statistics move.
        cache: Features of all images.
        images: Indices of the images.
        train_mode: Use the batch's statistics, as the optimiser did. A residual that is sound so, and not in
            eval mode, is the batch-norm mismatch behind the broken checkpoints of the published schedule.
        limit: Images looked at.
    """
    mapping.train(train_mode)
    device = next(mapping.parameters()).device
    chosen = np.asarray(list(images)[:limit], np.int64)
    out = []
    with torch.inference_mode():
        for index, features in enumerate(cache.levels):
            losses = [
                float(hierarchy_loss(mapping, index, whole_maps(features, part, device)))
                for part in _chunks(chosen, 8)
            ]
            out.append(float(np.mean(losses)))
    return tuple(out)


def _chunks(values: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]
