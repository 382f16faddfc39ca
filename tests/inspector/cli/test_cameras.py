from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli import cameras
from inspector.cli.cameras import camera_table, found_cameras
from inspector.domain.errors import CameraError


@pytest.fixture(autouse=True)
def no_producers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)


def test_v4l2_devices_are_listed_without_any_gentl_producer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, model in (("video0", "USB Camera"), ("video1", "Grabber")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(model + "\n")
    (tmp_path / "video2").mkdir()  # unplugged just now
    with caplog.at_level("INFO", "inspector"):
        assert found_cameras([], tmp_path) == [
            {"kind": "video", "source": "/dev/video0", "model": "USB Camera"},
            {"kind": "video", "source": "/dev/video1", "model": "Grabber"},
        ]
    assert "GENICAM_GENTL64_PATH" in caplog.text


def test_a_producer_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="nowhere"):
        found_cameras([tmp_path / "nowhere.cti"], tmp_path)


def test_table_and_json_show_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [{"kind": "genicam", "model": "A", "serial": "1"}, {"kind": "video", "source": "/dev/video0"}]
    monkeypatch.setattr(cameras, "found_cameras", lambda producers: found)
    assert json.loads(camera_table([], as_json=True)) == found
    lines = camera_table([], as_json=False).splitlines()
    assert lines[0].split() == ["kind", "model", "serial", "source"]
    assert lines[2].split() == ["video", "/dev/video0"]


def test_an_empty_list_says_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "found_cameras", lambda producers: [])
    assert "powered" in camera_table([], as_json=False)
