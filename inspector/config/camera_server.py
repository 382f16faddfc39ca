"""The configuration of `inspector camera`: a camera that serves a station on another machine."""

from __future__ import annotations

import re

from pydantic import field_validator

from inspector.config.cameras import CameraConfig
from inspector.config.keys import CurveKeys, listening_or_raise
from inspector.config.strict import Strict


class CameraServerConfig(Strict):
    """One camera, and the stations that may have it, one at a time."""

    camera: CameraConfig
    """Where frames come from; any kind but remote, with triggers that come by themselves."""
    listen: str = "tcp://0.0.0.0:5562"
    """Where a station connects to."""
    curve: CurveKeys
    """Keys of this machine and of the stations."""

    @field_validator("camera")
    @classmethod
    def _here(cls, camera: CameraConfig) -> CameraConfig:
        if camera.kind == "remote":
            raise ValueError("a camera that is served must be at this machine, not kind: remote")
        if camera.kind in ("folder", "synthetic") and camera.rate is None and not getattr(camera, "watch", False):
            raise ValueError("add rate: a camera at another machine can't wait to be asked for parts")
        return camera

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str) -> str:
        match = re.fullmatch(r"tcp://\[?([^\]]+?)\]?:(\d{1,5})", listen)
        if match is None:
            raise ValueError("expected tcp://0.0.0.0:PORT, or the address of one network card")
        listening_or_raise(match.group(1), True, "")
        return listen
