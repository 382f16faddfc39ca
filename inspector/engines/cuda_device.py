"""What the CUDA engine asks of its device, and PyTorch's CUDA as the device that answers.

All work on the device goes through lanes, queues that run beside each other, and is ordered by marks alone. A double
with the same calls can therefore run the engine without a GPU, and in the least kind order that the marks allow.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels

T = TypeVar("T")

#: Runs before a capture: the first ones choose algorithms and allocate workspaces, which a capture must not.
_REHEARSALS = 3


class Mark(Protocol):
    """A place in a lane."""

    def wait(self) -> None:
        """Blocks this thread until the lane has come by."""

    def ms_before(self, later: Mark) -> float:
        """Time on the device from this mark to a later one that the lanes have come by too, in milliseconds."""


class Lane(Protocol):
    """A queue of the device's work, done in its order beside the other lanes. Nothing of it waits."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copies; neither may be written to or let go before the lane has come by."""

    def run(self, work: Callable[[], object]) -> None:
        """Has the device do what `work` launches."""

    def mark(self) -> Mark:
        """The end of the queue as it is now."""

    def after(self, mark: Mark) -> None:
        """What follows in this lane begins when another lane has come by its mark."""


class Device(Protocol):
    """Where the engine runs.

    Attributes:
        torch_device: Where its tensors lie.
    """

    torch_device: torch.device

    def lane(self) -> Lane:
        """A new lane."""

    def host_buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Host memory, zeros, that the device reads and writes by itself."""

    def register(self, memory: Pixels) -> None:
        """Lets the device read host memory by itself from now on; it must stay where it is.

        Raises:
            EngineError: The device can't.
        """

    def capture(self, work: Callable[[], None], lane: Lane) -> Callable[[], None]:
        """A graph of everything that `work` launches, to be run in this lane, each time on the same memory."""

    def in_branches(self, branches: Sequence[Callable[[], T]], /) -> list[T]:
        """Runs work that does not depend on each other at the same time; what follows comes after all of it."""


class CudaDevice:
    """The first CUDA device, by way of PyTorch; a `Device`.

    Raises:
        EngineError: PyTorch finds none.
    """

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise EngineError("worker.device is cuda, but PyTorch finds no CUDA device; set worker.device: cpu")
        self.torch_device = torch.device("cuda", torch.cuda.current_device())
        # Shapes are fixed, so the search for the fastest convolution pays; it is over before the captures.
        torch.backends.cudnn.benchmark = True
        # float32 means float32: TensorFloat-32, PyTorch's default for convolutions, has ten bits.
        torch.backends.cudnn.allow_tf32 = False
        # Sums of products in half precision are formed in float32, also where a product is split over its length.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._sides: list[torch.cuda.Stream] = []

    def lane(self) -> CudaLane:
        """As `Device.lane`: a stream."""
        return CudaLane(_stream(self.torch_device))

    def host_buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """As `Device.host_buffer`: pinned."""
        return torch.zeros(list(shape), dtype=dtype, pin_memory=True)

    def register(self, memory: Pixels) -> None:
        """As `Device.register`: pins its pages, so that copies from it need no staging."""
        cudart: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        code = int(cudart.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0))
        if code != 0:  # it would come up again in the next call of the device
            raise EngineError(
                f"the GPU can't read the frame ring of {memory.nbytes / 1e6:.0f} MB: "
                f"{cudart.cudaGetErrorString(cudart.cudaError(code))}; set transport: zeromq"
            )
        # It keeps the memory as long as the device may read it; the end of the process lets go of all.
        weakref.finalize(self, _unregister, memory).atexit = False

    def capture(self, work: Callable[[], None], lane: Lane) -> Callable[[], None]:
        """As `Device.capture`: a CUDA graph. All graphs share one pool of memory, so they run in one lane only."""
        assert isinstance(lane, CudaLane)
        for _ in range(_REHEARSALS):
            lane.run(work)
        lane.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Only this thread's own calls may spoil the capture.
        with torch.cuda.graph(graph, pool=self._pool, stream=lane.stream, capture_error_mode="thread_local"):
            work()
        return graph.replay

    def in_branches(self, branches: Sequence[Callable[[], T]], /) -> list[T]:
        """As `Device.in_branches`: side streams that branch from the current one and join it again."""
        main = torch.cuda.current_stream(self.torch_device)
        while len(self._sides) < len(branches) - 1:
            self._sides.append(_stream(self.torch_device))
        start = main.record_event()
        results: list[T] = []
        for number, branch in enumerate(branches):
            if number == 0:
                results.append(branch())
                continue
            side = self._sides[number - 1]
            side.wait_event(start)
            with torch.cuda.stream(side):
                results.append(branch())
            for tensor in _tensors(results[-1]):
                tensor.record_stream(main)  # else its memory could be used again while the main stream reads it
        for side in self._sides[: len(branches) - 1]:
            main.wait_stream(side)
        return results


class CudaLane:
    """A CUDA stream; a `Lane`."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream = stream

    def copy(self, target: Tensor, source: Tensor) -> None:
        """As `Lane.copy`: asynchronous where the host's memory is pinned."""
        with torch.cuda.stream(self.stream):
            target.copy_(source, non_blocking=True)

    def run(self, work: Callable[[], object]) -> None:
        """As `Lane.run`."""
        with torch.cuda.stream(self.stream):
            work()

    def mark(self) -> CudaMark:
        """As `Lane.mark`: an event."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(self.stream)
        return CudaMark(event)

    def after(self, mark: Mark) -> None:
        """As `Lane.after`."""
        assert isinstance(mark, CudaMark)
        self.stream.wait_event(mark.event)


class CudaMark:
    """A CUDA event; a `Mark`."""

    def __init__(self, event: torch.cuda.Event) -> None:
        self.event = event

    def wait(self) -> None:
        """As `Mark.wait`; other threads run meanwhile."""
        self.event.synchronize()

    def ms_before(self, later: Mark) -> float:
        """As `Mark.ms_before`."""
        assert isinstance(later, CudaMark)
        return float(self.event.elapsed_time(later.event))


def _unregister(memory: Pixels) -> None:
    torch.cuda.cudart().cudaHostUnregister(memory.ctypes.data)  # type: ignore[no-untyped-call]


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _tensors(value: object) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
