from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inspector.cameras import simulator
from inspector.cameras.genicam_discovery import list_cameras
from inspector.cameras.simulator import (
    CompilerMissing,
    build_simulator,
    check_folder,
    fill_belt,
    find_sources,
    set_plugged,
    states,
    tell,
)
from inspector.domain.errors import CameraError, ConfigError, DataError, FatalError


def test_without_a_compiler_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CompilerMissing, match=r"none of tcc-42, cc, gcc, clang is there; install one \(on Debian"):
        build_simulator(tmp_path, {"PATH": str(tmp_path), "CC": "tcc-42"})


def test_compiler_that_fails_shows_why(tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'simulator.h:1: no such type' >&2\nexit 1\n")
    compiler.chmod(0o755)
    with pytest.raises(FatalError, match=r"can't be built with .*/cc:\nsimulator.h:1: no such type"):
        build_simulator(tmp_path / "out", {"PATH": str(tmp_path)})
    assert not (tmp_path / "out" / "gentl_simulator.cti").exists()


def test_installation_without_the_sources_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (find_sources() / "gentl.h").is_file()
    monkeypatch.setattr(simulator.inspector, "__file__", str(tmp_path / "inspector" / "__init__.py"))
    with pytest.raises(ConfigError, match=r"this installation has none; get the sources and .*--editable"):
        find_sources()


def test_path_that_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    check_folder(Path("/tmp/plant"))
    with pytest.raises(ConfigError, match="too long a path for the simulator's control sockets"):
        check_folder(tmp_path / ("x" * 90))


def test_belt_is_filled_anew(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert fill_belt(tmp_path, [grey] * 3) == 3
    assert fill_belt(tmp_path, [np.dstack([grey] * 3)]) == 1
    (file,) = (tmp_path / "parts").iterdir()
    assert file.read_bytes() == b"P6\n4 3\n255\n" + bytes(np.repeat(np.arange(12), 3).astype(np.uint8))
    with pytest.raises(DataError, match="choose a folder that can be written"):
        fill_belt(file, [grey])


@pytest.fixture
def built(tmp_path: Path, gentl_producer: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """A simulator of its own: it plays from the folder that it lies in."""
    monkeypatch.delenv("GENTL_SIMULATOR_FOLDER", raising=False)
    return lambda: build_simulator(tmp_path / 'it\'s "plant"')


def test_cable_that_is_pulled_stays_so_for_processes_that_come_later(built: Callable[[], Path]) -> None:
    producer = built()
    folder = producer.parent
    assert [one.serial for one in list_cameras((producer,))] == ["SIM0001", "SIM0002"]
    set_plugged(folder, "SIM0001", False)
    assert [one.serial for one in list_cameras((producer,))] == ["SIM0002"]
    set_plugged(folder, "SIM0001", True)
    assert [one.serial for one in list_cameras((producer,))] == ["SIM0001", "SIM0002"]
    with pytest.raises(CameraError, match="has no camera SIM0009"):
        set_plugged(folder, "SIM0009", True)
    with pytest.raises(DataError, match=r"is .* the simulator's folder"):
        set_plugged(folder / "elsewhere", "SIM0001", True)


def test_nobody_answers_where_no_process_plays(tmp_path: Path) -> None:
    (tmp_path / "control-1").touch()  # of a process that was killed
    assert tell(tmp_path, "trigger SIM0001 1") == []
    assert states(tmp_path) == []
