"""PaDiM, PatchCore and CFLOW-AD against anomalib's, on the same features: an independent implementation of each.

anomalib is no extra of this project, because it brings another OpenCV whose files lie over those of ours. In an
environment of its own: ``pip install -e . anomalib==2.7.0 pytest pytest-timeout hypothesis``, then
``pytest tests/calibration/detectors/test_anomalib.py -s``, which prints the correlations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from calibration.detectors.cflow import CflowFit
from calibration.detectors.coreset import GreedyCoreset
from calibration.detectors.padim import PadimFit
from calibration.detectors.patchcore import PatchCoreFit
from calibration.features import FeatureCache
from calibration.schedule import Schedule
from inspector.models.cflow import Cflow
from inspector.models.coupling import ConditionalFlow
from inspector.models.feature_maps import FeatureMaps
from inspector.models.padim import Padim
from inspector.models.patchcore import PatchCore

pytest.importorskip(
    "anomalib", reason="the independent implementation is not installed; pip install anomalib, best in an environment "
    "of its own"
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # its libraries' own

LAYERS = {1: "layer1", 2: "layer2", 3: "layer3"}

Cached = Callable[[nn.Module], FeatureCache]
MapsOf = Callable[[tuple[int, ...]], FeatureMaps]


class SameFeatures(nn.Module):
    """Our backbone in the place of anomalib's."""

    def __init__(self, features: FeatureMaps) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {
            LAYERS[level]: found for level, found in zip(self.features.levels, self.features.maps(images), strict=True)
        }


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        yield


def correlation(ours: Tensor, theirs: Tensor) -> float:
    return float(np.corrcoef(ours.flatten().numpy(), theirs.flatten().numpy())[0, 1])


def rank_correlation(ours: Tensor, theirs: Tensor) -> float:
    return float(spearmanr(ours.flatten().numpy(), theirs.flatten().numpy()).statistic)


def test_padim(
    maps_of: MapsOf, cached: Cached, good_images: Tensor, test_images: Tensor, record_property: Callable[..., None]
) -> None:
    from anomalib.models.image.padim.torch_model import PadimModel

    network = Padim(maps_of((1, 2, 3)), 60)
    network.channels = torch.randperm(224)[:60]
    PadimFit(network, cached(network.features), range(len(good_images))).run()

    theirs = PadimModel("resnet18", list(LAYERS.values()), pre_trained=False, n_features=60)
    theirs.feature_extractor = SameFeatures(network.features)
    theirs.idx = network.channels
    theirs.train()
    theirs.feature_extractor.eval()
    theirs(good_images)
    theirs.fit()
    theirs.eval()

    with torch.inference_mode():
        expected, found = theirs(test_images), network(test_images)
    of_scores = correlation(found.scores, expected.pred_score)
    of_maps = correlation(found.anomaly_maps, expected.anomaly_map)
    record_property("scores", of_scores)
    record_property("maps", of_maps)
    print(f"PaDiM: scores {of_scores:.6f}, maps {of_maps:.6f}")
    assert of_scores > 0.99
    assert of_maps > 0.99
    torch.testing.assert_close(
        found.scores, expected.pred_score.flatten(), rtol=0.02, atol=0.0
    )  # features kept in float16


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_patchcore(
    maps_of: MapsOf, cached: Cached, test_images: Tensor, record_property: Callable[..., None], share: float
) -> None:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    network = PatchCore(maps_of((2, 3)), 0, neighbours=9)
    PatchCoreFit(network, cached(network.features), range(20), share, seed=1).run()
    theirs = PatchcoreModel(["layer2", "layer3"], "resnet18", pre_trained=False, num_neighbors=9).eval()
    theirs.feature_extractor = SameFeatures(network.features)
    theirs.memory_bank = network.bank

    with torch.inference_mode():
        expected, found = theirs(test_images), network(test_images)
    of_scores = correlation(found.scores, expected.pred_score)
    of_maps = correlation(found.anomaly_maps, expected.anomaly_map)
    record_property("scores", of_scores)
    record_property("maps", of_maps)
    print(f"PatchCore, {len(network.bank)} patches: scores {of_scores:.6f}, maps {of_maps:.6f}")
    assert of_scores > 0.99
    assert of_maps > 0.99  # theirs are enlarged without interpolation
    torch.testing.assert_close(found.scores, expected.pred_score, rtol=2e-3, atol=0.0)  # theirs are rounded more


