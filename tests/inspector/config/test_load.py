"""Every mistake in the configuration is named with its line, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.config.cameras import FolderCamera, GenicamCamera, VideoCamera
from inspector.config.load import load_config, parse_config
from inspector.domain.errors import ConfigError

PATH = Path("/etc/line/inspector.yaml")
BASE = """\
station: press-4
recipe: recipes/tile
camera:
  kind: folder
  path: parts
"""


def mistakes(text: str) -> list[str]:
    """The lines of the message, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, PATH)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{PATH}:") for line in lines)
    return [line.removeprefix(f"{PATH}:") for line in lines]


def with_camera(*lines: str) -> str:
    return "station: s\nrecipe: r\ncamera:\n" + "".join(f"  {line}\n" for line in lines)


def test_minimal_configuration_has_defaults() -> None:
    config = parse_config(BASE, PATH)
    assert config.station == "press-4"
    assert isinstance(config.camera, FolderCamera)
    assert config.line.deadline_ms == 500
    assert config.worker.device == "cpu"


def test_relative_paths_are_those_of_the_file() -> None:
    config = parse_config(BASE + "verdicts:\n  log: /var/log/v.jsonl\nruntime_dir: run\n", PATH)
    assert config.recipe == Path("/etc/line/recipes/tile")
    assert isinstance(config.camera, FolderCamera)
    assert config.camera.path == Path("/etc/line/parts")
    assert config.verdicts.log == Path("/var/log/v.jsonl")
    assert config.runtime_dir == Path("/etc/line/run")
    assert parse_config(BASE, PATH).verdicts.log == Path("/etc/line/verdicts.jsonl")


def test_paths_in_lists_are_anchored_too() -> None:
    config = parse_config(with_camera("kind: genicam", "producers: [a.cti, /opt/b.cti]"), PATH)
    assert isinstance(config.camera, GenicamCamera)
    assert config.camera.producers == (Path("/etc/line/a.cti"), Path("/opt/b.cti"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("parts.mp4", "/etc/line/parts.mp4"),
        ("/dev/video0", "/dev/video0"),
        ("rtsp://camera/stream", "rtsp://camera/stream"),
    ],
)
def test_video_file_is_looked_for_beside_the_configuration(source: str, expected: str) -> None:
    # It is text in the schema, because it may be a URL, and was once left to the folder the daemon started in.
    config = parse_config(with_camera("kind: video", f"source: {source}"), PATH)
    assert isinstance(config.camera, VideoCamera)
    assert config.camera.source == expected


def test_file_is_read_from_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "inspector.yaml").write_text(BASE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("line/inspector.yaml")).recipe == tmp_path / "line" / "recipes" / "tile"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BASE + "linee: {}\n", "6: linee: unknown key; did you mean 'line'?"),
        (BASE + "line:\n\n  deadline: 5\n", "8: line.deadline: unknown key; did you mean 'deadline_ms'?"),
        (BASE + "metrics:\n  zzz: 5\n", "7: metrics.zzz: unknown key; known here: host, port, tls"),
    ],
)
def test_unknown_key_is_named_with_its_line_and_a_suggestion(text: str, expected: str) -> None:
    assert mistakes(text) == [expected]


def test_key_of_another_camera_is_not_suggested() -> None:
    # It said "camera.seed: unknown key; did you mean 'seed'?": the names of all the cameras were offered.
    assert mistakes(with_camera("kind: folder", "path: p", "seed: 1")) == [
        "6: camera.seed: unknown key; known here: complete_after_s, kind, loop, path, rate, watch"
    ]


