from __future__ import annotations

from pathlib import Path

import pytest

from inspector.config.secrets import read_secret, read_trusted
from inspector.domain.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "station.key_secret"
    path.write_text("secret")
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_secret_of_its_owner_or_of_its_group_is_read(file: Path, mode: int) -> None:
    # 0440 is what systemd's credentials look like, 0640 a file of root that the service's group may read.
    file.chmod(mode)
    assert read_secret(file, "a.b") == b"secret"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o602, 0o620, 0o660, 0o777])
def test_a_secret_that_lies_open_is_refused_with_how_to_mend_it(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"^a\.b: others may .*{mode:04o}.*chmod 600"):
        read_secret(file, "a.b")


def test_what_everybody_may_read_is_trusted_only_if_not_everybody_may_change_it(file: Path) -> None:
    file.chmod(0o644)
    assert read_trusted(file, "a.b") == b"secret"
    file.chmod(0o646)
    with pytest.raises(ConfigError, match=r"a\.b: everybody may change .*chmod o-w"):
        read_trusted(file, "a.b")


@pytest.mark.parametrize("read", [read_secret, read_trusted])
def test_a_file_that_is_not_there_or_is_a_folder_is_told(read, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match=r"^a\.b: can't read"):
            read(path, "a.b")
