"""Recipes on disk: an immutable folder whose content hash is checked on every load. No torch here."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from inspector.domain.errors import RecipeError
from inspector.recipe.manifest import SCHEMA, RecipeManifest

MANIFEST = "recipe.yaml"
WEIGHTS = "weights.safetensors"
CONTENT = "content.sha256"

#: Tensor names in weights.safetensors that are not parameters of the network.
SCORES = "calibration.scores"
GOLDEN_FRAME = "golden.frame"


@dataclass(frozen=True)
class Recipe:
    """A recipe whose content hash has been checked.

    Attributes:
        folder: Where it lies.
        manifest: recipe.yaml.
        content_hash: SHA-256 of the list of file hashes, 64 hex digits: the recipe's identity.
    """

    folder: Path
    manifest: RecipeManifest
    content_hash: str

    @property
    def weights_path(self) -> Path:
        """The tensors' file."""
        return self.folder / WEIGHTS

    def calibration_scores(self) -> NDArray[np.float64]:
        """Scores of the calibration's good parts that the networks never saw, ascending."""
        return np.sort(self.array(SCORES).astype(np.float64))

    def golden_frame(self) -> NDArray[np.uint8]:
        """The self-check's frame, uint8, (H, W) or (H, W, 3)."""
        return self.array(GOLDEN_FRAME).astype(np.uint8, copy=False)

    def array(self, name: str) -> NDArray[Any]:
        """One tensor of the weights file.

        Raises:
            RecipeError: It isn't there.
        """
        try:
            with safe_open(self.weights_path, framework="numpy") as tensors:
                value: NDArray[Any] = tensors.get_tensor(name)
                return value
        except (SafetensorError, OSError) as error:
            raise RecipeError(f"{self.weights_path}: can't read {name}: {error}") from error


def load_recipe(folder: Path) -> Recipe:
    """Opens a recipe and checks every byte of it against its content hash.

    Raises:
        RecipeError: Missing, incomplete, tampered with, of a foreign version or malformed; the message says which
            file and what to do.
    """
    if not folder.is_dir():
        raise RecipeError(f"{folder}: no such recipe; make one with 'calibrate train DATA --recipe {folder}'")
    for name in (MANIFEST, WEIGHTS, CONTENT):
        if not (folder / name).is_file():
            raise RecipeError(f"{folder}: {name} is missing, so this is no complete recipe; calibrate again")
    try:
        listed = (folder / CONTENT).read_bytes()
        text = (folder / MANIFEST).read_bytes()
        actual = _content(folder)
    except OSError as error:
        raise RecipeError(f"{folder}: can't be read: {error}") from error
    if listed != actual.encode():
        known = listed.decode("ascii", "replace").splitlines()
        changed = [line.split()[1] for line in actual.splitlines() if line not in known]
        raise RecipeError(
            f"{folder}: {', '.join(sorted(changed)) or CONTENT} is not what the calibration wrote (changed or "
            "truncated); restore the folder from a backup or calibrate again. Recipes are never edited by hand"
        )
    return Recipe(folder, _parse(text, folder / MANIFEST), hashlib.sha256(actual.encode()).hexdigest())


def write_recipe(folder: Path, manifest: RecipeManifest, weights: bytes) -> Recipe:
    """Writes a recipe whole or not at all.

    Args:
        folder: Must not exist yet: a recipe is never overwritten.
        manifest: Its manifest.
        weights: Bytes of weights.safetensors.

    Raises:
        RecipeError: The folder exists or can't be written; nothing is left behind.
    """
    if folder.exists():
        raise RecipeError(f"{folder} exists; recipes are immutable, choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise RecipeError(f"{folder}: can't be written: {error}") from error
    try:
        text = yaml.safe_dump(manifest.model_dump(mode="json"), sort_keys=False, width=110, allow_unicode=True)
        _write_synced(scratch / MANIFEST, text.encode())
        _write_synced(scratch / WEIGHTS, weights)
        _write_synced(scratch / CONTENT, _content(scratch).encode())
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        raise RecipeError(f"{folder}: can't be written: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return load_recipe(folder)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _content(folder: Path) -> str:
    """The list of hashes, in the format that ``sha256sum --check`` reads."""
    lines = []
    for name in (MANIFEST, WEIGHTS):
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        lines.append(f"{digest.hexdigest()}  {name}\n")
    return "".join(lines)


def _parse(text: bytes, path: Path) -> RecipeManifest:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from error
    found = data.get("schema_version") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise RecipeError(
            f"{path}: format version {found}, this program reads version {SCHEMA}; use the program's version that "
            "made the recipe, or calibrate again"
        )
    try:
        return RecipeManifest.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{path}: {key}: {first['msg']}") from error


def point_to(link: Path, folder: Path) -> bool:
    """Lets a link name another recipe, at once for whoever looks; a path that is no link stays as it is.

    Returns:
        True if it was a link.

    Raises:
        OSError: The link can't be replaced.
    """
    if not link.is_symlink():
        return False
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(folder.resolve())
    partial.replace(link)
    return True
