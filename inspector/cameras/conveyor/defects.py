"""The classes of defects, by name."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from inspector.cameras.conveyor.damage import draw_dent, draw_missing_hole, draw_scratch, draw_stain
from inspector.cameras.conveyor.foreign import draw_foreign_body
from inspector.cameras.conveyor.patch import Canvas, Patch

_DRAWERS: dict[str, Callable[[Canvas, float, Generator], Patch]] = {
    "scratch": draw_scratch,
    "dent": draw_dent,
    "stain": draw_stain,
    "missing_hole": draw_missing_hole,
    "foreign_body": draw_foreign_body,
}

#: Each is as likely as the others.
DEFECT_CLASSES = tuple(_DRAWERS)


def draw_defect(defect_class: str, canvas: Canvas, strength: float, generator: Generator) -> Patch:
    """Draw one defect into a copy of a piece of the surface, before the light falls on it.

    Args:
        defect_class: One of `DEFECT_CLASSES`.
        canvas: The part; stays as it is.
        strength: 1 for the usual range; more for a defect that turned out too faint to be seen.
        generator: Draws place, size and contrast.

    Returns:
        The changed piece.
    """
    return _DRAWERS[defect_class](canvas, strength, generator)
