"""Networks with the same weights, in one process, have them in memory once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SharedTensors:
    """Parameters and statistics of the networks that were given to `share`.

    Recipes of one station mostly have the same frozen backbones, which are nearly all of a recipe's weights.

    >>> first, second, shared = nn.Linear(2, 1), nn.Linear(2, 1), SharedTensors()
    >>> _ = second.load_state_dict(first.state_dict())
    >>> shared.share(first), shared.share(second)
    (0, 12)
    >>> second.weight is first.weight
    True
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], list[Tensor]] = {}

    def share(self, network: nn.Module) -> int:
        """Replaces each tensor of a network that an earlier network has too by that one's.

        To be called after the last change of its weights in place: the tensors are the same from now on.

        Args:
            network: Of any kind; frozen.

        Returns:
            Bytes that are in memory once less.
        """
        saved_bytes = 0
        for module in network.modules():
            holders: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for tensors in holders:
                for name, tensor in tensors.items():
                    if tensor is None:
                        continue
                    known = self._same(tensor)
                    if known is not tensor:
                        tensors[name] = known
                        saved_bytes += tensor.nbytes
        return saved_bytes

    def _same(self, tensor: Tensor) -> Tensor:
        """An earlier tensor of the same kind and content; this one, from now on known, if there is none."""
        kind = (type(tensor), tensor.dtype, tensor.device, tensor.shape, tensor.stride())
        candidates = self._known.setdefault(kind, [])
        for candidate in candidates:
            if candidate is tensor or torch.equal(candidate, tensor):
                return candidate
        candidates.append(tensor)
        return tensor
