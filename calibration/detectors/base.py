"""What calibration asks of a kind of detector: its defaults, an untrained network, a fit, and its record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from torch import Tensor, nn

from calibration.features import FeatureCache
from calibration.soundness import Soundness
from calibration.training import Step
from inspector.domain.errors import DataError
from inspector.models.detector import Detector
from inspector.recipe.manifest import BackboneRecord, DetectorName, NetworkRecord

if TYPE_CHECKING:  # a plan knows the detectors
    from calibration.plan import Plan

#: Fields of a plan that only some detectors know, and the command's options for them.
OPTIONS = {
    "target": "--target-network",
    "latents": "--latents",
    "position": "--position",
    "position_base": "--position-base",
    "mapped": "--mapped",
    "smoothing_px": "--smoothing",
    "schedule": "--schedule",
    "channels": "--channels",
    "coreset": "--coreset",
    "neighbours": "--neighbours",
}


class Fit(Protocol):
    """One fit of a detector to good parts, which can be stopped after any step."""

    def progress(self) -> Step:
        """Where it stands."""

    def run(self, report: Callable[[Step], None]) -> None:
        """Goes on to the end, reporting after every step; leaves the network in eval mode."""

    def state(self) -> dict[str, Tensor]:
        """What a later run needs to go on from here, as tensors for safetensors."""

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Takes up a state of `state`; the result is that of a fit that was not stopped."""


class Method(ABC):
    """A kind of detector, as calibration sees it.

    Attributes:
        name: Its name on the command line and in recipes.
        levels: Hierarchies that it uses where none are named.
        options: Fields of a plan that it knows, of those in `OPTIONS`.
    """

    name: DetectorName
    levels: tuple[int, ...]
    options: ClassVar[frozenset[str]]

    @abstractmethod
    def default_backbones(self, weights: str) -> tuple[str, str | None]:
        """Source and target backbone where none are named; no target for a detector with one backbone."""

    def settle(self, plan: Plan) -> Plan:
        """The plan with the detector's own defaults filled in; levels are given and sensible.

        Raises:
            DataError: Something can't be, or means nothing to this detector.
        """
        foreign = [option for field, option in OPTIONS.items() if field not in self.options and _given(plan, field)]
        if foreign:
            raise DataError(f"{', '.join(foreign)} means nothing to {self.name}; leave it out")
        return self.complete(plan)

    def knows_places(self, plan: Plan) -> bool:
        """True if the detector of a settled plan treats places of its input differently."""
        return False

    @abstractmethod
    def complete(self, plan: Plan) -> Plan:
        """As `settle`, for a plan without foreign options."""

    @abstractmethod
    def build(self, plan: Plan, backbones: Sequence[nn.Module]) -> Detector:
        """An unfitted detector around the backbones; what is random comes from torch's generator."""

    @abstractmethod
    def fit(self, network: Detector, cache: FeatureCache, images: Sequence[int], plan: Plan) -> Fit:
        """A fit of a detector of `build`, changed in place.

        Args:
            network: The detector.
            cache: What the detector's `features` give for all images.
            images: Indices of the images to fit to; no others are looked at.
            plan: The settled plan.
        """

    def soundness(
        self, network: Detector, cache: FeatureCache, learned: Sequence[int], held_out: Sequence[int]
    ) -> Soundness | None:
        """How a fitted detector treats good parts that it never saw; None where that has no meaning."""
        return None

    @abstractmethod
    def record(self, plan: Plan, backbones: Sequence[BackboneRecord], network: Detector) -> NetworkRecord:
        """What the recipe's manifest says of a fitted detector."""


def _given(plan: Plan, field: str) -> bool:
    return getattr(plan, field) is not None
