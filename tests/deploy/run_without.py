"""Imports the whole program and runs `calibrate` where the given modules are not installed."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.importlib import MetaPathFinderProtocol


class Without:
    """A finder that does not know these modules, whatever the one behind it says.

    Args:
        finder: The one behind it.
        modules: Names without a dot.
    """

    def __init__(self, finder: MetaPathFinderProtocol, modules: Sequence[str]) -> None:
        self.finder = finder
        self.modules = frozenset(modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self.modules:
            return None
        return self.finder.find_spec(fullname, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


if __name__ == "__main__":
    sys.meta_path[:] = [Without(finder, json.loads(sys.argv[1])) for finder in sys.meta_path]
    count = 0
    for package in ("inspector", "calibration"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
                count += 1
    print(f"imported {count} modules")
    from calibration.cli.main import main

    sys.exit(main(sys.argv[2:]))
