"""What a station and a camera on another machine say to each other: fixed little-endian structures, frames beside them.

The station: HELLO, START, PING again and again, TAKEN after each capture, BYE. The camera's machine: WELCOME, PONG to
each PING, CAPTURE for each trigger, FAILED. Captures are numbered; as the messages of a connection keep their order, a
number that is left out, or a PONG that knows of more, means that a capture was lost on the way.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from math import prod
from typing import ClassVar, TypeVar

from inspector.domain.errors import InspectionError
from inspector.domain.frame import Frame, PixelFormat, Pixels
from inspector.domain.verdict import Cause

_HEAD = struct.Struct("<4sHH")
_MAGIC = b"INRC"
_VERSION = 2
#: A run of the camera's server is told from another by this many random bytes.
RUN_BYTES = 16
#: Longest label or text in bytes; longer ones are cut.
_TEXT_BYTES = 512
#: Causes as they go over the wire: the place in this tuple plus one; 0 is "none". Append only.
_CAUSES = (
    Cause.FRAME_MISSING,
    Cause.FRAME_INCOMPLETE,
    Cause.FRAME_CORRUPT,
    Cause.CAMERA_LOST,
    Cause.QUEUE_FULL,
)


class ProtocolError(InspectionError):
    """A message that is truncated, of another version, or not one of ours."""


class Kind(enum.IntEnum):
    """Kind of a message; the numbers never change their meaning."""

    HELLO = 1
    START = 2
    PING = 3
    TAKEN = 4
    BYE = 5
    WELCOME = 6
    PONG = 7
    CAPTURE = 8
    FAILED = 9


def kind_of(data: bytes) -> Kind:
    """Kind of a message.

    Raises:
        ProtocolError: Not a message of this version.
    """
    if len(data) < _HEAD.size:
        raise ProtocolError(f"message of {len(data)} bytes is too short")
    magic, version, kind = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise ProtocolError(f"message of version {version}, this program speaks {_VERSION}")
    try:
        return Kind(kind)
    except ValueError:
        raise ProtocolError(f"unknown kind {kind}") from None


def plain(kind: Kind) -> bytes:
    """START or BYE, which say nothing more."""
    return _HEAD.pack(_MAGIC, _VERSION, kind)


M = TypeVar("M", bound="_Message")


class _Message:
    """Fields in a structure, in their order."""

    _kind: ClassVar[Kind]
    _layout: ClassVar[struct.Struct]

    def encode(self) -> bytes:
        """The message's bytes."""
        return _HEAD.pack(_MAGIC, _VERSION, self._kind) + self._layout.pack(*vars(self).values())

    @classmethod
    def decode(cls: type[M], data: bytes) -> M:
        """Reads `encode`'s bytes; raises ProtocolError."""
        if kind_of(data) is not cls._kind or len(data) != _HEAD.size + cls._layout.size:
            raise ProtocolError(f"{len(data)} bytes are no {cls._kind.name}")
        return cls(*cls._layout.unpack_from(data, _HEAD.size))


@dataclass(frozen=True)
class Hello(_Message):
    """The station comes, or comes again.

    Attributes:
        run: Of the server, if the station's run knows it from before; zeros if not.
        sequence: Number of the next capture that it expects of that run.
        window: Frames with pixels that may be on their way.
        raw_bayer: It takes frames of Bayer formats as the sensor made them.
    """

    run: bytes
    sequence: int
    window: int
    raw_bayer: bool = False

    _kind: ClassVar[Kind] = Kind.HELLO
    _layout: ClassVar[struct.Struct] = struct.Struct("<16sQI?")


@dataclass(frozen=True)
class Welcome(_Message):
    """The station is taken.

    Attributes:
        run: Of the server.
        sequence: Number of the first capture that is for the station.
    """

    run: bytes
    sequence: int

    _kind: ClassVar[Kind] = Kind.WELCOME
    _layout: ClassVar[struct.Struct] = struct.Struct("<16sQ")


