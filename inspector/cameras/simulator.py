"""The GenICam simulator of the source checkout: built by the system's compiler, its belt filled, its faults injected.

A folder holds the producer, its list of cameras, the parts on its belt and the control sockets of the processes that
play cameras. docs/cameras.md shows it step by step.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import inspector
from inspector.domain.errors import CameraError, ConfigError, DataError, FatalError
from inspector.domain.frame import Pixels

#: The camera that a new simulator has.
SERIAL = "SIM0001"
#: Its list: serial number, model, user id, transport, state.
_CAMERAS = (f"{SERIAL} Simulator-1 left Custom plugged", "SIM0002 Simulator-1 right Custom plugged")
#: Pictures that the simulator reads; of more it plays the first.
BELT_PARTS = 4096
#: A socket's path has at most 107 bytes, "/control-" and a process id among them.
_FOLDER_BYTES = 85
_COMPILE_S = 120
#: An answer that is waited for too briefly makes a command look as if nobody had heard it, and it is given again.
_ANSWER_S = 20.0


class CompilerMissing(FatalError):  # noqa: N818  a fact about the machine
    """There is no C compiler on this machine."""


def find_sources() -> Path:
    """The simulator's C sources.

    Raises:
        ConfigError: This is not a source checkout.
    """
    sources = Path(inspector.__file__).resolve().parents[1] / "tests" / "gentl_simulator"
    if not (sources / "simulator.h").is_file():
        raise ConfigError(
            "the GenICam simulator is C code of the source checkout, and this installation has none; get the sources "
            "and install them with: pip install --editable ."
        )
    return sources


def find_compiler(environ: Mapping[str, str] = os.environ) -> str:
    """The C compiler: what CC names, else cc, gcc or clang.

    Raises:
        CompilerMissing: There is none.
    """
    names = [name for name in (environ.get("CC"), "cc", "gcc", "clang") if name]
    for name in names:
        place = shutil.which(name, path=environ.get("PATH"))
        if place is not None:
            return place
    raise CompilerMissing(
        f"the GenICam simulator is built with a C compiler, and none of {', '.join(names)} is there; install one "
        "(on Debian and Ubuntu: apt install gcc libc6-dev), or name it with the environment variable CC"
    )


def build_simulator(folder: Path, environ: Mapping[str, str] = os.environ, flags: Sequence[str] = ()) -> Path:
    """Compiles the simulator into a folder, from which it plays where GENTL_SIMULATOR_FOLDER names no other.

    All its cameras are plugged in.

    Args:
        folder: Made if missing.
        environ: Environment, for `find_compiler`.
        flags: More options of the compiler.

    Returns:
        The GenTL producer, a .cti file.

    Raises:
        ConfigError: There are no sources, or the folder can't be used.
        CompilerMissing: There is no compiler.
        FatalError: The compiler fails.
    """
    sources, compiler = find_sources(), find_compiler(environ)
    folder = _made(folder.absolute())
    producer = folder / "gentl_simulator.cti"
    partial = folder / "gentl_simulator.partial"
    command = [
        *(compiler, "-std=c99", "-O2", *flags),
        *("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
        f"-DNODE_MAPS={_c_text(sources / 'node_maps')}",
        f"-DFOLDER={_c_text(folder)}",
        *(str(source) for source in sorted(sources.glob("*.c"))),
        *("-lm", "-o", str(partial)),
    ]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_COMPILE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FatalError(f"the GenICam simulator can't be built: {error}") from error
    if done.returncode != 0:
        raise FatalError(f"the GenICam simulator can't be built with {compiler}:\n{done.stderr.strip()}")
    partial.replace(producer)
    _write_list(folder, _CAMERAS)
    return producer


def check_folder(folder: Path) -> None:
    """Raises ConfigError for a folder whose path is too long for control sockets."""
    if len(os.fsencode(folder.absolute())) > _FOLDER_BYTES:
        raise ConfigError(f"{folder}: too long a path for the simulator's control sockets; choose a shorter one")


def fill_belt(folder: Path, pictures: Iterable[Pixels]) -> int:
    """Puts pictures on the belt, and takes off those that were there, before a process opens the camera.

    Args:
        folder: The simulator's.
        pictures: Grey (H, W) or RGB (H, W, 3), of one size. After the last one the first comes round again.

    Returns:
        How many there are.

    Raises:
        DataError: The folder can't be written.
    """
    belt = folder / "parts"
    number = 0
    try:
        if belt.is_dir():
            shutil.rmtree(belt)
        belt.mkdir(parents=True)
        for number, picture in enumerate(pictures, 1):
            grey = picture.ndim == 2
            header = f"{'P5' if grey else 'P6'}\n{picture.shape[1]} {picture.shape[0]}\n255\n".encode()
            (belt / f"{number - 1:06d}.{'pgm' if grey else 'ppm'}").write_bytes(header + picture.tobytes())
    except OSError as error:
        raise DataError(f"can't write {belt}: {error.strerror}; choose a folder that can be written") from error
    return number


def tell(folder: Path, command: str) -> list[str]:
    """Gives a command to every process that plays the simulator's cameras.

    Args:
        folder: The simulator's.
        command: As tests/gentl_simulator/control.c lists them, such as "trigger SIM0001 1" or "unplug SIM0001".

    Returns:
        Their answers, without the "ok"; none if no process plays.

    Raises:
        CameraError: A process refuses the command.
    """
    answers = []
    for path in sorted(folder.glob("control-*")):
        answer = _ask(path, command)
        if answer is None:
            continue
        word, _, rest = answer.strip().partition(" ")
        if word != "ok":
            raise CameraError(f"the simulator refuses {command!r}: {answer.strip()}")
        answers.append(rest)
    return answers


def states(folder: Path, serial: str = SERIAL) -> list[dict[str, int]]:
    """The counters of a camera in each process that plays it: parts, queued, grabbing and so on.

    Raises:
        CameraError: There is no such camera.
    """
    words = [answer.split() for answer in tell(folder, f"state {serial}")]
    return [{name: int(value) for name, value in zip(one[::2], one[1::2], strict=True)} for one in words]


def set_plugged(folder: Path, serial: str, plugged: bool) -> None:
    """Pulls a camera's cable, or plugs it in again; it stays so for processes that come later.

    Raises:
        CameraError: There is no such camera.
        DataError: The list of cameras can't be read or written.
    """
    path = folder / "cameras"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if all(line.split()[:1] != [serial] for line in lines):
            raise CameraError(f"{path} has no camera {serial}")
        state = "plugged" if plugged else "unplugged"
        changed = [f"{line.rsplit(' ', 1)[0]} {state}" if line.split()[:1] == [serial] else line for line in lines]
        _write_list(folder, changed)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; is {folder} the simulator's folder?") from error
    tell(folder, "list")


def _write_list(folder: Path, lines: Sequence[str]) -> None:
    partial = folder / "cameras.partial"
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(folder / "cameras")


def _ask(path: Path, command: str) -> str | None:
    """The answer of one process; None if it is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ANSWER_S)
        try:
            client.connect(str(path))
            client.sendall(command.encode() + b"\n")
            return client.recv(4096).decode() or None
        except OSError:
            return None


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; choose a folder that can be written") from error
    return folder


def _c_text(path: Path) -> str:
    r"""A path as a string literal of C.

    >>> print(_c_text(Path('/a "b"')))
    "/a \"b\""
    """
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
