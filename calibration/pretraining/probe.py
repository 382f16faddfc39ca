"""Measures backbones as inspectors: nearest-neighbour patch scores and a short MB-PFM calibration.

The folder that is probed has MVTec AD's layout. Its test images are split into two halves by a hash of their
names: choose between recipes and checkpoints by half "a", report half "b".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from calibration.pretraining.camera import blur, normalise
from calibration.pretraining.defects import damage
from calibration.pretraining.programs import make_programs, render
from calibration.pretraining.training import backbone_weights
from inspector.domain.errors import DataError
from inspector.models.backbones import TORCHVISION_BACKBONES, freeze, torchvision_model
from inspector.models.bundled import build_bundled, bundled_names, load_bundled
from inspector.models.feature_mapping import (
    HierarchyMapping,
    fuse,
    image_score,
    mapping_loss,
    score_map,
    unit_norm,
)

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
    [False, True, False, False]
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
    surfaces = torch.cat([render(chosen.take(i), side_px, generator) for i in torch.arange(3 * count).split(8)])
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
    return ProbeSet(
        f"generated-{program}", images[:count], images[count:], defective, torch.ones_like(defective)
    )


@torch.no_grad()
def features(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    """Unit-norm feature maps of the three hierarchies, half precision."""
    maps = [backbone(chunk) for chunk in images.split(_CHUNK)]
    return [torch.cat([unit_norm(m[level]).half() for m in maps]) for level in range(3)]


@torch.no_grad()
def nearest_neighbour(backbone: nn.Module, data: ProbeSet, seed: int = 0) -> Tensor:
    """Distance of each test image's oddest patch from the nearest of remembered good patches, (M,).

    Patches are the three hierarchies' unit-norm features side by side, at the second one's resolution, as in
    PatchCore (Roth et al., CVPR 2022) but with a random memory.
    """

    def patches(images: Tensor) -> Tensor:
        maps = [unit_norm(m) for m in backbone(images)]
        size = maps[1].shape[-2:]
        third = F.interpolate(maps[2], size=size, mode="bilinear", align_corners=False)
        joined = torch.cat([F.adaptive_avg_pool2d(maps[0], size), maps[1], third], dim=1)
        return joined.flatten(2).transpose(1, 2)

    generator = torch.Generator().manual_seed(seed)
    known = [patches(chunk).flatten(0, 1) for chunk in data.train[:: max(1, len(data.train) // 96)].split(_CHUNK)]
    pool = torch.cat(known)
    memory = pool[torch.randperm(len(pool), generator=generator)[:_MEMORY]]
    norms = memory.square().sum(dim=1)
    scores = []
    for chunk in data.test.split(_CHUNK):
        found = patches(chunk)
        distance = found.square().sum(dim=2) + (norms - 2 * found @ memory.T).amin(dim=2)
        scores.append(distance.amax(dim=1))
    return torch.cat(scores)


def mapping_scores(
    pair: Pair, data: ProbeSet, latent: tuple[int, int, int] = (50, 100, 200), steps: int = 400, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Calibrates MB-PFM on the good parts and scores the test images.

    Args:
        pair: Source and target backbone.
        data: Images.
        latent: Widths of the shared layers.
        steps: Steps of Adam per hierarchy, learning rate falling from 2e-3 to 0 along a cosine.
        seed: Of initialisation and batches.

    Returns:
        Image scores (M,), and those of each hierarchy alone (3, M).
    """
    torch.manual_seed(seed)
    known = [features(backbone, data.train) for backbone in pair]
    mappings = [
        _calibrate(known[0][level].float(), known[1][level].float(), width, steps)
        for level, width in enumerate(latent)
    ]
    size = (int(data.test.shape[-2]), int(data.test.shape[-1]))
    fused, alone = [], []
    with torch.no_grad():
        for chunk in data.test.split(_CHUNK):
            source, target = ([unit_norm(m) for m in backbone(chunk)] for backbone in pair)
            maps = [score_map(s, t, *m(s, t)) for s, t, m in zip(source, target, mappings, strict=True)]
            fused.append(image_score(fuse(maps, size)))
            alone.append(torch.stack([image_score(fuse([m], size)) for m in maps]))
    return torch.cat(fused), torch.cat(alone, dim=1)


def _calibrate(source: Tensor, target: Tensor, latent: int, steps: int) -> HierarchyMapping:
    mapping = HierarchyMapping(source.shape[1], target.shape[1], latent)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=2e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    # the convolutions are 1 x 1, so a batch may be places from anywhere
    source, target = (m.permute(0, 2, 3, 1).flatten(0, 2) for m in (source, target))
    places = 2048 if source.shape[1] > 100 else 4096
    for _ in range(steps):
        pick = torch.randint(len(source), (places,))
        s, t = (m[pick].T[None, :, :, None].contiguous() for m in (source, target))
        loss = mapping_loss(s, t, *mapping(s, t))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(mapping.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return mapping.eval()


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
    surfaces: int = 4,
    steps: int = 400,
    latent: tuple[int, int, int] = (50, 100, 200),
    seed: int = 0,
) -> dict[str, float]:
    """All measurements of a pair.

    Args:
        pair: Source and target backbone, in eval mode.
        folder: Real images in MVTec AD's layout; None leaves them out.
        surfaces: Generated surfaces to probe.
        steps: Steps of the MB-PFM calibration; 0 leaves it out.
        latent: Its latent widths.
        seed: Of the calibration and of the patches that are remembered.

    Returns:
        Image AUROCs by name; ``/a`` and ``/b`` are the halves of the real images.
    """
    result: dict[str, float] = {}
    if folder is not None:
        data = load_folder(folder)
        roles = zip(("source", "target"), pair, strict=True)
        scores = {f"nn-{role}": nearest_neighbour(backbone, data, seed) for role, backbone in roles}
        if steps:
            scores["mbpfm"], alone = mapping_scores(pair, data, latent, steps, seed)
            scores |= {f"mbpfm-level{level + 1}": one for level, one in enumerate(alone)}
        for name, values in scores.items():
            for half, mask in (("a", ~data.half), ("b", data.half)):
                result[f"{name}/{half}"] = auroc(values[mask], data.defective[mask])
    for role, backbone in zip(("source", "target"), pair, strict=True):
        areas = []
        for program in range(surfaces):
            data = generated_surface(program, seed=90_001)
            areas.append(auroc(nearest_neighbour(backbone, data), data.defective))
        if areas:
            result[f"generated-nn-{role}"] = sum(areas) / len(areas)
    return result