def test_suggestions_reach_into_lists() -> None:
    text = with_camera("kind: genicam", "features:", "- name: Gain", "  value: 1", "- nam: Width", "  value: 2")
    assert mistakes(text) == [
        "8: camera.features.1.name: missing: add this key",
        "8: camera.features.1.nam: unknown key; did you mean 'name'?",
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["kind: foldr", "path: p"], "4: camera.kind: unknown kind; did you mean 'folder'?"),
        (["kind: 5"], "4: camera.kind: unknown kind; known here: folder, genicam, remote, synthetic, video"),
        (["path: p"], "3: camera.kind: missing: one of folder, video, synthetic, genicam, remote"),
        (["kind: folder"], "3: camera.path: missing: add this key"),
        (["kind: video", "source: 7"], "5: camera.source: Input should be a valid string"),
        (["path: p", "rate: fast", "kind: folder"], "5: camera.rate: Input should be a valid number"),
        (["kind: synthetic", "defect_ratio: 2"], "5: camera.defect_ratio: Input should be less than or equal to 1"),
    ],
)
def test_mistake_in_the_camera_names_the_key_that_is_wrong(lines: list[str], expected: str) -> None:
    assert [line.split(", unable to")[0] for line in mistakes(with_camera(*lines))] == [expected]


def test_value_that_fits_no_member_of_a_union_names_the_key_itself() -> None:
    found = mistakes(with_camera("kind: genicam", "features:", "- name: Gain", "  value: [1]"))
    assert {line.rsplit(": ", 1)[0] for line in found} == {"7: camera.features.0.value"}


@pytest.mark.parametrize("kind", ["[1]", "{a: b}", "null"])
def test_kind_that_is_no_text_is_a_mistake_like_any_other(kind: str) -> None:
    assert mistakes(with_camera(f"kind: {kind}"))[0].startswith(("3: camera", "4: camera"))


