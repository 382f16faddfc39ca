"""Position code of PEFM, added to or concatenated with the features that enter the mapping."""

from __future__ import annotations

import torch
from torch import Tensor

#: Constant of the sinusoids as the authors' code has it; the PEFM paper prints 1000.
POSITION_BASE = 10000.0


def position_code(channels: int, height: int, width: int, base: float = POSITION_BASE) -> Tensor:
    """Two-dimensional sinusoidal position code (PEFM paper, eq 9; first half of the channels along columns).

    Args:
        channels: D, divisible by four.
        height: Rows of the feature map.
        width: Columns of the feature map.
        base: Constant of the frequencies, ``base ** (-4 i / D)``.

    Returns:
        float32, (channels, height, width), values in [-1, 1].

    Raises:
        ValueError: If `channels` is not divisible by four.

    >>> position_code(4, 1, 2)[:, 0, 0]
    tensor([0., 1., 0., 1.])
    """
    if channels % 4:
        raise ValueError(f"a position code needs a number of channels divisible by 4, not {channels}")
    quarter = torch.arange(channels // 4, dtype=torch.float64)
    frequency = base ** (-4.0 * quarter / channels)
    columns = torch.arange(width, dtype=torch.float64)[None, :] * frequency[:, None]
    rows = torch.arange(height, dtype=torch.float64)[None, :] * frequency[:, None]
    code = torch.empty(channels, height, width, dtype=torch.float64)
    half = channels // 2
    code[0:half:2] = columns.sin()[:, None, :]
    code[1:half:2] = columns.cos()[:, None, :]
    code[half::2] = rows.sin()[:, :, None]
    code[half + 1 :: 2] = rows.cos()[:, :, None]
    return code.float()
