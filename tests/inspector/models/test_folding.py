from __future__ import annotations

import pytest
import torch
from torch import nn

from inspector.models.backbones import build_backbone
from inspector.models.folding import fold_batch_norms
from inspector.models.network import build_network


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("resnet_synth", "vovnet_synth"),
        ("resnet18", "resnet50"),
        ("mobilenet_v2", "vgg16_bn"),
        ("squeezenet1_1", "resnet34"),
    ],
)
def test_a_folded_network_gives_the_same_scores_and_has_no_batch_norm_left(source: str, target: str) -> None:
    torch.manual_seed(3)
    network = build_network(build_backbone(source), build_backbone(target), latents=(8, 8, 8), input_px=(64, 64))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that a fold must not ignore
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    network.eval()
    images = torch.randn(2, 3, 64, 64)
    folded = fold_batch_norms(network)
    with torch.inference_mode():
        assert torch.allclose(folded(images).scores, network(images).scores, rtol=2e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), "the original stays as it is"
