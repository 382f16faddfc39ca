from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cameras.feature_file import write_feature_file
from inspector.cameras.genicam import GenicamCamera
from inspector.cameras.genicam_nodes import feature_lines
from inspector.cli import cameras
from inspector.cli.cameras import camera_table, found_cameras, node_table, save_features
from inspector.cli.main import main
from inspector.config.cameras import GenicamCamera as GenicamConfig
from inspector.domain.errors import CameraError

from ...gentl_simulator.plant import Plant, PlantCamera


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


def test_node_map_shows_value_range_unit_and_access(plant: Plant) -> None:
    rows = json.loads(node_table([plant.producer], "SIM0001", as_json=True))
    by_name = {row["name"]: row for row in rows}
    exposure = by_name["ExposureTime"]
    assert (exposure["category"], exposure["kind"], exposure["value"]) == ("AcquisitionControl", "float", 5000.0)
    assert (exposure["minimum"], exposure["maximum"], exposure["unit"]) == (1.0, 1000000.0, "us")
    assert by_name["PixelFormat"]["value"] == "Mono8"
    assert "BayerRG12" in by_name["PixelFormat"]["choices"]
    assert by_name["WidthMax"]["access"] == "read only"
    assert (by_name["TriggerSoftware"]["kind"], by_name["TriggerSoftware"]["value"]) == ("command", None)
    assert by_name["ChunkFrameID"]["access"] == "not available"
    table = node_table([plant.producer], "Simulator-1", as_json=False).splitlines()
    assert table[0].split() == ["category", "name", "value", "range", "unit", "access"]
    (width,) = [line for line in table if line.split()[:2] == ["ImageFormatControl", "Width"]]
    assert "4 to 640 in steps of 4" in width
    assert width.endswith("read and write")


def test_camera_is_named_by_serial_user_id_model_or_index(plant: Plant) -> None:
    plant.list_cameras(PlantCamera("A1", user_id="left"), PlantCamera("A2", model="Big", user_id="right"))
    for name in ("A2", "right", "Big", "1"):
        assert '"value": "A2"' in node_table([plant.producer], name, as_json=True)
    with pytest.raises(CameraError, match=r"no camera has .serial 'A3'.*serial 'A1'"):
        node_table([plant.producer], "A3", as_json=True)


def test_saved_settings_set_the_camera_up_in_the_same_way(plant: Plant, tmp_path: Path) -> None:
    """From one camera to another: saved, loaded by the configuration, and saved again without a difference."""
    file, again = tmp_path / "camera.pfs", tmp_path / "again.pfs"
    features = {"Width": 320, "OffsetX": 16, "PixelFormat": "Mono12p", "Gain": 1.25, "TriggerMode": "On"}
    keys = {"kind": "genicam", "producers": (plant.producer,)}
    camera = GenicamCamera(
        GenicamConfig(**keys, features=[{"name": name, "value": value} for name, value in features.items()])
    )
    camera.open()
    write_feature_file(file, feature_lines(camera.node_map), camera.name)
    camera.close()
    text = file.read_text()
    assert text.startswith("# GenApi persistence file")
    assert "\nGain\t1.25\n" in text
    assert "\nTriggerSelector\tFrameStart\nTriggerMode\tOn\n" in text
    assert "UserSetLoad" not in text
    # The simulated cameras forget what they were set to when their process lets go of them.
    saved = save_features([plant.producer], "SIM0001", again)
    assert saved.startswith(f"{again}: ")
    assert again.read_text() != text
    camera = GenicamCamera(GenicamConfig(**keys, features_file=file, features=[{"name": "Gain", "value": 2.5}]))
    camera.open()
    write_feature_file(again, feature_lines(camera.node_map), "camera")
    camera.close()
    assert again.read_text().splitlines()[2:] == text.replace("Gain\t1.25", "Gain\t2.5").splitlines()[2:]


def test_command_line_shows_and_saves(plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras", "--producer", str(plant.producer), "show", "SIM0001", "--json"]) == 0
    assert '"name": "ExposureTime"' in capsys.readouterr().out
    assert main(["cameras", "save", "SIM0001", str(tmp_path / "c.pfs"), "--producer", str(plant.producer)]) == 0
    assert "settings of Simulator-1 SIM0001" in capsys.readouterr().out
    assert main(["cameras", "--producer", str(plant.producer), "--json"]) == 0
    assert '"serial": "SIM0001"' in capsys.readouterr().out
    assert main(["cameras", "show", "SIM0009", "--producer", str(plant.producer)]) == 69
