"""What the processes say to each other: fixed little-endian structures with magic and version.

Every message begins with ``<4sHH``: magic ``INSP``, version of the schema, kind. What doesn't fit is refused
with `WireError` and counted by the receiver; it never stops a process.
"""

from __future__ import annotations

import enum
import json
import struct
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, ClassVar

from inspector.domain.errors import InspectionError
from inspector.domain.frame import Frame, PixelFormat, Pixels
from inspector.domain.verdict import Cause

MAGIC = b"INSP"
#: Version of all messages; processes of different versions don't talk to each other.
VERSION = 1

_HEAD = struct.Struct("<4sHH")
#: Longest source label in bytes; longer ones are cut.
SOURCE_BYTES = 512


class WireError(InspectionError):
    """A message that is truncated, of another version, or not one of ours."""


class Kind(enum.IntEnum):
    """Kind of a message; the numbers never change their meaning."""

    FRAME = 1
    TRIGGER = 2
    REFUSED = 3
    RESULT = 4
    STATE = 5
    CREDIT = 6
    SLOT = 7
    OPINION = 8


_ROLES = ("camera", "worker", "archive", "refiner", "shadow")
_STATES = ("ready", "running", "ended", "stopped")
#: Bound of every number in a `State`; NaN and infinity lie beyond it.
_LARGEST = (1 << 63) - 1

#: Causes as they go over the wire: the place in this tuple plus one; 0 is "none". Append only.
_CAUSES = (
    Cause.EXPIRED_IN_QUEUE,
    Cause.QUEUE_FULL,
    Cause.WORKER_NOT_READY,
    Cause.WORKER_LOST,
    Cause.CAMERA_LOST,
    Cause.FRAME_MISSING,
    Cause.FRAME_INCOMPLETE,
    Cause.FRAME_CORRUPT,
    Cause.FRAME_GEOMETRY,
    Cause.SCORE_NOT_FINITE,
    Cause.ENGINE_ERROR,
    Cause.FRAME_OVERWRITTEN,
)


def _cause_number(cause: Cause | None) -> int:
    return 0 if cause is None else _CAUSES.index(cause) + 1


def _cause(number: int) -> Cause | None:
    if number > len(_CAUSES):
        raise WireError(f"unknown cause {number}")
    return _CAUSES[number - 1] if number else None


def _head(kind: Kind) -> bytes:
    return _HEAD.pack(MAGIC, VERSION, kind)


def kind_of(data: bytes | memoryview) -> Kind:
    """Kind of a message.

    Raises:
        WireError: Not a message of this version.
    """
    if len(data) < _HEAD.size:
        raise WireError(f"message of {len(data)} bytes is too short")
    magic, version, kind = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise WireError("message without our magic")
    if version != VERSION:
        raise WireError(f"message of version {version}, this process speaks {VERSION}")
    try:
        return Kind(kind)
    except ValueError:
        raise WireError(f"unknown kind {kind}") from None


def _trigger(number: int) -> int:
    """A trigger key as it came over the wire, see `inspector.domain.ledger.trigger_key`."""
    if number >> 63:
        raise WireError(f"{number:#x} is no trigger key")
    return number


def _unpack(layout: struct.Struct, data: bytes | memoryview, kind: Kind, exact: bool = True) -> tuple[Any, ...]:
    if kind_of(data) is not kind:
        raise WireError(f"expected {kind.name}, got {kind_of(data).name}")
    length = _HEAD.size + layout.size
    if len(data) < length or (exact and len(data) != length):
        raise WireError(f"{kind.name} of {len(data)} bytes, expected {length}")
    return layout.unpack_from(data, _HEAD.size)


@dataclass(frozen=True)
class FrameHeader:
    """Goes before the pixels from the camera process to the worker.

    Attributes:
        trigger: Trigger key.
        triggered_ns: Monotonic time of the trigger.
        captured_ns: Monotonic time at which the pixels were complete.
        sent_ns: Monotonic time at which the frame was handed to the transport.
        deadline_ns: Monotonic time by which the verdict is due.
        pixel_format: Layout of the pixels.
        width_px: Columns.
        height_px: Rows.
    """

    trigger: int
    triggered_ns: int
    captured_ns: int
    sent_ns: int
    deadline_ns: int
    pixel_format: PixelFormat
    width_px: int
    height_px: int

    _layout: ClassVar[struct.Struct] = struct.Struct("<QqqqqHHII")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pixel array: (H, W) or (H, W, 3)."""
        return self.pixel_format.shape(self.width_px, self.height_px)

    @property
    def pixel_bytes(self) -> int:
        """Bytes that the pixels must have."""
        return prod(self.shape)

    def frame(self, values: Pixels) -> Frame:
        """The frame whose `pixel_bytes` values these are, in the same memory."""
        return self.pixel_format.frame(values.reshape(self.shape))

    def encode(self) -> bytes:
        """The header's bytes."""
        return _head(Kind.FRAME) + self._layout.pack(
            self.trigger,
            self.triggered_ns,
            self.captured_ns,
            self.sent_ns,
            self.deadline_ns,
            self.pixel_format,
            0,
            self.width_px,
            self.height_px,
        )

    @classmethod
    def decode(cls, data: bytes | memoryview) -> FrameHeader:
        """Reads `encode`'s bytes; raises WireError."""
        trigger, triggered_ns, captured_ns, sent_ns, deadline_ns, pixel_format, _reserved, width_px, height_px = (
            _unpack(cls._layout, data, Kind.FRAME)
        )
        try:
            layout = PixelFormat(pixel_format)
        except ValueError:
            raise WireError(f"unknown pixel format {pixel_format}") from None
        times_ns = (triggered_ns, captured_ns, sent_ns, deadline_ns)
        return cls(_trigger(trigger), *times_ns, layout, width_px, height_px)


