"""PFM, B-PFM, MB-PFM and PEFM: the features of one backbone, mapped to those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from torch import nn

from calibration.detectors.base import Fit, Method
from calibration.features import FeatureCache
from calibration.schedule import schedule_named
from calibration.soundness import Soundness, measure_soundness
from calibration.training import Training
from inspector.domain.errors import DataError
from inspector.models.bundled import bundled_names
from inspector.models.detector import Detector
from inspector.models.feature_mapping import PositionEncoding
from inspector.models.network import InspectionNetwork, build_network
from inspector.models.position import POSITION_BASE
from inspector.recipe.manifest import BackboneRecord, DetectorName, NetworkRecord

if TYPE_CHECKING:
    from calibration.plan import Plan

_LIGHT = {*bundled_names(), "squeezenet1_1", "mobilenet_v2"}
_HEAVY = {"resnet50", "resnet101", "resnet152", "wide_resnet50_2"}
#: Latent widths of the PFM paper, Table II, by (source, target); others follow `default_latents`.
_PUBLISHED_LATENTS = {
    ("resnet18", "resnet34"): (50, 100, 200),
    ("resnet18", "resnet50"): (200, 400, 900),
    ("resnet34", "resnet50"): (200, 400, 900),
    ("vgg16_bn", "vgg19_bn"): (200, 400, 400),
}
#: Those of the PEFM paper, Table I.
_PUBLISHED_LATENTS_OF_PEFM = {("resnet34", "resnet50"): (200, 400, 800)}


class Mapping(Method):
    """One of the four detectors that map features.

    Args:
        name: Its name.
        levels: Hierarchies that the paper uses it with.
        position: Position encoding that the paper uses it with.
    """

    options = frozenset({"target", "latents", "position", "position_base", "mapped", "smoothing_px", "schedule"})

    def __init__(self, name: DetectorName, levels: tuple[int, ...], position: PositionEncoding) -> None:
        self.name = name
        self.levels = levels
        self.position = position

    def default_backbones(self, weights: str) -> tuple[str, str | None]:
        """As `Method.default_backbones`."""
        return default_pair(weights)

    def complete(self, plan: Plan) -> Plan:
        """As `Method.complete`."""
        if plan.target is None:
            raise DataError(f"{self.name} maps between two backbones; name the second with --target-network")
        levels = plan.levels or self.levels
        latents = plan.latents or default_latents(plan.source, plan.target, levels, self.name)
        if len(latents) != len(levels) or min(latents) < 1:
            raise DataError(f"give one positive latent width for each of the {len(levels)} levels")
        base = POSITION_BASE if plan.position_base is None else plan.position_base
        if not base > 1:
            raise DataError(f"the constant of the position code must be above 1, not {base:g}")
        return replace(
            plan,
            latents=latents,
            position=plan.position or self.position,
            position_base=base,
            mapped=plan.mapped or "raw",
            smoothing_px=_smoothing(plan),
            schedule=plan.schedule or schedule_named("fast", self.name),
        )

    def knows_places(self, plan: Plan) -> bool:
        """As `Method.knows_places`: with a position code."""
        return plan.position != "none"

    def build(self, plan: Plan, backbones: Sequence[nn.Module]) -> Detector:
        """As `Method.build`."""
        source, target = backbones
        return build_network(
            source,
            target,
            latents=plan.latents or (),
            levels=plan.levels or self.levels,
            position=plan.position or self.position,
            input_px=plan.network_px,
            bidirectional=self.name != "pfm",
            mapped=plan.mapped or "raw",
            smoothing_px=plan.smoothing_px or 0.0,
            position_base=plan.position_base or POSITION_BASE,
        )

    def fit(self, network: Detector, cache: FeatureCache, images: Sequence[int], plan: Plan) -> Fit:
        """As `Method.fit`."""
        schedule = plan.schedule or schedule_named("fast", self.name)
        return Training(cast("InspectionNetwork", network).mapping, cache, images, schedule, plan.seed)

    def soundness(
        self, network: Detector, cache: FeatureCache, learned: Sequence[int], held_out: Sequence[int]
    ) -> Soundness | None:
        """As `Method.soundness`: residuals of each level."""
        return measure_soundness(cast("InspectionNetwork", network).mapping, cache, learned, held_out)

    def record(self, plan: Plan, backbones: Sequence[BackboneRecord], network: Detector) -> NetworkRecord:
        """As `Method.record`."""
        source, target = backbones
        shape = cast("InspectionNetwork", network).mapping.shape
        return NetworkRecord(
            detector=self.name,
            source=source,
            target=target,
            levels=shape.levels,
            latents=shape.latents,
            position=shape.position,
            position_base=shape.position_base,
            mapped=shape.mapped,
            smoothing_px=cast("InspectionNetwork", network).smoothing_px,
        )


def _smoothing(plan: Plan) -> float:
    deviation_px = plan.smoothing_px or 0.0
    # The filter reaches over four deviations, and the map is mirrored at its borders.
    if not 0 <= deviation_px <= 64 or 4 * deviation_px + 1 >= min(plan.network_px):
        raise DataError(f"the smoothing lies between 0 and a quarter of the input's side, not at {deviation_px:g} px")
    return deviation_px


def default_latents(
    source: str, target: str, levels: Sequence[int], detector: DetectorName = "mb-pfm"
) -> tuple[int, ...]:
    """Latent widths: the paper's where it names the pair, else by the wider of the two networks.

    >>> default_latents("resnet34", "resnet50", (1, 3)), default_latents("resnet34", "resnet50", (1, 3), "pefm")
    ((200, 900), (200, 800))
    """
    published = {**_PUBLISHED_LATENTS, **(_PUBLISHED_LATENTS_OF_PEFM if detector == "pefm" else {})}
    if (source, target) in published:
        widths = published[source, target]
    elif {source, target} <= _LIGHT:
        widths = (24, 48, 96)
    else:
        widths = (200, 400, 900) if {source, target} & _HEAVY else (50, 100, 200)
    return tuple(widths[level - 1] for level in levels)


def default_pair(weights: str) -> tuple[str, str]:
    """Source and target backbone where none are named: the paper's for ImageNet weights, else the bundled pair."""
    return ("resnet34", "resnet50") if weights == "imagenet" else bundled_names()
