"""A stopped calibration leaves what it takes to go on, and nothing else."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from calibration import checkpoint
from calibration.checkpoint import Checkpoints
from inspector.domain.errors import AlreadyRunning, DataError

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "done": torch.tensor(7)}


def test_state_comes_back(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "recipe", "same") as first:
        assert not first.resumed
        assert first.load("fold-1") is None
        first.save("fold-1", STATE)
        first.save_scores("fold-1", torch.tensor([0.5, 0.25]))
    with Checkpoints(tmp_path / "recipe", "same") as second:
        assert second.resumed
        state, scores = second.load("fold-1"), second.scores("fold-1")
        assert state is not None
        assert scores is not None
        assert torch.equal(state["weight"], STATE["weight"])
        assert int(state["done"]) == 7
        assert scores.dtype == torch.float64
        assert scores.tolist() == [0.5, 0.25]


def test_nothing_is_left_where_nothing_was_saved(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "recipe", "any"):
        assert list(tmp_path.iterdir()) == [tmp_path / ".recipe.training"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_the_recipe_is_written(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "recipe", "any") as checkpoints:
        checkpoints.save("final", STATE)
        checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_state_of_another_plan_is_dropped(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "recipe", "former") as former:
        former.save("fold-1", STATE)
    with Checkpoints(tmp_path / "recipe", "other") as other:
        assert not other.resumed
        assert other.load("fold-1") is None


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 100])
def test_corrupt_state_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    with Checkpoints(tmp_path / "recipe", "same") as checkpoints:
        (checkpoints.folder / "fold-1.safetensors").write_bytes(content)
        (checkpoints.folder / "fold-1.scores.safetensors").write_bytes(content)
        assert checkpoints.load("fold-1") is None
        assert checkpoints.scores("fold-1") is None


def test_truncated_state_is_as_good_as_none(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "recipe", "same") as checkpoints:
        checkpoints.save("fold-1", STATE)
        path = checkpoints.folder / "fold-1.safetensors"
        path.write_bytes(path.read_bytes()[:-4])
        assert checkpoints.load("fold-1") is None


def test_full_disk_keeps_the_former_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"as much as went on the disk")
        raise OSError(errno.ENOSPC, "No space left on device")

    with Checkpoints(tmp_path / "recipe", "same") as checkpoints:
        checkpoints.save("fold-1", STATE)
        monkeypatch.setattr(checkpoint, "save_file", full)
        with pytest.raises(DataError, match=r"No space left .* free space there and give the same command again"):
            checkpoints.save("fold-1", {"weight": torch.zeros(1)})
        state = checkpoints.load("fold-1")
        assert state is not None
        assert torch.equal(state["weight"], STATE["weight"])
        assert not list(checkpoints.folder.glob("*.partial"))


def test_what_a_killed_process_half_wrote_is_removed(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "recipe", "same") as killed:
        save_file(STATE, killed.folder / "fold-1.safetensors.partial")
    assert list(tmp_path.iterdir()) == []


def test_second_calibration_of_the_same_recipe_is_refused(tmp_path: Path) -> None:
    with (
        Checkpoints(tmp_path / "recipe", "same"),
        pytest.raises(AlreadyRunning, match="another process is calibrating"),
    ):
        Checkpoints(tmp_path / "recipe", "same")
    with Checkpoints(tmp_path / "recipe", "same"):
        pass


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file can't be written: .*choose another --recipe folder"):
        Checkpoints(tmp_path / "file" / "recipe", "same")
