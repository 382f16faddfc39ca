"""What a calibration is asked to do, and its identity for resuming."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import inspector
from calibration.schedule import Schedule, schedule_named
from calibration.split import Split
from inspector.domain.errors import DataError
from inspector.models.backbones import backbone_names
from inspector.models.bundled import bundled_names
from inspector.models.feature_mapping import PositionEncoding
from inspector.recipe.manifest import NAME_PATTERN

_LIGHT = {*bundled_names(), "squeezenet1_1", "mobilenet_v2"}
_HEAVY = {"resnet50", "resnet101", "resnet152", "wide_resnet50_2"}
#: Latent widths of the PFM paper, Table II, by (source, target); others follow `default_latents`.
_PUBLISHED_LATENTS = {
    ("resnet18", "resnet34"): (50, 100, 200),
    ("resnet18", "resnet50"): (200, 400, 900),
    ("resnet34", "resnet50"): (200, 400, 900),
    ("vgg16_bn", "vgg19_bn"): (200, 400, 400),
}

#: Fields of a plan that change neither a training nor a score.
_WITHOUT_EFFECT = frozenset(
    {
        "data",  # its images count
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
        source: Source backbone.
        target: Target backbone.
        weights: "bundled", "imagenet" or "random:SEED".
        weights_dir: Folder with ImageNet weight files; None downloads.
        size_px: Height and width of the network's input.
        levels: Hierarchies in use.
        latents: Latent widths; None takes the published or default ones.
        position: Position encoding.
        schedule: Training schedule.
        target_rate: False-reject rate asked for.
        confidence: Confidence of the promise.
        folds: 0 for a hold-out; None chooses, see `calibration.split.split_parts`.
        calibration_share: Share of the parts that set the threshold with a hold-out.
        residual_limit: Largest accepted ratio of the held-out to the training residual, for each hierarchy.
        seed: Seed of split, initialisation and sampling.
        device: "cpu" or "cuda".
        threads: Threads on the CPU; None leaves PyTorch's choice.
        memory_bytes: Features that fit in so much stay in memory.
        scratch: Folder for features that don't; None takes the system's.
        batch: Images at once through the backbones.
    """

    data: Path
    recipe: Path
    name: str
    source: str
    target: str
    weights: str
    version: int = 1
    weights_dir: Path | None = None
    size_px: tuple[int, int] = (256, 256)
    levels: tuple[int, ...] = (1, 2, 3)
    latents: tuple[int, ...] | None = None
    position: PositionEncoding = "none"
    schedule: Schedule = field(default_factory=lambda: schedule_named("fast"))
    target_rate: float = 0.005
    confidence: float = 0.95
    folds: int | None = None
    calibration_share: float = 0.4
    residual_limit: float = 1.5
    seed: int = 1
    device: str = "cpu"
    threads: int | None = None
    memory_bytes: int = 4 << 30
    scratch: Path | None = None
    batch: int = 8

    def resolved(self) -> Plan:
        """The plan with its defaults filled in.

        Raises:
            DataError: Something can't be; says what and how to mend it.
        """
        for name in (self.source, self.target):
            if name not in backbone_names():
                raise DataError(f"unknown backbone {name!r}; known are {', '.join(backbone_names())}")
        if list(self.levels) != sorted(set(self.levels)) or not set(self.levels) <= {1, 2, 3} or not self.levels:
            raise DataError(f"levels must be an ascending subset of 1,2,3, not {','.join(map(str, self.levels))}")
        if any(side < 32 or side > 4096 for side in self.size_px):
            height, width = self.size_px
            raise DataError(f"the input size must lie between 32 and 4096 px a side, not {width} x {height} px")
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise DataError(
                f"{self.name!r} can't be the name of a recipe (letters, digits, dot, dash and underscore, at most 64); "
                "give one with --name"
            )
        if not 0 < self.target_rate < 1 or not 0 < self.confidence < 1:
            raise DataError("a false-reject rate and a confidence lie between 0 and 1, such as 0.005 and 0.95")
        if not self.residual_limit > 0:
            raise DataError(f"the residual limit must be positive, not {self.residual_limit:g}")
        latents = self.latents or default_latents(self.source, self.target, self.levels)
        if len(latents) != len(self.levels) or min(latents) < 1:
            raise DataError(f"give one positive latent width for each of the {len(self.levels)} levels")
        return replace(self, latents=latents)

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
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in images]
        identity = [inspector.__version__, facts, stats, list(backbones), asdict(split)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def default_latents(source: str, target: str, levels: Sequence[int]) -> tuple[int, ...]:
    """Latent widths: the paper's where it names the pair, else by the wider of the two networks.

    >>> default_latents("resnet34", "resnet50", (1, 3))
    (200, 900)
    """
    if (source, target) in _PUBLISHED_LATENTS:
        widths = _PUBLISHED_LATENTS[source, target]
    elif {source, target} <= _LIGHT:
        widths = (24, 48, 96)
    else:
        widths = (200, 400, 900) if {source, target} & _HEAVY else (50, 100, 200)
    return tuple(widths[level - 1] for level in levels)


def default_pair(weights: str) -> tuple[str, str]:
    """Source and target backbone where none are named: the paper's for ImageNet weights, else the bundled pair."""
    return ("resnet34", "resnet50") if weights == "imagenet" else bundled_names()
