"""Real daemons, as for the tests of the whole line."""

from __future__ import annotations

from ..process.conftest import parts, start

__all__ = ["parts", "start"]
