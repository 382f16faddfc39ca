"""The refiner's view of the archive: nothing waits while the index can't be read, and nothing is taken for done."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inspector.outputs.archive import INDEX, ArchiveFolder
from inspector.roles.refiner_backlog import Backlog


def test_an_index_that_is_not_there_yet_or_made_anew_meanwhile(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path / "archive", "ab12")
    assert backlog.newest() == (None, 0)
    assert backlog.state("any") == "waiting"
    archive = ArchiveFolder(tmp_path / "archive", quota_bytes=10_000_000, quota_s=1e9)
    record = {"run": "r", "station": "s", "decision": "fail", "cause": "c", "score": 2.0, "source": "", "time": 1.7e9}
    first, second = (
        archive.keep(record | {"part": part, "recipe_hash": "ab12"}, np.zeros((4, 4), np.uint8)) for part in (1, 2)
    )
    assert backlog.newest() == (second, 2)
    assert backlog.newest({second.name}) == (first, 2)
    assert backlog.newest({first.name, second.name}) == (None, 2)
    archive.outline(first.name, {"problem": "x"}, b"")
    assert [backlog.state(entry.name) for entry in (first, second)] == ["done", "waiting"]
    archive.close()
    for path in archive.path.glob(f"{INDEX}*"):
        path.unlink()
    (archive.path / INDEX).write_bytes(b"no index" * 1000)
    assert backlog.newest() == (None, 0)
    assert backlog.state(first.name) == "waiting"
    archive = ArchiveFolder(tmp_path / "archive", quota_bytes=10_000_000, quota_s=1e9)
    assert backlog.newest() == (second, 1)
    archive._delete(second)
    assert backlog.state(second.name) == "gone"
    archive.close()
