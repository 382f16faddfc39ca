"""Training of the mapping networks on cached features: each hierarchy with its own optimiser and loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calibration.features import FeatureCache, Rows
from calibration.last_layer import codes_at, solve_last_layers, start_from_mean
from calibration.schedule import Schedule
from inspector.domain.errors import DataError
from inspector.models.feature_mapping import mapping_loss
from inspector.models.network import MappingPyramid

#: Images at once where residuals are measured, that of the published training.
_RESIDUAL_BATCH = 8


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
        self.mapping = mapping
        self.schedule = schedule
        self.total = schedule.total_steps(len(images))
        self.done = 0
        self.losses = [math.nan] * len(cache.levels)
        self._cache = cache
        self._images = np.asarray(images, np.int64)
        self._seed = seed
        self._device = next(mapping.parameters()).device
        if schedule.closed_form:
            start_from_mean(mapping, cache, images, seed)
        self._optimisers = [
            torch.optim.Adam(hierarchy.parameters(), lr=1e-3, weight_decay=schedule.weight_decay)
            for hierarchy in mapping.hierarchies
        ]

    def run(self, report: Callable[[Step], None] = lambda step: None) -> None:
        """Trains to the end, reporting after every step; leaves the mapping in eval mode."""
        while self.done < self.total:
            self.step()
            report(self.progress())
        if self.schedule.closed_form:
            solve_last_layers(self.mapping, self._cache, self._images.tolist(), self._seed)
        self.mapping.eval()

    def progress(self) -> Step:
        """Where the training stands."""
        return Step(self.done, self.total, tuple(self.losses))

    def step(self) -> None:
        """One step of every hierarchy, with batch statistics whatever mode the mapping was put in between."""
        self.mapping.train()
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
            if not math.isfinite(value):
                raise DataError(
                    f"the training of level {level} diverged at step {self.done + 1} of {self.total}; take another "
                    "--schedule or --seed"
                )
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
        return features.whole(order[position * batch : (position + 1) * batch], self._device)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to resume, as tensors for safetensors."""
        tensors = {f"mapping.{name}": value for name, value in self.mapping.state_dict().items()}
        tensors["done"] = torch.tensor(self.done)
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        for index, optimiser in enumerate(self._optimisers):
            tensors |= optimiser_tensors(optimiser, f"optimiser.{index}.")
        return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Takes up a state of `state`; the next steps are those that the stopped training would have made."""
        self.mapping.load_state_dict(
            {name.removeprefix("mapping."): t for name, t in tensors.items() if name.startswith("mapping.")}
        )
        self.done = int(tensors["done"])
        self.losses = [float(value) for value in tensors["losses"]]
        for index, optimiser in enumerate(self._optimisers):
            fill_optimiser(optimiser, tensors, f"optimiser.{index}.")


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """State of an optimiser as tensors whose names begin with a prefix, for `fill_optimiser`."""
    return {
        f"{prefix}{key}.{name}": torch.as_tensor(value)
        for key, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }


def fill_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str) -> None:
    """Takes up the state of `optimiser_tensors`; tensors of other names don't matter."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            key, field = name.removeprefix(prefix).split(".", 1)
            state.setdefault(int(key), {})[field] = value.clone()
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def hierarchy_loss(mapping: MappingPyramid, index: int, rows: Rows) -> Tensor:
    """The loss of one hierarchy on rows (`inspector.models.feature_mapping.mapping_loss`)."""
    mapped_source, mapped_target = mapping.hierarchies[index](rows.source, rows.target, *codes_at(mapping, index, rows))
    return mapping_loss(rows.source, rows.target, mapped_source, mapped_target)


def residuals(
    mapping: MappingPyramid, cache: FeatureCache, images: Sequence[int], *, train_mode: bool = False
) -> tuple[float, ...]:
    """Mean loss of each hierarchy over images.

    Args:
        mapping: The pyramid; left in the mode asked for. In train mode its running statistics move.
        cache: Features of all images.
        images: Indices of the images.
        train_mode: Use the batch's statistics, as the optimiser did.
    """
    mapping.train(train_mode)
    device = next(mapping.parameters()).device
    chosen = np.asarray(images, np.int64)
    parts = np.array_split(chosen, math.ceil(len(chosen) / _RESIDUAL_BATCH))
    out = []
    with torch.inference_mode():
        for index, features in enumerate(cache.levels):
            losses = [float(hierarchy_loss(mapping, index, features.whole(part, device))) for part in parts]
            out.append(float(np.average(losses, weights=[len(part) for part in parts])))
    return tuple(out)
