"""Rendered parts: the same for the same number, alike where they are good, visibly wrong where they are not."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.cameras.conveyor import scene as scene_module
from inspector.cameras.conveyor.defects import DEFECT_CLASSES
from inspector.cameras.conveyor.rendering import GOOD, Batch, RenderedPart, conspicuity, render_part
from inspector.cameras.conveyor.scene import Scene, build_scene
from inspector.domain.frame import Pixels

#: Measured over 1000 defective parts: the 16th strongest pixel of a defect changes by at least 18 grey levels
#: and at least 39 pixels by 12 or more, in the 256 x 256 input of the network.
STRONGEST_PX, STRONGEST_LEVELS = 16, 15
VISIBLE_PX, VISIBLE_LEVELS = 30, 12


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(384, 384)


@pytest.fixture(scope="module")
def small() -> Scene:
    return build_scene(64, 64)


def pair(scene: Scene, seed: int, number: int) -> tuple[RenderedPart, RenderedPart]:
    """The same part with and without its defect."""
    return (
        render_part(scene, seed, number, defect_ratio=1.0),
        render_part(scene, seed, number, defect_ratio=0.0),
    )


def as_input(pixels: Pixels) -> NDArray[np.float32]:
    """As the network sees the frame."""
    grey = np.asarray(pixels, np.float32) if pixels.ndim == 2 else np.asarray(pixels.mean(axis=2), np.float32)
    return np.asarray(cv2.resize(grey, (256, 256), interpolation=cv2.INTER_AREA), np.float32)


def test_part_does_not_depend_on_those_before(scene: Scene) -> None:
    alone = render_part(scene, 5, 7, defect_ratio=0.5)
    for number in (7, 0, 6):
        render_part(scene, 5, number, defect_ratio=0.9)
    again = render_part(build_scene(384, 384), 5, 7, defect_ratio=0.5)
    assert np.array_equal(alone.pixels, again.pixels)
    assert np.array_equal(alone.mask, again.mask)
    assert alone.label == again.label


def test_no_two_parts_are_alike(small: Scene) -> None:
    parts = [
        render_part(small, seed, number, defect_ratio=0.0, batch=batch).pixels.tobytes()
        for seed in (0, 1, 2**40)
        for number in (0, 1, 2, 10**6)
        for batch in Batch
    ]
    assert len(set(parts)) == len(parts)


def test_batches_differ_in_everything(small: Scene) -> None:
    """A calibration on the very frames that are inspected would prove nothing."""
    for seed in range(20):
        first, second = (render_part(small, seed, 0, defect_ratio=0.0, batch=batch) for batch in Batch)
        assert np.mean(first.pixels != second.pixels) > 0.5


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.7, 1.0])
def test_share_of_defects(small: Scene, ratio: float) -> None:
    parts = 300
    bad = sum(render_part(small, 3, number, defect_ratio=ratio).defect_class != GOOD for number in range(parts))
    assert abs(bad - ratio * parts) <= 4 * np.sqrt(parts * ratio * (1 - ratio))


def test_good_part_stays_the_same_at_another_ratio(small: Scene) -> None:
    for number in range(40):
        part = render_part(small, 8, number, defect_ratio=0.4)
        if part.defect_class == GOOD:
            assert np.array_equal(part.pixels, render_part(small, 8, number, defect_ratio=0.0).pixels)
            assert not part.mask.any()
        else:
            assert np.array_equal(part.pixels, render_part(small, 8, number, defect_ratio=1.0).pixels)
            assert part.mask.any()


def test_classes_are_equally_likely(small: Scene) -> None:
    parts = 300
    classes = Counter(render_part(small, 1, number, defect_ratio=1.0).defect_class for number in range(parts))
    assert set(classes) == set(DEFECT_CLASSES)
    share = 1 / len(DEFECT_CLASSES)
    for count in classes.values():
        assert abs(count - share * parts) < 4 * np.sqrt(parts * share * (1 - share))


def test_every_defect_can_be_seen_and_is_marked(scene: Scene) -> None:
    """Mask and pixels agree, and a careful person sees the defect in the network's input."""
    seen: Counter[str] = Counter()
    for number in range(90):
        bad, good = pair(scene, 21, number)
        differs = bad.pixels != good.pixels
        assert not differs[~bad.mask].any(), f"{bad.label} changed outside of its mask"
        assert differs[bad.mask].mean() > 0.8, f"the mask of {bad.label} is too wide"
        assert 0.001 < bad.mask.mean() < 0.03
        change = np.sort(np.abs(as_input(bad.pixels) - as_input(good.pixels)), axis=None)[::-1]
        assert change[STRONGEST_PX - 1] >= STRONGEST_LEVELS, f"{bad.label} is too faint"
        assert np.count_nonzero(change >= VISIBLE_LEVELS) >= VISIBLE_PX, f"{bad.label} is too small"
        seen[bad.defect_class] += 1
    assert min(seen[defect_class] for defect_class in DEFECT_CLASSES) >= 8


