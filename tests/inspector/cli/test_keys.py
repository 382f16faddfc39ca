from __future__ import annotations

from pathlib import Path

import pytest

from inspector.cli.main import main


def test_a_pair_is_made_and_where_each_file_goes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "office", "--output", str(tmp_path / "keys")]) == 0
    said = capsys.readouterr().out
    public, secret = tmp_path / "keys/office.key", tmp_path / "keys/office.key_secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert public.is_file()
    assert f"{secret}: secret" in said
    assert "the folder `clients`" in said
    assert "secret-key" not in said


def test_a_pair_that_is_there_already_is_kept(tmp_path: Path) -> None:
    assert main(["keys", "office", "--output", str(tmp_path)]) == 0
    before = (tmp_path / "office.key_secret").read_text()
    assert main(["keys", "office", "--output", str(tmp_path)]) == 65
    assert (tmp_path / "office.key_secret").read_text() == before