def test_greedy_coreset(monkeypatch: pytest.MonkeyPatch) -> None:
    from anomalib.models.components import KCenterGreedy

    points = torch.randn(300, 8)
    ours = GreedyCoreset(points, first=17)
    for _ in range(29):
        ours.step()

    class Identity:
        def fit(self, embedding: Tensor) -> None: ...

        def transform(self, embedding: Tensor) -> Tensor:
            return embedding

    theirs = KCenterGreedy(points, 0.1)
    monkeypatch.setattr(theirs, "model", Identity())
    monkeypatch.setattr(torch, "randint", lambda **_: torch.tensor([17]))
    assert theirs.select_coreset_idxs() == ours.chosen


def copied_into(decoder: Any, flow: ConditionalFlow) -> None:
    """Our weights into anomalib's couplings."""
    for block, coupling in zip(decoder.module_list, flow.couplings, strict=True):
        block.w_perm.data.copy_(coupling.rotation)
        block.w_perm_inv.data.copy_(coupling.rotation.T)
        block.global_scale.data.copy_(coupling.global_scale[None])
        block.global_offset.data.copy_(coupling.global_shift[None])
        block.subnet.load_state_dict(coupling.subnet.state_dict())


def test_cflow(
    maps_of: MapsOf, cached: Cached, good_images: Tensor, test_images: Tensor, record_property: Callable[..., None]
) -> None:
    from anomalib.models.image.cflow.torch_model import CflowModel
    from anomalib.models.image.cflow.utils import cflow_head, get_logp

    network = Cflow(maps_of((2, 3)))
    schedule = Schedule("short", "locations", (256, 256, 256), steps=60, rates=(2e-3, 2e-3, 2e-3))
    CflowFit(network, cached(network.features), range(len(good_images)), schedule, seed=1).run()

    theirs = CflowModel("resnet18", ["layer2", "layer3"], pre_trained=False, fiber_batch_size=1024)
    theirs.encoder = SameFeatures(network.features)
    theirs.decoders = nn.ModuleList(
        cflow_head(condition_vector=128, coupling_blocks=8, clamp_alpha=1.9, n_features=width) for width in (64, 128)
    )
    for decoder, flow in zip(theirs.decoders, network.flows, strict=True):
        copied_into(decoder, flow)

    with torch.inference_mode():
        maps = network.features.maps(test_images)
        for index, (features, log_likelihood) in enumerate(zip(maps, network.log_likelihoods(maps), strict=True)):
            rows = features.permute(0, 2, 3, 1).flatten(0, 2)
            base, log_determinant = theirs.decoders[index](rows, [network.code(index).repeat(len(features), 1)])
            width = features.shape[1]
            expected = get_logp(width, base, log_determinant) / width
            torch.testing.assert_close(log_likelihood.flatten(), expected, rtol=1e-3, atol=1e-4)

        # Its maxima are over the batch, here all test images; ours are constants of the good parts.
        everything = theirs(test_images)
        found = network(test_images)
    likelihood_form = 2.0 * (1.0 - (-found.anomaly_maps).exp())
    of_maps = correlation(likelihood_form, everything.anomaly_map)
    of_ranks = rank_correlation(found.anomaly_maps, everything.anomaly_map)
    of_scores = rank_correlation(found.scores, everything.pred_score)
    for name, value in (("scores", of_scores), ("maps", of_maps), ("ranks", of_ranks)):
        record_property(name, value)
    print(f"CFLOW-AD: scores (rank) {of_scores:.6f}, maps {of_maps:.6f}, maps (rank) {of_ranks:.6f}")
    assert min(of_scores, of_maps, of_ranks) > 0.99
