"""The mapping gives what the authors' public code gives, and does what the papers' equations say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from inspector.models.feature_mapping import (
    HierarchyMapping,
    PositionEncoding,
    fuse,
    image_score,
    mapping_loss,
    score_map,
    unit_norm,
)
from inspector.models.network import MappingPyramid, NetworkShape
from inspector.models.position import position_code

VARIANTS: list[PositionEncoding] = ["none", "add", "concat"]
SIDES = ("source", "target")
LATENTS = (12, 16, 20)


@pytest.fixture(scope="module")
def reference(shared: Callable[[str], Path]) -> dict[str, Tensor]:
    return load_file(shared("parity/feature_mapping.safetensors"))


def pyramid(reference: dict[str, Tensor], variant: PositionEncoding) -> MappingPyramid:
    """The package's own network with the reference's parameters."""
    channels = [tuple(reference[f"feature_{side}.{k}"].shape[1] for k in (1, 2, 3)) for side in SIDES]
    shape = NetworkShape(channels[0], channels[1], LATENTS, position=variant, input_px=(64, 64))
    sizes = [tuple(reference[f"feature_source.{k}"].shape[-2:]) for k in (1, 2, 3)]
    mapping = MappingPyramid(shape, sizes).eval()
    for index, hierarchy in enumerate(mapping.hierarchies):
        prefix = f"{variant}.{index + 1}."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in reference.items()
            if name.startswith(prefix) and "layer" in name
        }
        missing, unexpected = hierarchy.load_state_dict(state, strict=False)
        assert unexpected == []
        assert all(name.endswith("num_batches_tracked") for name in missing)
    return mapping


def pairs(reference: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [
        (unit_norm(reference[f"feature_source.{k}"]), unit_norm(reference[f"feature_target.{k}"])) for k in (1, 2, 3)
    ]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("level", [1, 2, 3])
def test_mapped_features_and_score_maps_are_the_references(
    reference: dict[str, Tensor], variant: PositionEncoding, level: int
) -> None:
    mapping = pyramid(reference, variant)
    source, target = pairs(reference)[level - 1]
    with torch.inference_mode():
        mapped = mapping.hierarchies[level - 1](source, target, *mapping.codes(level - 1))
        anomaly = score_map(source, target, *mapped)
    for side, found in zip(SIDES, mapped, strict=True):
        torch.testing.assert_close(found, reference[f"{variant}.{level}.mapped_{side}"], rtol=0, atol=1e-5)
    torch.testing.assert_close(anomaly, reference[f"{variant}.{level}.score_map"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_fused_map_and_image_score_are_the_references(reference: dict[str, Tensor], variant: PositionEncoding) -> None:
    with torch.inference_mode():
        scores, maps = pyramid(reference, variant)(pairs(reference))
    torch.testing.assert_close(maps, reference[f"{variant}.fused_map"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores, reference[f"{variant}.image_score"].view(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["add", "concat"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("level", [1, 2, 3])
def test_position_codes_are_the_references(reference: dict[str, Tensor], variant: str, side: str, level: int) -> None:
    expected = reference[f"{variant}.{level}.position_{side}"]
    torch.testing.assert_close(position_code(*expected.shape), expected, rtol=0, atol=1e-5)


def test_variants_differ() -> None:
    # Without this, parity of a position code that never enters would prove nothing.
    torch.manual_seed(3)
    source, target = unit_norm(torch.rand(1, 8, 4, 4)), unit_norm(torch.rand(1, 16, 4, 4))
    codes = position_code(8, 4, 4)[None], position_code(16, 4, 4)[None]
    mapping = HierarchyMapping(8, 16, 6, "add").eval()
    with torch.inference_mode():
        with_code = mapping(source, target, *codes)
        mapping.position = "none"
        without = mapping(source, target, *codes)
    assert not torch.allclose(with_code[0], without[0], atol=1e-3)


@pytest.mark.parametrize("position", ["add", "concat"])
def test_position_encoding_needs_its_codes(position: PositionEncoding) -> None:
    with pytest.raises(ValueError, match="needs the position codes"):
        HierarchyMapping(8, 8, 4, position)(torch.rand(1, 8, 2, 2), torch.rand(1, 8, 2, 2))


def test_parameters_of_the_papers_pair() -> None:
    # PFM paper, Tables I and II: ResNet-34 to ResNet-50 with c = 200, 400, 900 has 21.55 M parameters.
    widths = zip((64, 128, 256), (256, 512, 1024), (200, 400, 900), strict=True)
    counts = [sum(p.numel() for p in HierarchyMapping(*width).parameters()) for width in widths]
    assert [round(count / 1e6, 2) for count in counts] == [0.89, 3.56, 17.10]
    assert round(sum(counts) / 1e6, 2) == 21.55


def test_both_directions_share_one_layer_and_nothing_else() -> None:
    mapping = HierarchyMapping(8, 16, 6)
    mapping(torch.rand(2, 8, 2, 2), torch.rand(2, 16, 2, 2))[1].sum().backward()
    assert mapping.shared.layer3.weight.grad is not None
    assert all(parameter.grad is not None for parameter in mapping.source_to_target.parameters())
    assert all(parameter.grad is None for parameter in mapping.target_to_source.parameters())


def test_one_direction_maps_the_source_alone() -> None:
    # PFM is half of B-PFM: the same layers, no mapped source, and a distance that is not halved (eq. 8).
    torch.manual_seed(4)
    both, one = HierarchyMapping(8, 16, 6), HierarchyMapping(8, 16, 6, bidirectional=False)
    kept = {name: value for name, value in both.state_dict().items() if not name.startswith("target_to_source")}
    one.load_state_dict(kept)
    source, target = unit_norm(torch.rand(2, 8, 3, 3)), unit_norm(torch.rand(2, 16, 3, 3))
    with torch.inference_mode():
        mapped_source, mapped_target = one.eval()(source, target)
        assert torch.equal(mapped_target, both.eval()(source, target)[1])
    assert mapped_source is None
    distance = (mapped_target - target).square()
    torch.testing.assert_close(score_map(source, target, None, mapped_target), distance.sum(dim=1, keepdim=True))
    torch.testing.assert_close(mapping_loss(source, target, None, mapped_target), distance.mean())
    assert [direction for direction, _ in one.directions(source, target)] == [one.source_to_target]


def test_form_of_the_paper_normalises_what_is_mapped() -> None:
    torch.manual_seed(5)
    raw, unit = HierarchyMapping(8, 16, 6), HierarchyMapping(8, 16, 6, mapped="unit")
    unit.load_state_dict(raw.state_dict())
    source, target = unit_norm(torch.rand(2, 8, 3, 3)), unit_norm(torch.rand(2, 16, 3, 3))
    with torch.inference_mode():
        for of_code, of_paper in zip(raw.eval()(source, target), unit.eval()(source, target), strict=True):
            torch.testing.assert_close(of_paper, unit_norm(of_code))
            assert not torch.allclose(of_paper, of_code, atol=1e-2)


def test_features_are_divided_by_their_norm_at_each_place() -> None:
    features = torch.rand(2, 5, 3, 4) * 100
    norms = unit_norm(features).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(2, 3, 4))
    assert torch.equal(unit_norm(torch.zeros(1, 5, 1, 1)), torch.zeros(1, 5, 1, 1))  # no division by zero


def test_loss_is_the_mean_of_each_direction_summed() -> None:
    source, target = torch.rand(2, 4, 3, 3), torch.rand(2, 8, 3, 3)
    mapped_source, mapped_target = torch.rand(2, 4, 3, 3), torch.rand(2, 8, 3, 3)
    expected = (target - mapped_target).square().mean() + (source - mapped_source).square().mean()
    torch.testing.assert_close(mapping_loss(source, target, mapped_source, mapped_target), expected)


def test_score_map_sums_over_channels_and_halves() -> None:
    source, target = torch.zeros(1, 4, 1, 1), torch.zeros(1, 8, 1, 1)
    found = score_map(source, target, torch.full((1, 4, 1, 1), 2.0), torch.full((1, 8, 1, 1), 1.0))
    assert found.shape == (1, 1, 1, 1)
    assert found.item() == (4 * 4 + 8 * 1) / 2


def test_score_map_of_half_precision_is_float32() -> None:
    half = torch.rand(1, 4, 2, 2).half()
    assert score_map(half, half, half + 0.1, half).dtype == torch.float32


def test_maps_are_resized_without_aligned_corners_and_averaged() -> None:
    ramp = torch.tensor([[[[0.0, 1.0]]]])
    fused = fuse([ramp, torch.full((1, 1, 1, 1), 2.0)], (1, 4))
    torch.testing.assert_close(fused, (torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]) + 2.0) / 2)


def test_image_score_is_the_largest_value_and_keeps_nan() -> None:
    maps = torch.zeros(3, 1, 4, 4)
    maps[0, 0, 2, 3], maps[1, 0, 0, 0], maps[2, 0, 1, 1] = 5.0, 7.0, torch.nan
    scores = image_score(maps)
    assert scores[:2].tolist() == [5.0, 7.0]
    assert scores[2].isnan()
