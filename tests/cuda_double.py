"""A CUDA device without a GPU: the engine's own code on the CPU, in the least kind order that its marks allow.

Nothing that a lane is given happens before somebody waits for a mark; then the lanes advance one step at a time, and
the test says which. A copy that was not waited for, or memory that was used again too early, therefore gives wrong
scores. A graph is the list of the operations that were launched, done again on the same memory without the Python
that launched them, and what a capture forbids is refused.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map, tree_map_only

from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels
from inspector.engines.cuda_device import Lane, Mark

T = TypeVar("T")

#: Operations that make the host wait for the device, or copy from the host's ordinary memory.
SYNCHRONISING = (
    "aten::item",
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::unique",
    "aten::_unique",
    "aten::repeat_interleave.Tensor",
    "aten::linalg_cholesky",
    "aten::linalg_solve",
    "aten::linalg_inv",
    "aten::lift_fresh",
)


class CapturedGraph(TorchDispatchMode):
    """Records what is launched within it; calling it does it again."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masks = [item for item in args[1:2] if isinstance(item, (list, tuple))]
        by_mask = any(isinstance(index, Tensor) and index.dtype == torch.bool for mask in masks for index in mask)
        if func.name().startswith(SYNCHRONISING) or (func.name().startswith("aten::index") and by_mask):
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing: {func}")
        result = func(*args, **(kwargs or {}))
        self.steps.append((func, args, kwargs or {}, result))
        return result

    def __call__(self) -> None:
        self.replays += 1
        made: dict[int, Tensor] = {}

        def now(tensor: Tensor) -> Tensor:
            return made.get(id(tensor), tensor)

        with torch.inference_mode():
            for func, args, kwargs, was in self.steps:
                result = func(*tree_map_only(Tensor, now, args), **tree_map_only(Tensor, now, kwargs))
                old, new = ([], [])  # type: tuple[list[Tensor], list[Tensor]]
                tree_map(lambda item, into=old: into.append(item) if isinstance(item, Tensor) else None, was)
                tree_map(lambda item, into=new: into.append(item) if isinstance(item, Tensor) else None, result)
                made.update((id(before), after) for before, after in zip(old, new, strict=True))


class HostMark:
    def __init__(self, device: HostDevice) -> None:
        self.device = device
        self.reached_step: int | None = None

    def wait(self) -> None:
        while self.reached_step is None:
            self.device.advance()

    def ms_before(self, later: Mark) -> float:
        assert isinstance(later, HostMark)
        assert self.reached_step is not None
        assert later.reached_step is not None
        return 1e-3 * (later.reached_step - self.reached_step)


class HostLane:
    def __init__(self, device: HostDevice) -> None:
        self.device = device
        self.queue: deque[Callable[[], object] | HostMark | tuple[HostMark]] = deque()

    def copy(self, target: Tensor, source: Tensor) -> None:
        assert target.shape == source.shape
        self.queue.append(lambda: target.copy_(source))

    def run(self, work: Callable[[], object]) -> None:
        self.queue.append(work)

    def mark(self) -> HostMark:
        mark = HostMark(self.device)
        self.queue.append(mark)
        return mark

    def after(self, mark: Mark) -> None:
        assert isinstance(mark, HostMark)
        self.queue.append((mark,))

    @property
    def can_advance(self) -> bool:
        if not self.queue:
            return False
        head = self.queue[0]
        return not isinstance(head, tuple) or head[0].reached_step is not None

    def step(self) -> None:
        head = self.queue.popleft()
        if isinstance(head, HostMark):
            head.reached_step = self.device.steps
        elif not isinstance(head, tuple):
            head()


class HostDevice:
    """A `Device` on the CPU.

    Args:
        choose: Which of so many lanes advances next.
        fault: Called before each step; may raise what a GPU would.
    """

    torch_device = torch.device("cpu")
    alive: ClassVar[weakref.WeakSet[HostDevice]] = weakref.WeakSet()

    def __init__(
        self, choose: Callable[[int], int] = lambda lanes: lanes - 1, fault: Callable[[], None] = lambda: None
    ) -> None:
        self.choose = choose
        self.fault = fault
        self.lanes: list[HostLane] = []
        self.graphs: list[CapturedGraph] = []
        self.registered: list[Pixels] = []
        self.refuses_memory = False
        self.branches = 0
        self.steps = 0
        self.alive.add(self)

    def lane(self) -> HostLane:
        self.lanes.append(HostLane(self))
        return self.lanes[-1]

    def advance(self) -> None:
        """One step of one lane."""
        able = [lane for lane in self.lanes if lane.can_advance]
        assert able, "every lane waits for another: a mark is never reached"
        self.fault()
        self.steps += 1
        able[self.choose(len(able)) % len(able)].step()

    def host_buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(list(shape), dtype=dtype)

    def register(self, memory: Pixels) -> None:
        if self.refuses_memory:
            raise EngineError("the GPU can't read the frame ring; set transport: zeromq")
        taken = [other for device in self.alive for other in device.registered]
        assert not any(np.shares_memory(memory, other) for other in taken), "CUDA registers memory once only"
        self.registered.append(memory)

    def capture(self, work: Callable[[], None], lane: Lane) -> Callable[[], None]:
        work()
        graph = CapturedGraph()
        with graph:
            work()
        self.graphs.append(graph)
        return graph

    def in_branches(self, branches: Sequence[Callable[[], T]], /) -> list[T]:
        self.branches += 1
        results = {number: branches[number]() for number in reversed(range(len(branches)))}
        return [results[number] for number in range(len(branches))]
