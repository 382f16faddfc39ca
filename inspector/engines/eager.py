"""The plain engine: PyTorch in float32, on the CPU or on a CUDA device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inspector.domain.errors import EngineError
from inspector.domain.frame import Frame, Pixels
from inspector.engines.base import Scored
from inspector.engines.frame_tensors import frame_tensor


class EagerEngine:
    """Runs a network as it was calibrated.

    Args:
        preprocess: Frame (uint8 tensor) to network input (1, 3, H, W); for mosaics also `Demosaics`.
        network: Network input (B, 3, H, W) to a tuple whose first item is the scores (B,).
        device: "cpu" or "cuda".
        max_batch: Largest batch that `infer` is given.
        clock_ns: Monotonic clock.

    Raises:
        EngineError: The device isn't there.
    """

    def __init__(
        self,
        preprocess: nn.Module,
        network: nn.Module,
        *,
        device: str = "cpu",
        max_batch: int = 1,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise EngineError("worker.device is cuda, but PyTorch finds no CUDA device; set worker.device: cpu")
        self._device = torch.device(device)
        self._preprocess: Any = preprocess.to(self._device)
        # Feature maps in channels-last order suit the 1x1 convolutions and the norm over channels.
        self._network = network.to(self._device).to(memory_format=torch.channels_last)
        self._max_batch = max_batch
        self._clock_ns = clock_ns

    def warm_up(self, frame: Pixels) -> float:
        """As `Engine.warm_up`; afterwards the first real frame is as fast as the thousandth."""
        score = self.infer([frame])[0].score
        for batch in range(1, self._max_batch + 1):
            self.infer([frame] * batch)
        return score

    def infer(self, frames: Sequence[Frame]) -> list[Scored]:
        """As `Engine.infer`."""
        try:
            with torch.inference_mode():
                batch = torch.cat([self._prepare(frame) for frame in frames])
                batch = batch.contiguous(memory_format=torch.channels_last)
                copied_ns = self._clock_ns()
                scores: Tensor = self._network(batch)[0]
                values = scores.float().cpu().tolist()
        except torch.cuda.OutOfMemoryError as error:
            raise EngineError(f"out of memory on {self._device}: {error}") from error
        except RuntimeError as error:
            if self._device.type == "cuda":  # CUDA errors are sticky: only a new process helps
                raise EngineError(f"error on {self._device}: {error}") from error
            raise
        computed_ns = self._clock_ns()
        return [Scored(value, copied_ns, computed_ns) for value in values]

    def _prepare(self, frame: Frame) -> Tensor:
        prepared: Tensor = self._preprocess(frame_tensor(frame, self._preprocess, self._device))
        return prepared
