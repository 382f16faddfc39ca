"""`inspector cameras`: what can be found on this machine."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from inspector.cameras.genicam import list_cameras


def camera_table(producers: Sequence[Path], *, as_json: bool) -> str:
    """The GenICam cameras that the producers offer, as a table or JSON.

    Raises:
        CameraError: A producer can't be loaded, or none is named.
    """
    found = list_cameras(tuple(producers))
    if as_json:
        return json.dumps([asdict(camera) for camera in found], indent=2, default=str)
    if not found:
        return "no cameras found; is the camera powered, in the same network, and not opened by another program?"
    fields = list(asdict(found[0]))
    table = Table(*(name.replace("_", " ") for name in fields), box=None)
    for camera in found:
        table.add_row(*(str(value) for value in asdict(camera).values()))
    stream = io.StringIO()
    Console(file=stream, width=160).print(table)
    return stream.getvalue().rstrip()
