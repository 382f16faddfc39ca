"""What every camera is to the camera process: opened, asked for captures, closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from inspector.domain.camera_events import CameraEvent
from inspector.domain.frame import Capture


class SourceEnded(Exception):  # noqa: N818  an event, not an error: a folder or file came to its end
    """The source has no more parts: a folder without `loop`, the end of a video file."""


@runtime_checkable
class Camera(Protocol):
    """A source of triggers and frames.

    One contract test runs over every kind. The camera process calls, in this order and from one thread:
    `open`, `start`, `capture` again and again, `close`. `close` may be called at any time, also twice.
    """

    #: True where the source waits to be asked (a folder "as fast as accepted"): the camera process then
    #: captures only when the worker has room. False where triggers come by themselves.
    on_demand: bool

    def open(self) -> None:
        """Take hold of the device or files and check that they can be used.

        Raises:
            CameraError: With what is wrong and how to mend it.
        """

    def start(self) -> None:
        """Begin to deliver; a paced source starts its clock here."""

    def capture(self, timeout_s: float) -> Capture | None:
        """The next trigger, or None when none came within `timeout_s` seconds.

        A trigger without a usable image is returned too, with its problem named: it is a part.

        Raises:
            SourceEnded: No trigger will come any more.
            CameraError: The device is lost.
        """

    def close(self) -> None:
        """Let go of the device. Idempotent."""


@runtime_checkable
class CountsEvents(Protocol):
    """A camera that knows more than its captures tell: why a frame is missing, and frames that were none."""

    def events(self) -> Mapping[CameraEvent, int]:
        """How often each has happened since the camera was opened; what is not named never has."""


@runtime_checkable
class Pauses(Protocol):
    """A camera that wants to be told when no triggers are wanted for a while, since it counts them elsewhere."""

    def pause(self) -> None:
        """No triggers are wanted after `start`, until `resume`."""

    def resume(self) -> None:
        """Triggers are wanted again.

        Raises:
            CameraError: The device is lost.
        """


@runtime_checkable
class HasFigures(Protocol):
    """A camera that has figures of its own for the metrics."""

    def figures(self) -> Mapping[str, float]:
        """Figures by name."""
