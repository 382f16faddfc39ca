"""Visual inspection beside a conveyor: every triggered part gets exactly one verdict, in time."""

from __future__ import annotations

__version__ = "0.1.0"
