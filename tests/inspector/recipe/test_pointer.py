"""A link to the recipe in use is moved at once, and a folder is never replaced."""

from __future__ import annotations

from pathlib import Path

from inspector.recipe.store import point_to


def test_a_link_is_moved(tmp_path: Path) -> None:
    first, second, link = tmp_path / "a", tmp_path / "b", tmp_path / "current"
    first.mkdir()
    second.mkdir()
    link.symlink_to(first)
    (tmp_path / ".current.partial").symlink_to(first)  # of a process that was killed
    assert point_to(link, second)
    assert link.resolve() == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "current"]


def test_a_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    folder.mkdir()
    assert not point_to(folder, tmp_path / "b")
    assert folder.is_dir()