def test_defects_vary_in_place_and_size(scene: Scene) -> None:
    places: dict[str, list[tuple[float, float, float]]] = {defect_class: [] for defect_class in DEFECT_CLASSES}
    for number in range(60):
        part = render_part(scene, 2, number, defect_ratio=1.0)
        rows, columns = np.nonzero(part.mask)
        places[part.defect_class].append((rows.mean(), columns.mean(), float(rows.size)))
    for defect_class, found in places.items():
        spread = np.ptp(np.array(found), axis=0)
        assert spread[0] > 100, defect_class
        assert spread[1] > 100, defect_class
        assert max(area for *_, area in found) > 2 * min(area for *_, area in found), defect_class


def test_good_parts_are_homogeneous(scene: Scene) -> None:
    """No good part stands out: the threshold promises a false-reject rate of about 1 %, and means it."""
    small = [
        cv2.resize(render_part(scene, 6, number, defect_ratio=0.0).pixels, (64, 64), interpolation=cv2.INTER_AREA)
        for number in range(200)
    ]
    images = np.asarray(small, np.float64)
    brightness = images.mean(axis=(1, 2))
    assert brightness.std() > 0.01 * brightness.mean()
    assert np.abs(brightness / brightness.mean() - 1).max() < 0.07
    cells = images.reshape(len(images), 8, 8, 8, 8).mean(axis=(2, 4))
    assert (np.abs(cells - cells.mean(axis=0)) / cells.std(axis=0)).max() < 5
    distance = np.abs(images - images.mean(axis=0)).mean(axis=(1, 2))
    assert distance.max() < 1.7 * np.median(distance)
    assert distance.min() > 0.4 * np.median(distance)


def test_looks_like_a_photograph(scene: Scene) -> None:
    """Exposed like one: a dark belt, a lighter part, hardly a pixel at either end of the range, a little noise."""
    pixels = render_part(scene, 1, 0, defect_ratio=0.0).pixels
    assert np.mean(pixels == 255) < 0.001
    assert np.mean(pixels == 0) < 0.001
    assert 30 < pixels[:20].mean() < 80
    assert 100 < np.median(pixels[120:260, 75:110]) < 180
    smooth = np.asarray(cv2.GaussianBlur(np.asarray(pixels, np.float32), (0, 0), 1.0), np.float32)
    assert 0.5 < np.std(pixels - smooth) < 6


@pytest.mark.parametrize(("width", "height"), [(64, 64), (100, 64), (64, 300), (640, 480), (1000, 90)])
@pytest.mark.parametrize("colour", [False, True])
def test_any_size(width: int, height: int, colour: bool) -> None:
    scene = build_scene(width, height, colour=colour)
    for number in range(4):
        bad, good = pair(scene, 12, number)
        assert bad.pixels.shape == ((height, width, 3) if colour else (height, width))
        assert bad.pixels.dtype == np.uint8
        assert bad.pixels.flags.c_contiguous
        assert bad.mask.shape == (height, width)
        differs = bad.pixels != good.pixels
        assert differs[bad.mask].any()
        assert not differs[~bad.mask].any()


