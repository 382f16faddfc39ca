from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from inspector.cli.main import main


@pytest.mark.usefixtures("gentl_producer")  # skips without a compiler
def test_build_leaves_a_camera_with_parts_on_its_belt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GENTL_SIMULATOR_FOLDER", raising=False)
    with tempfile.TemporaryDirectory(prefix="plant-") as name:
        folder = Path(name)
        arguments = ["simulator", "build", name, "--parts", "3", "--size", "64"]
        assert main(arguments) == 0
        assert capsys.readouterr().out.splitlines()[1] == f"inspector cameras --producer {folder}/gentl_simulator.cti"
        good = [path.read_bytes() for path in sorted((folder / "parts").iterdir())]
        assert main([*arguments, "--defect-ratio", "1"]) == 0
        assert good != [path.read_bytes() for path in sorted((folder / "parts").iterdir())]
        capsys.readouterr()
        assert main(["cameras", "show", "SIM0001", "--producer", str(folder / "gentl_simulator.cti"), "--json"]) == 0
        assert '"name": "Width",\n    "kind": "integer",\n    "value": 64' in capsys.readouterr().out


def test_command_needs_a_process_that_plays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["simulator", "tell", str(tmp_path), "trigger", "SIM0001", "1"]) == 69
    assert "no process plays the cameras of" in caplog.text


def test_cable_is_pulled_while_no_process_plays(tmp_path: Path) -> None:
    (tmp_path / "cameras").write_text("A1 Big left Custom plugged\nA2 Big - GEV plugged\n")
    assert main(["simulator", "tell", str(tmp_path), "unplug", "A2"]) == 0
    assert (tmp_path / "cameras").read_text() == "A1 Big left Custom plugged\nA2 Big - GEV unplugged\n"
    assert main(["simulator", "tell", str(tmp_path), "plug", "A2"]) == 0
    assert (tmp_path / "cameras").read_text() == "A1 Big left Custom plugged\nA2 Big - GEV plugged\n"