@dataclass(frozen=True)
class SlotFrame:
    """Camera process to worker, in place of header and pixels: where the pixels lie in the frame ring.

    Attributes:
        slot: Number of the slot.
        generation: Of the pixels in it, see `inspector.wire.leases`.
        header: The frame's.
    """

    slot: int
    generation: int
    header: FrameHeader

    _layout: ClassVar[struct.Struct] = struct.Struct("<QI4x")

    def encode(self) -> bytes:
        """The message's bytes; the header's own message stands at their end."""
        return _head(Kind.SLOT) + self._layout.pack(self.generation, self.slot) + self.header.encode()

    @classmethod
    def decode(cls, data: bytes | memoryview) -> SlotFrame:
        """Reads `encode`'s bytes; raises WireError."""
        generation, slot = _unpack(cls._layout, data, Kind.SLOT, exact=False)
        return cls(slot, generation, FrameHeader.decode(data[_HEAD.size + cls._layout.size :]))


@dataclass(frozen=True)
class Trigger:
    """Camera process to gate, before the frame is sent: there is a part.

    Attributes:
        trigger: Trigger key.
        triggered_ns: Monotonic time of the trigger.
        worker: Incarnation of the worker that the frame goes to; 0 if it goes nowhere.
        refusal: Why no frame goes to a worker; None if one does.
        source: Label of the frame.
    """

    trigger: int
    triggered_ns: int
    worker: int
    refusal: Cause | None
    source: str

    _layout: ClassVar[struct.Struct] = struct.Struct("<QqIHH")

    def encode(self) -> bytes:
        """The message's bytes."""
        source = self.source.encode("utf-8", "replace")[:SOURCE_BYTES]
        refusal = _cause_number(self.refusal)
        return (
            _head(Kind.TRIGGER)
            + self._layout.pack(self.trigger, self.triggered_ns, self.worker, refusal, len(source))
            + source
        )

    @classmethod
    def decode(cls, data: bytes) -> Trigger:
        """Reads `encode`'s bytes; raises WireError."""
        trigger, triggered_ns, worker, refusal, length = _unpack(cls._layout, data, Kind.TRIGGER, exact=False)
        source = data[_HEAD.size + cls._layout.size :]
        if len(source) != length:
            raise WireError(f"TRIGGER with a source of {len(source)} bytes, expected {length}")
        return cls(_trigger(trigger), triggered_ns, worker, _cause(refusal), source.decode("utf-8", "replace"))


@dataclass(frozen=True)
class Refused:
    """Camera process to gate, after a `Trigger`: its frame could not be sent after all.

    Attributes:
        trigger: Trigger key.
        cause: Why.
    """

    trigger: int
    cause: Cause

    _layout: ClassVar[struct.Struct] = struct.Struct("<QH")

    def encode(self) -> bytes:
        """The message's bytes."""
        return _head(Kind.REFUSED) + self._layout.pack(self.trigger, _cause_number(self.cause))

    @classmethod
    def decode(cls, data: bytes) -> Refused:
        """Reads `encode`'s bytes; raises WireError."""
        trigger, number = _unpack(cls._layout, data, Kind.REFUSED)
        cause = _cause(number)
        if cause is None:
            raise WireError("REFUSED without a cause")
        return cls(_trigger(trigger), cause)


@dataclass(frozen=True)
class Result:
    """Worker to gate: what became of a frame.

    Attributes:
        trigger: Trigger key.
        worker: Incarnation of the worker.
        score: Anomaly score, NaN if there is none.
        problem: Why there is no score; None if there is one.
        captured_ns: As in the frame's header.
        received_ns: Monotonic time at which the worker took the frame.
        copied_ns: Monotonic time at which the pixels were ready for the network.
        computed_ns: Monotonic time at which the score was known.
        recipe: SHA-256 of the recipe that judged, 32 bytes.
    """

    trigger: int
    worker: int
    score: float
    problem: Cause | None
    captured_ns: int
    received_ns: int
    copied_ns: int
    computed_ns: int
    recipe: bytes

    _layout: ClassVar[struct.Struct] = struct.Struct("<QIHHdqqqq32s")

    def encode(self) -> bytes:
        """The message's bytes."""
        return _head(Kind.RESULT) + self._layout.pack(
            self.trigger,
            self.worker,
            _cause_number(self.problem),
            0,
            self.score,
            self.captured_ns,
            self.received_ns,
            self.copied_ns,
            self.computed_ns,
            self.recipe,
        )

    @classmethod
    def decode(cls, data: bytes) -> Result:
        """Reads `encode`'s bytes; raises WireError."""
        trigger, worker, problem, _reserved, score, *rest = _unpack(cls._layout, data, Kind.RESULT)
        return cls(_trigger(trigger), worker, score, _cause(problem), *rest)