@pytest.mark.parametrize(("width", "height"), [(64, 64), (384, 384), (640, 480)])
def test_part_lies_within_the_frame(width: int, height: int) -> None:
    """Belt on every side, in frames of every size and pose."""
    scene = build_scene(width, height)
    for number in range(30):
        pixels = np.asarray(render_part(scene, 4, number, defect_ratio=0.0).pixels, np.float64)
        for border in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
            assert border.mean() < 80


def test_industrial_size() -> None:
    scene = build_scene(2448, 2048)
    bad, good = pair(scene, 2, 1)
    assert bad.pixels.shape == bad.mask.shape == (2048, 2448)
    assert not (bad.pixels != good.pixels)[~bad.mask].any()
    change = np.sort(np.abs(as_input(bad.pixels) - as_input(good.pixels)), axis=None)[::-1]
    assert change[STRONGEST_PX - 1] >= STRONGEST_LEVELS


@pytest.mark.parametrize("colour", [False, True])
def test_very_large_frames_are_enlarged(monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    monkeypatch.setattr(scene_module, "_LARGEST_PX", 40_000)
    scene = build_scene(1300, 1100, colour=colour)
    assert scene.render_width_px * scene.render_height_px < 45_000
    for number in range(3):
        bad, good = pair(scene, 1, number)
        assert bad.pixels.shape[:2] == bad.mask.shape == (1100, 1300)
        differs = bad.pixels != good.pixels
        assert bad.mask.any()
        assert differs[bad.mask].mean() > 0.5
        assert not differs[~bad.mask].any()
    # The noise is as fine as in frames that are not enlarged.
    fine = np.asarray(good.pixels, np.float32)
    assert np.std(fine - np.asarray(cv2.GaussianBlur(fine, (0, 0), 1.0))) > 0.5


def test_colours_of_belt_paint_and_metal() -> None:
    scene = build_scene(384, 384, colour=True)
    grey = build_scene(384, 384)
    images = [render_part(scene, 3, number, defect_ratio=0.0).pixels for number in range(10)]
    mean = np.mean(images, axis=0)
    red, green, blue = mean[:20].mean(axis=(0, 1))
    assert green > blue > red
    saturation = np.ptp(mean, axis=2)
    assert saturation[130:250, 50:330].mean() < 15
    paint = np.unravel_index(np.argmax(mean[..., 2] - mean[..., 0]), mean.shape[:2])
    assert mean[paint][2] > 2 * mean[paint][0]
    plain = np.mean([render_part(grey, 3, number, defect_ratio=0.0).pixels for number in range(10)], axis=0)
    assert abs(mean.mean() - plain.mean()) < 6


def test_conspicuity_grows_with_the_change_and_shrinks_in_lively_places() -> None:
    flat = np.full((256, 256), 100, np.float32)
    spot = flat.copy()
    spot[100:110, 100:110] += 20
    more = flat.copy()
    more[100:110, 100:110] += 40
    assert conspicuity(flat, flat) == 0
    assert 0 < conspicuity(spot, flat) < conspicuity(more, flat)
    lively = flat + np.where(np.arange(256) % 8 < 4, 30, -30).astype(np.float32)
    assert conspicuity(lively + (spot - flat), lively) < conspicuity(spot, flat)
    dot = flat.copy()
    dot[100:102, 100:102] += 100
    assert conspicuity(dot, flat) == 0


def test_a_larger_scale_gives_plainer_defects_of_the_same_parts() -> None:
    scene = build_scene(128, 128)
    plain = [render_part(scene, 3, n, defect_ratio=1.0, defect_scale=3.0) for n in range(30)]
    subtle = [render_part(scene, 3, n, defect_ratio=1.0) for n in range(30)]
    assert [part.label for part in plain] == [part.label for part in subtle]
    pairs = [(a, b) for a, b in zip(plain, subtle, strict=True) if a.defect_class != "missing_hole"]
    assert sum(a.mask.sum() for a, _ in pairs) > 2 * sum(b.mask.sum() for _, b in pairs)
