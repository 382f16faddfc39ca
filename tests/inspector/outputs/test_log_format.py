"""Lines of the log, for people, for programs and for systemd's journal."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.domain.errors import ConfigError
from inspector.outputs.log_format import VARIABLE, log_formatter, name_station

TEXT = "%(levelname)s worker[%(process)d]: %(message)s"


def record(level: int = logging.ERROR, message: str = "camera %s is lost", *args: object) -> logging.LogRecord:
    made = logging.LogRecord("inspector", level, "file.py", 1, message, args or ("SIM1",), None)
    made.created = 1767225600.25
    return made


def line(environ: dict[str, str], *, to_journal: bool = False, of: logging.LogRecord | None = None) -> str:
    formatter = log_formatter("worker", environ, "press-1", text=TEXT, to_journal=to_journal)
    return formatter.format(of or record())


def test_text_is_for_people() -> None:
    assert line({}) == line({VARIABLE: "text"}) == f"ERROR worker[{os.getpid()}]: camera SIM1 is lost"


def test_json_is_one_object_a_line() -> None:
    said = record(logging.WARNING, "two lines:\n%s", "“ä”")
    text = line({VARIABLE: "json"}, of=said)
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "2026-01-01T00:00:00.250+00:00",
        "level": "warning",
        "role": "worker",
        "pid": os.getpid(),
        "station": "press-1",
        "message": "two lines:\n“ä”",
    }


def test_an_exception_stays_on_its_line() -> None:
    said = record()
    try:
        raise ValueError("no such thing")
    except ValueError:
        said.exc_info = sys.exc_info()
    text = line({VARIABLE: "json"}, of=said)
    assert "\n" not in text
    assert "ValueError: no such thing" in json.loads(text)["exception"]
    lines = line({}, to_journal=True, of=said).splitlines()
    assert len(lines) > 2
    assert all(one.startswith("<3>") for one in lines)


@pytest.mark.parametrize(
    ("level", "prefix"), [(logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"), (25, "<6>")]
)
def test_the_journal_is_told_the_priority(level: int, prefix: str) -> None:
    assert line({}, to_journal=True, of=record(level)).startswith(prefix)
    text = line({VARIABLE: "json"}, to_journal=True, of=record(level))
    assert json.loads(text.removeprefix(prefix))["message"] == "camera SIM1 is lost"


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="INSPECTOR_LOG: 'xml' is no format of the log; take text or json"):
        line({VARIABLE: "xml"})


def test_the_station_is_named_once_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(log_formatter("gate", {VARIABLE: "json"}, "", text=TEXT, to_journal=True))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    name_station("press-2")
    assert json.loads(handler.format(record()).removeprefix("<3>"))["station"] == "press-2"


def run(environ: dict[str, str], *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inspector", *arguments]
    return subprocess.run(command, env=os.environ | environ, stderr=stderr, text=True, check=False)


def test_a_command_says_its_errors_in_the_chosen_format() -> None:
    done = run({VARIABLE: "json"}, "check", "-c", "/nonexistent.yaml")
    assert done.returncode == 78
    said = [json.loads(one) for one in done.stderr.splitlines()]
    assert said[0]["role"] == "gate"
    assert "/nonexistent.yaml" in said[0]["message"]
    done = run({VARIABLE: "xml"}, "check", "-c", "/nonexistent.yaml")
    assert done.returncode == 78
    assert "no format of the log" in done.stderr


def test_priorities_are_for_the_journal_alone(tmp_path: Path) -> None:
    for own, prefix in ((True, "<3>"), (False, "ERROR: ")):
        path = tmp_path / "stream"
        with path.open("w") as stream:
            status = os.fstat(stream.fileno())
            inode = status.st_ino if own else status.st_ino + 1
            environ = {"JOURNAL_STREAM": f"{status.st_dev}:{inode}"}
            run(environ, "check", "-c", "/nonexistent.yaml", stderr=stream.fileno())
        assert path.read_text().startswith(prefix)
