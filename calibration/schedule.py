"""Training schedules of the mapping networks: what is sampled, how long, and at which rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from inspector.domain.errors import DataError


@dataclass(frozen=True)
class Schedule:
    """How the mappings of all hierarchies are trained.

    Attributes:
        name: Name of the preset.
        sampling: "images" takes whole feature maps of a batch of images, as the papers do; "locations" takes
            rows drawn over all images, so that a step sees many parts.
        batch: Images, or rows for each hierarchy, in a step.
        epochs: Passes over the images ("images").
        steps: Steps ("locations").
        rates: Adam's learning rate for each of the levels 1, 2, 3.
        decay: "constant" (published) or "cosine" to zero.
        warmup: Share of the steps over which the rate climbs.
        clip: Largest norm of the gradient; None leaves it alone (published).
        weight_decay: Adam's coupled L2.
        closed_form: Last layers start at the mean of what they predict and end at the least-squares solution
            (`calibration.last_layer`), so that a short training suffices; else PyTorch's initialisation, and what the
            optimiser makes of it (published).
    """

    name: str
    sampling: Literal["images", "locations"]
    batch: tuple[int, int, int]
    epochs: int = 0
    steps: int = 0
    rates: tuple[float, float, float] = (1e-3, 3e-4, 3e-4)
    decay: Literal["constant", "cosine"] = "cosine"
    warmup: float = 0.0
    clip: float | None = 1.0
    weight_decay: float = 1e-5
    closed_form: bool = False

    def total_steps(self, images: int) -> int:
        """Steps of a whole training on so many images."""
        if self.sampling == "locations":
            return self.steps
        return self.epochs * math.ceil(images / self.batch[0])

    def rate(self, level: int, step: int, steps: int) -> float:
        """Learning rate of a level (1 to 3) at a step (0 to steps - 1)."""
        peak = self.rates[level - 1]
        warm = int(self.warmup * steps)
        if step < warm:
            return peak * (step + 1) / warm
        if self.decay == "constant":
            return peak
        return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


SCHEDULES = {
    schedule.name: schedule
    for schedule in (
        Schedule(
            "fast",
            "locations",
            (512, 512, 256),
            steps=300,
            rates=(1e-2, 1e-2, 5e-3),
            warmup=0.05,
            closed_form=True,
        ),
        Schedule("stable", "images", (8, 8, 8), epochs=200),
        Schedule("published", "images", (8, 8, 8), epochs=200, rates=(3e-3, 3e-4, 3e-4), decay="constant", clip=None),
    )
}


def schedule_named(name: str) -> Schedule:
    """The preset of a name.

    Raises:
        DataError: There is none.
    """
    if name not in SCHEDULES:
        raise DataError(f"unknown schedule {name!r}; known are {', '.join(SCHEDULES)}")
    return SCHEDULES[name]
