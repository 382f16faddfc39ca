"""`inspector camera`: serves this machine's camera to a station on another one."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("camera.yaml"),
    show_default=True,
    help="Configuration file: camera, listen, curve.",
)
def camera(config_path: Path) -> None:
    """Serve this machine's camera to a station on another one, until SIGTERM, Ctrl-C or the loss of the camera."""
    from inspector.config.load import load_camera_server
    from inspector.outputs.service_manager import ServiceManager
    from inspector.roles.camera_server import serve_camera

    serve_camera(load_camera_server(config_path), ServiceManager(os.environ))
