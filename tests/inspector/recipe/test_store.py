"""A recipe is written whole or not at all, and is what it was or is refused."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from inspector.domain.errors import RecipeError
from inspector.recipe import store
from inspector.recipe.manifest import RecipeManifest
from inspector.recipe.store import CONTENT, GOLDEN_FRAME, MANIFEST, SCORES, WEIGHTS, Recipe, load_recipe, write_recipe

FRAME = np.arange(48, dtype=np.uint8).reshape(6, 8)
TENSORS = {SCORES: np.array([0.75, 0.25, 0.5]), GOLDEN_FRAME: FRAME, "network.w": np.ones(3, np.float32)}
BACKBONE = {"weights": "bundled", "sha256": "ab" * 32}
MANIFEST_DATA: dict[str, Any] = {
    "name": "tile",
    "version": 1,
    "created": "2026-02-03T04:05:06+00:00",
    "geometry": {"width_px": 64, "height_px": 64, "frame_px": [8, 6], "channels": 1},
    "network": {
        "source": BACKBONE | {"name": "resnet_synth"},
        "target": BACKBONE | {"name": "vovnet_synth"},
        "levels": [1, 2],
        "latents": [8, 16],
    },
    "threshold": {
        "value": 1e-05,
        "method": "extrapolated",
        "target": 0.001,
        "promise": 0.6315789473684211,
        "confidence": 0.95,
        "sample_size": 3,
        "exceedances_allowed": 0,
        "exact": False,
        "parts_needed": 2992,
    },
    "golden": {"score": 0.1 + 0.2, "tolerance": 0.01},
    "calibration": {"data": "Fliesen für Straße 5", "losses": [0.1, 1e-9], "seed": None, "note": "2026-01-01"},
}


def write(folder: Path, data: dict[str, Any] = MANIFEST_DATA) -> Recipe:
    return write_recipe(folder, RecipeManifest.model_validate(data), save(TENSORS))


def sign(folder: Path) -> None:
    """Makes the content hash fit again, as one would who edits a recipe on purpose."""
    names = (MANIFEST, WEIGHTS)
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / CONTENT).write_text("".join(lines), encoding="ascii")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return write(tmp_path_factory.mktemp("recipes") / "tile")


@pytest.fixture
def copied(written: Recipe, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written.folder, tmp_path / "copy"))


def test_what_was_written_is_read(written: Recipe) -> None:
    recipe = load_recipe(written.folder)
    assert recipe == written
    assert recipe.manifest == RecipeManifest.model_validate(MANIFEST_DATA)
    assert recipe.manifest.golden.score == 0.1 + 0.2
    assert recipe.calibration_scores().tolist() == [0.25, 0.5, 0.75]
    assert np.array_equal(recipe.golden_frame(), FRAME)
    assert recipe.golden_frame().dtype == np.uint8
    assert recipe.weights_path == written.folder / WEIGHTS


def test_identity_is_the_content_not_the_place(written: Recipe, copied: Path) -> None:
    assert load_recipe(copied).content_hash == written.content_hash
    assert len(bytes.fromhex(written.content_hash)) == 32


def test_another_content_has_another_identity(written: Recipe, tmp_path: Path) -> None:
    assert write(tmp_path / "other", MANIFEST_DATA | {"version": 2}).content_hash != written.content_hash


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_content_can_be_checked_with_ordinary_tools(written: Recipe) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", CONTENT], cwd=written.folder, capture_output=True)
    assert done.returncode == 0


@settings(max_examples=80)
@given(name=st.sampled_from([MANIFEST, WEIGHTS, CONTENT]), place=st.integers(0, 10_000), change=st.integers(1, 255))
def test_every_flipped_byte_is_refused(written: Recipe, name: str, place: int, change: int) -> None:
    whole = (written.folder / name).read_bytes()
    data = bytearray(whole)
    data[place % len(data)] ^= change
    (written.folder / name).write_bytes(data)
    try:
        with pytest.raises(RecipeError, match="is not what the calibration wrote"):
            load_recipe(written.folder)
    finally:
        (written.folder / name).write_bytes(whole)


def test_line_end_of_the_content_list_is_content_too(copied: Path) -> None:
    # Read as text, a line feed that had become a carriage return was still a line end.
    data = (copied / CONTENT).read_bytes().replace(b"\n", b"\r")
    (copied / CONTENT).write_bytes(data)
    with pytest.raises(RecipeError, match=CONTENT):
        load_recipe(copied)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file_is_refused_by_name(copied: Path, name: str, share: float) -> None:
    data = (copied / name).read_bytes()
    (copied / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RecipeError, match=rf"{name} is not what the calibration wrote"):
        load_recipe(copied)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, CONTENT])
def test_missing_file_is_refused_by_name(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(RecipeError, match=f"{name} is missing"):
        load_recipe(copied)
    (copied / name).mkdir()
    with pytest.raises(RecipeError, match=f"{name} is missing"):
        load_recipe(copied)


def test_missing_folder_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="calibrate train"):
        load_recipe(tmp_path / "none")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema_version", 2, "format version 2, this program reads version 1"),
        ("schema_version", "1", "format version 1, this program"),
        ("schema_version", None, "format version None"),
        ("unknown", 1, "unknown: Extra inputs"),
        ("threshold", 5, "threshold: "),
        ("name", "../../etc", "name: "),
    ],
)
def test_manifest_that_does_not_fit_is_refused_although_the_hash_does(
    copied: Path, key: str, value: object, message: str
) -> None:
    data = yaml.safe_load((copied / MANIFEST).read_text(encoding="utf-8"))
    (copied / MANIFEST).write_text(yaml.safe_dump(data | {key: value}), encoding="utf-8")
    sign(copied)
    with pytest.raises(RecipeError, match=message):
        load_recipe(copied)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00", "!!python/object/apply:os.getcwd []"])
def test_manifest_that_is_no_mapping_is_refused_although_the_hash_fits(copied: Path, text: str) -> None:
    (copied / MANIFEST).write_text(text, encoding="utf-8")
    sign(copied)
    with pytest.raises(RecipeError, match=r"recipe\.yaml: (not valid YAML|format version None)"):
        load_recipe(copied)


def test_weights_that_are_no_tensors_are_refused_although_the_hash_fits(copied: Path) -> None:
    (copied / WEIGHTS).write_bytes(b"no tensors")
    sign(copied)
    with pytest.raises(RecipeError, match=f"can't read {SCORES}"):
        load_recipe(copied).calibration_scores()


def test_tensor_that_is_not_there_is_named(written: Recipe) -> None:
    with pytest.raises(RecipeError, match=r"can't read network\.nothing"):
        written.array("network.nothing")


@pytest.mark.parametrize("kind", ["recipe", "empty folder", "file"])
def test_recipe_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tile"
    if kind == "recipe":
        write(folder)
    elif kind == "empty folder":
        folder.mkdir()
    else:
        folder.write_text("kept")
    before = sorted(path.stat().st_mtime_ns for path in [folder, *folder.glob("*")])
    with pytest.raises(RecipeError, match="recipes are immutable"):
        write(folder)
    assert sorted(path.stat().st_mtime_ns for path in [folder, *folder.glob("*")]) == before
    assert list(tmp_path.iterdir()) == [folder]


def disk_full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["write", "rename"])
def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    if step == "write":
        monkeypatch.setattr(store.os, "fsync", disk_full)
    else:
        monkeypatch.setattr(Path, "rename", disk_full)
    with pytest.raises(RecipeError, match="No space left"):
        write(tmp_path / "tile")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    assert write(tmp_path / "tile").manifest.name == "tile"


def test_nothing_is_left_of_a_write_that_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_file: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "tile")
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RecipeError, match="can't be written"):
        write(tmp_path / "file" / "tile")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="can't be written"):
        write(tmp_path / "dangling")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file"]


def test_recipe_lies_where_it_was_asked_for_and_nowhere_else(tmp_path: Path) -> None:
    # The folder is the caller's choice; nothing in a recipe names a path.
    recipe = write(tmp_path / "made" / "on the way" / "tile")
    assert recipe.folder == tmp_path / "made" / "on the way" / "tile"
    assert {path.name for path in recipe.folder.iterdir()} == {MANIFEST, WEIGHTS, CONTENT}
    assert [path.name for path in recipe.folder.parent.iterdir()] == ["tile"]
    assert recipe.folder.stat().st_mode & 0o777 == 0o755
