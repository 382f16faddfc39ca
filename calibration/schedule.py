"""Training schedules of the mapping networks and of the flows: what is sampled, how long, and at which rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from inspector.domain.errors import DataError


@dataclass(frozen=True)
class Schedule:
    """How the networks of all hierarchies are trained.

    Attributes:
        name: Name of the preset.
        sampling: "images" takes whole feature maps of a batch of images, as the papers do; "locations" takes
            rows drawn over all images, so that a step sees many parts; "shuffled" takes each row of all images once
            an epoch, as CFLOW-AD does.
        batch: Images, or rows for each hierarchy, in a step.
        epochs: Passes over the images ("images", "shuffled").
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
    sampling: Literal["images", "locations", "shuffled"]
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

    def level_steps(self, level: int, rows: int) -> int:
        """Steps of a training on so many rows of a level (1 to 3), where each level is trained for itself."""
        if self.sampling == "locations":
            return self.steps
        return self.epochs * math.ceil(rows / self.batch[level - 1])

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


_PUBLISHED = SCHEDULES["published"]
_OTHERS: Mapping[str, Mapping[str, Schedule]] = {
    # The PEFM paper and its logs have one rate for all levels, and twice the images in a step.
    "pefm": {"published": replace(_PUBLISHED, batch=(16, 16, 16), rates=(3e-4, 3e-4, 3e-4))},
    # CFLOW-AD: 25 times 8 epochs of groups of 256 locations. Its rate changes once in 8 epochs; here with every step.
    "cflow-ad": {
        "fast": Schedule(
            "fast", "locations", (512, 512, 512), steps=400, rates=(2e-3, 2e-3, 2e-3), warmup=0.05, weight_decay=0.0
        ),
        "published": Schedule(
            "published",
            "shuffled",
            (256, 256, 256),
            epochs=200,
            rates=(2e-4, 2e-4, 2e-4),
            warmup=0.08,
            clip=None,
            weight_decay=0.0,
        ),
    },
}


def schedule_named(name: str, detector: str = "mb-pfm") -> Schedule:
    """The preset of a name.

    Args:
        name: Name of the preset.
        detector: The detector that is trained; what the name stands for depends on it.

    Raises:
        DataError: There is none.
    """
    known = _OTHERS["cflow-ad"] if detector == "cflow-ad" else {**SCHEDULES, **_OTHERS.get(detector, {})}
    if name not in known:
        raise DataError(f"unknown schedule {name!r}; known are {', '.join(known)}")
    return known[name]
