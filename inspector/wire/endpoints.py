"""Where the sockets of a daemon lie: a private folder, locked by its one gate."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from inspector.domain.errors import AlreadyRunning, ConfigError

#: sockaddr_un holds 108 bytes with the final zero.
_LONGEST_SOCKET_PATH = 107


def runtime_folder(configured: Path | None, station: str, environ: Mapping[str, str]) -> Path:
    """Folder of a station's sockets and lock, not made yet.

    Args:
        configured: `runtime_dir` of the configuration.
        station: Name of the station.
        environ: For RUNTIME_DIRECTORY (systemd) and XDG_RUNTIME_DIR.
    """
    if configured is not None:
        return configured
    if "RUNTIME_DIRECTORY" in environ:
        return Path(environ["RUNTIME_DIRECTORY"].split(":")[0]) / station
    base = environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / f"inspector-{station}"
    return Path(tempfile.gettempdir()) / f"inspector-{os.getuid()}-{station}"


class RuntimeFolder:
    """The folder, made private and locked; the lock goes with the process, however it ends.

    Args:
        path: Made with mode 0700 if it doesn't exist.

    Raises:
        AlreadyRunning: Another daemon holds the lock.
        ConfigError: The folder can't be used, or others may write to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        longest = len(os.fsencode(path / "archive.sock"))
        if longest > _LONGEST_SOCKET_PATH:
            raise ConfigError(
                f"runtime_dir: {path} is too long for UNIX sockets ({longest} bytes, at most "
                f"{_LONGEST_SOCKET_PATH}); choose a shorter folder"
            )
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.stat().st_uid != os.getuid():
                raise ConfigError(f"runtime_dir: {path} belongs to another user; choose another folder")
            if path.stat().st_mode & 0o022:
                raise ConfigError(f"runtime_dir: others may write to {path}; choose another folder, or chmod 700 it")
            self._lock: IO[str] = (path / "lock").open("a")  # the process id in it stays until the lock is ours
        except OSError as error:
            raise ConfigError(f"runtime_dir: {path} can't be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise AlreadyRunning(
                f"another inspector runs on {path}; stop it, or give this one its own station name or runtime_dir"
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    @property
    def frames(self) -> str:
        """Endpoint of the frames, bound by the camera process."""
        return f"ipc://{self.path / 'frames.sock'}"

    @property
    def gate(self) -> str:
        """Endpoint of the gate's inbox."""
        return f"ipc://{self.path / 'gate.sock'}"

    @property
    def archive(self) -> str:
        """Endpoint of the archive process."""
        return f"ipc://{self.path / 'archive.sock'}"

    @property
    def shadow(self) -> str:
        """Endpoint of the shadow process."""
        return f"ipc://{self.path / 'shadow.sock'}"

    def close(self) -> None:
        """Removes the sockets and lets go of the lock. Idempotent."""
        if self._lock.closed:
            return
        for name in ("frames.sock", "gate.sock", "archive.sock", "shadow.sock"):
            (self.path / name).unlink(missing_ok=True)
        self._lock.close()
