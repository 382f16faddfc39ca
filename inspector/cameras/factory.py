"""Makes the camera that the configuration names; only its own driver is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from inspector.cameras.base import Camera
from inspector.config.cameras import CameraConfig, FolderCamera, RemoteCamera, SyntheticCamera, VideoCamera
from inspector.domain.frame import Allocate, new_pixels


def create_camera(
    config: CameraConfig,
    *,
    first_part: int = 0,
    memory: Path | None = None,
    allocate: Allocate = new_pixels,
    raw_bayer: bool = False,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Camera:
    """The camera, not opened yet.

    Args:
        config: Which camera, and how.
        first_part: Triggers that earlier camera processes of this run announced. Folder, video file and
            synthetic conveyor go on after them, so that no part is played twice and none left out; a live
            camera has no such place.
        memory: Folder in which a camera keeps what the next camera process of this run must know: which files of
            a hot folder were taken, which model a GenICam camera was, what a remote camera has sent. None remembers
            nothing.
        allocate: Gives the memory that frames are written to, by the cameras that can choose it: GenICam and remote
            cameras.
        raw_bayer: Give frames of Bayer formats as a `Mosaic`, one byte a pixel, instead of in colour: GenICam and
            remote cameras.
        clock_ns: Monotonic clock.

    Raises:
        ConfigError: Keys contradict each other.
    """
    if isinstance(config, FolderCamera):
        if config.watch:
            from inspector.cameras import hot_folder

            return hot_folder.HotFolderCamera(config, first_part, memory, clock_ns=clock_ns)
        from inspector.cameras import folder

        return folder.FolderCamera(config, first_part, clock_ns)
    if isinstance(config, VideoCamera):
        from inspector.cameras import live_video, video

        if video.is_live(config.source):
            return live_video.LiveVideoCamera(config, clock_ns=clock_ns)
        return video.VideoFileCamera(config, first_part, clock_ns=clock_ns)
    if isinstance(config, SyntheticCamera):
        from inspector.cameras import synthetic

        return synthetic.SyntheticConveyor(config, first_part, clock_ns=clock_ns)
    if isinstance(config, RemoteCamera):
        from inspector.cameras import remote

        return remote.RemoteCamera(config, memory, allocate, raw_bayer=raw_bayer, clock_ns=clock_ns)
    from inspector.cameras import genicam

    return genicam.GenicamCamera(config, memory=memory, allocate=allocate, raw_bayer=raw_bayer, clock_ns=clock_ns)
