"""Pixel metrics: AUROC, AU-PRO, F1-max, AUPIMO, IoU and DICE, all exact.

Every distinct value is a threshold, nothing is binned, nothing is scaled over the test set. The size of the
maps is the caller's and belongs beside the figures: MVTec's own evaluation uses the original resolution, most
papers 224 or 256 px. 160 images of 1024 x 1024 px, about what MVTec's largest categories have, take 20 seconds and
2.5 GB on one core.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from calibration.curves import BestF1, Curve, Floats, tie_ends
from inspector.domain.errors import DataError
from inspector.domain.frame import Mask

#: False-positive rate up to which AU-PRO integrates (Bergmann et al., IJCV 2021).
PRO_LIMIT = 0.3
#: False-positive rates between which AUPIMO integrates (Bertoldo et al., 2024).
PIMO_LIMITS = (1e-5, 1e-4)

Map = NDArray[np.floating]

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int8)


class PixelRanking:
    """The pixels of all images, ranked by score: the basis of every pixel metric.

    Only the defective pixels are ranked one by one; those of the background are sorted and counted. A curve turns
    nowhere else than at the value of a defective pixel, so nothing is lost, and a background of 160 million pixels
    costs seconds.

    Args:
        maps: Anomaly maps, each (H, W), finite; sizes may differ.
        masks: Ground truth, bool, each of the size of its map; all False for a good image.

    Raises:
        DataError: A map that holds NaN or infinity.
        ValueError: No maps, or maps and masks that don't fit each other.
    """

    def __init__(self, maps: Iterable[Map], masks: Iterable[Mask]) -> None:
        outside, inside, regions = [], [], []
        count = 0
        for anomaly_map, mask in _checked_pairs(maps, masks):
            outside.append(anomaly_map[~mask])
            if mask.any():
                labelled, found = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
                inside.append(anomaly_map[mask])
                regions.append(labelled[mask] - 1 + count)
                count += found
        #: Regions of all masks, 8-connected.
        self.regions = count
        self._ascending = np.concatenate(outside)
        self._ascending.sort()
        scores = np.concatenate(inside) if inside else np.empty(0, self._ascending.dtype)
        region_of = np.concatenate(regions) if regions else np.empty(0, np.int64)
        #: Pixels of defects.
        self.defective = scores.size
        #: Pixels outside of defects, those of good images included.
        self.background = self._ascending.size

        order = np.argsort(-scores)
        ranked = scores[order]
        ends = tie_ends(ranked) if scores.size else np.empty(0, np.int64)
        # Each region weighs the same, however many pixels it has.
        weights = 1.0 / (max(1, count) * np.bincount(region_of, minlength=count))
        self._levels = ranked[ends]
        self._hits = ends + 1
        self._overlap = np.cumsum(weights[region_of[order]])[ends]
        ascending = self._levels[::-1]
        #: Background above each level, and at or above it.
        self._above = self.background - np.searchsorted(self._ascending, ascending, side="right")[::-1]
        self._alarms = self.background - np.searchsorted(self._ascending, ascending, side="left")[::-1]

    def roc(self) -> Curve:
        """True-positive rate against false-positive rate of the pixels, from (0, 0) to (1, 1).

        Raises:
            DataError: No defective pixel, or no background.
        """
        self._need_both("ROC")
        return self._curve(self._hits / self.defective)

    def pro(self) -> Curve:
        """Per-region overlap, averaged over all regions, against the false-positive rate.

        Steps 1 and 2 of MVTec's evaluation: regions are 8-connected, the background is that of all images,
        good ones included; a group of ties is one step of the curve; from (0, 0) to (1, 1). Points on a straight
        line between two others are left out.

        Raises:
            DataError: No region, or no background.
        """
        self._need_both("PRO")
        overlap = np.minimum(self._overlap, 1.0)
        overlap[-1] = 1.0
        return self._curve(overlap)

    def auroc(self) -> float:
        """P(defective pixel > background pixel) + P(equal) / 2, in [0, 1]; NaN without one of them."""
        return self.roc().area() if self.defective and self.background else math.nan

    def aupro(self, limit: float = PRO_LIMIT) -> float:
        """Area under the PRO curve up to a false-positive rate, divided by it (Bergmann et al., IJCV 2021).

        Args:
            limit: False-positive rate in (0, 1], at which the curve is interpolated.

        Returns:
            In [0, 1]; NaN without regions or without background.
        """
        if not 0.0 < limit <= 1.0:
            raise ValueError(f"the limit of AU-PRO lies in (0, 1], not at {limit}")
        return self.pro().area(limit) if self.defective and self.background else math.nan

    def f1_max(self) -> BestF1:
        """The best F1 of the pooled pixels; it equals the best pooled DICE."""
        if not self.defective:
            return BestF1(math.nan, math.nan)
        f1 = 2.0 * self._hits / (self._hits + self._alarms + self.defective)
        best = int(np.argmax(f1))
        # The best threshold includes its own level; "above" is said with the next lower value.
        below = self.background - int(self._alarms[best])
        lower = [float(self._ascending[below - 1])] if below else []
        lower += [float(level) for level in self._levels[best + 1 : best + 2]]
        return BestF1(float(f1[best]), max(lower, default=-math.inf))

    def _curve(self, reached: Floats) -> Curve:
        """The curve through what is reached above each level and, after its ties, at it."""
        before = np.concatenate([[0.0], reached[:-1]])
        x = np.stack([self._above, self._alarms], axis=1).ravel() / self.background
        y = np.stack([before, reached], axis=1).ravel()
        x, y = np.concatenate([[0.0], x, [1.0]]), np.concatenate([[0.0], y, [1.0]])
        new = np.append(True, (x[1:] != x[:-1]) | (y[1:] != y[:-1]))
        return Curve(x[new], y[new])

    def _need_both(self, what: str) -> None:
        if not (self.defective and self.background):
            raise DataError(f"a {what} curve of pixels needs defective pixels and background")


def pixel_auroc(maps: Iterable[Map], masks: Iterable[Mask]) -> float:
    """AUROC over all pixels of all images, see `PixelRanking.auroc`; rank once for several metrics."""
    return PixelRanking(maps, masks).auroc()


def aupro(maps: Iterable[Map], masks: Iterable[Mask], limit: float = PRO_LIMIT) -> float:
    """AU-PRO exactly as MVTec computes it, see `PixelRanking.aupro`; rank once for several metrics."""
    return PixelRanking(maps, masks).aupro(limit)


def aupimo(
    maps: Iterable[Map],
    masks: Iterable[Mask],
    labels: ArrayLike | None = None,
    limits: tuple[float, float] = PIMO_LIMITS,
) -> tuple[float, Floats]:
    """Area under the per-image recall against log10 of the false-positive rate of the good images.

    For each rate f the threshold is the lowest that flags at most a share f of the pixels of the good images
    (the shares of the images averaged), and the recall is that of the defective pixels of one image. The
    area between the limits is divided by its width, so it is the mean recall at almost no false alarm
    (Bertoldo et al., "AUPIMO", 2024). The published code joins the points of 300 000 thresholds; this is
    the step function itself, also where few good images resolve the lower limit poorly.

    Args:
        maps: Anomaly maps, each (H, W), finite.
        masks: bool, each of the size of its map.
        labels: 0 for good, 1 for bad images; without them an image whose mask is all False counts as good.
            A bad image with an empty mask (a defect lost in the resize) is left out.
        limits: Lower and upper false-positive rate, 0 < lower < upper <= 1.

    Returns:
        The mean over the defective images in [0, 1], and the value of each, float64, (defective images,) in
        their order. NaN and an empty array without defective or without good images.

    Raises:
        DataError: A map that holds NaN or infinity.
        ValueError: No maps, maps and masks that don't fit each other, senseless labels or limits.
    """
    lower, upper = limits
    if not 0.0 < lower < upper <= 1.0:
        raise ValueError(f"the limits of AUPIMO ascend within (0, 1], not {limits}")
    pairs = list(_checked_pairs(maps, masks))
    defective = [mask.any() for _, mask in pairs]
    bad_image = np.asarray(defective if labels is None else labels)
    if bad_image.shape != (len(pairs),) or not np.isin(bad_image, (0, 1)).all():
        raise ValueError(f"labels are 0 for good and 1 for bad, one for each of the {len(pairs)} maps")
    if np.any(defective & (bad_image == 0)):
        raise ValueError("an image labelled good has defective pixels in its mask")
    good = [anomaly_map.ravel() for (anomaly_map, _), bad in zip(pairs, bad_image, strict=True) if not bad]
    defects = [anomaly_map[mask] for anomaly_map, mask in pairs if mask.any()]
    if not good or not defects:
        return math.nan, np.empty(0)

    scores = np.concatenate(good)
    weights = np.concatenate([np.full(image.size, 1.0 / (len(good) * image.size)) for image in good])
    order = np.argsort(-scores)
    ranked = scores[order]
    ends = tie_ends(ranked)
    levels, rates = ranked[ends], np.cumsum(weights[order])[ends]
    # Rates from rates[j - 1] up to rates[j] can afford every threshold above levels[j], but not levels[j].
    starts = np.concatenate([[0.0], rates[:-1]])
    used = (rates > lower) & (starts < upper)
    widths = np.log(np.minimum(rates[used], upper)) - np.log(np.maximum(starts[used], lower))
    widths /= widths.sum()
    areas = []
    for defect in defects:
        recall = 1.0 - np.searchsorted(np.sort(defect), levels[used], side="right") / defect.size
        areas.append(float(recall @ widths))
    return float(np.mean(areas)), np.array(areas)


@dataclass(frozen=True)
class Overlap:
    """Overlap of flagged and defective pixels at one threshold, each in [0, 1].

    Attributes:
        threshold: A pixel is flagged if its value is above it.
        pooled_iou: Intersection over union of all pixels of all images, good ones included.
        pooled_dice: 2 intersection / (flagged + defective) of the same.
        mean_iou: Intersection over union of each defective image, averaged (as in the tables of F2PAD).
        mean_dice: DICE of each defective image, averaged.
    """

    threshold: float
    pooled_iou: float
    pooled_dice: float
    mean_iou: float
    mean_dice: float


def overlap_at(maps: Iterable[Map], masks: Iterable[Mask], threshold: float) -> Overlap:
    """IoU and DICE, pooled and averaged over the defective images; NaN where nothing is defective.

    Args:
        maps: Anomaly maps, each (H, W), finite.
        masks: bool, each of the size of its map.
        threshold: In units of the maps.

    Raises:
        DataError: A map that holds NaN or infinity.
        ValueError: No maps, or maps and masks that don't fit each other.
    """
    counts = []
    for anomaly_map, mask in _checked_pairs(maps, masks):
        flagged = anomaly_map.astype(np.float64) > threshold
        counts.append((np.sum(flagged & mask), np.sum(flagged), np.sum(mask)))
    common, flagged_px, defect_px = np.array(counts, dtype=np.float64).T
    bad = defect_px > 0
    if not bad.any():
        return Overlap(threshold, math.nan, math.nan, math.nan, math.nan)
    union, total = flagged_px + defect_px - common, flagged_px + defect_px
    return Overlap(
        threshold=threshold,
        pooled_iou=float(common.sum() / union.sum()),
        pooled_dice=float(2.0 * common.sum() / total.sum()),
        mean_iou=float(np.mean(common[bad] / union[bad])),
        mean_dice=float(np.mean(2.0 * common[bad] / total[bad])),
    )


def _checked_pairs(maps: Iterable[Map], masks: Iterable[Mask]) -> Iterator[tuple[Map, Mask]]:
    number = -1
    for number, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        if anomaly_map.ndim != 2 or anomaly_map.shape != mask.shape:
            raise ValueError(f"map {number} is {anomaly_map.shape}, its mask {mask.shape}; both are (H, W)")
        if anomaly_map.dtype.kind != "f":
            raise ValueError(f"map {number} is {anomaly_map.dtype}, not floating point")
        if mask.dtype != np.bool_:
            raise ValueError(f"mask {number} is {mask.dtype}, not bool; binarise it after resizing")
        if not np.isfinite(anomaly_map).all():
            raise DataError(f"anomaly map {number} holds NaN or infinity; a ranking needs finite values")
        yield anomaly_map, mask
    if number < 0:
        raise ValueError("no maps")
