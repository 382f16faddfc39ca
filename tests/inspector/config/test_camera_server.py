from __future__ import annotations

from pathlib import Path

import pytest

from inspector.config.cameras import RemoteCamera, SyntheticCamera
from inspector.config.load import load_camera_server, parse_config
from inspector.domain.errors import ConfigError

BASE = "curve: {secret_key: keys/m.key_secret, clients: clients}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    return path


def test_a_camera_to_be_served_is_read_with_paths_of_the_file(tmp_path: Path) -> None:
    config = load_camera_server(written(tmp_path, BASE + "camera: {kind: synthetic, rate: 5}\n"))
    assert isinstance(config.camera, SyntheticCamera)
    assert config.curve.secret_key == tmp_path / "keys/m.key_secret"
    assert config.listen == "tcp://0.0.0.0:5562"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("camera: {kind: synthetic}\n", "camera: add rate"),
        ("camera: {kind: folder, path: parts}\n", "camera: add rate"),
        ("camera: {kind: remote, connect: tcp://a:1, server_key: k, secret_key: s}\n", "not kind: remote"),
        ("camera: {kind: synthetic, rate: 5}\nlisten: ipc:///run/x\n", "expected tcp://0.0.0.0:PORT"),
        ("camera: {kind: synthetic, rate: 5}\nlisten: tcp://eth0:5\n", "no IP address"),
        ("camera: {kind: synthetic, rate: 5}\nstation: s\n", "station: unknown key; known here: camera, curve, listen"),
        ("camera: {kind: synthetic, rate: 5, zzz: 1}\n", "camera.zzz: unknown key"),
    ],
)
def test_what_can_not_be_served_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_camera_server(written(tmp_path, BASE + text))
    assert expected in str(error.value)
    assert f"{tmp_path}/camera.yaml:" in str(error.value)


def test_there_is_no_camera_without_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="curve: missing"):
        load_camera_server(written(tmp_path, "camera: {kind: synthetic, rate: 5}\n"))


def test_a_station_names_its_remote_camera(tmp_path: Path) -> None:
    camera = "{kind: remote, connect: 'tcp://10.0.0.7:5562', server_key: m.key, secret_key: s.key_secret}"
    config = parse_config(f"station: s\nrecipe: r\ncamera: {camera}\n", tmp_path / "i.yaml")
    assert isinstance(config.camera, RemoteCamera)
    assert config.camera.server_key == tmp_path / "m.key"
    with pytest.raises(ConfigError, match=r"camera\.secret_key: missing"):
        parse_config(
            "station: s\nrecipe: r\ncamera: {kind: remote, connect: 'tcp://a:1', server_key: k}\n", tmp_path / "i.yaml"
        )
