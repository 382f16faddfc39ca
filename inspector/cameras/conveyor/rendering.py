"""Part number n of a seed: rendered from nothing but the two, with the truth about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from inspector.cameras.conveyor.defects import DEFECT_CLASSES, draw_defect
from inspector.cameras.conveyor.exposure import Pose, digitise, draw_pose, enlarge_mask, expose
from inspector.cameras.conveyor.patch import Canvas
from inspector.cameras.conveyor.scene import Scene
from inspector.cameras.conveyor.shapes import Field
from inspector.cameras.conveyor.surface import apply_textures, draw_textures, shine
from inspector.cameras.conveyor.textures import cut
from inspector.domain.frame import Pixels

GOOD = "good"

#: A pixel belongs to the defect where it changed by so many grey levels, before noise.
_CHANGED = 2.0

#: Edge of the network's usual input.
INPUT_PX = 256
#: A defect has so many pixels in that input whose `conspicuity` is at least `CONSPICUOUS`: a careful person sees
#: it there. Fainter ones are drawn again, each time a little stronger.
VISIBLE_PX = 16
CONSPICUOUS = 2.2
_DRAWS = 24
_STRONGER = 0.06
# Grey levels by which even a smooth surface varies.
_QUIET = 8.0


class Batch(enum.IntEnum):
    """Which parts are drawn; two batches of one seed share no part."""

    INSPECTED = 0
    CALIBRATION = 1


@dataclass(frozen=True)
class RenderedPart:
    """One part and the truth about it.

    Attributes:
        number: Of the part, from 0.
        pixels: uint8, (H, W) grey or (H, W, 3) RGB.
        defect_class: "good", or one of `DEFECT_CLASSES`.
        mask: bool, (H, W): the pixels that the defect changed. Outside of it the frame equals that of the
            same part without the defect.
    """

    number: int
    pixels: Pixels
    defect_class: str
    mask: NDArray[np.bool_]

    @property
    def label(self) -> str:
        """Class and number, such as "good/000017"."""
        return f"{self.defect_class}/{self.number:06d}"


def render_part(
    scene: Scene,
    seed: int,
    number: int,
    *,
    defect_ratio: float,
    defect_scale: float = 1.0,
    batch: Batch = Batch.INSPECTED,
) -> RenderedPart:
    """Render one part: the same for the same arguments, whatever was rendered before.

    Args:
        scene: The station.
        seed: Of the run, 0 or more.
        number: Of the part, 0 or more.
        defect_ratio: Probability of a defect, 0 to 1. A part that is good at a higher ratio is the same part at
            a lower one.
        defect_scale: Size of the defects, 1 for those that a careful person just sees; they are as much clearer.
        batch: Which parts.
    """
    chance = np.random.default_rng([seed, batch, number, 0])
    defective = bool(chance.random() < defect_ratio)
    defect_class = DEFECT_CLASSES[int(chance.integers(len(DEFECT_CLASSES)))]
    generator = np.random.default_rng([seed, batch, number, 1])
    pose = draw_pose(generator)
    textures = draw_textures(scene, generator)
    belt = scene.belt[cut(scene.belt.shape, scene.render_height_px, scene.render_width_px, generator)]
    surface = apply_textures(scene.maps, scene.turn_places, scene.tint, textures, slice(None), slice(None))
    lit = shine(surface, scene, pose.light_turn_rad - pose.turn_rad)
    frame = expose(lit, belt, pose, scene)
    mask = np.zeros(frame.shape[:2], np.bool_)
    if defective:
        frame, mask = _spoil(
            defect_class, Canvas(scene, surface, textures, defect_scale), lit, frame, belt, pose, chance
        )
    pixels = digitise(frame, scene, generator)
    return RenderedPart(number, pixels, defect_class if defective else GOOD, enlarge_mask(mask, scene))


def _spoil(
    kind: str, canvas: Canvas, lit: Field, intact: Field, belt: Field, pose: Pose, generator: Generator
) -> tuple[Field, NDArray[np.bool_]]:
    """The frame with a defect that can be seen, and its mask."""
    scene = canvas.scene
    best, best_frame = -1.0, intact
    for draw in range(_DRAWS):
        patch = draw_defect(kind, canvas, 1 + _STRONGER * draw, generator)
        spoiled = lit.copy()
        spoiled[patch.rows, patch.columns] = shine(patch.surface, scene, pose.light_turn_rad - pose.turn_rad)
        frame = expose(spoiled, belt, pose, scene)
        seen = conspicuity(frame, intact)
        if seen > best:
            best, best_frame = seen, frame
        if best >= CONSPICUOUS * canvas.scale:
            break
    changed = np.abs(best_frame - intact) >= _CHANGED
    if changed.ndim == 3:
        changed = changed[..., 0] | changed[..., 1] | changed[..., 2]
    size = 2 * max(1, round(0.004 * scene.scale_px)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    mask = np.asarray(cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0)
    keep = mask if intact.ndim == 2 else mask[..., None]
    return np.where(keep, best_frame, intact), mask


def conspicuity(frame: Field, intact: Field) -> float:
    """How clearly a defect stands out in the network's input.

    The change of each pixel is set against the liveliness of the intact surface around it (deviation of the grey
    levels in 9 x 9 pixels, and at least `_QUIET`).

    Args:
        frame: Grey levels with the defect, (H, W) or (H, W, 3).
        intact: Grey levels without it.

    Returns:
        What the `VISIBLE_PX` clearest pixels reach at least, 0 or more.
    """
    small, plain = _as_input(frame), _as_input(intact)
    change = np.abs(small - plain)
    places = change > 1
    if np.count_nonzero(places) < VISIBLE_PX:
        return 0.0
    mean = cv2.boxFilter(plain, -1, (9, 9))
    lively = np.sqrt(np.maximum(cv2.sqrBoxFilter(plain, -1, (9, 9)) - mean * mean, _QUIET**2))
    return float(np.partition(change[places] / lively[places], -VISIBLE_PX)[-VISIBLE_PX])


def _as_input(frame: Field) -> Field:
    """Grey, and resized as for the network: means of the pixels where it shrinks."""
    grey = frame if frame.ndim == 2 else cv2.transform(frame, np.full((1, 3), 1 / 3, np.float32))
    height, width = grey.shape
    for size, shrinks in (((INPUT_PX, height), width > INPUT_PX), ((INPUT_PX, INPUT_PX), height > INPUT_PX)):
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(grey, np.float32)
