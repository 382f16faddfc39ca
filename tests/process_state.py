"""How a process stands, as the kernel says it."""

from __future__ import annotations

from pathlib import Path


def state_of(pid: int) -> str:
    """One letter; "T" is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
