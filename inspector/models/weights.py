"""Weights of the backbones: bundled, ImageNet's (a file or torchvision's download), or seeded random ones."""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from inspector.domain.errors import DataError
from inspector.models import bundled
from inspector.models.backbones import (
    TORCHVISION_BACKBONES,
    backbone_names,
    build_backbone,
    freeze,
    torchvision_model,
)

#: What reading a damaged file ends in: torch.load passes on whatever its unpickler trips over.
_UNREADABLE = (
    OSError,
    SafetensorError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    EOFError,
    UnpicklingError,
    struct.error,
)


@dataclass(frozen=True)
class LoadedBackbone:
    """A frozen backbone and where its weights come from.

    Attributes:
        name: Its name in `backbone_names()`.
        module: The three-stage module, eval mode, float32.
        weights: "bundled", "imagenet" or "random:SEED".
        sha256: Hash of the weight file; for random weights of the seed's text.
    """

    name: str
    module: nn.Module
    weights: str
    sha256: str


def load_backbone(name: str, weights: str, weights_dir: Path | None = None) -> LoadedBackbone:
    """Builds a backbone and fills in its weights.

    Args:
        name: One of `backbone_names()`.
        weights: "bundled", "imagenet" or "random:SEED".
        weights_dir: Folder with a file ``NAME*.safetensors`` or ``NAME*.pth`` in torchvision's state-dict layout;
            without it "imagenet" uses torchvision's own download and its cache.

    Raises:
        DataError: Unknown name or weights, missing or unfitting file, failed download; says how to mend it.
    """
    if name not in backbone_names():
        raise DataError(f"unknown backbone {name!r}; known are {', '.join(backbone_names())}")
    seed = re.fullmatch(r"random:(\d+)", weights)
    if seed:
        number = int(seed.group(1))
        if number >= 1 << 63:
            raise DataError(f"{weights}: the seed must be below 2**63")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(number)  # the CPU's alone
            module = build_backbone(name)
        return LoadedBackbone(name, module, weights, hashlib.sha256(weights.encode()).hexdigest())
    if weights == "bundled":
        if name not in bundled.bundled_names():
            raise DataError(
                f"no weights of {name} are bundled; take {' and '.join(bundled.bundled_names())}, or weights 'imagenet'"
            )
        return LoadedBackbone(name, freeze(bundled.load_bundled(name)), weights, bundled.bundled_hash(name))
    if weights == "imagenet":
        if name not in TORCHVISION_BACKBONES:
            raise DataError(f"{name} has no ImageNet weights; take weights 'bundled'")
        path = _weights_file(name, weights_dir) if weights_dir else _download(name)
        return LoadedBackbone(name, _from_file(name, path), weights, _sha256(path))
    raise DataError(f"unknown weights {weights!r}; expected 'bundled', 'imagenet' or 'random:SEED'")


def _weights_file(name: str, weights_dir: Path) -> Path:
    if not weights_dir.is_dir():
        raise DataError(f"{weights_dir}: no such folder of weights")
    found = sorted(
        path
        for path in weights_dir.iterdir()
        if re.fullmatch(rf"{re.escape(name)}([-.].*)?\.(safetensors|pth)", path.name)
    )
    if not found:
        raise DataError(
            f"{weights_dir}: no weights of {name}; put {name}.safetensors or torchvision's {name}-*.pth there"
        )
    if len(found) > 1:
        raise DataError(
            f"{weights_dir}: {len(found)} files could be the weights of {name} "
            f"({', '.join(path.name for path in found)}); leave one"
        )
    return found[0]


def _download(name: str) -> Path:
    """The V1 file of torchvision in torch's cache, downloaded if it isn't there."""
    import torchvision.models

    entry = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    target: Path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[1]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(entry.url, str(target), hash_prefix=target.stem.rsplit("-", 1)[-1])
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"can't download the ImageNet weights of {name} ({error}); put the file {target.name} into a "
                "folder and name it with --weights-dir, or take --weights bundled"
            ) from error
    return target


def _from_file(name: str, path: Path) -> nn.Module:
    model = torchvision_model(name)
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise DataError(f"{path}: can't be read as weights: {error}") from error
    if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
        raise DataError(f"{path}: not the weights of {name}: no state dict, a mapping from names to tensors")
    return freeze(_fill(name, model, state, path))


def _fill(name: str, model: nn.Module, state: dict[str, Tensor], path: Path) -> nn.Module:
    """Copies a state dict in torchvision's layout into the part of the model that is used."""
    module = TORCHVISION_BACKBONES[name].cut(model)
    used = {id(tensor) for tensor in [*module.parameters(), *module.buffers()]}
    with torch.no_grad():
        for key, tensor in model.state_dict(keep_vars=True).items():
            if id(tensor) not in used or key.endswith("num_batches_tracked"):
                continue
            if key not in state:
                raise DataError(f"{path}: not the weights of {name}: {key} is missing")
            if state[key].shape != tensor.shape:
                raise DataError(
                    f"{path}: not the weights of {name}: {key} has shape {tuple(state[key].shape)}, "
                    f"expected {tuple(tensor.shape)}"
                )
            tensor.copy_(state[key].to(tensor.dtype))
    return module


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
