"""Files that hold a secret, and those that say who may connect: refused where others could read or change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from inspector.domain.errors import ConfigError

#: Larger than any key or certificate.
_LARGEST_BYTES = 1 << 20


def read_secret(path: Path, setting: str) -> bytes:
    """Content of a file that only its owner, or its group too, may read.

    systemd shows a credential's file as readable by a group, which is the service's own access; so that must do.

    Args:
        path: The file.
        setting: Dotted key of the configuration that names it, for messages.

    Raises:
        ConfigError: It can't be read, or others may read or change it.
    """
    content, mode = _read(path, setting)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ConfigError(
            f"{setting}: others may read or change {path} (mode {stat.S_IMODE(mode):04o}); chmod 600 it, and make new "
            "keys if it lay open for long"
        )
    return content


def read_trusted(path: Path, setting: str) -> bytes:
    """Content of a file that decides who may connect, which others may read, but not change.

    Args:
        path: The file.
        setting: Dotted key of the configuration that names it, for messages.

    Raises:
        ConfigError: It can't be read, or everybody may change it.
    """
    content, mode = _read(path, setting)
    refuse_if_changeable(path, mode, setting)
    return content


def refuse_if_changeable(path: Path, mode: int, setting: str) -> None:
    """Refuses a file or folder with a mode by which everybody may change it.

    Raises:
        ConfigError: It is so.
    """
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{setting}: everybody may change {path} (mode {stat.S_IMODE(mode):04o}); chmod o-w it")


def _read(path: Path, setting: str) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"{setting}: can't read {path}: {error.strerror}") from error
