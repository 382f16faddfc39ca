"""Local gradient sharing: a pixel also follows the gradients of its neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sharing_weights(image: Tensor, window_px: int, spatial_px: float, tonal: float) -> Tensor:
    """Weight of each neighbour of each pixel (F2PAD eq. 14, reconstructed).

    ``exp(-|p-q|^2 / 2 spatial^2) exp(-|n_p-n_q|^2 / 2 tonal^2)``, normalised to sum 1 over the window: a bilateral
    filter. The colours are those of the current non-defective image, since the given one shows the defect.

    Args:
        image: N, (1, C, H, W).
        window_px: Side of the window, odd.
        spatial_px: sigma_s.
        tonal: sigma_c, in the units of the image.

    Returns:
        (window_px^2, H, W), rows of the window first; neighbours beyond the edge have weight 0.
    """
    channels, height, width = image.shape[1:]
    neighbours = _neighbours(image, window_px).view(channels, window_px**2, height, width)
    tone = (neighbours - image[0, :, None]).square().sum(dim=0)
    offset = torch.arange(window_px, dtype=image.dtype, device=image.device) - window_px // 2
    space = (offset[:, None].square() + offset[None].square()).reshape(-1, 1, 1)
    weights = torch.exp(-space / (2 * spatial_px**2) - tone / (2 * tonal**2))
    weights = weights * _neighbours(torch.ones_like(image[:, :1]), window_px).view_as(weights)
    return weights / weights.sum(dim=0, keepdim=True)


def share(gradient: Tensor, weights: Tensor) -> Tensor:
    """The shared direction d_p = sum over the window of w_pq g_q (F2PAD eq. 13, reconstructed).

    Args:
        gradient: (1, C, H, W).
        weights: What `sharing_weights` gives for images of the same size.

    Returns:
        Like `gradient`.
    """
    channels, height, width = gradient.shape[1:]
    window_px = round(weights.shape[0] ** 0.5)
    neighbours = _neighbours(gradient, window_px).view(channels, window_px**2, height, width)
    return (neighbours * weights[None]).sum(dim=1)[None]


def _neighbours(image: Tensor, window_px: int) -> Tensor:
    return F.unfold(image, window_px, padding=window_px // 2)
