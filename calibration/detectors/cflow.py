"""The fit of CFLOW-AD: a flow for each hierarchy, by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.detectors.base import Fit, Method
from calibration.features import FeatureCache
from calibration.schedule import Schedule, schedule_named
from calibration.training import Step, fill_optimiser, optimiser_tensors
from inspector.domain.errors import DataError
from inspector.models.bundled import bundled_names
from inspector.models.cflow import BLOCKS, CLAMP, CONDITION, Cflow
from inspector.models.detector import Detector
from inspector.models.feature_maps import FeatureMaps
from inspector.recipe.manifest import BackboneRecord, CflowRecord, NetworkRecord

if TYPE_CHECKING:
    from calibration.plan import Plan

#: Images that the largest likelihood of good locations is taken over.
_PARTS = 64


class CflowMethod(Method):
    """CFLOW-AD."""

    name = "cflow-ad"
    levels = (2, 3)
    options = frozenset({"schedule"})

    def default_backbones(self, weights: str) -> tuple[str, str | None]:
        """As `Method.default_backbones`: the paper's network for ImageNet weights."""
        return ("wide_resnet50_2" if weights == "imagenet" else bundled_names()[0]), None

    def complete(self, plan: Plan) -> Plan:
        """As `Method.complete`."""
        return replace(plan, schedule=plan.schedule or schedule_named("fast", self.name))

    def knows_places(self, plan: Plan) -> bool:
        """As `Method.knows_places`."""
        return True

    def build(self, plan: Plan, backbones: Sequence[nn.Module]) -> Detector:
        """As `Method.build`."""
        return Cflow(FeatureMaps(backbones[0], plan.levels or self.levels, plan.network_px))

    def fit(self, network: Detector, cache: FeatureCache, images: Sequence[int], plan: Plan) -> Fit:
        """As `Method.fit`."""
        schedule = plan.schedule or schedule_named("fast", self.name)
        return CflowFit(cast("Cflow", network), cache, images, schedule, plan.seed)

    def record(self, plan: Plan, backbones: Sequence[BackboneRecord], network: Detector) -> NetworkRecord:
        """As `Method.record`."""
        levels = cast("Cflow", network).features.levels
        own = CflowRecord(blocks=BLOCKS, condition=CONDITION, clamp=CLAMP)
        return NetworkRecord(detector=self.name, source=backbones[0], levels=levels, cflow=own)


class CflowFit:
    """Trains the flows, one level after the other; can be stopped after any step and resumed exactly.

    Args:
        network: The detector, trained in place.
        cache: Features of all images.
        images: Indices of the images to train on.
        schedule: What is sampled and at which rate.
        seed: Seed of the sampling.

    Attributes:
        total: Steps in all.
        done: Steps done.
    """

    def __init__(
        self, network: Cflow, cache: FeatureCache, images: Sequence[int], schedule: Schedule, seed: int
    ) -> None:
        self._network = network
        self._cache = cache
        self._images = np.asarray(images, np.int64)
        self._schedule = schedule
        self._seed = seed
        self._levels = network.features.levels
        self._steps = [
            schedule.level_steps(level, len(images) * features.locations)
            for level, features in zip(self._levels, cache.levels, strict=True)
        ]
        self._losses = [math.nan] * len(self._levels)
        self._order: tuple[tuple[int, int], np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None
        self._optimisers = [torch.optim.Adam(flow.parameters(), weight_decay=0.0) for flow in network.flows]
        self.total = sum(self._steps)
        self.done = 0

    def progress(self) -> Step:
        """As `Fit.progress`."""
        return Step(self.done, self.total, tuple(self._losses))

    def run(self, report: Callable[[Step], None] = lambda step: None) -> None:
        """As `Fit.run`."""
        self._network.flows.train()
        while self.done < self.total:
            self.step()
            report(self.progress())
        self._network.eval()
        self._find_best()

    def step(self) -> None:
        """One step of the flow whose turn it is.

        The loss is ``-log sigmoid(log p / C)``, as in the authors' code.

        Raises:
            DataError: The training diverged.
        """
        index, within = self._turn()
        level, optimiser = self._levels[index], self._optimisers[index]
        optimiser.param_groups[0]["lr"] = self._schedule.rate(level, within, self._steps[index])
        loss = -F.logsigmoid(self._network.per_channel(index, *self._draw(index, within))).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._schedule.clip is not None:
            nn.utils.clip_grad_norm_(self._network.flows[index].parameters(), self._schedule.clip)
        optimiser.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"the training of level {level} diverged at step {within + 1} of {self._steps[index]}; take another "
                "--schedule or --seed"
            )
        former = self._losses[index]
        self._losses[index] = value if math.isnan(former) else 0.95 * former + 0.05 * value
        self.done += 1

    def _turn(self) -> tuple[int, int]:
        """Index of the level whose turn it is, and how many steps it has made."""
        within = self.done
        for index, steps in enumerate(self._steps):
            if within < steps:
                return index, within
            within -= steps
        raise ValueError("the training is at its end")

    def _draw(self, index: int, step: int) -> tuple[Tensor, Tensor]:
        """Feature vectors of a step and the position codes of their locations: a function of seed and step alone."""
        features, batch = self._cache.levels[index], self._schedule.batch[self._levels[index] - 1]
        if self._schedule.sampling == "locations":
            random = np.random.default_rng((self._seed, index, step))
            rows = random.integers(0, len(self._images) * features.locations, batch)
        else:
            per_epoch = math.ceil(len(self._images) * features.locations / batch)
            epoch, position = divmod(step, per_epoch)
            rows = self._shuffled(index, epoch)[position * batch : (position + 1) * batch]
        places = rows % features.locations
        vectors = features.vectors(self._images[rows // features.locations], places, self._network.best.device)
        return vectors, self._network.code(index)[torch.from_numpy(places)]

    def _shuffled(self, index: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """All rows of a level in the order of an epoch."""
        if self._order is None or self._order[0] != (index, epoch):
            rows = len(self._images) * self._cache.levels[index].locations
            self._order = (index, epoch), np.random.default_rng((self._seed, index, epoch)).permutation(rows)
        return self._order[1]

    def _find_best(self) -> None:
        """The largest log-likelihood of good locations, the constant in place of the test set's maximum."""
        chosen = self._images[:_PARTS]
        with torch.no_grad():
            for index, features in enumerate(self._cache.levels):
                code = self._network.code(index)
                found = [
                    self._network.per_channel(
                        index, features.maps(np.array([image]), code.device)[0].flatten(1).T, code
                    )
                    for image in chosen
                ]
                self._network.best[index] = torch.stack(found).max()

    def state(self) -> dict[str, Tensor]:
        """As `Fit.state`."""
        tensors = {f"flows.{name}": value for name, value in self._network.flows.state_dict().items()}
        tensors["done"] = torch.tensor(self.done)
        tensors["losses"] = torch.tensor(self._losses, dtype=torch.float64)
        for index, optimiser in enumerate(self._optimisers):
            tensors |= optimiser_tensors(optimiser, f"optimiser.{index}.")
        return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """As `Fit.resume`."""
        own = {name.removeprefix("flows."): value for name, value in tensors.items() if name.startswith("flows.")}
        self._network.flows.load_state_dict(own)
        self.done = int(tensors["done"])
        self._losses = [float(value) for value in tensors["losses"]]
        for index, optimiser in enumerate(self._optimisers):
            fill_optimiser(optimiser, tensors, f"optimiser.{index}.")
