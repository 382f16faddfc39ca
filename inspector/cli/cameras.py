"""`inspector cameras`: what can be found on this machine, what a camera can be set to, and its feature file."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inspector.cameras.feature_file import write_feature_file
from inspector.cameras.genicam_discovery import list_cameras, open_node_map

log = logging.getLogger("inspector")

#: A table is as wide as it must be: a path that is wrapped can't be copied.
_WIDTH = 1000


def found_cameras(producers: Sequence[Path], sysfs: Path = Path("/sys/class/video4linux")) -> list[dict[str, Any]]:
    """Everything that a station could use: GenICam cameras, then V4L2 devices.

    Without any GenTL producer the GenICam cameras are left out with a word in the log.

    Args:
        producers: GenTL producers; none takes those of GENICAM_GENTL64_PATH.
        sysfs: Where the kernel lists V4L2 devices.

    Raises:
        CameraError: A producer that was named can't be used.
    """
    found: list[dict[str, Any]] = []
    if producers or os.environ.get("GENICAM_GENTL64_PATH"):
        found += [{"kind": "genicam", **asdict(camera)} for camera in list_cameras(tuple(producers))]
    else:
        log.info("no GenTL producer named (--producer, GENICAM_GENTL64_PATH): GenICam cameras are not listed")
    for device in sorted(sysfs.glob("video*")):
        with contextlib.suppress(OSError):
            name = (device / "name").read_text(encoding="utf-8", errors="replace").strip()
            found.append({"kind": "video", "source": f"/dev/{device.name}", "model": name})
    return found


def camera_table(producers: Sequence[Path], *, as_json: bool) -> str:
    """The cameras that can be found, as a table or JSON.

    Raises:
        CameraError: A producer that was named can't be used.
    """
    found = found_cameras(producers)
    if as_json:
        return json.dumps(found, indent=2)
    if not found:
        return "no cameras found; is the camera powered, in the same network, and not opened by another program?"
    return _table(found)


def node_table(producers: Sequence[Path], name: str, *, as_json: bool) -> str:
    """Everything that a camera can be set to, as a table or JSON.

    Args:
        producers: GenTL producers; none takes those of GENICAM_GENTL64_PATH.
        name: Serial number, user id, model or index of the camera.
        as_json: JSON instead of a table.

    Raises:
        CameraError: The camera can't be found or opened.
    """
    with open_node_map(tuple(producers), name) as (_, node_map):
        from inspector.cameras.genicam_nodes import node_rows

        rows = node_rows(node_map)
    if as_json:
        return json.dumps([asdict(row) for row in rows], indent=2)
    return _table(
        [
            {
                "category": row.category,
                "name": row.name,
                "value": "" if row.value is None else row.value,
                "range": ", ".join(row.choices) or _range(row.minimum, row.maximum, row.step),
                "unit": row.unit,
                "access": row.access,
            }
            for row in rows
        ]
    )


def save_features(producers: Sequence[Path], name: str, path: Path) -> str:
    """Writes a camera's settings to a feature file (.pfs), for `features_file` of the configuration.

    Returns:
        What was done, for people.

    Raises:
        CameraError: The camera can't be found or opened, or the file can't be written.
    """
    with open_node_map(tuple(producers), name) as (camera, node_map):
        from inspector.cameras.genicam_nodes import feature_lines

        lines = feature_lines(node_map)
    write_feature_file(path, lines, f"{camera.vendor} {camera.model} {camera.serial}")
    return f"{path}: {len(lines)} settings of {camera.model} {camera.serial}"


def _range(minimum: float | None, maximum: float | None, step: float | None) -> str:
    if minimum is None or maximum is None:
        return ""
    return f"{minimum:.10g} to {maximum:.10g}" + (f" in steps of {step:g}" if step not in (None, 1) else "")


def _table(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*(name.replace("_", " ") for name in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(row.get(name, ""))) for name in columns))
    stream = io.StringIO()
    Console(file=stream, width=_WIDTH).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
