"""A Bayer camera and the CUDA engine in a real line: raw over the wire, and judged as the picture that people see."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.config.schema import InspectorConfig
from inspector.domain.verdict import Verdict
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network, pack_weights
from inspector.outputs.archive import stored_entries
from inspector.recipe.manifest import Golden
from inspector.recipe.store import load_recipe, write_recipe
from inspector.roles import cuda_engine
from inspector.roles.daemon import open_station

from ..cuda_double import HostDevice
from ..gentl_simulator.plant import Plant
from .test_remote_camera import Machine

pytestmark = pytest.mark.process

PARTS = 12
PICTURES = 5
HEIGHT_PX, WIDTH_PX = 51, 72
#: The colours of the upper left cell, OpenCV's code for it, and the name that GenICam has for it.
CELLS = {
    "BayerGB10p": (((1, 2), (0, 1)), cv2.COLOR_BayerGBRG2RGB),
    "BayerRG8": (((0, 1), (1, 2)), cv2.COLOR_BayerRGGB2RGB),
}


@pytest.fixture(scope="module")
def colour_recipe(random_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random recipe for colour frames of one size, of which a region that begins within a cell is looked at."""
    import torch

    recipe = load_recipe(random_recipe)
    region = {"left": 3, "top": 1, "width": 64, "height": 48}
    frame = {"frame_px": (WIDTH_PX, HEIGHT_PX), "channels": 3, "region_px": region}
    geometry = type(recipe.manifest.geometry).model_validate(recipe.manifest.geometry.model_dump() | frame)
    network = load_network(recipe)
    golden = np.random.default_rng(8).integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    with torch.inference_mode():
        images = Preprocess(geometry, recipe.manifest.normalisation)(torch.from_numpy(golden))
        score = float(network(images).scores[0])
    update = {"geometry": geometry, "golden": Golden(score=score, tolerance=0.01)}
    scores = torch.tensor([0.9 * score, score, 1.1 * score], dtype=torch.float64)
    weights = pack_weights(network, scores, torch.from_numpy(golden))
    folder = tmp_path_factory.mktemp("recipes") / "colour"
    return write_recipe(folder, recipe.manifest.model_copy(update=update), weights).folder


def pictures_of(pixel_format: str, parts: list[np.ndarray]) -> list[np.ndarray]:
    """What OpenCV makes of what the sensor sees."""
    cell, code = CELLS[pixel_format]
    rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    colours = np.array(cell)[rows % 2, columns % 2]
    return [cv2.cvtColor(np.take_along_axis(part, colours[..., None], 2)[..., 0], code) for part in parts]


def scores_of(recipe: Path, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The same engine's, given pictures."""
    opened = load_recipe(recipe)
    monkeypatch.setattr(cuda_engine, "CudaDevice", HostDevice)
    preprocess = Preprocess(opened.manifest.geometry, opened.manifest.normalisation)
    engine = cuda_engine.build_cuda_engine(preprocess, load_network(opened), "float32", max_batch=1)
    return [engine.infer([picture])[0].score for picture in pictures]


@pytest.fixture
def camera(request: pytest.FixtureRequest, plant: Plant, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pixel format, and the simulator's camera with it: of this machine, or served by another."""
    pixel_format, remote = request.param
    features = {"PixelFormat": pixel_format, "ExposureTime": 5000.0, "AcquisitionFrameRate": 10.0}
    config = {
        "kind": "genicam",
        "producers": [str(plant.producer)],
        "serial": "SIM0001",
        "features": [{"name": name, "value": value} for name, value in features.items()],
        "free_running": True,
    }
    plant.write_parts(parts())
    if not remote:
        yield pixel_format, config
        return
    machine = Machine(tmp_path / "machine", config)
    yield pixel_format, machine.camera()
    machine.close()


def parts() -> list[np.ndarray]:
    return list(np.random.default_rng(12).integers(0, 256, (PICTURES, HEIGHT_PX, WIDTH_PX, 3), np.uint8))


@pytest.mark.parametrize("camera", [("BayerGB10p", False), ("BayerRG8", True)], ids=["here", "remote"], indirect=True)
def test_raw_frames_have_the_scores_and_the_archive_the_pictures_of_opencv(
    camera: tuple[str, dict[str, Any]], colour_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel_format, settings = camera
    archive = tmp_path / "archive"
    config = InspectorConfig.model_validate(
        {
            "station": "gpu",
            "recipe": colour_recipe,
            "camera": settings,
            "line": {"deadline_ms": 60_000},
            "worker": {"device": "cuda", "max_batch": 1, "threads": 1, "allow_random_weights": True},
            "archive": {"folder": archive, "pass_ratio": 1.0},
            "verdicts": {"endpoint": None, "log": None},
            "metrics": {"port": 0},
        }
    )
    verdicts: list[Verdict] = []

    def watch(verdict: Verdict) -> None:
        verdicts.append(verdict)
        scored = sum(verdict.score is not None for verdict in verdicts)
        gate.stopping = scored >= PARTS and any(archive.glob("20*/*.json"))

    with open_station(config, {"RUNTIME_DIRECTORY": str(tmp_path / "run")}, watcher=watch) as station:
        gate: Any = station.gate
        gate.lines[0].worker.command = [sys.executable, str(Path(__file__).with_name("mosaic_worker.py"))]
        tally = gate.run()
    assert tally.balanced
    pictures = pictures_of(pixel_format, parts())
    expected = scores_of(colour_recipe, pictures, monkeypatch)
    assert len({round(score, 4) for score in expected}) == PICTURES
    for verdict in verdicts:
        if verdict.score is not None:
            assert verdict.score == pytest.approx(expected[place(verdict.source)], rel=1e-6)
    sources = {verdict.part: verdict.source for verdict in verdicts}
    for entry in stored_entries(archive):
        stored = cv2.cvtColor(cv2.imread(str(archive / f"{entry.name}.png")), cv2.COLOR_BGR2RGB)
        assert np.array_equal(stored, pictures[place(sources[entry.part])])


def place(source: str) -> int:
    """The picture on the belt that a frame shows."""
    match = re.match(r"frame (\d+) at", source)
    assert match is not None, source
    return (int(match.group(1)) - 1) % PICTURES
