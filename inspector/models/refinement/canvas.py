"""The variables of the optimisation: a window of pixels, with one or three channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inspector.domain.frame import Mask, Pixels
from inspector.recipe.manifest import Normalisation


class Canvas:
    """What is painted on: three normalised channels, or one where the image is grey.

    A grey image stays grey: with three free channels the optimisation would invent colours.

    Args:
        normalisation: Of the image.
        grey: One channel.
    """

    def __init__(self, normalisation: Normalisation, *, grey: bool) -> None:
        self.normalisation = normalisation
        mean, deviation = torch.tensor(normalisation.mean), torch.tensor(normalisation.deviation)
        self._grey = grey
        # The single channel has about the units of the others, so that steps and limits mean the same.
        self._spread = (deviation.mean() / deviation).view(1, 3, 1, 1)
        self._offset = ((mean.mean() - mean) / deviation).view(1, 3, 1, 1)

    def narrow(self, image: Tensor) -> Tensor:
        """The variables of an image: (B, 3, H, W) to (B, 1 or 3, H, W)."""
        if not self._grey:
            return image
        return (image[:, :1] - self._offset[:, :1].to(image)) / self._spread[:, :1].to(image)

    def wide(self, paint: Tensor) -> Tensor:
        """The normalised image of variables, (B, 3, H, W)."""
        return paint * self._spread.to(paint) + self._offset.to(paint) if self._grey else paint

    def pixels(self, image: Tensor) -> Pixels:
        """A normalised image (1, 3, H, W) as `to_pixels` gives it."""
        return to_pixels(image, self.normalisation, grey=self._grey)

    def norm(self, image: Tensor) -> Tensor:
        """Norm of what may change of an image, or of a gradient in it: (B, 3, H, W) to (B, H, W).

        Of a grey image that is the part along the grey axis.
        """
        if not self._grey:
            return image.square().sum(dim=1).sqrt()
        axis = (self._spread / self._spread.square().sum().sqrt()).to(image)
        return (image * axis).sum(dim=1).abs()

    def limits(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Limits (3,) of the normalised channels as limits of the variables, (1, 1 or 3, 1, 1)."""
        return self.narrow(low.view(1, 3, 1, 1)), self.narrow(high.view(1, 3, 1, 1))


@dataclass(frozen=True)
class Window:
    """A rectangle of the image outside of which nothing changes.

    Attributes:
        rows: Its rows.
        columns: Its columns.
    """

    rows: slice
    columns: slice

    @staticmethod
    def around(domain: Mask, margin_px: int) -> Window:
        """The smallest window around the pixels of a mask (at least one), with a margin within the image."""
        sides = []
        for axis, length in enumerate(domain.shape):
            used = np.flatnonzero(domain.any(axis=1 - axis))
            sides.append(slice(max(0, int(used[0]) - margin_px), min(length, int(used[-1]) + 1 + margin_px)))
        return Window(sides[0], sides[1])

    def cut(self, image: Tensor) -> Tensor:
        """The window's part of (..., H, W)."""
        return image[..., self.rows, self.columns]

    def pasted(self, image: Tensor, part: Tensor) -> Tensor:
        """A copy of the image with the window's part replaced; differentiable in the part."""
        whole = image.clone()
        whole[..., self.rows, self.columns] = part
        return whole


def to_pixels(image: Tensor, normalisation: Normalisation, *, grey: bool) -> Pixels:
    """A normalised image (1, 3, H, W) as uint8 pixels, (H, W) if grey else (H, W, 3) RGB."""
    mean = torch.tensor(normalisation.mean).view(3, 1, 1)
    deviation = torch.tensor(normalisation.deviation).view(3, 1, 1)
    values = (image[0].detach().cpu() * deviation + mean).mul(255.0).round().clamp(0, 255).to(torch.uint8)
    return values[0].numpy() if grey else np.ascontiguousarray(values.permute(1, 2, 0).numpy())


def to_image(pixels: Pixels, normalisation: Normalisation) -> Tensor:
    """uint8 pixels, (H, W) or (H, W, 3) RGB, as a normalised image (1, 3, H, W), float32."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255.0
    channels = values.expand(3, *values.shape) if pixels.ndim == 2 else values.permute(2, 0, 1)
    mean = torch.tensor(normalisation.mean).view(3, 1, 1)
    return ((channels - mean) / torch.tensor(normalisation.deviation).view(3, 1, 1))[None]
