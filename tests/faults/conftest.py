"""Real daemons, as for the tests of the whole line."""

from __future__ import annotations

from ..process.conftest import parts, quick_recipe, start, start_quick

__all__ = ["parts", "quick_recipe", "start", "start_quick"]
