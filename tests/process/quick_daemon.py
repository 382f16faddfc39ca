"""The command `inspector`, with the quick worker in the place of the real one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from inspector.cli.main import main
from inspector.roles import crew, shared_worker
from inspector.roles.child import Child


class QuickChild(Child):
    """A child process; the worker is the quick one."""

    def __init__(self, role: str, *rest: Any, **options: Any) -> None:
        super().__init__(role, *rest, **options)
        if role == "worker":
            self.command = [sys.executable, str(Path(__file__).with_name("quick_worker.py"))]


if __name__ == "__main__":
    crew.Child = shared_worker.Child = QuickChild  # type: ignore[misc]
    sys.exit(main())
