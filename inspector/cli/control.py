"""`inspector status`, `pause`, `resume`, `recipe activate` and `rollback`: requests to a running daemon."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from inspector.config.load import load_config
from inspector.config.schema import InspectorConfig
from inspector.domain.errors import FatalError
from inspector.wire.control import Request, ask
from inspector.wire.endpoints import runtime_folder

#: A recipe is checked, loaded and proven within so long, or something is wrong.
_CHANGE_S = 600.0


def control(
    config_path: Path, action: Literal["status", "pause", "resume", "reload"], *, why: str = "", as_json: bool = False
) -> str:
    """Asks the daemon that runs with a configuration, and says how its line stands then.

    Raises:
        ConfigError: The configuration is wrong, or no daemon runs with it.
        FatalError: The daemon refused.
    """
    answer = _asked(_folder(load_config(config_path), config_path), Request(action=action, why=why))
    if as_json:
        return json.dumps(answer)
    views = answer.pop("views", [])
    return "\n\n".join(_lines(part) for part in (answer, *views))


def change_recipe(config_path: Path, view: str | None, recipe: Path | None, why: str) -> str:
    """Lets the running line take up a recipe, and waits until it has.

    Args:
        config_path: The configuration that the daemon runs with.
        view: Which view, where the station has several.
        recipe: The recipe's folder; None for the one that was in use before.
        why: Reason, for the audit log.

    Returns:
        What is in use now, for people.

    Raises:
        ConfigError: The configuration is wrong, or no daemon runs with it.
        FatalError: The recipe was not taken up; the line goes on with the one that it had.
    """
    config = load_config(config_path)
    line = config.line_of(view)
    folder = _folder(config, config_path)
    if recipe is None:
        request = Request(action="rollback", view=view, why=why)
    else:
        request = Request(action="activate", view=view, recipe=recipe.absolute(), why=why)
    answer = _line(_asked(folder, request), line.station)
    until = time.monotonic() + _CHANGE_S
    while not answer["changeover"].endswith(": done"):
        if ": failed" in answer["changeover"] or time.monotonic() > until:
            raise FatalError(f"the line goes on with the recipe that it had; {answer['changeover']}")
        time.sleep(0.2)
        answer = _line(_asked(folder, Request(action="status")), line.station)
    told = f"recipe {answer['recipe']} version {answer['recipe_version']} is in use: {answer['folder']}"
    if line.recipe.is_symlink():
        return f"{told}; so it is after a restart, since {line.recipe} names it now"
    return f"{told}. After a restart it is {line.recipe} again: change recipe: in {config_path}, or make it a link"


def _folder(config: InspectorConfig, config_path: Path) -> Path:
    # systemd gives the daemon its folder in the environment; who asks from a shell has to know it.
    environ = dict(os.environ)
    service = Path(f"/run/inspector-{config_path.stem}")  # of the unit in deploy/systemd
    if service.exists():
        environ.setdefault("RUNTIME_DIRECTORY", str(service))
    return runtime_folder(config.runtime_dir, config.station, environ)


def _asked(folder: Path, request: Request) -> dict[str, Any]:
    answer = ask(folder, request)
    if not answer.pop("ok", False):
        raise FatalError(str(answer.get("error", "the daemon refused without a word")))
    return answer


def _line(answer: dict[str, Any], station: str) -> dict[str, Any]:
    """What a status says of one line."""
    found: dict[str, Any] = next(line for line in answer.get("views", [answer]) if line["station"] == station)
    return found


def _lines(status: dict[str, Any]) -> str:
    width = max(map(len, status))
    return "\n".join(f"{name.replace('_', ' '):{width}}  {_shown(value)}" for name, value in status.items())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
