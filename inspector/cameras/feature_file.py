"""Feature files (.pfs): a camera's settings as text, a line `name TAB value` for each, comments behind `#`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inspector.domain.errors import CameraError


@dataclass(frozen=True)
class FeatureLine:
    """A line of a feature file.

    Attributes:
        line: Its number, 1 and up.
        name: Name of the node.
        value: Its value as text.
    """

    line: int
    name: str
    value: str


def read_feature_file(path: Path) -> list[FeatureLine]:
    """Reads a feature file, also those that makers' viewers write.

    Raises:
        CameraError: It can't be read, or a line is none; the message has its number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CameraError(f"camera.features_file: can't read {path}: {reason}") from error
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, tab, value = line.partition("\t")
        if not tab or not name.strip():
            raise CameraError(f"{path}:{number}: expected a name, a tab and a value, not {line.strip()!r}")
        lines.append(FeatureLine(number, name.strip(), value.strip()))
    return lines


def write_feature_file(path: Path, features: Iterable[tuple[str, str]], camera: str) -> None:
    """Writes a feature file; an older one is replaced only once the new one is whole.

    Args:
        path: The file.
        features: Names and values in the order in which they are to be written to the camera.
        camera: Which camera they are of, for the header.

    Raises:
        CameraError: It can't be written.
    """
    lines = ["# GenApi persistence file (version 3.0.0)", f"# Device = {camera}"]
    lines += [f"{name}\t{value}" for name, value in features]
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise CameraError(f"can't write {path}: {error.strerror}; choose a file that can be written") from error
