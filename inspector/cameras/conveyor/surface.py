"""The surface of one part: the design with this part's grain and turning marks, and how the light shows it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from inspector.cameras.conveyor.lighting import brightness
from inspector.cameras.conveyor.part import PartMaps
from inspector.cameras.conveyor.scene import Scene, turn_rows
from inspector.cameras.conveyor.shapes import Field
from inspector.cameras.conveyor.textures import TURN_COLUMNS, cut

#: Cast grain that shines through where the surface is machined.
_MACHINED_GRAIN = 0.06


@dataclass(frozen=True)
class Textures:
    """The pieces of texture that one part was given.

    Attributes:
        slope_x: Slope of the grain to the right, (H, W) of the canvas.
        slope_y: Slope of the grain downwards.
        mottle: Relative change of the albedo.
        turning: Turning marks, rows along the radius, columns along the angle.
    """

    slope_x: Field
    slope_y: Field
    mottle: Field
    turning: Field


@dataclass
class Surface:
    """A window of one part's surface. Only a `cut` may be changed: other arrays may be those of the design.

    Attributes:
        slope_x: Rise to the right, float32 (H, W).
        slope_y: Rise downwards, float32 (H, W).
        albedo: Share of the light that comes back, float32 (H, W).
        gloss: 0 for the cast skin to 1 for machined metal, float32 (H, W).
        cover: Share of each pixel that the part covers, float32 (H, W).
        tint: Colour without brightness, float32 (H, W, 3); None for grey.
    """

    slope_x: Field
    slope_y: Field
    albedo: Field
    gloss: Field
    cover: Field
    tint: Field | None

    def cut(self, rows: slice, columns: slice) -> Surface:
        """A copy of a piece, to be changed."""
        return Surface(
            self.slope_x[rows, columns].copy(),
            self.slope_y[rows, columns].copy(),
            self.albedo[rows, columns].copy(),
            self.gloss[rows, columns].copy(),
            self.cover[rows, columns].copy(),
            None if self.tint is None else self.tint[rows, columns].copy(),
        )

    def coat(self, share: Field, albedo: float, gloss: float, colour: tuple[float, float, float]) -> None:
        """Cover a share of each pixel with another material.

        Args:
            share: 0 to 1, (H, W).
            albedo: Of the material.
            gloss: Of the material.
            colour: Of the material, without its brightness.
        """
        self.albedo += share * (albedo - self.albedo)
        self.gloss += share * (gloss - self.gloss)
        if self.tint is not None:
            self.tint += share[..., None] * (np.array(colour, np.float32) - self.tint)


def draw_textures(scene: Scene, generator: Generator) -> Textures:
    """The pieces of texture for one part.

    Args:
        scene: With the textures to cut from.
        generator: Draws the places.
    """
    rows, columns = cut(scene.grain.shape[1:], scene.window.height, scene.window.width, generator)
    slope_x, slope_y, mottle = scene.grain[:, rows, columns]
    marks = scene.turning[cut(scene.turning.shape, turn_rows(scene.scale_px), TURN_COLUMNS, generator)]
    return Textures(slope_x, slope_y, mottle, marks)


def apply_textures(
    maps: PartMaps, places: tuple[Field, Field], tint: Field | None, textures: Textures, rows: slice, columns: slice
) -> Surface:
    """The design with one part's textures.

    Args:
        maps: The design, of any window of the canvas.
        places: Columns and rows of the turning marks in that window.
        tint: Colour of the window; None for grey.
        textures: Of the part.
        rows: Of the canvas that the window covers.
        columns: Of the canvas that the window covers.
    """
    weight = maps.cast + _MACHINED_GRAIN
    marks = cv2.remap(textures.turning, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Surface(
        slope_x=maps.slope_x + weight * textures.slope_x[rows, columns] + marks * maps.turn_x,
        slope_y=maps.slope_y + weight * textures.slope_y[rows, columns] + marks * maps.turn_y,
        albedo=maps.albedo * (1 + (maps.cast + 0.3) * textures.mottle[rows, columns]),
        gloss=maps.gloss,
        cover=maps.cover,
        tint=tint,
    )


def shine(surface: Surface, scene: Scene, turn_rad: float) -> Field:
    """The surface in the light.

    Args:
        surface: Of any window.
        scene: With the light.
        turn_rad: Angle by which the part is turned against the light.

    Returns:
        float32, (H, W, 2) grey or (H, W, 4) RGB: brightness times cover, and the cover as the last channel.
    """
    light = brightness(surface.slope_x, surface.slope_y, surface.gloss, scene.reflectance, turn_rad)
    light *= surface.albedo
    light *= surface.cover
    if surface.tint is None:
        return np.asarray(cv2.merge([light, surface.cover]), np.float32)
    red, green, blue = cv2.split(surface.tint * light[..., None])
    return np.asarray(cv2.merge([red, green, blue, surface.cover]), np.float32)
