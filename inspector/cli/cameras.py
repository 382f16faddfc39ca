"""`inspector cameras`: what can be found on this machine."""

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

from inspector.cameras.genicam import list_cameras

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
    columns = list(dict.fromkeys(name for camera in found for name in camera))
    table = Table(*(name.replace("_", " ") for name in columns), box=None, pad_edge=False)
    for camera in found:
        table.add_row(*(Text(str(camera.get(name, ""))) for name in columns))
    stream = io.StringIO()
    Console(file=stream, width=_WIDTH).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
