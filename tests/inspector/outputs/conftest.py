"""A port for the tests that have to name one."""

from __future__ import annotations

import pytest

from ...ports import free_port


@pytest.fixture
def unused_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    return free_port()
