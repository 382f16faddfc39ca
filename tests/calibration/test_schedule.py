"""What the presets are, and how their rates run."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from calibration.schedule import SCHEDULES, Schedule, schedule_named
from inspector.domain.errors import DataError


def test_published_schedule_is_the_papers() -> None:
    published = schedule_named("published")
    assert (published.sampling, published.batch, published.epochs) == ("images", (8, 8, 8), 200)
    assert (published.rates, published.decay, published.warmup) == ((3e-3, 3e-4, 3e-4), "constant", 0.0)
    assert (published.clip, published.weight_decay, published.closed_form) == (None, 1e-5, False)


@pytest.mark.parametrize("name", ["fast", "stable"])
def test_what_runs_by_default_is_stable(name: str) -> None:
    schedule = schedule_named(name)
    assert schedule.clip == 1.0
    assert schedule.decay == "cosine"


def test_presets_carry_their_names() -> None:
    assert all(schedule.name == name for name, schedule in SCHEDULES.items())


def test_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"'slow'; known are fast, stable, published"):
        schedule_named("slow")


@pytest.mark.parametrize(("images", "steps"), [(8, 200), (9, 400), (320, 8000)])
def test_last_partial_batch_of_an_epoch_is_kept(images: int, steps: int) -> None:
    assert schedule_named("stable").total_steps(images) == steps


def test_steps_over_locations_don_t_depend_on_the_number_of_images() -> None:
    fast = schedule_named("fast")
    assert fast.total_steps(10) == fast.total_steps(1000) == fast.steps


def test_rate_climbs_and_falls() -> None:
    schedule = Schedule("x", "locations", (1, 1, 1), steps=100, rates=(1.0, 2.0, 4.0), warmup=0.1)
    rates = [schedule.rate(2, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert 0.0 < rates[-1] < 1e-3 * 2.0


def test_constant_rate_is_constant() -> None:
    schedule = replace(schedule_named("published"))
    assert {schedule.rate(1, step, 100) for step in range(100)} == {3e-3}
    assert {schedule.rate(3, step, 100) for step in range(100)} == {3e-4}


def test_published_schedule_of_pefm_is_its_papers() -> None:
    published = schedule_named("published", "pefm")
    assert (published.batch, published.epochs, published.rates) == ((16, 16, 16), 200, (3e-4, 3e-4, 3e-4))
    assert schedule_named("fast", "pefm") == schedule_named("fast")


def test_flows_have_schedules_of_their_own() -> None:
    published = schedule_named("published", "cflow-ad")
    assert (published.sampling, published.batch, published.epochs) == ("shuffled", (256, 256, 256), 25 * 8)
    assert (published.rates, published.weight_decay, published.clip) == ((2e-4, 2e-4, 2e-4), 0.0, None)
    assert published.level_steps(2, 1000) == 200 * 4
    fast = schedule_named("fast", "cflow-ad")
    assert fast.level_steps(1, 10) == fast.level_steps(3, 10**6) == fast.steps
    with pytest.raises(DataError, match=r"'stable'; known are fast, published"):
        schedule_named("stable", "cflow-ad")
