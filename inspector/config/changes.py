"""What a changed configuration asks of a line that runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inspector.config.schema import InspectorConfig
from inspector.domain.errors import ConfigError

#: Keys of the archive that its process alone works with; the worker knows the others.
_ARCHIVE_PROCESS = ("quota_bytes", "quota_days", "format", "heatmaps", "refine_iterations")


@dataclass(frozen=True)
class Changes:
    """What is to be done, by view.

    Attributes:
        recipes: Views whose recipe is another one.
        cameras: Views whose camera process must start anew.
        archive: The archive's process must start anew.
        supervision: Time limits and restart budgets are others.
        keys: Every key that was changed, dotted.
    """

    recipes: tuple[str, ...]
    cameras: tuple[str, ...]
    archive: bool
    supervision: bool
    keys: tuple[str, ...]


def changes(old: InspectorConfig, new: InspectorConfig, *, paused: bool) -> Changes:
    """What a running station has to do to follow a new configuration.

    Args:
        old: What it runs with.
        new: What it is to run with.
        paused: No triggers are wanted now, so that a camera process may start anew without losing a part.

    Raises:
        ConfigError: Something has changed that only a restart can take up, or only a paused line; nothing is done then.
    """
    recipes, cameras, refused, unpaused = [], [], [], []
    keys = tuple(_differing(old.model_dump(mode="json"), new.model_dump(mode="json")))
    for key in keys:
        view, field = _of_view(key)
        if field == "recipe":
            recipes.append(view)
        elif field.startswith("camera.") or field == "camera":
            cameras.append(view)
            if not paused:
                unpaused.append(key)
        elif not field.startswith("supervision.") and field not in {f"archive.{name}" for name in _ARCHIVE_PROCESS}:
            refused.append(key)
    if refused:
        raise ConfigError(f"{', '.join(refused)}: can't change while the line runs; restart the daemon to take it up")
    if unpaused:
        raise ConfigError(
            f"{', '.join(unpaused)}: the camera process must start anew, and parts would go by meanwhile; pause the "
            "line first, then ask again"
        )
    return Changes(
        recipes=tuple(dict.fromkeys(recipes)),
        cameras=tuple(dict.fromkeys(cameras)),
        archive=any(key.startswith("archive.") for key in keys),
        supervision=any(key.startswith("supervision.") for key in keys),
        keys=keys,
    )


def _of_view(key: str) -> tuple[str, str]:
    """The view that a key belongs to, "" for the station's own, and the key in it."""
    parts = key.split(".", 2)
    if parts[0] == "views" and len(parts) == 3 and parts[2].split(".")[0] in ("recipe", "camera"):
        return parts[1], parts[2]
    return "", key


def _differing(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """Dotted keys whose values differ; a section that came or went is one key."""
    if isinstance(old, dict) and isinstance(new, dict) and (at == "" or old.keys() == new.keys() or "kind" in old):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _differing(old.get(name), new.get(name), f"{at}.{name}" if at else name)
    elif old != new:
        yield at
