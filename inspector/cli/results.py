"""Files that hold what a command measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inspector.domain.errors import ConfigError


def write_text(path: Path, text: str) -> None:
    """Writes a file, its folder made if missing.

    Raises:
        ConfigError: It can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from error


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Writes a record, indented; not a number is no JSON.

    Raises:
        ConfigError: It can't be written.
    """
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")
