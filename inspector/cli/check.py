"""`inspector check`: would this configuration run?"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import yaml

from inspector.cameras.factory import create_camera
from inspector.config.keys import CurveKeys
from inspector.config.schema import Archive, InspectorConfig
from inspector.domain.errors import ConfigError
from inspector.outputs.metrics_server import tls_context
from inspector.roles.daemon import admit_recipe, admit_shadow
from inspector.wire.curve import client_names, load_keys

#: Where systemd puts what LoadCredential= names, for the time that the service runs.
_CREDENTIALS = "/run/credentials"


def check_station(config: InspectorConfig, *, open_camera: bool) -> str:
    """Opens the recipe and, if asked, the camera; nothing is started.

    Args:
        config: The configuration, already validated.
        open_camera: Open and close the camera too.

    Returns:
        The resolved configuration as YAML, with what was checked as comments above it.

    Raises:
        FatalError: What is wrong and how to mend it.
    """
    facts = []
    for view, line in config.lines().items():
        named = f"view {view}: " if config.views else ""
        facts += [named + fact for fact in _line_facts(line, open_camera)]
    if config.verdicts.curve is not None:
        facts.append(_keys_facts(config.verdicts.curve))
    if config.metrics.tls is not None and not _given_later(config.metrics.tls.key):
        tls_context(config.metrics.tls)
        facts.append("metrics by TLS: certificates and key checked")
    return "\n".join([*(f"# {fact}" for fact in facts), resolved(config)]).rstrip()


def _line_facts(config: InspectorConfig, open_camera: bool) -> list[str]:
    recipe = admit_recipe(config)
    threshold = recipe.manifest.threshold
    facts = [
        f"recipe {recipe.manifest.name} v{recipe.manifest.version}: content hash {recipe.content_hash[:12]} checked",
        f"threshold {threshold.value:.6g}: {threshold.method}, at most {threshold.promise:.3%} of good parts rejected "
        f"at {threshold.confidence:.0%} confidence (target {threshold.target:.3%})",
    ]
    if (shadow := admit_shadow(config)) is not None:
        facts.append(f"shadow {shadow.manifest.name} v{shadow.manifest.version}: judges and does not act")
    if config.archive is not None:
        facts.append(_archive_facts(config.archive))
    if open_camera:
        camera = create_camera(config.camera)
        try:
            camera.open()
        finally:
            camera.close()
        facts.append(f"camera {config.camera.kind}: opened and closed")
    return facts


def _keys_facts(curve: CurveKeys) -> str:
    """The keys can be read, unless systemd gives the secret one to the service only."""
    if not _given_later(curve.secret_key):
        load_keys(curve, "verdicts.curve")
    return f"verdicts may be read by: {', '.join(client_names(curve, 'verdicts.curve').values()) or 'nobody'}"


def _given_later(secret: Path) -> bool:
    return secret.is_relative_to(_CREDENTIALS) and not secret.exists()


def _archive_facts(archive: Archive) -> str:
    """The archive's folder, or the nearest one that exists, can be written and has room."""
    there = next(folder for folder in (archive.folder, *archive.folder.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"archive.folder: {there} can't be written by this user; choose another folder")
    free_gb = shutil.disk_usage(there).free / 1e9
    return f"archive in {archive.folder}: quota {archive.quota_bytes / 1e9:.3g} GB, {free_gb:.3g} GB are free there"


def resolved(config: InspectorConfig) -> str:
    """The configuration with every default, as YAML; the password of a camera's URL is left out."""
    data = config.model_dump(mode="json")
    for camera in (data["camera"], *(view["camera"] for view in data["views"].values())):
        if "source" in camera:
            camera["source"] = re.sub(r"//[^/]*@", "//***@", camera["source"])
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
