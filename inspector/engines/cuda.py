"""The engine for NVIDIA GPUs: one CUDA graph for each batch size, copies beside the computation.

Raw Bayer frames are copied as they are, a third of the bytes, and demosaiced by a graph that goes before the network's,
which knows pictures only: whatever cameras send, there is one set of network graphs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from inspector.domain.errors import EngineError
from inspector.domain.frame import Frame, Mosaic, PixelFormat, Pixels, pixels_of
from inspector.domain.precision import Precision
from inspector.engines.base import Scored
from inspector.engines.batching import batch_sizes, padded
from inspector.engines.cuda_device import Device, Mark
from inspector.engines.frame_tensors import Demosaics, in_colour
from inspector.engines.in_flight import Flights

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
#: Batches on their way at once: one is computed while the next is copied.
_DEPTH = 2
#: Times that the warm-up runs each batch size to learn how long it takes.
_TRIALS = 5


class BatchPreprocess(Demosaics, Protocol):
    """Frames of one size to network inputs, on the device."""

    def to(self, device: torch.device) -> object:
        """Moves it to a device."""

    def batch(self, frames: Tensor) -> Tensor:
        """uint8 (B, H, W) or (B, H, W, 3) to float32 (B T, 3, h, w), where T inputs are made of a frame."""


@dataclass(frozen=True)
class Ticket:
    """A batch on its way.

    Attributes:
        index: Of its set of buffers.
        frames: Number of frames.
        kept: Memory that the device may still read.
        begun: Before the first copy.
        copied: After the last copy to the device.
        done: After the scores came back.
    """

    index: int
    frames: int
    kept: list[Tensor]
    begun: Mark
    copied: Mark
    done: Mark


@dataclass
class _Buffers:
    """The memory of one batch, and the graphs that work on it.

    Attributes:
        frames: uint8, as many as the largest batch has, on the device; None where their size isn't known beforehand.
        mosaics: uint8, (B, H, W): the raw ones among them; None where the size isn't known, or no frame has colours.
        formats: uint8, (B,): the `PixelFormat` of each frame of a batch with mosaics.
        images: Network inputs where the graphs begin with these.
        scores: float32, on the device.
        host_scores: float32, on the host.
        host_formats: uint8, on the host.
        staging: Host memory for each frame of a batch that does not lie in registered memory.
        graphs: By batch size.
        demosaics: By batch size; from `mosaics` to `frames`.
    """

    frames: Tensor | None
    mosaics: Tensor | None
    formats: Tensor
    images: Tensor | None
    scores: Tensor
    host_scores: Tensor
    host_formats: Tensor
    staging: list[Tensor]
    graphs: dict[int, Callable[[], None]] = field(default_factory=dict)
    demosaics: dict[int, Callable[[], None]] = field(default_factory=dict)


class CudaEngine:
    """Runs a network as CUDA graphs; a `PipelinedEngine`.

    A batch is copied in, computed and copied out on three lanes of the device; between them only marks. Each of two
    batches on their way has its own memory. A batch between two prepared sizes is computed at the larger: the rows
    behind it hold whatever was there before, and what comes of them is not read.

    Args:
        preprocess: Frames to network inputs.
        body: Network input (B T, 3, H, W) to a tuple of tensors, its parameters in `precision`.
        head: The body's tensors to a tuple whose first item is the scores (B,).
        device: Where it runs.
        input_px: H and W of the network's input.
        tiles: Network inputs that the preprocessing makes of a frame, T.
        frame_shape: (H, W) or (H, W, 3) of every picture: preprocessing is part of the graph then, and where there are
            colours, mosaics of this size are taken too. None takes frames of any size and does it before the graph.
        precision: Arithmetic of the body.
        max_batch: Largest batch.
        clock_ns: Monotonic clock.

    Attributes:
        depth: Batches that may be on their way at once.
        device_ms: Time of the batch that was collected last, from the first byte copied in to the scores copied out.

    Raises:
        EngineError: The network can't be captured, or memory is short.
    """

    def __init__(
        self,
        preprocess: BatchPreprocess,
        body: nn.Module,
        head: nn.Module,
        *,
        device: Device,
        input_px: tuple[int, int],
        tiles: int = 1,
        frame_shape: tuple[int, ...] | None = None,
        precision: Precision = "float32",
        max_batch: int = 1,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.depth = _DEPTH
        self.device_ms = 0.0
        self._device = device
        self._preprocess = preprocess
        self._tiles = tiles
        self._frame_shape = frame_shape
        self._dtype = DTYPES[precision]
        self._clock_ns = clock_ns
        self._sizes = batch_sizes(max_batch)
        self._expected_ns = dict.fromkeys(self._sizes, 0)
        self._registered: list[tuple[int, int]] = []
        self._flights = Flights(_DEPTH)
        with _fatal("preparing the network"):
            preprocess.to(device.torch_device)
            # Tensor cores read channels last.
            self._body = body.to(device.torch_device).to(memory_format=torch.channels_last)
            self._head = head.to(device.torch_device)
            self._copy_in, self._compute, self._copy_out = (device.lane() for _ in range(3))
            self._buffers = [self._allocate(max_batch, input_px) for _ in range(_DEPTH)]
        for buffers in self._buffers:
            for size in reversed(self._sizes):  # the largest first: the others fit into its memory
                with _fatal(f"capturing the network for batches of {size}, set worker.engine: pytorch to do without"):
                    buffers.graphs[size] = device.capture(partial(self._work, buffers, size), self._compute)
            if buffers.mosaics is not None:
                for size in reversed(self._sizes):
                    with _fatal(f"capturing the demosaicing for batches of {size}"):
                        work = partial(self._demosaic, buffers, size)
                        buffers.demosaics[size] = device.capture(work, self._compute)

    def warm_up(self, frame: Pixels) -> float:
        """As `Engine.warm_up`: each size in each set of buffers, of pictures and of mosaics; also learns how long each
        size takes.
        """
        one_colour = frame if frame.ndim == 2 else np.ascontiguousarray(frame[..., 1])
        mosaic = Mosaic(one_colour, PixelFormat.BAYER_RG8)
        slowest_ns = 0
        for size in self._sizes:
            for sample in (frame, mosaic) if self._takes(mosaic) else (frame,):
                slowest_ns = max(slowest_ns, self._time_ns([sample] * size))
            self._expected_ns[size] = slowest_ns
        return self.infer([frame])[0].score

    def _time_ns(self, batch: Sequence[Frame]) -> int:
        """Median time that a batch takes where another follows it."""
        taken_ns = []
        for _ in range(_TRIALS):
            begun_ns = self._clock_ns()
            for ticket in [self.submit(batch) for _ in range(_DEPTH)]:
                self.collect(ticket)
            taken_ns.append((self._clock_ns() - begun_ns) // _DEPTH)
        return sorted(taken_ns)[_TRIALS // 2]

    def infer(self, frames: Sequence[Frame]) -> list[Scored]:
        """As `Engine.infer`."""
        return self.collect(self.submit(frames))

    def expected_ns(self, frames: int) -> int:
        """As `PipelinedEngine.expected_ns`; 0 before the warm-up."""
        return self._expected_ns[padded(frames, self._sizes)]

    def register(self, memory: Pixels) -> None:
        """As `PipelinedEngine.register`."""
        with _fatal("registering the frames' memory"):
            self._device.register(memory)
        address = memory.ctypes.data
        self._registered.append((address, address + memory.nbytes))

    def submit(self, frames: Sequence[Frame]) -> Ticket:
        """As `PipelinedEngine.submit`."""
        size = padded(len(frames), self._sizes)
        for frame in frames:
            if not self._takes(frame):
                raise ValueError(f"a frame of shape {frame.shape}, {self._frame_shape} was prepared for")
        formats = [PixelFormat.of(frame) for frame in frames]
        index = self._flights.begin()
        buffers = self._buffers[index]
        with _fatal("handing a batch over"):
            kept: list[Tensor] = []
            begun = self._copy_in.mark()
            targets = [self._copy_frame(buffers, row, frame, kept) for row, frame in enumerate(frames)]
            raw = buffers.mosaics is not None and any(one.red is not None for one in formats)
            if raw:
                buffers.host_formats[: len(formats)] = torch.tensor(formats, dtype=torch.uint8)
                self._copy_in.copy(buffers.formats, buffers.host_formats)
            copied = self._copy_in.mark()
            self._compute.after(copied)
            if buffers.images is not None:
                for row, (target, pixel_format) in enumerate(zip(targets, formats, strict=True)):
                    self._compute.run(partial(self._prepare, buffers.images, row, target, pixel_format))
            elif raw:
                self._compute.run(buffers.demosaics[size])
            self._compute.run(buffers.graphs[size])
            self._copy_out.after(self._compute.mark())
            self._copy_out.copy(buffers.host_scores[: len(frames)], buffers.scores[: len(frames)])
            return Ticket(index, len(frames), kept, begun, copied, self._copy_out.mark())

    def collect(self, ticket: Ticket) -> list[Scored]:
        """As `PipelinedEngine.collect`."""
        with _fatal("computing a batch"):
            ticket.done.wait()
            self.device_ms = ticket.begun.ms_before(ticket.done)
            computed_ms = ticket.copied.ms_before(ticket.done)
        computed_ns = self._clock_ns()
        values = self._buffers[ticket.index].host_scores[: ticket.frames].tolist()
        self._flights.end(ticket.index)
        copied_ns = computed_ns - round(1e6 * computed_ms)
        return [Scored(value, copied_ns, computed_ns) for value in values]

    def _allocate(self, max_batch: int, input_px: tuple[int, int]) -> _Buffers:
        where = self._device.torch_device
        frames = mosaics = images = None
        if self._frame_shape is not None:
            frames = torch.zeros(max_batch, *self._frame_shape, dtype=torch.uint8, device=where)
            if len(self._frame_shape) == 3:
                mosaics = torch.zeros(max_batch, *self._frame_shape[:2], dtype=torch.uint8, device=where)
        else:
            images = torch.zeros(max_batch * self._tiles, 3, *input_px, dtype=self._dtype, device=where)
            images = images.to(memory_format=torch.channels_last)
        return _Buffers(
            frames,
            mosaics,
            torch.zeros(max_batch, dtype=torch.uint8, device=where),
            images,
            scores=torch.zeros(max_batch, device=where),
            host_scores=self._device.host_buffer([max_batch], torch.float32),
            host_formats=self._device.host_buffer([max_batch], torch.uint8),
            staging=[torch.zeros(0, dtype=torch.uint8)] * max_batch,
        )

    @torch.inference_mode()
    def _work(self, buffers: _Buffers, size: int) -> None:
        """What a graph holds: from frames, or network inputs, to scores."""
        if buffers.frames is not None:
            images = self._preprocess.batch(buffers.frames[:size])
            images = images.to(self._dtype, memory_format=torch.channels_last)
        else:
            assert buffers.images is not None
            images = buffers.images[: size * self._tiles]
        buffers.scores[:size].copy_(self._head(self._body(images))[0])

    @torch.inference_mode()
    def _demosaic(self, buffers: _Buffers, size: int) -> None:
        """What a graph before that holds: from mosaics to frames; those that came as pictures stay as they are."""
        assert buffers.frames is not None
        assert buffers.mosaics is not None
        frames, formats = buffers.frames[:size], buffers.formats[:size]
        pictures = self._preprocess.demosaic(buffers.mosaics[:size], formats)
        came = (formats == int(PixelFormat.RGB8)).view(size, 1, 1, 1)
        frames.copy_(torch.where(came, frames, pictures))

    @torch.inference_mode()
    def _prepare(self, images: Tensor, row: int, frame: Tensor, pixel_format: PixelFormat) -> None:
        """Network inputs of a frame, on the device, whose size was not known beforehand."""
        if pixel_format.red is not None:
            frame = in_colour(frame, pixel_format, self._preprocess)
        images[row * self._tiles : (row + 1) * self._tiles].copy_(self._preprocess.batch(frame[None]))

    def _takes(self, frame: Frame) -> bool:
        """True for a frame of the shape that was prepared for; a mosaic has that of its picture."""
        shape = (*frame.shape, 3) if isinstance(frame, Mosaic) else frame.shape
        return self._frame_shape in (None, shape)

    def _copy_frame(self, buffers: _Buffers, row: int, frame: Frame, kept: list[Tensor]) -> Tensor:
        """Begins to copy a frame; returns where to."""
        pixels = pixels_of(frame)
        source = torch.from_numpy(pixels) if self._lies_registered(pixels) else self._stage(buffers, row, pixels)
        place = buffers.mosaics if isinstance(frame, Mosaic) else buffers.frames
        if place is not None:
            target = place[row]
        else:
            target = torch.empty(pixels.shape, dtype=torch.uint8, device=self._device.torch_device)
        self._copy_in.copy(target, source)
        kept += (source, target)
        return target

    def _lies_registered(self, frame: Pixels) -> bool:
        begin = frame.ctypes.data
        inside = any(first <= begin and begin + frame.nbytes <= end for first, end in self._registered)
        return inside and frame.flags.c_contiguous

    def _stage(self, buffers: _Buffers, row: int, frame: Pixels) -> Tensor:
        """A frame in memory that the device reads by itself."""
        staging = buffers.staging[row]
        if len(staging) < frame.nbytes:
            staging = buffers.staging[row] = self._device.host_buffer([frame.nbytes], torch.uint8)
        staged = staging[: frame.nbytes].view(frame.shape)
        np.copyto(staged.numpy(), frame)
        return staged


@contextlib.contextmanager
def _fatal(doing: str) -> Iterator[None]:
    """Errors of the device are sticky: every further call fails too, and only a new process helps."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(f"out of memory on the GPU while {doing}; lower worker.max_batch ({_line(error)})") from error
    except RuntimeError as error:
        raise EngineError(f"the GPU failed while {doing} ({_line(error)})") from error


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
