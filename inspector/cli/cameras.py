"""`inspector cameras`: what can be found on this machine."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inspector.cameras.genicam import list_cameras

#: A table is as wide as it must be: a path that is wrapped can't be copied.
_WIDTH = 1000


def camera_table(producers: Sequence[Path], *, as_json: bool) -> str:
    """The GenICam cameras that the producers offer, as a table or JSON.

    Raises:
        CameraError: A producer can't be loaded, or none is named.
    """
    found = list_cameras(tuple(producers))
    if as_json:
        return json.dumps([asdict(camera) for camera in found], indent=2)
    if not found:
        return "no cameras found; is the camera powered, in the same network, and not opened by another program?"
    table = Table(*(name.replace("_", " ") for name in asdict(found[0])), box=None, pad_edge=False)
    for camera in found:
        table.add_row(*(Text(str(value)) for value in asdict(camera).values()))
    stream = io.StringIO()
    Console(file=stream, width=_WIDTH).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
