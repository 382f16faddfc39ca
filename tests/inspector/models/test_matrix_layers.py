"""A 1x1 convolution and the matrix product in its place give the same, in every detector and precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.models.feature_mapping import ConvBlock
from inspector.models.folding import fold_batch_norms
from inspector.models.matrix_layers import MatrixLayer, use_matrix_layers
from inspector.models.partition import partition

from ...detectors import RECORDS, built

SIZE_PX = (64, 96)


def images(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, *SIZE_PX, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_it_is_the_convolution(dtype: torch.dtype, bias: bool, relu: bool) -> None:
    convolution = nn.Conv2d(8, 12, 1, bias=bias).requires_grad_(False)
    layer = MatrixLayer(convolution, relu=relu).to(dtype)
    for given in (images(8), images(8).to(memory_format=torch.channels_last)):
        expected = convolution(given)
        expected = F.relu(expected) if relu else expected
        found = layer(given.to(dtype))
        assert found.dtype == dtype
        assert found.is_contiguous(memory_format=torch.channels_last)
        precision = {torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}[dtype]
        torch.testing.assert_close(found.float(), expected, rtol=0, atol=precision)


def test_what_is_no_number_stays_none() -> None:
    layer = MatrixLayer(nn.Conv2d(8, 12, 1), relu=True)
    bad = images(8)
    bad[1, 3, 20, 30] = torch.nan
    found = layer(bad).isnan()
    assert found[1, :, 20, 30].all()
    assert int(found.sum()) == 12


def test_an_input_in_channels_last_order_is_not_copied() -> None:
    given = images(8).to(memory_format=torch.channels_last)
    rows = given.permute(0, 2, 3, 1)
    assert rows.reshape(-1, 8).data_ptr() == given.data_ptr()


@pytest.mark.parametrize("name", RECORDS)
def test_scores_and_maps_of_every_detector_stay(name: str) -> None:
    detector = built(name, SIZE_PX)
    replaced = fold_batch_norms(detector)
    use_matrix_layers(replaced)
    with torch.inference_mode():
        expected, found = detector(images()), replaced(images())
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.anomaly_maps, expected.anomaly_maps, rtol=1e-3, atol=1e-3)


def test_all_layers_of_the_mappings_are_replaced_and_follow_the_precision() -> None:
    folded = fold_batch_norms(built("mb-pfm", SIZE_PX))
    use_matrix_layers(folded)
    mapping = folded.body_modules()[1]
    layers = [module for module in mapping.modules() if isinstance(module, MatrixLayer)]
    assert len(layers) == 3 * (2 * 5 + 1)  # layer 3 is shared
    assert not any(isinstance(module, nn.Conv2d) for module in mapping.modules())
    partition(folded, torch.float16)
    assert {layer.weight.dtype for layer in layers} == {torch.float16}


def test_what_is_no_matrix_product_stays() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, padding=1), nn.Conv2d(4, 4, 1, groups=2)
    )
    network.append(ConvBlock(4, 4))  # its batch normalisation is not folded
    use_matrix_layers(network)
    assert not any(isinstance(module, MatrixLayer) for module in network.modules())
