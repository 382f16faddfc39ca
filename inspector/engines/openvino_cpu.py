"""The engine for CPUs: the network compiled by OpenVINO, in float32 or bfloat16."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import openvino as ov
import torch
from openvino.frontend import FrontEndManager, GeneralFailure, OpConversionFailure, OpValidationFailure
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
from torch import Tensor, nn

from inspector.domain.errors import EngineError
from inspector.domain.frame import Frame, Pixels
from inspector.engines.base import Scored
from inspector.engines.capabilities import cpu_has_bfloat16
from inspector.engines.frame_tensors import frame_tensor

Precision = Literal["float32", "bfloat16"]

#: What OpenVINO raises; its classes have no common base.
_FAILURES = (RuntimeError, GeneralFailure, OpConversionFailure, OpValidationFailure)

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """Runs a network compiled for the CPU, once for each batch size, so that shapes are known beforehand.

    The body computes in the chosen precision. What follows its last convolutions stays in float32, whatever the
    precision: OpenVINO lowers nothing between an output and the operations before it that count.

    Args:
        preprocess: Frame (uint8 tensor) to network input (1, 3, H, W); for mosaics also `Demosaics`.
        body: Network input (B, 3, H, W) to a tuple of tensors whose first dimension is B; its weights are constants.
        head: The body's tensors to a tuple whose first item is the scores (B,); runs in PyTorch, in float32.
        input_px: H and W of the network's input.
        tiles: Network inputs that the preprocessing makes of a frame.
        precision: Arithmetic of the body.
        threads: Threads of the CPU.
        max_batch: Largest batch that `infer` is given.
        clock_ns: Monotonic clock.

    Raises:
        EngineError: The CPU has no bfloat16, or OpenVINO can't compile the network.
    """

    def __init__(
        self,
        preprocess: nn.Module,
        body: nn.Module,
        head: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        *,
        input_px: tuple[int, int],
        tiles: int = 1,
        precision: Precision = "float32",
        threads: int = 1,
        max_batch: int = 1,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if precision == "bfloat16" and not cpu_has_bfloat16():
            raise EngineError("this CPU does not compute in bfloat16; calibrate and run with precision float32")
        self._preprocess: Any = preprocess
        self._device = torch.device("cpu")
        self._head = head
        self._clock_ns = clock_ns
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # The daemon's other processes want these cores too; the scheduler knows better which are free.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = _translate(body, input_px)
            sizes = [frames * tiles for frames in range(1, max_batch + 1)]
            self._requests = [_compile(model, size, input_px, settings) for size in sizes]
        except _FAILURES as error:
            raise EngineError(f"OpenVINO can't compile the network; set worker.engine: pytorch ({error})") from error

    def warm_up(self, frame: Pixels) -> float:
        """As `Engine.warm_up`; afterwards the first real frame is as fast as the thousandth."""
        score = self.infer([frame])[0].score
        for batch in range(1, len(self._requests) + 1):
            self.infer([frame] * batch)
        return score

    def infer(self, frames: Sequence[Frame]) -> list[Scored]:
        """As `Engine.infer`."""
        request = self._requests[len(frames) - 1]
        with torch.inference_mode():
            pictures = [frame_tensor(frame, self._preprocess, self._device) for frame in frames]
            batch = torch.cat([self._preprocess(picture) for picture in pictures]).contiguous()
            copied_ns = self._clock_ns()
            try:
                request.infer([batch.numpy()], share_inputs=True)
            except RuntimeError as error:
                raise EngineError(f"OpenVINO failed: {error}") from error
            # Views of the request's own memory: valid until its next call.
            tensors = [torch.from_numpy(tensor.data) for tensor in request.output_tensors]
            values = self._head(tensors)[0].float().tolist()
        computed_ns = self._clock_ns()
        return [Scored(value, copied_ns, computed_ns) for value in values]


def _translate(body: nn.Module, input_px: tuple[int, int]) -> ov.Model:
    """The body as a graph of OpenVINO, with an open batch size.

    By way of the front end and not `openvino.convert_model`, which reports its use over the network.
    """
    batch = torch.export.Dim("batch", min=1, max=65536)
    with torch.no_grad():
        program = torch.export.export(body, (torch.zeros(2, 3, *input_px),), dynamic_shapes=({0: batch},))
        logging.getLogger().addFilter(_is_news)
        try:
            decoder = TorchFXPythonDecoder.from_exported_program(program)  # must outlive the conversion
        finally:
            logging.getLogger().removeFilter(_is_news)
    front_end = FrontEndManager().load_by_framework("pytorch")
    return front_end.convert(front_end.load(decoder))


def _is_news(record: logging.LogRecord) -> bool:
    """False for the decoder's remarks on operations that this PyTorch does not have."""
    return "not found in decomp table" not in str(record.msg)


def _compile(model: ov.Model, batch: int, input_px: tuple[int, int], settings: dict[str, Any]) -> ov.InferRequest:
    fixed = model.clone()
    fixed.reshape([batch, 3, *input_px])
    return ov.Core().compile_model(fixed, "CPU", settings).create_infer_request()
