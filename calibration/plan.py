"""What a calibration is asked to do, and its identity for resuming."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import inspector
from calibration.detectors.registry import method_named
from calibration.schedule import Schedule
from calibration.split import Split
from inspector.domain.errors import DataError
from inspector.domain.precision import Precision
from inspector.models.backbones import backbone_names
from inspector.models.feature_mapping import MappedForm, PositionEncoding
from inspector.recipe.manifest import NAME_PATTERN

#: Fields of a plan that change neither a training nor a score.
_WITHOUT_EFFECT = frozenset(
    {
        "data",  # its images count
        "ignore",  # its file counts
        "recipe",
        "name",
        "version",
        "weights_dir",  # the hashes of the weights count
        "target_rate",  # like the next three it acts through the split alone
        "confidence",
        "folds",
        "calibration_share",
        "residual_limit",
        "threads",
        "memory_bytes",
        "scratch",
        "batch",
    }
)


@dataclass(frozen=True)
class Plan:
    """Everything that decides the outcome of a calibration.

    Attributes:
        data: Folder of good images, or a category in a known layout.
        recipe: Folder to write; must not exist.
        name: Name of the recipe.
        version: Version of the recipe.
        source: Source backbone, or the only one.
        weights: "bundled", "imagenet" or "random:SEED".
        target: Target backbone; None for a detector with one backbone.
        detector: Name of the detector. Where the fields from `levels` to `neighbours` are None, its own defaults are
            taken; None is also the only value of those that it doesn't know.
        weights_dir: Folder with ImageNet weight files; None downloads.
        size_px: Height and width of the image that is inspected: the network's input, if there are no tiles.
        tile_px: Height and width of a tile; None inspects the image as a whole.
        overlap_px: Rows and columns that neighbouring tiles share at least.
        region_px: Left, top, width and height of the part of the frame that is inspected; None takes all of it.
        ignore: Picture of a frame's size, white where pixels are not inspected.
        levels: Hierarchies in use.
        latents: Latent widths of the mappings.
        position: Position encoding of the features that are mapped.
        position_base: Constant of the position code.
        mapped: Whether mapped features are normalised before they are compared.
        smoothing_px: Deviation of a Gaussian filter of the map of the detectors that map features.
        schedule: Training schedule.
        channels: Channels that PaDiM keeps.
        coreset: Share of all patches that PatchCore keeps, in (0, 1].
        neighbours: Entries of PatchCore's bank that its image score is weighted by; 0 leaves it unweighted.
        target_rate: False-reject rate asked for.
        confidence: Confidence of the promise.
        folds: 0 for a hold-out; None chooses, see `calibration.split.split_parts`.
        calibration_share: Share of the parts that set the threshold with a hold-out.
        residual_limit: Largest accepted ratio of the held-out to the training residual, for each hierarchy.
        seed: Seed of split, initialisation and sampling.
        device: "cpu" or "cuda".
        precision: Arithmetic of the scores that set the threshold, and so of the line.
        threads: Threads on the CPU; None leaves PyTorch's choice.
        memory_bytes: Features that fit in so much stay in memory.
        scratch: Folder for features that don't; None takes the system's.
        batch: Images at once through the backbones.
    """

    data: Path
    recipe: Path
    name: str
    source: str
    weights: str
    target: str | None = None
    detector: str = "mb-pfm"
    version: int = 1
    weights_dir: Path | None = None
    size_px: tuple[int, int] = (256, 256)
    tile_px: tuple[int, int] | None = None
    overlap_px: int = 32
    region_px: tuple[int, int, int, int] | None = None
    ignore: Path | None = None
    levels: tuple[int, ...] | None = None
    latents: tuple[int, ...] | None = None
    position: PositionEncoding | None = None
    position_base: float | None = None
    mapped: MappedForm | None = None
    smoothing_px: float | None = None
    schedule: Schedule | None = None
    channels: int | None = None
    coreset: float | None = None
    neighbours: int | None = None
    target_rate: float = 0.005
    confidence: float = 0.95
    folds: int | None = None
    calibration_share: float = 0.4
    residual_limit: float = 1.5
    seed: int = 1
    device: str = "cpu"
    precision: Precision = "float32"
    threads: int | None = None
    memory_bytes: int = 4 << 30
    scratch: Path | None = None
    batch: int = 8

    @property
    def network_px(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.tile_px or self.size_px

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the one or two backbones, source first."""
        return (self.source,) if self.target is None else (self.source, self.target)

    def resolved(self) -> Plan:
        """The plan with its defaults filled in.

        Raises:
            DataError: Something can't be; says what and how to mend it.
        """
        method = method_named(self.detector)
        for name in self.backbones:
            if name not in backbone_names():
                raise DataError(f"unknown backbone {name!r}; known are {', '.join(backbone_names())}")
        levels = method.levels if self.levels is None else self.levels
        if list(levels) != sorted(set(levels)) or not set(levels) <= {1, 2, 3} or not levels:
            raise DataError(f"levels must be an ascending subset of 1,2,3, not {','.join(map(str, levels))}")
        for what, (height, width) in (("input size", self.size_px), ("size of a tile", self.network_px)):
            if not (32 <= height <= 4096 and 32 <= width <= 4096):
                raise DataError(f"the {what} must lie between 32 and 4096 px a side, not {width} x {height} px")
        if self.tile_px is not None:
            height, width = self.tile_px
            if height > self.size_px[0] or width > self.size_px[1]:
                raise DataError(f"tiles of {width} x {height} px are larger than the image; take a larger --size")
            if not 0 <= self.overlap_px < min(self.tile_px):
                raise DataError(f"tiles of {width} x {height} px can't overlap by {self.overlap_px} px")
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise DataError(
                f"{self.name!r} can't be the name of a recipe (letters, digits, dot, dash and underscore, at most 64); "
                "give one with --name"
            )
        if not 0 < self.target_rate < 1 or not 0 < self.confidence < 1:
            raise DataError("a false-reject rate and a confidence lie between 0 and 1, such as 0.005 and 0.95")
        if self.precision == "float16" and self.device != "cuda":
            raise DataError(
                "scores in float16 are computed on a GPU, and this calibration runs on the CPU; take --device cuda "
                "where there is one, else --precision bfloat16 or float32"
            )
        if not self.residual_limit > 0:
            raise DataError(f"the residual limit must be positive, not {self.residual_limit:g}")
        settled = method.settle(replace(self, levels=levels))
        if self.tile_px is not None and method.knows_places(settled):
            raise DataError(
                f"{self.detector} learns what belongs at each place, and a place of a tile is none of the part; "
                "inspect without --tile, or take --detector mb-pfm, pfm, b-pfm or patchcore with --position none"
            )
        return settled

    def fingerprint(self, images: Sequence[Path], backbones: Sequence[str], split: Split) -> str:
        """Identity of everything that trainings and scores depend on: a stopped calibration resumes only into the same.

        What only names the recipe or judges the scores may differ, and so may what only decides how fast it goes.

        Args:
            images: The good images; a changed size or time of change counts.
            backbones: Hashes of the backbones' weights.
            split: What each image is used for.

        Returns:
            SHA-256, 64 hexadecimal digits.
        """
        facts = {key: value for key, value in asdict(self).items() if key not in _WITHOUT_EFFECT}
        files = [*images, *([] if self.ignore is None else [self.ignore])]
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        identity = [inspector.__version__, facts, stats, list(backbones), asdict(split)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
