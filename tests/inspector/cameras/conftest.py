from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import pytest


class FakeClock:
    """A clock that only moves when somebody sleeps or says so."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_ns += max(1, round(seconds * 1e9))


class PulseNodes:
    """The node map of a camera that counts pulses: each of its nodes."""

    def __init__(self) -> None:
        self.node = SimpleNamespace(principal_interface_type=2)
        self.max = 2**63 - 1
        self.value = True

    def has_node(self, name: str) -> bool:
        return True

    def get_node(self, name: str) -> PulseNodes:
        return self


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def viky() -> Path:
    """The simulated GenTL producer in the genicam package: three free-running cameras."""
    spec = importlib.util.find_spec("genicam")
    producer = Path(spec.origin or "").with_name("viky.cti") if spec is not None else None
    if producer is None or not producer.is_file():
        reason = "the genicam package with its viky.cti is not installed (there are wheels for Linux and Windows)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return producer
