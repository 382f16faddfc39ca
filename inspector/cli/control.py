"""`inspector status`, `pause` and `resume`: requests to the running daemon of a configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from inspector.config.load import load_config
from inspector.domain.errors import FatalError
from inspector.wire.control import Request, ask
from inspector.wire.endpoints import runtime_folder


def control(
    config_path: Path, action: Literal["status", "pause", "resume"], *, why: str = "", as_json: bool = False
) -> str:
    """Asks the daemon that runs with a configuration, and says how its line stands then.

    Raises:
        ConfigError: The configuration is wrong, or no daemon runs with it.
        FatalError: The daemon refused.
    """
    config = load_config(config_path)
    # systemd gives the daemon its folder in the environment; who asks from a shell has to know it.
    environ = dict(os.environ)
    service = Path(f"/run/inspector-{config_path.stem}")  # of the unit in deploy/systemd
    if service.exists():
        environ.setdefault("RUNTIME_DIRECTORY", str(service))
    folder = runtime_folder(config.runtime_dir, config.station, environ)
    answer = ask(folder, Request(action=action, why=why))
    if not answer.pop("ok", False):
        raise FatalError(str(answer.get("error", "the daemon refused without a word")))
    if as_json:
        return json.dumps(answer)
    width = max(map(len, answer))
    return "\n".join(f"{name.replace('_', ' '):{width}}  {_shown(value)}" for name, value in answer.items())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
