"""What the adapter asks PyTorch's CUDA for, and in which order; whether a GPU answers, test_cuda_gpu says."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inspector.domain.errors import EngineError
from inspector.engines.cuda_device import CudaDevice


class Stream:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def record_event(self) -> str:
        self.log.append(f"{self.name} records")
        return f"event of {self.name}"

    def wait_event(self, event: str) -> None:
        self.log.append(f"{self.name} waits for {event}")

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def synchronize(self) -> None:
        self.log.append(f"host waits for {self.name}")


class Cudart:
    """The part of the runtime that is called, with an error code to answer."""

    def __init__(self) -> None:
        self.code = 0
        self.registered: list[tuple[int, int]] = []

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        self.registered.append((address, size))
        return self.code

    def cudaHostUnregister(self, address: int) -> int:
        self.registered = [entry for entry in self.registered if entry[0] != address]
        return 0

    def cudaError(self, code: int) -> int:
        return code

    def cudaGetErrorString(self, code: int) -> str:
        return f"error {code}"


class Kept(Tensor):
    """A tensor that remembers which stream it was recorded for."""

    def record_stream(self, stream: Any) -> None:
        stream.log.append(f"kept for {stream.name}")


class Cuda:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.cudart = Cudart()
        self.current: list[Stream] = [Stream(self.log, "main")]
        made = iter(range(100))
        for name, value in {
            "is_available": lambda: True,
            "current_device": lambda: 0,
            "graph_pool_handle": lambda: "pool",
            "cudart": lambda: self.cudart,
            "current_stream": lambda device: self.current[-1],
            "Stream": lambda device: Stream(self.log, f"stream {next(made)}"),
            "stream": self.stream,
            "CUDAGraph": self.Graph,
            "graph": self.graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        for name in ("benchmark", "allow_tf32"):
            monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))  # put back afterwards

    class Graph:
        def replay(self) -> None:
            pass

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        self.current.append(stream)
        yield
        self.current.pop()

    @contextlib.contextmanager
    def graph(self, graph: Any, *, pool: str, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        self.log.append(f"capture begins on {stream.name} with {pool}, {capture_error_mode}")
        with self.stream(stream):
            yield
        self.log.append("capture ends")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


def test_branches_leave_the_current_stream_together_and_join_it_again(cuda: Cuda) -> None:
    device = CudaDevice()

    def branch(name: str) -> Any:
        cuda.log.append(f"{name} on {cuda.current[-1].name}")
        return [torch.zeros(1).as_subclass(Kept)], name

    results = device.in_branches([lambda: branch("a"), lambda: branch("b"), lambda: branch("c")])
    assert [name for _, name in results] == ["a", "b", "c"]
    assert cuda.log == [
        "main records",
        "a on main",
        "stream 0 waits for event of main",
        "b on stream 0",
        "kept for main",
        "stream 1 waits for event of main",
        "c on stream 1",
        "kept for main",
        "main waits for stream 0",
        "main waits for stream 1",
    ]
    cuda.log.clear()
    device.in_branches([lambda: branch("d"), lambda: branch("e")])
    assert "e on stream 0" in cuda.log  # side streams are used again


def test_a_capture_is_rehearsed_and_waits_for_nothing_while_it_lasts(cuda: Cuda) -> None:
    device = CudaDevice()
    lane = device.lane()
    runs: list[str] = []

    def work() -> None:
        runs.append(cuda.current[-1].name)
        cuda.log.append("work")

    device.capture(work, lane)
    assert set(runs) == {"stream 0"}
    begins = cuda.log.index("capture begins on stream 0 with pool, thread_local")
    assert "work" in cuda.log[:begins]
    assert cuda.log[begins - 1] == "host waits for stream 0"
    assert cuda.log[begins + 1 :] == ["work", "capture ends"]
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32


def test_memory_is_registered_once_and_kept_as_long_as_the_device(cuda: Cuda) -> None:
    device = CudaDevice()
    memory = np.zeros(4096, np.uint8)
    address = memory.ctypes.data
    device.register(memory)
    del memory
    gc.collect()
    assert cuda.cudart.registered == [(address, 4096)]
    del device
    gc.collect()
    assert cuda.cudart.registered == []


def test_memory_that_the_device_can_not_read_is_named(cuda: Cuda) -> None:
    cuda.cudart.code = 2
    with pytest.raises(EngineError, match="can't read the frame ring of 8 MB: error 2; set transport: zeromq"):
        CudaDevice().register(np.zeros(8_000_000, np.uint8))
