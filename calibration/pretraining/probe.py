"""Measures backbones as inspectors: nearest-neighbour patch scores and a short MB-PFM calibration.

The folder that is probed has MVTec AD's layout. Its test images are split into two halves by a hash of their
names: choose between recipes and checkpoints by half "a", report half "b".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from calibration.features import FeatureCache, LevelFeatures
from calibration.pretraining.camera import blur, normalise
from calibration.pretraining.defects import damage
from calibration.pretraining.programs import make_programs, render
from calibration.pretraining.training import backbone_weights
from calibration.schedule import Schedule, schedule_named
from calibration.training import Training
from inspector.domain.errors import DataError
from inspector.models.backbones import TORCHVISION_BACKBONES, freeze, torchvision_model
from inspector.models.bundled import build_bundled, bundled_names, load_bundled
from inspector.models.feature_mapping import unit_norm
from inspector.models.network import FeaturePair, build_network

Pair = tuple[nn.Module, nn.Module]

#: Patches of good parts that the nearest-neighbour probe remembers.
_MEMORY = 4096
_CHUNK = 16


@dataclass(frozen=True)
class ProbeSet:
    """Images of one product.

    Attributes:
        name: For the report.
        train: Good parts, (N, 3, H, W) float32, normalised for the backbones.
        test: (M, 3, H, W), likewise.
        defective: (M,) bool.
        half: (M,) bool, true for half "b".
    """

    name: str
    train: Tensor
    test: Tensor
    defective: Tensor
    half: Tensor


def auroc(scores: Tensor, defective: Tensor) -> float:
    """Area under the ROC curve: share of (defective, good) pairs in the right order, ties counted half.

    >>> auroc(torch.tensor([1.0, 2.0, 2.0, 3.0]), torch.tensor([False, True, False, True]))
    0.875
    """
    bad, good = scores[defective][:, None], scores[~defective][None, :]
    return float(((bad > good).double() + 0.5 * (bad == good).double()).mean())


def in_second_half(name: str) -> bool:
    """Whether a test image belongs to the half that is reported; a function of its name alone.

    >>> [in_second_half(f"good/{i}.jpg") for i in range(4)]
    [True, False, True, True]
    """
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def load_folder(folder: Path, side_px: int = 256) -> ProbeSet:
    """Reads a folder in MVTec AD's layout, resized to a square.

    Raises:
        DataError: If there are no images where they should be, or one can't be read.
    """
    train = sorted((folder / "train" / "good").glob("*.*"))
    test = sorted((folder / "test").glob("*/*.*"))
    if not train or not test:
        raise DataError(f"{folder} has no train/good/* or no test/*/*: give a folder in the layout of MVTec AD")
    names = [f"{file.parent.name}/{file.name}" for file in test]
    return ProbeSet(
        folder.name,
        _read(train, side_px),
        _read(test, side_px),
        torch.tensor([file.parent.name != "good" for file in test]),
        torch.tensor([in_second_half(name) for name in names]),
    )


def _read(files: Sequence[Path], side_px: int) -> Tensor:
    images = []
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise DataError(f"{file} can't be read as an image; remove it or convert it to PNG or JPEG")
        images.append(cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA))
    return normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255)


def generated_surface(program: int, seed: int, side_px: int = 192, count: int = 40) -> ProbeSet:
    """A product whose parts are pictures of one program that training never saw, under one steady camera.

    Args:
        program: Which surface.
        seed: Of the programs; another one than the training's.
        side_px: Height and width in pixels.
        count: Good parts to learn from, good parts and defective parts to test (`count` each).
    """
    device = torch.device("cpu")
    generator = torch.Generator().manual_seed(seed + program)
    chosen = make_programs(program + 1, seed).take(torch.full((3 * count,), program))
    surfaces = torch.cat([render(chosen.take(i), side_px, generator) for i in torch.arange(3 * count).view(-1, 8)])
    foreign = render(make_programs(count, seed + 1), side_px, generator)
    bad, labels = damage(surfaces[-count:], foreign, surfaces[-count:].flip(2), generator)
    seen = labels.flatten(1).any(dim=1)
    surfaces = torch.cat([surfaces[:-count], bad[seen]])
    gain = 1 + 0.05 * torch.randn(len(surfaces), 1, 1, 1, generator=generator, device=device)
    exposed = blur(surfaces, torch.full((len(surfaces),), 0.4)) * gain
    exposed = (exposed + 0.012 * torch.randn(exposed.shape, generator=generator)).clamp(0, 1)
    images = normalise(exposed)
    defective = torch.zeros(len(images) - count, dtype=torch.bool)
    defective[count:] = True
    return ProbeSet(f"generated-{program}", images[:count], images[count:], defective, torch.ones_like(defective))


@torch.no_grad()
def nearest_neighbour(backbone: nn.Module, data: ProbeSet, seed: int = 0) -> Tensor:
    """Distance of each test image's oddest patch from the nearest of remembered good patches, (M,).

    Patches are the three hierarchies' unit-norm features side by side, at the second one's resolution, as in
    PatchCore (Roth et al., CVPR 2022) but with a random memory.
    """

    def patches(images: Tensor) -> Tensor:
        maps = [unit_norm(m) for m in backbone(images)]
        size = int(maps[1].shape[-2]), int(maps[1].shape[-1])
        third = F.interpolate(maps[2], size=size, mode="bilinear", align_corners=False)
        joined = torch.cat([F.adaptive_avg_pool2d(maps[0], size), maps[1], third], dim=1)
        return joined.flatten(2).transpose(1, 2)

    generator = torch.Generator().manual_seed(seed)
    known = [patches(chunk).flatten(0, 1) for chunk in _chunks(data.train[:: max(1, len(data.train) // 96)])]
    pool = torch.cat(known)
    memory = pool[torch.randperm(len(pool), generator=generator)[:_MEMORY]]
    norms = memory.square().sum(dim=1)
    scores = []
    for chunk in _chunks(data.test):
        found = patches(chunk)
        distance = found.square().sum(dim=2) + (norms - 2 * found @ memory.T).amin(dim=2)
        scores.append(distance.amax(dim=1))
    return torch.cat(scores)


def mapping_scores(pair: Pair, data: ProbeSet, latents: tuple[int, int, int], schedule: Schedule, seed: int) -> Tensor:
    """Calibrates MB-PFM on the good parts, as `calibrate train` does, and scores the test images, (M,)."""
    height, width = int(data.test.shape[-2]), int(data.test.shape[-1])
    torch.manual_seed(seed)
    network = build_network(*pair, latents=latents, input_px=(height, width))
    with _cached(network.features, data.train) as cache:
        Training(network.mapping, cache, range(len(data.train)), schedule, seed).run()
    with torch.no_grad():
        return torch.cat([network(chunk).scores for chunk in _chunks(data.test)])


@torch.no_grad()
def _cached(features: FeaturePair, images: Tensor) -> FeatureCache:
    levels: list[LevelFeatures] = []
    first = 0
    for chunk in _chunks(images):
        pairs = features(chunk)
        if not levels:
            for source, target in pairs:
                size = int(source.shape[2]), int(source.shape[3])
                channels = source.shape[1], target.shape[1]
                levels.append(LevelFeatures(len(images), size, channels, None))
        for level, (source, target) in zip(levels, pairs, strict=True):
            level.put(first, source, target)
        first += len(chunk)
    return FeatureCache(levels, spilled=False)


def _chunks(images: Tensor) -> Iterator[Tensor]:
    for first in range(0, len(images), _CHUNK):
        yield images[first : first + _CHUNK]


def random_pair(seed: int) -> Pair:
    """The bundled architectures with random weights."""
    torch.manual_seed(seed)
    source, target = (freeze(build_bundled(name)) for name in bundled_names())
    return source, target


def shipped_pair() -> Pair:
    """The bundled backbones as shipped."""
    source, target = (load_bundled(name) for name in bundled_names())
    return source, target


def trained_pair(checkpoint: Path) -> Pair:
    """The bundled architectures with the weights of a checkpoint of `training.train`.

    Raises:
        DataError: If the file is missing or no such checkpoint.
    """
    pair = random_pair(0)
    for name, backbone in zip(bundled_names(), pair, strict=True):
        backbone.load_state_dict(backbone_weights(checkpoint, name))
    return pair


def imagenet_pair(folder: Path | None) -> Pair:
    """SqueezeNet 1.1 and MobileNetV2 with ImageNet weights, to compare with.

    Args:
        folder: Of ``squeezenet1_1-imagenet.safetensors`` and ``mobilenet_v2-imagenet.safetensors``, state dicts in
            torchvision's layout.

    Raises:
        DataError: If no folder is given or a file is missing.
    """
    pair = []
    for name in ("squeezenet1_1", "mobilenet_v2"):
        file = folder / f"{name}-imagenet.safetensors" if folder else None
        if file is None or not file.is_file():
            raise DataError(f"the ImageNet pair needs {name}-imagenet.safetensors: name its folder with --imagenet")
        model = torchvision_model(name)
        tensors = load_file(file).items()
        model.load_state_dict({key: v.float() if v.is_floating_point() else v for key, v in tensors})
        pair.append(freeze(TORCHVISION_BACKBONES[name].cut(model)))
    return pair[0], pair[1]


def probe(
    pair: Pair,
    folder: Path | None,
    *,
    surfaces: int = 4,
    latents: tuple[int, int, int] = (50, 100, 200),
    schedule: Schedule | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """All measurements of a pair.

    Args:
        pair: Source and target backbone, in eval mode.
        folder: Real images in MVTec AD's layout; None leaves them out.
        surfaces: Generated surfaces to probe.
        latents: Latent widths of the MB-PFM calibration.
        schedule: Its schedule; default that of `calibrate train`.
        seed: Of the calibration and of the patches that are remembered.

    Returns:
        Image AUROCs by name; ``/a`` and ``/b`` are the halves of the real images.
    """
    schedule = schedule or schedule_named("fast")
    result: dict[str, float] = {}
    if folder is not None:
        data = load_folder(folder)
        for name, values in _measured(pair, data, latents, schedule, seed).items():
            for half, mask in (("a", ~data.half), ("b", data.half)):
                result[f"{name}/{half}"] = auroc(values[mask], data.defective[mask])
    collected: dict[str, list[float]] = {}
    for program in range(surfaces):
        data = generated_surface(program, seed=90_001)
        for name, values in _measured(pair, data, latents, schedule, seed).items():
            collected.setdefault(f"generated-{name}", []).append(auroc(values, data.defective))
    return result | {name: sum(areas) / len(areas) for name, areas in collected.items()}


def _measured(
    pair: Pair, data: ProbeSet, latents: tuple[int, int, int], schedule: Schedule, seed: int
) -> dict[str, Tensor]:
    """Scores of the test images by each probe."""
    roles = zip(("source", "target"), pair, strict=True)
    scores = {f"nn-{role}": nearest_neighbour(backbone, data, seed) for role, backbone in roles}
    return scores | {"mbpfm": mapping_scores(pair, data, latents, schedule, seed)}
