"""The factory loads the driver of the chosen camera, no other, and torch never."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path

from inspector.cameras.factory import create_camera
from inspector.config.cameras import FolderCamera, GenicamCamera, SyntheticCamera, VideoCamera
from inspector.domain.errors import CameraError

camera = create_camera({config})
try:
    camera.open()
except CameraError:
    pass
camera.close()
print(type(camera).__name__, *sorted({{"cv2", "harvesters", "genicam", "torch"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("config", "loaded"),
    [
        ("FolderCamera(kind='folder', path=Path('/nowhere'))", "FolderCamera cv2"),
        ("VideoCamera(kind='video', source='/nowhere.mp4')", "VideoFileCamera cv2"),
        ("VideoCamera(kind='video', source='/dev/video977')", "LiveVideoCamera cv2"),
        ("SyntheticCamera(kind='synthetic')", "SyntheticConveyor cv2"),
        ("GenicamCamera(kind='genicam', producers=(Path('/x.cti'),))", "GenicamCamera cv2 genicam harvesters"),
    ],
)
def test_only_the_chosen_driver_is_loaded(config: str, loaded: str, tmp_path: Path) -> None:
    """Each module that a camera process loads costs its start and its memory, and torch costs seconds of both."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(config=config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == loaded
