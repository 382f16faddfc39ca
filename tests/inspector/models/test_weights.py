"""Weights are what their file says, and a file that doesn't fit is refused with what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inspector.domain.errors import DataError
from inspector.models.backbones import torchvision_model
from inspector.models.bundled import bundled_names
from inspector.models.weights import LoadedBackbone, load_backbone

NAME = "squeezenet1_1"  # the smallest


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(21)
    return torchvision_model(NAME).state_dict()


def parameters(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(parameters(first), parameters(second), strict=True))


def first_layer(loaded: LoadedBackbone) -> Tensor:
    return loaded.module.state_dict()["stages.0.0.weight"]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("stem", [NAME, f"{NAME}-b8a52dc0", f"{NAME}.imagenet"])
def test_file_in_torchvisions_layout_is_taken(tmp_path: Path, state: dict[str, Tensor], stem: str, suffix: str) -> None:
    path = tmp_path / (stem + suffix)
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    (tmp_path / "squeezenet1_0.pth").write_bytes(b"of another backbone")
    (tmp_path / "wide_squeezenet1_1.pth").write_bytes(b"of another backbone")
    (tmp_path / f"{NAME}.txt").write_text("notes")
    loaded = load_backbone(NAME, "imagenet", tmp_path)
    assert (loaded.name, loaded.weights) == (NAME, "imagenet")
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(first_layer(loaded), state["features.0.weight"])
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())


def test_half_precision_becomes_float32_and_what_is_not_used_may_be_missing(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    used = {key: tensor.half() for key, tensor in state.items() if not key.startswith("classifier")}
    save_file(used, tmp_path / f"{NAME}.safetensors")
    loaded = load_backbone(NAME, "imagenet", tmp_path)
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {torch.float32}
    assert torch.equal(first_layer(loaded), state["features.0.weight"].half().float())


def test_missing_tensor_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file({k: v for k, v in state.items() if k != "features.12.squeeze.bias"}, tmp_path / f"{NAME}.safetensors")
    with pytest.raises(DataError, match=r"not the weights of squeezenet1_1: features\.12\.squeeze\.bias is missing"):
        load_backbone(NAME, "imagenet", tmp_path)


def test_tensor_of_another_shape_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state | {"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / f"{NAME}.safetensors")
    with pytest.raises(DataError, match=r"features\.0\.weight has shape \(64, 3, 5, 5\), expected \(64, 3, 3, 3\)"):
        load_backbone(NAME, "imagenet", tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("data", [b"", b"junk", b"junk" * 100, b"PK\x03\x04junk", b"\x80\x02junk", b"\x80\x02}q\x00."])
def test_file_that_holds_no_tensors_is_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    # torch's unpickler ends in errors of many kinds, some of which came out as a traceback.
    (tmp_path / f"{NAME}{suffix}").write_bytes(data)
    with pytest.raises(DataError, match=rf"{NAME}{suffix}: can't be read as weights"):
        load_backbone(NAME, "imagenet", tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, state: dict[str, Tensor], suffix: str, share: float) -> None:
    path = tmp_path / f"{NAME}{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="can't be read as weights"):
        load_backbone(NAME, "imagenet", tmp_path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"features.0.weight": 5}, {"state_dict": {}}, "text"])
def test_checkpoint_that_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / f"{NAME}.pth")
    with pytest.raises(DataError, match=f"not the weights of {NAME}"):
        load_backbone(NAME, "imagenet", tmp_path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "touched"),)

    torch.save({"features.0.weight": Evil()}, tmp_path / f"{NAME}.pth")
    with pytest.raises(DataError, match="can't be read as weights"):
        load_backbone(NAME, "imagenet", tmp_path)
    assert not (tmp_path / "touched").exists()


def test_folder_without_the_weights_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no weights of {NAME}; put {NAME}\.safetensors or torchvision's"):
        load_backbone(NAME, "imagenet", tmp_path)
    with pytest.raises(DataError, match="no such folder of weights"):
        load_backbone(NAME, "imagenet", tmp_path / "none")


def test_two_files_that_would_do_are_one_too_many(tmp_path: Path) -> None:
    for name in (f"{NAME}.safetensors", f"{NAME}-b8a52dc0.pth"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"2 files could be .*b8a52dc0\.pth, squeezenet1_1\.safetensors\); leave one"):
        load_backbone(NAME, "imagenet", tmp_path)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet9000", "imagenet", "unknown backbone 'resnet9000'; known are resnet_synth"),
        (NAME, "bundled", "no weights of squeezenet1_1 are bundled"),
        (bundled_names()[0], "imagenet", "has no ImageNet weights"),
        (NAME, "coco", "unknown weights 'coco'"),
        (NAME, "random", "unknown weights 'random'"),
        (NAME, "random:", "unknown weights"),
        (NAME, "random:-1", "unknown weights"),
        (NAME, "random:1.5", "unknown weights"),
        (NAME, f"random:{1 << 63}", "the seed must be below"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(name: str, weights: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_backbone(name, weights)


@pytest.mark.parametrize("name", [NAME, *bundled_names()])
def test_random_weights_are_their_seeds(name: str) -> None:
    torch.manual_seed(1)
    first = load_backbone(name, "random:7")
    torch.manual_seed(2)
    again = load_backbone(name, "random:7")
    other = load_backbone(name, "random:8")
    assert same(first.module, again.module)
    assert not same(first.module, other.module)
    assert first.sha256 == again.sha256 == hashlib.sha256(b"random:7").hexdigest()
    assert first.sha256 != other.sha256


def test_random_weights_leave_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_backbone(bundled_names()[0], f"random:{(1 << 63) - 1}")
    assert torch.equal(torch.rand(4), expected)


def test_torchs_cache_is_used_without_a_download(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_a, **_k: pytest.fail("downloaded"))
    (tmp_path / "checkpoints").mkdir()
    torch.save(state, tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    assert torch.equal(first_layer(load_backbone(NAME, "imagenet")), state["features.0.weight"])


def test_download_that_fails_names_the_file_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_arguments: object, **_options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(DataError, match=r"no route to host.*squeezenet1_1-b8a52dc0\.pth into a folder"):
        load_backbone(NAME, "imagenet")


@pytest.mark.parametrize(
    ("name", "key", "place"),
    [
        ("squeezenet1_1", "features.0.weight", "stages.0.0.weight"),
        ("mobilenet_v2", "features.0.0.weight", "stages.0.blocks.0.0.weight"),
        ("mobilenet_v2", "features.7.conv.0.1.bias", "stages.1.expansion.1.bias"),
    ],
)
def test_real_imagenet_weights_load_and_see_something(
    shared: Callable[[str], Path], name: str, key: str, place: str
) -> None:
    path = shared(f"weights/{name}-imagenet.safetensors")
    loaded = load_backbone(name, "imagenet", path.parent)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(loaded.module.state_dict()[place], load_file(path)[key].float())
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        taps = loaded.module(images)
    for tap in taps:
        assert tap.isfinite().all()
        assert 0.05 < (tap > 0).float().mean() < 0.95  # neither dead nor saturated
        assert tap.std() > 0.01
