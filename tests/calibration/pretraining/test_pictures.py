"""Fields, programs, defects, camera and crops: what the bundled backbones learn from."""

from __future__ import annotations

import pytest
import torch

from calibration.pretraining.camera import blur, normalise, photograph
from calibration.pretraining.crops import make_batch
from calibration.pretraining.defects import DEFECTS, damage
from calibration.pretraining.fields import FAMILIES, PARAMETERS, draw
from calibration.pretraining.programs import Bank, make_programs, render


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("family", range(len(FAMILIES)))
def test_every_family_draws_standardised_fields_that_depend_on_seed_and_parameters(family: int) -> None:
    u = torch.rand(4, PARAMETERS, generator=generator(1))
    fields = draw(family, u, 48, generator(2))
    assert fields.shape == (4, 48, 48)
    assert fields.isfinite().all()
    assert fields.abs().max() <= 4
    assert fields.mean(dim=(1, 2)).abs().max() < 0.3  # exactly 0 before the values are limited
    assert torch.equal(fields, draw(family, u, 48, generator(2)))
    assert not torch.equal(fields, draw(family, u, 48, generator(3))), "two pictures of one program are alike"
    assert not torch.equal(fields, draw(family, 1 - u, 48, generator(2)))


def test_programs_are_a_function_of_their_seed_and_pictures_are_images() -> None:
    programs, again, others = make_programs(6, 5), make_programs(6, 5), make_programs(6, 6)
    assert torch.equal(programs.u, again.u)
    assert not torch.equal(programs.u, others.u)
    pictures = render(programs, 32, generator())
    assert pictures.shape == (6, 3, 32, 32)
    assert pictures.isfinite().all()
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert (pictures.std(dim=(1, 2, 3)) > 0.005).sum() >= 5, "most surfaces show something"


def test_the_bank_renews_its_pictures_in_turn() -> None:
    bank = Bank(make_programs(4, 1), per_program=2, side=32, seed=3)
    first = bank.pictures.clone()
    bank.renew(3)
    changed = (bank.pictures != first).flatten(1).any(dim=1)
    assert changed.tolist() == [True] * 3 + [False] * 5
    bank.renew(5)
    bank.renew(1)  # from the first again
    assert not torch.equal(bank.pictures[0], first[0])


def test_damage_is_labelled_where_it_can_be_seen_and_nowhere_else() -> None:
    surfaces = torch.rand(64, 3, 48, 48, generator=generator(1)) * 0.5 + 0.25
    foreign = torch.rand(64, 3, 48, 48, generator=generator(2))
    damaged, labels = damage(surfaces, foreign, surfaces.flip(2), generator(3))
    assert damaged.min() >= 0
    assert damaged.max() <= 1
    assert set(labels.unique().tolist()) <= set(range(len(DEFECTS)))
    assert len(labels.unique()) > 6, "most kinds occur"
    changed = torch.nn.functional.max_pool2d((damaged - surfaces).abs().mean(dim=1, keepdim=True), 5, 1, 2)[:, 0]
    assert (changed[labels > 0] > 0.04).all()


def test_the_camera_gives_8_bit_images_some_grey_some_coloured() -> None:
    images = torch.rand(32, 3, 24, 24, generator=generator(1))
    photos = photograph(images, generator(2))
    assert (
        torch.equal((photos * 255).round(), photos * 255) or ((photos * 255).round() - photos * 255).abs().max() < 1e-4
    )
    assert photos.min() >= 0
    assert photos.max() <= 1
    grey = (photos[:, 0] == photos[:, 1]).flatten(1).all(dim=1)
    assert 5 < int(grey.sum()) < 27
    assert torch.equal(photos, photograph(images, generator(2)))


def test_blur_keeps_flat_images_and_smooths_others() -> None:
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(blur(flat, torch.ones(1)), flat)
    rough = torch.rand(1, 3, 32, 32, generator=generator())
    assert blur(rough, torch.ones(1)).std() < 0.6 * rough.std()
    assert torch.equal(blur(rough, torch.zeros(1)), rough)


def test_normalisation_is_that_of_the_recipes() -> None:
    from inspector.models.preprocess import Preprocess
    from inspector.recipe.manifest import Geometry, Normalisation

    frame = torch.randint(0, 256, (32, 32, 3), generator=generator(), dtype=torch.uint8)
    line = Preprocess(Geometry(width_px=32, height_px=32), Normalisation())(frame)
    assert torch.allclose(normalise(frame.permute(2, 0, 1)[None].float() / 255), line, atol=1e-6)


def test_a_batch_shows_each_scene_intact_and_damaged_with_its_truth() -> None:
    bank = Bank(make_programs(5, 1), per_program=2, side=48, seed=3)
    batch = make_batch(bank, 12, 32, generator(4))
    assert batch.intact.shape == batch.damaged.shape == (12, 3, 32, 32)
    assert batch.program.shape == batch.defect.shape == (12, 32, 32)
    assert batch.program.min() >= 0
    assert batch.program.max() <= 5, "the number of programs stands for plain paint"
    assert batch.defect.max() < len(DEFECTS)
    assert (batch.defect > 0).flatten(1).any(dim=1).sum() >= 8, "most second views show their defect"
    assert batch.intact.isfinite().all()
