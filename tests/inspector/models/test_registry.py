"""What every detector must be, whichever it is: out of a recipe, alone with its image, and in two parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from inspector.models import registry
from inspector.models.backbones import backbone_names
from inspector.models.detector import Detector
from inspector.models.folding import fold_batch_norms
from inspector.models.partition import partition
from inspector.models.recipe_network import load_network
from inspector.recipe.manifest import DetectorName
from inspector.recipe.store import Recipe, load_recipe

from ...detectors import RECORDS, built, record_of

SIZE_PX = (64, 96)


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, *SIZE_PX, generator=torch.Generator().manual_seed(17))


@pytest.fixture(scope="module", params=RECORDS)
def detector(request: pytest.FixtureRequest) -> tuple[str, Detector]:
    return request.param, built(request.param, SIZE_PX)


def test_every_detector_of_the_manifest_is_known() -> None:
    assert set(registry._BUILDERS) == set(get_args(DetectorName)) == set(RECORDS)
    assert {"resnet_synth", "squeezenet1_1"} <= set(backbone_names())


def test_scores_and_maps(detector: tuple[str, Detector]) -> None:
    with torch.inference_mode():
        scores, maps = detector[1](images())
    assert (scores.shape, maps.shape) == ((3,), (3, 1, *SIZE_PX))
    assert scores.dtype == maps.dtype == torch.float32
    assert scores.isfinite().all()
    assert float(scores.min()) >= 0
    assert len(set(scores.tolist())) == 3


def test_score_of_an_image_depends_on_no_other(detector: tuple[str, Detector]) -> None:
    with torch.inference_mode():
        together = detector[1](images())
        for number, image in enumerate(images()):
            alone = detector[1](image[None])
            torch.testing.assert_close(alone.scores[0], together.scores[number], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(alone.anomaly_maps[0], together.anomaly_maps[number], rtol=1e-3, atol=1e-4)


def test_pixels_that_are_not_numbers_give_a_score_that_is_none(detector: tuple[str, Detector]) -> None:
    bad = images()
    bad[1, 0, 40, 40] = torch.nan
    with torch.inference_mode():
        scores = detector[1](bad).scores
    assert scores.isnan().tolist() == [False, True, False]


def test_comes_back_from_its_recipe_as_it_went_in(
    detector: tuple[str, Detector], write_detector: Callable[..., Recipe]
) -> None:
    name, sent = detector
    recipe = write_detector(sent, record_of(name), SIZE_PX)
    received = load_network(load_recipe(recipe.folder))
    assert type(received) is type(sent)
    assert not received.training
    assert not any(parameter.requires_grad for parameter in received.parameters())
    with torch.inference_mode():
        expected, found = sent(images()), received(images())
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.anomaly_maps, expected.anomaly_maps)


def test_body_and_head_of_the_folded_network_are_the_detector(detector: tuple[str, Detector]) -> None:
    body, head = partition(fold_batch_norms(detector[1]))
    with torch.inference_mode():
        expected, found = detector[1](images()), head(body(images()))
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.anomaly_maps, expected.anomaly_maps, rtol=1e-3, atol=1e-3)
