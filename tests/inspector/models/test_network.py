"""One network for calibration and line: any pair, any levels, one score for each image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inspector.models.backbones import build_backbone
from inspector.models.feature_mapping import PositionEncoding
from inspector.models.network import FeaturePair, InspectionNetwork, build_network, feature_sizes

LATENTS = {1: 6, 2: 8, 3: 10}


def network(
    source: str = "resnet_synth",
    target: str = "vovnet_synth",
    levels: tuple[int, ...] = (1, 2, 3),
    position: PositionEncoding = "none",
    input_px: tuple[int, int] = (64, 64),
) -> InspectionNetwork:
    torch.manual_seed(11)
    built = build_network(
        build_backbone(source),
        build_backbone(target),
        latents=tuple(LATENTS[level] for level in levels),
        levels=levels,
        position=position,
        input_px=input_px,
    )
    return built.eval()


def images(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("levels", [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)])
def test_any_levels_can_be_used(levels: tuple[int, ...]) -> None:
    built = network(levels=levels)
    assert len(built.mapping.hierarchies) == len(levels)
    with torch.inference_mode():
        scores, maps = built(images())
    assert scores.shape == (2,)
    assert maps.shape == (2, 1, 64, 64)
    assert torch.equal(scores, maps.amax(dim=(1, 2, 3)))
    assert maps.min() >= 0


@pytest.mark.parametrize("changes", [{"bidirectional": False}, {"mapped": "unit"}, {"position_base": 1000.0}])
def test_variants_of_the_papers_differ(changes: dict[str, object]) -> None:
    settings = {"latents": (6, 8, 10), "position": "add", "input_px": (64, 64)}
    maps = []
    for own in ({}, changes):
        torch.manual_seed(12)
        backbones = [build_backbone(name) for name in ("resnet_synth", "vovnet_synth")]
        torch.manual_seed(13)
        built = build_network(*backbones, **{**settings, **own}).eval()  # type: ignore[arg-type]
        with torch.inference_mode():
            maps.append(built(images()).anomaly_maps)
    assert not torch.allclose(*maps, rtol=0, atol=1e-5)


def test_fused_map_is_the_mean_of_the_levels_alone() -> None:
    whole = network()
    with torch.inference_mode():
        fused = whole(images()).anomaly_maps
        alone = []
        for index, level in enumerate((1, 2, 3)):
            single = network(levels=(level,))
            single.features.load_state_dict(whole.features.state_dict())
            single.mapping.hierarchies[0].load_state_dict(whole.mapping.hierarchies[index].state_dict())
            alone.append(single(images()).anomaly_maps)
    torch.testing.assert_close(fused, torch.stack(alone).mean(dim=0))


@pytest.mark.parametrize(
    ("source", "target"),
    [("squeezenet1_1", "mobilenet_v2"), ("mobilenet_v2", "squeezenet1_1"), ("resnet_synth", "squeezenet1_1")],
)
@pytest.mark.parametrize("position", ["none", "add", "concat"])
def test_pair_whose_feature_maps_differ_in_size_works(source: str, target: str, position: PositionEncoding) -> None:
    # SqueezeNet doesn't pad: at 64 px it has 15, 7 and 3 places where the others have 16, 8 and 4.
    built = network(source, target, position=position, input_px=(64, 96))
    own = [tuple(tap.shape[-2:]) for tap in built.features.source(images(1, 64, 96))]
    for (of_source, of_target), size in zip(built.features(images(2, 64, 96)), own, strict=True):
        assert tuple(of_source.shape[-2:]) == tuple(of_target.shape[-2:]) == size
        for features in (of_source, of_target):
            norms = features.norm(dim=1)
            torch.testing.assert_close(norms[norms > 0.5], torch.ones_like(norms[norms > 0.5]))
    assert feature_sizes(built.features, (64, 96)) == own
    with torch.inference_mode():
        scores, maps = built(images(2, 64, 96))
    assert maps.shape == (2, 1, 64, 96)
    assert scores.isfinite().all()


@pytest.mark.parametrize("position", ["none", "add", "concat"])
def test_position_codes_are_made_for_the_feature_maps_and_not_stored(position: PositionEncoding) -> None:
    built = network(position=position, input_px=(64, 96))
    for index, (width, height, columns) in enumerate([(32, 16, 24), (64, 8, 12), (128, 4, 6)]):
        codes = built.mapping.codes(index)
        if position == "none":
            assert codes == (None, None)
        else:
            assert [tuple(code.shape) for code in codes if code is not None] == [(1, width, height, columns)] * 2
    assert not any("code" in name for name in built.state_dict())


def test_position_moves_the_score_of_a_shifted_image() -> None:
    # Without a code a pure 1x1 mapping can't tell where a feature lies; with one it can.
    class Pointwise(nn.Module):
        channels = (8, 8, 8)

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 8, kernel_size=1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            features = self.layer(x).relu()
            return features, features, features

    shifted = images().roll(3, dims=-1)
    for position, moves in (("none", False), ("add", True), ("concat", True)):
        torch.manual_seed(4)
        built = build_network(
            Pointwise(), Pointwise(), latents=(4,), levels=(1,), position=position, input_px=(64, 64)
        ).eval()
        with torch.inference_mode():
            maps = built(images()).anomaly_maps.roll(3, dims=-1), built(shifted).anomaly_maps
        assert torch.allclose(*maps, atol=1e-5) is not moves


def test_image_of_a_batch_has_the_score_that_it_has_alone() -> None:
    built = network()
    with torch.inference_mode():
        together = built(images(5)).scores
        alone = torch.cat([built(image[None]).scores for image in images(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_pixels_that_are_not_numbers_give_a_score_that_is_none() -> None:
    built = network()
    bad = images()
    bad[1, 0, 40, 40] = torch.nan
    with torch.inference_mode():
        scores = built(bad).scores
    assert scores[0].isfinite()
    assert scores[1].isnan()


def test_target_is_resized_to_the_source_and_then_normalised() -> None:
    class Fixed(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.maps = torch.rand(1, 4, size, size, generator=torch.Generator().manual_seed(size))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.maps, self.maps, self.maps

    ((source, target),) = FeaturePair(Fixed(6), Fixed(4), levels=(2,))(images(1))
    resized = nn.functional.interpolate(Fixed(4).maps, size=(6, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(target, resized / resized.norm(dim=1, keepdim=True))
    torch.testing.assert_close(source, Fixed(6).maps / Fixed(6).maps.norm(dim=1, keepdim=True))