@dataclass(frozen=True)
class Opinion:
    """Shadow to gate: what a second recipe says of a frame that the line has judged.

    Attributes:
        trigger: Trigger key.
        score: Anomaly score; NaN if it could not judge.
        recipe: SHA-256 of the shadow recipe, 32 bytes.
    """

    trigger: int
    score: float
    recipe: bytes

    _layout: ClassVar[struct.Struct] = struct.Struct("<Qd32s")

    def encode(self) -> bytes:
        """The message's bytes."""
        return _head(Kind.OPINION) + self._layout.pack(self.trigger, self.score, self.recipe)

    @classmethod
    def decode(cls, data: bytes) -> Opinion:
        """Reads `encode`'s bytes; raises WireError."""
        trigger, score, recipe = _unpack(cls._layout, data, Kind.OPINION)
        return cls(_trigger(trigger), score, recipe)


@dataclass(frozen=True)
class State:
    """A child to the gate: readiness, heartbeat, end; JSON after the head.

    Attributes:
        role: "camera", "worker", "archive", "refiner" or "shadow".
        incarnation: Number of the process in this run.
        state: "ready" (may be armed or fed), "running" (heartbeat of the working loop), "ended" (no trigger will
            come any more), "stopped" (leaves now).
        progress: Grows with every turn of the working loop.
        triggers: Triggers announced so far (camera).
        queue_frames: Frames that wait for the worker (camera).
        details: Further counters by name.
    """

    role: str
    incarnation: int
    state: str
    progress: int = 0
    triggers: int = 0
    queue_frames: int = 0
    details: dict[str, float] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The message's bytes."""
        return _head(Kind.STATE) + json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> State:
        """Reads `encode`'s bytes; raises WireError."""
        if kind_of(data) is not Kind.STATE:
            raise WireError(f"expected STATE, got {kind_of(data).name}")
        try:
            state = cls(**json.loads(data[_HEAD.size :]))
        except (ValueError, TypeError, RecursionError) as error:
            raise WireError(f"STATE can't be read: {error}") from None
        state._check()
        return state

    def _check(self) -> None:
        """JSON has its own types; only ours may reach the gate."""
        counts = (self.incarnation, self.progress, self.triggers, self.queue_frames)
        if self.role not in _ROLES or self.state not in _STATES:
            raise WireError(f"STATE of role {self.role!r} in state {self.state!r}")
        if not all(type(count) is int and 0 <= count <= _LARGEST for count in counts):
            raise WireError("STATE with a counter that is no count")
        if not isinstance(self.details, dict) or not all(
            type(value) in (int, float) and abs(value) <= _LARGEST for value in self.details.values()
        ):
            raise WireError("STATE with details that are no finite numbers")


@dataclass(frozen=True)
class Credit:
    """Worker to camera process: room for so many further frames.

    Attributes:
        worker: Incarnation of the worker.
        frames: Further frames that it takes.
        opening: True for all of its credit, given to a camera process that has none yet; False for what comes back.
        beside: True if the worker before this one is still at work on the frames that it has.
    """

    worker: int
    frames: int
    opening: bool = False
    beside: bool = False

    _layout: ClassVar[struct.Struct] = struct.Struct("<IIBB2x")

    def encode(self) -> bytes:
        """The message's bytes."""
        return _head(Kind.CREDIT) + self._layout.pack(self.worker, self.frames, self.opening, self.beside)

    @classmethod
    def decode(cls, data: bytes) -> Credit:
        """Reads `encode`'s bytes; raises WireError."""
        worker, frames, opening, beside = _unpack(cls._layout, data, Kind.CREDIT)
        return cls(worker, frames, bool(opening), bool(beside))


GateMessage = Trigger | Refused | Result | Opinion | State


def decode_for_gate(data: bytes) -> GateMessage:
    """Reads any message that the gate takes.

    Raises:
        WireError: Not one of them.
    """
    kind = kind_of(data)
    if kind is Kind.TRIGGER:
        return Trigger.decode(data)
    if kind is Kind.RESULT:
        return Result.decode(data)
    if kind is Kind.REFUSED:
        return Refused.decode(data)
    if kind is Kind.STATE:
        return State.decode(data)
    if kind is Kind.OPINION:
        return Opinion.decode(data)
    raise WireError(f"{kind.name} is not for the gate")
