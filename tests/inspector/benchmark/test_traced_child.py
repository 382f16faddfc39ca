"""The collector as a traced process has it, and what it leaves as it was."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator

import pytest

from inspector.benchmark.traced_child import CollectorMode, collector, forcing


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    gc.unfreeze()
    freeze = gc.freeze
    yield
    assert gc.freeze is freeze
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize(
    ("mode", "frozen", "collecting"),
    [
        ("frozen", True, True),
        ("default", False, True),
        ("off", False, False),
        ("frozen-forced", True, True),
        ("default-forced", False, True),
    ],
)
def test_the_call_to_freeze_does_what_the_mode_says(mode: CollectorMode, frozen: bool, collecting: bool) -> None:
    with collector(mode):
        gc.freeze()
        assert (gc.get_freeze_count() > 0) is frozen
        assert gc.isenabled() is collecting


def test_all_is_as_before_after_an_error() -> None:
    def fail() -> None:
        with collector("off"):
            gc.freeze()
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_a_forcing_clock_collects_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(1))
    clock_ns = forcing(itertools.count(0, 40).__next__, every_ns=100)
    counts = []
    for _ in range(7):
        clock_ns()
        counts.append(len(collections))
    assert counts == [0, 0, 1, 1, 1, 2, 2]