@dataclass(frozen=True)
class Ping(_Message):
    """The station is there.

    Attributes:
        sent_ns: The station's monotonic clock.
        sequence: Number of the next capture that it expects.
    """

    sent_ns: int
    sequence: int

    _kind: ClassVar[Kind] = Kind.PING
    _layout: ClassVar[struct.Struct] = struct.Struct("<qQ")


@dataclass(frozen=True)
class Taken(_Message):
    """The station has taken what came before.

    Attributes:
        sequence: Number of the next capture that it expects.
    """

    sequence: int

    _kind: ClassVar[Kind] = Kind.TAKEN
    _layout: ClassVar[struct.Struct] = struct.Struct("<Q")


@dataclass(frozen=True)
class Pong(_Message):
    """Answer to a `Ping`.

    Attributes:
        sent_ns: As in the ping.
        here_ns: The server's monotonic clock.
        sequence: Number of the next capture that it will send.
        ended: No trigger will come any more.
    """

    sent_ns: int
    here_ns: int
    sequence: int
    ended: bool

    _kind: ClassVar[Kind] = Kind.PONG
    _layout: ClassVar[struct.Struct] = struct.Struct("<qqQ?")


@dataclass(frozen=True)
class CaptureHeader:
    """Goes before the pixels of a capture, if it has some.

    Attributes:
        sequence: Number of the capture in the server's run, 0 and up.
        triggered_ns: The server's monotonic clock.
        captured_ns: The server's monotonic clock.
        width_px: Columns; 0 without pixels.
        height_px: Rows; 0 without pixels.
        pixel_format: Layout of the pixels; None without.
        problem: Why there are no pixels; None if there are.
        source: Label of the frame.
    """

    sequence: int
    triggered_ns: int
    captured_ns: int
    width_px: int
    height_px: int
    pixel_format: PixelFormat | None
    problem: Cause | None
    source: str

    _layout: ClassVar[struct.Struct] = struct.Struct("<QqqIIHH")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pixels: (H, W) or (H, W, 3); (0,) without."""
        return (0,) if self.pixel_format is None else self.pixel_format.shape(self.width_px, self.height_px)

    @property
    def pixel_bytes(self) -> int:
        """Bytes that the pixels have."""
        return prod(self.shape)

    def frame(self, pixels: Pixels) -> Frame | None:
        """The frame that the pixels are; None without."""
        return None if self.pixel_format is None else self.pixel_format.frame(pixels)

    def encode(self) -> bytes:
        """The message's bytes."""
        problem = 0 if self.problem is None else _CAUSES.index(self.problem) + 1
        numbers = self.width_px, self.height_px, self.pixel_format or 0, problem
        return (
            plain(Kind.CAPTURE)
            + self._layout.pack(self.sequence, self.triggered_ns, self.captured_ns, *numbers)
            + self.source.encode("utf-8", "replace")[:_TEXT_BYTES]
        )

    @classmethod
    def decode(cls, data: bytes) -> CaptureHeader:
        """Reads `encode`'s bytes; raises ProtocolError."""
        start = _HEAD.size + cls._layout.size
        if kind_of(data) is not Kind.CAPTURE or len(data) < start:
            raise ProtocolError(f"{len(data)} bytes are no CAPTURE")
        sequence, triggered_ns, captured_ns, width_px, height_px, pixel_format, problem = cls._layout.unpack_from(
            data, _HEAD.size
        )
        if problem > len(_CAUSES) or pixel_format not in (0, *PixelFormat) or (problem == 0) != (pixel_format > 0):
            raise ProtocolError("CAPTURE with neither pixels nor a problem that is known")
        cause = _CAUSES[problem - 1] if problem else None
        source = data[start:].decode("utf-8", "replace")
        layout = PixelFormat(pixel_format) if pixel_format else None
        return cls(sequence, triggered_ns, captured_ns, width_px, height_px, layout, cause, source)


def failed(text: str) -> bytes:
    """FAILED: the camera can't serve this station, with the reason for people."""
    return plain(Kind.FAILED) + text.encode("utf-8", "replace")[:_TEXT_BYTES]


def failure(data: bytes) -> str:
    """The reason that `failed` was given."""
    return data[_HEAD.size :].decode("utf-8", "replace")
