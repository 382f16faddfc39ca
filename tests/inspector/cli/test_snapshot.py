from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.cameras.decoding import decode_image
from inspector.cli.main import main
from inspector.cli.snapshot import take_snapshot
from inspector.config.cameras import Feature, FolderCamera, GenicamCamera
from inspector.domain.errors import CameraError, DataError

from ...gentl_simulator.plant import Plant


def folder(path: Path, picture: np.ndarray) -> FolderCamera:
    path.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path / "0.png"), picture)
    return FolderCamera(kind="folder", path=path)


def test_picture_holds_the_same_pixels_and_its_quality_is_told(tmp_path: Path) -> None:
    bgr = np.random.default_rng(1).integers(60, 200, (20, 30, 3), np.uint8)
    file = tmp_path / "new" / "shot.png"
    told = take_snapshot(folder(tmp_path / "parts", bgr), file, 1.0)
    assert np.array_equal(decode_image(file.read_bytes()), bgr[..., ::-1])
    assert told.startswith(f"{file}: 30 x 20 RGB, 0.png\n")
    assert "warning" not in told


@pytest.mark.parametrize(
    ("value", "warning"), [(255, "over-exposed: 100.0%"), (20, "under-exposed: 99% of the pixels")]
)
def test_wrong_exposure_is_a_warning(tmp_path: Path, value: int, warning: str) -> None:
    camera = folder(tmp_path / "parts", np.full((20, 30), value, np.uint8))
    assert f"warning: {warning}" in take_snapshot(camera, tmp_path / "shot.png", 1.0)


def test_camera_that_waits_for_its_trigger_is_named(plant: Plant, tmp_path: Path) -> None:
    features = (Feature(name="TriggerMode", value="On"), Feature(name="TriggerSource", value="Line1"))
    camera = GenicamCamera(kind="genicam", producers=(plant.producer,), features=features)
    with pytest.raises(CameraError, match=r"no frame came for 0\.2 s; a camera with TriggerMode On"):
        take_snapshot(camera, tmp_path / "shot.png", 0.2)
    assert not (tmp_path / "shot.png").exists()


def test_format_with_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shot\.jpg: give a name that ends in \.png"):
        take_snapshot(folder(tmp_path / "parts", np.zeros((4, 4), np.uint8)), tmp_path / "shot.jpg", 1.0)


def test_command_line_takes_the_configured_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path / "parts", np.full((20, 30), 99, np.uint8))
    config = tmp_path / "inspector.yaml"
    config.write_text("station: s\nrecipe: none-yet\ncamera: {kind: folder, path: parts}\n")
    assert main(["snapshot", str(tmp_path / "shot.png"), "-c", str(config)]) == 0
    assert "30 x 20 grey" in capsys.readouterr().out
