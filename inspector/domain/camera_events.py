"""What happens to cameras besides good frames: each kind is counted, and named in the metrics."""

from __future__ import annotations

import enum


class CameraEvent(enum.Enum):
    """A kind of event."""

    #: A trigger without a frame, whatever the reason.
    FRAME_MISSING = "frame_missing"
    #: A frame without all of its lines.
    FRAME_INCOMPLETE = "frame_incomplete"
    #: A frame that can't be decoded.
    FRAME_CORRUPT = "frame_corrupt"
    #: The camera was lost: unplugged, silent, or with other settings.
    CAMERA_LOST = "camera_lost"
    #: An id that was left out: a frame lost between camera and machine, or for want of a buffer.
    ID_GAP = "id_gap"
    #: A frame that found no buffer: this machine was too slow.
    UNDERRUN = "underrun"
    #: A frame that came again; its part had its verdict.
    REPEATED = "repeated"
    #: A hardware trigger that came while the camera could not take it, by the camera's own counter.
    OVERTRIGGER = "overtrigger"
    #: A software trigger without a frame in time.
    MISSED_TRIGGER = "missed_trigger"
    #: A frame that came after its software trigger had been given up.
    LATE = "late"
    #: A start of the camera process after the camera was lost.
    RETRY = "retry"