def test_every_mistake_is_reported_at_once() -> None:
    assert mistakes("station: -x-\ncamera: {kind: folder}\nworker:\n  device: tpu\n  threads: many\n") == [
        "1: station: String should match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'",
        "1: recipe: missing: add this key",
        "2: camera.path: missing: add this key",
        "4: worker.device: Input should be 'cpu' or 'cuda'",
        "5: worker.threads: Input should be a valid integer, unable to parse string as an integer",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BASE + "station: other\n", "6: station: the key stands here a second time (first on line 1)"),
        (
            BASE + "line:\n  deadline_ms: 5\n  deadline_ms: 500\n",
            "8: line.deadline_ms: the key stands here a second time (first on line 7)",
        ),
    ],
)
def test_key_that_stands_twice_is_refused(text: str, expected: str) -> None:
    assert mistakes(text) == [expected]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        (BASE + "line: 5\n", 6, "line"),
        (BASE + "line:\n", 6, "line"),
        (BASE + "line: [1]\n", 6, "line"),
        ("station: 5\n" + BASE.split("\n", 1)[1], 1, "station"),
        (BASE + "line:\n  queue_frames: 2.5\n", 7, "line.queue_frames"),
        (BASE + "verdicts:\n  log: 3\n", 7, "verdicts.log"),
        (BASE.replace("kind: folder\n  path: parts", "- a"), 3, "camera"),
    ],
)
def test_wrong_type_is_named_with_its_line(text: str, line: int, key: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith((f"{line}: {key}: Input should be", f"{line}: {key}: Input is not"))


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e400", "0", "-1"])
@pytest.mark.parametrize("key", ["line.deadline_ms", "supervision.restart_window_s", "supervision.stop_timeout_s"])
def test_time_that_is_no_positive_finite_number_is_refused(key: str, value: str) -> None:
    # An endless restart window passed the check and stopped the gate with an OverflowError.
    section, name = key.split(".")
    (found,) = mistakes(BASE + f"{section}:\n  {name}: {value}\n")
    assert found.startswith(f"7: {key}: Input should be")


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n"])
def test_empty_file_is_refused(text: str) -> None:
    assert mistakes(text)[0].startswith("1: ")


@pytest.mark.parametrize("text", ["- station\n", "station\n", "5\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert mistakes(text) == ["1: expected keys such as 'station:', 'recipe:' and 'camera:'"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("station: s\nrecipe: [\n", 3),
        ("station: s\n\tcamera: x\n", 2),
        ("station: s\na: b: c\n", 2),
        ("station: *nobody\n", 1),
        ("station: s\n---\nstation: t\n", 2),
        ("station: !!python/object/apply:os.system [true]\n", 1),
        ("station: s\nrecipe: a\0b\n", 2),
        ("station: 2001-99-99\n", 1),
        ("? [a]\n: x\n", 1),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    assert mistakes(text)[0].startswith(f"{line}: ")


@pytest.mark.parametrize("name", ["1", "on", "null", "2001-01-01"])
def test_key_that_yaml_takes_for_something_else_has_its_line(name: str) -> None:
    assert mistakes(BASE + f"line:\n  {name}: x\n") == [
        "7: line: a key is a name; quote one that YAML takes for something else"
    ]


@pytest.mark.parametrize("text", ["station: &a [*a]\n", "[" * 1500])
def test_endless_nesting_is_refused(text: str) -> None:
    assert mistakes(text) == ["1: not valid YAML: nested too deeply"]


def test_shared_settings_may_be_merged() -> None:
    config = parse_config(BASE + "line: &slow\n  deadline_ms: 900\n", PATH)
    assert config.line.deadline_ms == 900
    merged = BASE + "line:\n  <<: {deadline_ms: 700}\n  queue_frames: 3\n"
    assert parse_config(merged, PATH).line.deadline_ms == 700


def test_bytes_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "inspector.yaml"
    path.write_bytes(BASE.encode() + b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"inspector\.yaml: the configuration is not UTF-8"):
        load_config(path)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="can't read the configuration"):
            load_config(path)


VIEWS = """\
views:
  side:
    recipe: recipes/side
    camera:
      kind: synthetic
      rate: 20
    delay_ms: 120
"""


def test_views_become_lines_of_their_own() -> None:
    config = parse_config(BASE + VIEWS + "archive:\n  folder: kept\n", PATH)
    lines = config.lines()
    assert list(lines) == ["main", "side"]
    assert [line.station for line in lines.values()] == ["press-4.main", "press-4.side"]
    assert lines["side"].recipe == Path("/etc/line/recipes/side")
    assert lines["side"].camera.kind == "synthetic"
    assert [line.archive and line.archive.folder for line in lines.values()] == [
        Path("/etc/line/kept/main"),
        Path("/etc/line/kept/side"),
    ]
    assert all(not line.views for line in lines.values())
    assert config.line_of("side") == lines["side"]


def test_a_station_with_one_camera_is_its_own_line() -> None:
    config = parse_config(BASE, PATH)
    assert config.lines() == {"main": config}
    assert config.line_of(None) is config


@pytest.mark.parametrize("view", [None, "top"])
def test_a_view_must_be_named_where_there_are_several(view: str | None) -> None:
    with pytest.raises(ConfigError, match="--view: main, side"):
        parse_config(BASE + VIEWS, PATH).line_of(view)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VIEWS.replace("rate", "rte"), "11: views.side.camera.rte: unknown key; did you mean 'rate'?"),
        (VIEWS.replace("delay_ms", "dely_ms"), "12: views.side.dely_ms: unknown key; did you mean 'delay_ms'?"),
        (VIEWS.replace("synthetic", "sythetic"), "10: views.side.camera.kind: unknown kind; did you mean 'synthetic'?"),
        (VIEWS.replace("side:", "a/b:"), "6: views: 'a/b' can't be the name of a view"),
        (VIEWS.replace("side:", "main:"), "6: views: 'main' can't be the name of a view"),
        (VIEWS + "    worker:\n      shared: true\n", "13: views.side.worker: shared is a setting of the station's"),
    ],
)
def test_mistakes_in_a_view_have_their_line(text: str, expected: str) -> None:
    assert mistakes(BASE + text)[0].startswith(expected)


def test_names_of_views_must_fit_behind_the_station() -> None:
    assert "too long for a station with views" in mistakes(BASE.replace("press-4", "p" * 45) + VIEWS)[0]
