"""Where the optimisation starts: the coarse mask painted over from its surroundings."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg as splinalg

from inspector.domain.frame import Mask, Pixels

#: Fills the masked pixels of an image: (pixels uint8 (H, W) or (H, W, 3) RGB, mask bool (H, W)) to pixels of the same
#: shape. F2PAD uses a masked autoencoder pretrained on ImageNet (He et al., CVPR 2022); whoever has its weights wraps
#: it in such a function and hands it to `optimise.refine`, alone or beside these. Only a rough fill is needed.
Inpainter = Callable[[Pixels, Mask], Pixels]

#: Radius of the neighbourhood that Telea's method looks at, in pixels.
_RADIUS_PX = 5
#: Width of the surroundings that `exemplar` compares, in pixels.
_RING_PX = 5


def telea(pixels: Pixels, mask: Mask) -> Pixels:
    """Fills the mask from its rim inwards (Telea, "An Image Inpainting Technique Based on the Fast Marching Method",
    2004, by OpenCV): the stand-in for the paper's masked autoencoder, which needs no weights.

    Args:
        pixels: uint8, (H, W) or (H, W, 3).
        mask: bool, (H, W); pixels to fill. If it covers everything, the mean grey is all that can be said.

    Returns:
        Like `pixels`; outside of the mask unchanged.
    """
    if mask.all():
        return np.full_like(pixels, np.round(pixels.mean(axis=(0, 1))))
    filled = cv2.inpaint(np.ascontiguousarray(pixels), mask.astype(np.uint8), _RADIUS_PX, cv2.INPAINT_TELEA)
    inside = mask if pixels.ndim == 2 else mask[..., None]
    return np.asarray(np.where(inside, filled, pixels))


def membrane(pixels: Pixels, mask: Mask) -> Pixels:
    """Fills the mask like a membrane spanned over its rim: no texture, but none of Telea's streaks either.

    Args:
        pixels: uint8, (H, W) or (H, W, 3).
        mask: bool, (H, W); pixels to fill.

    Returns:
        Like `pixels`; outside of the mask unchanged.
    """
    if mask.all() or not mask.any():
        return telea(pixels, mask)
    inside = mask if pixels.ndim == 2 else mask[..., None]
    smooth = np.clip(np.round(_spread_inwards(pixels.astype(np.float64), mask)), 0, 255).astype(np.uint8)
    return np.where(inside, smooth, pixels)


def exemplar(pixels: Pixels, mask: Mask) -> Pixels:
    """Fills each piece of the mask with another place of the same image whose surroundings fit best.

    Keeps the texture, which the other fills blur away. A piece for which there is no place clear of the mask is
    filled by `membrane`.

    Args:
        pixels: uint8, (H, W) or (H, W, 3).
        mask: bool, (H, W); pixels to fill.

    Returns:
        Like `pixels`; outside of the mask unchanged.
    """
    filled = membrane(pixels, mask)
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        _fill_piece(filled, pixels, labels == label, mask)
    return filled


def _fill_piece(filled: Pixels, pixels: Pixels, piece: Mask, mask: Mask) -> None:
    """Copies the best fitting place over one piece, in place."""
    wide = widened(piece, 2 * _RING_PX + 1)
    rows, columns = np.flatnonzero(wide.any(axis=1)), np.flatnonzero(wide.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    ring, inside = (wide & ~mask)[window], piece[window]
    if not ring.any():
        return
    template = pixels[window]
    weights = ring.astype(np.float32)
    if pixels.ndim == 3:
        weights = np.repeat(weights[..., None], 3, axis=2)
    distance = cv2.matchTemplate(
        pixels.astype(np.float32), template.astype(np.float32), cv2.TM_SQDIFF, mask=np.ascontiguousarray(weights)
    )
    # Neither what is copied nor what it is compared with may lie in the mask.
    used = (inside | ring).astype(np.float32)
    blocked = cv2.matchTemplate(mask.astype(np.float32), used, cv2.TM_CCORR) > 0.5
    distance = np.where(blocked | ~np.isfinite(distance), np.inf, distance)
    if not np.isfinite(distance).any():
        return
    top, left = (int(place) for place in np.unravel_index(int(distance.argmin()), distance.shape))
    source = pixels[top : top + template.shape[0], left : left + template.shape[1]].astype(np.float32)
    # The difference at the rim, spread smoothly over the inside, takes the seam away (Poisson cloning).
    difference = _spread_inwards(template.astype(np.float64) - source, inside)
    filled[window][inside] = np.clip(np.round(source[inside] + difference[inside]), 0, 255).astype(np.uint8)


def _spread_inwards(values: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """The values with those in the mask replaced by the solution of Laplace's equation between their rim.

    At the image's border the solution goes straight out. The mask must not cover everything.
    """
    height, width = mask.shape
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(mask.sum())
    rows, columns = np.nonzero(mask)
    channels = values.reshape(height, width, -1)
    known = np.zeros((len(rows), channels.shape[2]))
    degree = np.zeros(len(rows))
    pairs = []
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        y, x = rows + down, columns + right
        within = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        degree += within
        here, y, x = np.flatnonzero(within), y[within], x[within]
        unknown = mask[y, x]
        pairs.append((here[unknown], index[y[unknown], x[unknown]]))
        known[here[~unknown]] += channels[y[~unknown], x[~unknown]]
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    links = sparse.csc_matrix((-np.ones(len(first)), (first, second)), shape=(len(rows), len(rows)))
    solved = splinalg.splu(links + sparse.diags(degree, format="csc")).solve(known)
    result = channels.copy()
    result[mask] = solved
    return np.asarray(result.reshape(values.shape))


#: Fills that need neither weights nor other images; the one that the detector finds most normal is taken.
INPAINTERS: tuple[Inpainter, ...] = (telea, membrane, exemplar)


def widened(mask: Mask, diameter_px: int) -> Mask:
    """The mask dilated by an ellipse (F2PAD section III-E2): what the coarse mask may have missed lies beside it.

    Args:
        mask: bool, (H, W).
        diameter_px: Of the ellipse; made odd.
    """
    side = diameter_px | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def without_specks(mask: Mask, smallest_px: int) -> Mask:
    """The mask without its 8-connected pieces of fewer pixels than `smallest_px`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = np.flatnonzero(stats[:count, cv2.CC_STAT_AREA] >= smallest_px)
    return np.isin(labels, large[large > 0])
