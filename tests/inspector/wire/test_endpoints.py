"""One daemon to a folder, and the folder is its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from inspector.domain.errors import AlreadyRunning, ConfigError
from inspector.wire.endpoints import RuntimeFolder, runtime_folder


@pytest.mark.parametrize(
    ("configured", "environ", "expected"),
    [
        (Path("/srv/a"), {"RUNTIME_DIRECTORY": "/run/b"}, "/srv/a"),
        (None, {"RUNTIME_DIRECTORY": "/run/b", "XDG_RUNTIME_DIR": "/tmp"}, "/run/b/press"),
        (None, {"RUNTIME_DIRECTORY": "/run/b:/run/c"}, "/run/b/press"),
    ],
)
def test_folder_is_the_configured_one_or_systemds(
    configured: Path | None, environ: dict[str, str], expected: str
) -> None:
    assert runtime_folder(configured, "press", environ) == Path(expected)


def test_folder_of_a_user_is_in_the_session_or_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime_folder(None, "press", {"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "inspector-press"
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    for environ in ({}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": str(tmp_path / "none")}):
        assert runtime_folder(None, "press", environ) == Path(f"/tmp/inspector-{os.getuid()}-press")


def test_folder_is_private_and_locked(tmp_path: Path) -> None:
    path = tmp_path / "made" / "run"
    folder = RuntimeFolder(path)
    assert path.stat().st_mode & 0o777 == 0o700
    assert folder.frames == f"ipc://{path}/frames.sock"
    assert folder.gate == f"ipc://{path}/gate.sock"
    with pytest.raises(AlreadyRunning, match="another inspector runs on"):
        RuntimeFolder(path)
    folder.close()
    folder.close()
    RuntimeFolder(path).close()


def test_second_daemon_leaves_the_first_ones_mark_alone(tmp_path: Path) -> None:
    # It opened the lock for writing, and so wiped the process id of the daemon that runs.
    folder = RuntimeFolder(tmp_path)
    with pytest.raises(AlreadyRunning):
        RuntimeFolder(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    folder.close()
    (tmp_path / "lock").write_text("4194304 and more\n")
    RuntimeFolder(tmp_path).close()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_sockets_go_with_the_folder(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    for name in ("frames.sock", "gate.sock", "notes"):
        (tmp_path / name).touch()
    folder.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "notes"]


def test_stale_sockets_of_a_killed_daemon_are_no_hindrance(tmp_path: Path) -> None:
    program = (
        "import sys, time, zmq\n"
        "from pathlib import Path\n"
        "from inspector.wire.endpoints import RuntimeFolder\n"
        "folder = RuntimeFolder(Path(sys.argv[1]))\n"
        "socket = zmq.Context().socket(zmq.PULL)\n"
        "socket.bind(folder.gate)\n"
        "print('bound', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"bound\n"
        with pytest.raises(AlreadyRunning):
            RuntimeFolder(tmp_path)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(20)
    assert (tmp_path / "gate.sock").is_socket()
    folder = RuntimeFolder(tmp_path)
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.bind(folder.gate)
    folder.close()


def test_path_that_is_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100)
    with pytest.raises(ConfigError, match="too long for UNIX sockets"):
        RuntimeFolder(path)
    assert not path.exists()


def test_longest_path_works(tmp_path: Path) -> None:
    base = Path("/tmp") / f"i{os.getpid()}"
    path = base / ("x" * (107 - len(f"{base}//archive.sock")))
    folder = RuntimeFolder(path)
    try:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
            socket.bind(folder.archive)
    finally:
        folder.close()
        (path / "lock").unlink()
        path.rmdir()
        base.rmdir()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    # Who can put a socket there can feed the line with frames or the gate with results.
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match="others may write to"):
        RuntimeFolder(tmp_path)
    tmp_path.chmod(0o755)
    RuntimeFolder(tmp_path).close()


def test_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        RuntimeFolder(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="can't be used"):
            RuntimeFolder(path)
