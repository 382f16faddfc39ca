"""Shared by all tests."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before torch is imported anywhere: threads that spin make tests on a busy machine many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import HealthCheck, settings

from . import delays
from .gentl_simulator.plant import CompilerMissing, Plant, build_producer
from .recovery import MEASURED, Recovered, Running, add_option, seconds_to_recover, write_report
from .striped_parts import SIDE_PX, striped_part

# A shell has its background jobs ignore Ctrl-C, and they hand that on: tests of a Ctrl-C would wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, nothing about the program. New examples are for people who can
# look into what they find: CI runs the same ones each time.
settings.register_profile(
    "project",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("project")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)
    delays.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    delays.configure(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with delays.delays(item):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    write_report(session.config)


@pytest.fixture
def recovered(request: pytest.FixtureRequest) -> Recovered:
    """Measures the time to recover from a fault; it goes into the report under the test's name."""

    def measure(daemon: Running, injected_ns: int) -> float:
        seconds = seconds_to_recover(daemon, injected_ns)
        measured = request.config.stash.setdefault(MEASURED, {})
        measured[request.node.nodeid] = round(max(seconds, measured.get(request.node.nodeid, 0.0)), 3)
        return seconds

    return measure


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Finds a file or folder of the hand-outs beside the checkout; skips without them, fails under CI."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            reason = f"{path} is not there: the test needs the hand-outs beside the checkout"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(scope="session")
def gentl_producer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GenTL simulator, built; skips without a C compiler, fails under CI."""
    try:
        return build_producer(tmp_path_factory.mktemp("gentl"))
    except CompilerMissing as error:
        reason = f"the GenTL simulator needs a C compiler: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def plant(gentl_producer: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """A plant with one camera, SIM0001; processes started by the test see it too."""
    with tempfile.TemporaryDirectory(prefix="plant-") as folder:  # pytest's own paths are too long for sockets
        made = Plant(gentl_producer, Path(folder))
        for name, value in made.environ.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture(scope="session")
def random_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of the bundled pair at 64 px, its weights random, which judges fast: for tests of the chain."""
    import numpy as np
    import torch

    from inspector.models.bundled import bundled_names
    from inspector.models.network import build_network
    from inspector.models.preprocess import Preprocess
    from inspector.models.recipe_network import pack_weights
    from inspector.models.weights import load_backbone
    from inspector.recipe.manifest import (
        BackboneRecord,
        Geometry,
        Golden,
        NetworkRecord,
        Normalisation,
        RecipeManifest,
        ThresholdRecord,
    )
    from inspector.recipe.store import write_recipe

    sides = [load_backbone(name, "random:7") for name in bundled_names()]
    geometry = Geometry(width_px=64, height_px=64)
    latents = (8, 8, 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = build_network(sides[0].module, sides[1].module, latents=latents, input_px=(64, 64)).eval()
    golden = np.random.default_rng(7).integers(0, 256, (64, 64), np.uint8)
    with torch.inference_mode():
        score = float(network(Preprocess(geometry, Normalisation())(torch.from_numpy(golden))).scores[0])
    records = [BackboneRecord(name=side.name, weights=side.weights, sha256=side.sha256) for side in sides]
    manifest = RecipeManifest(
        name="random",
        version=1,
        created="2026-01-01T00:00:00+00:00",
        geometry=geometry,
        network=NetworkRecord(source=records[0], target=records[1], levels=(1, 2, 3), latents=latents),
        threshold=ThresholdRecord(
            value=score,
            method="extrapolated",
            target=0.005,
            promise=0.2,
            confidence=0.95,
            sample_size=3,
            exceedances_allowed=0,
            exact=True,
            parts_needed=595,
        ),
        golden=Golden(score=score, tolerance=0.01),
        calibration={},
    )
    scores = torch.tensor([0.9 * score, score, 1.1 * score], dtype=torch.float64)
    folder = tmp_path_factory.mktemp("recipes") / "random"
    return write_recipe(folder, manifest, pack_weights(network, scores, torch.from_numpy(golden))).folder


@pytest.fixture(scope="session")
def refinable_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration on striped parts with a small random backbone, which tells parts with a patch from them."""
    import cv2

    from calibration.plan import Plan
    from calibration.train import calibrate

    class Silence:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_: None

    folder = tmp_path_factory.mktemp("refinable")
    (folder / "good").mkdir()
    for seed in range(24):
        cv2.imwrite(str(folder / "good" / f"{seed:02d}.png"), striped_part(seed))
    plan = Plan(
        data=folder / "good",
        recipe=folder / "recipe",
        name="stripes",
        source="resnet_synth",
        weights="random:1",
        detector="padim",
        size_px=(SIDE_PX, SIDE_PX),
        channels=16,
        levels=(1,),
        folds=0,
    )
    return calibrate(plan, Silence()).folder
