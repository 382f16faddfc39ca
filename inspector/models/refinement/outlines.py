"""From a mask to the outlines of its defects, and the picture that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain.frame import Mask, Pixels

#: Outline, its dark rim and the box, in RGB.
_LINE, _RIM, _BOX = (255, 64, 32), (0, 0, 0), (255, 220, 0)
#: Pictures are enlarged by a whole factor until their longer side has at least so many pixels.
_LARGE_PX = 640


@dataclass(frozen=True)
class Outline:
    """One defect: an 8-connected piece of a mask.

    Attributes:
        area_px: Pixels of the piece.
        left: First column.
        top: First row.
        width: Columns of the bounding box.
        height: Rows of the bounding box.
        contour_px: int32, (N, 2), x and y of the outermost pixels, in order; straight runs keep their ends only.
        holes_px: Contours of the holes: pixels of the piece that surround each of them.
    """

    area_px: int
    left: int
    top: int
    width: int
    height: int
    contour_px: NDArray[np.int32]
    holes_px: tuple[NDArray[np.int32], ...]

    def as_record(self) -> dict[str, Any]:
        """The outline as a JSON-ready dict."""
        return {
            "area_px": self.area_px,
            "box_px": {"left": self.left, "top": self.top, "width": self.width, "height": self.height},
            "outline_px": self.contour_px.tolist(),
            "holes_px": [hole.tolist() for hole in self.holes_px],
        }


def find_outlines(mask: Mask) -> tuple[Outline, ...]:
    """The pieces of a mask, the largest first.

    Args:
        mask: bool, (H, W).

    >>> [outline.area_px for outline in find_outlines(np.array([[True, True, False, True]]))]
    [2, 1]
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[label])
        piece = (labels[top : top + height, left : left + width] == label).astype(np.uint8)
        contours, tree = cv2.findContours(piece, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
        points = [np.asarray(contour, np.int32).reshape(-1, 2) for contour in contours]
        parents = np.asarray(tree).reshape(-1, 4)[:, 3]
        outer = next(part for part, parent in zip(points, parents, strict=True) if parent < 0)
        holes = tuple(part for part, parent in zip(points, parents, strict=True) if parent >= 0)
        found.append(Outline(area, left, top, width, height, outer, holes))
    return tuple(sorted(found, key=lambda outline: -outline.area_px))


def draw_outlines(pixels: Pixels, outlines: Sequence[Outline]) -> Pixels:
    """The image with outlines, boxes, and the area of each defect.

    Args:
        pixels: uint8, (H, W) or (H, W, 3) RGB.
        outlines: In the coordinates of the image.

    Returns:
        uint8, (H f, W f, 3) RGB; f is a whole number, so that thin lines hide little of a small image.
    """
    rgb = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    factor = max(1, -(-_LARGE_PX // max(rgb.shape[:2])))
    picture = np.ascontiguousarray(np.repeat(np.repeat(rgb, factor, axis=0), factor, axis=1))
    for colour, thickness in ((_RIM, 3), (_LINE, 1)):
        for outline in outlines:
            inside = np.zeros((outline.height + 2, outline.width + 2), np.uint8)
            offset = np.array([1 - outline.left, 1 - outline.top], np.int32)
            cv2.fillPoly(inside, [outline.contour_px + offset], color=1)
            for hole in outline.holes_px:
                cv2.fillPoly(inside, [hole + offset], color=0)
                cv2.polylines(inside, [hole + offset], isClosed=True, color=1)
            large = np.repeat(np.repeat(inside, factor, axis=0), factor, axis=1)
            start = (factor * (outline.left - 1), factor * (outline.top - 1))
            edges, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=start)
            cv2.drawContours(picture, edges, -1, colour, thickness)
    for outline in outlines:
        corner = factor * outline.left - 4, factor * outline.top - 4
        opposite = factor * (outline.left + outline.width) + 3, factor * (outline.top + outline.height) + 3
        cv2.rectangle(picture, corner, opposite, _BOX, 1)
        place = max(2, corner[0]), corner[1] - 4 if corner[1] > 18 else min(picture.shape[0] - 4, opposite[1] + 14)
        for colour, thickness in ((_RIM, 3), (_BOX, 1)):
            cv2.putText(
                picture, f"{outline.area_px} px", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA
            )
    return picture
