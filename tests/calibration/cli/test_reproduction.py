"""docs/reproduction.md is true: its commands are commands, and it prints what the papers print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from calibration.cli.evaluating import _options_of
from calibration.cli.main import cli
from calibration.cli.planning import make_plan
from calibration.published import METRICS, MVTEC_COUNTS, PUBLISHED, Published, Setting, published
from calibration.refinement.__main__ import _parser
from inspector.models.backbones import backbone_names

GUIDE = Path(__file__).parents[3] / "docs" / "reproduction.md"


def lines() -> list[list[str]]:
    """The words of every command, the shared options filled in."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    (options,) = re.findall(r'^OPTIONS="(.*)"$', blocks, re.MULTILINE)
    commands = [line for line in blocks.splitlines() if line and not line.startswith("OPTIONS=")]
    return [shlex.split(command.replace("$OPTIONS", options)) for command in commands]


def comparisons() -> list[list[str]]:
    return [words for words in lines() if words[:2] == ["calibrate", "compare"]]


def tables(heading: str) -> list[list[str]]:
    """The rows of the tables under a heading."""
    text = GUIDE.read_text(encoding="utf-8").split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    rows = [line.replace("*", "").strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not row[0].startswith("--")]


@pytest.mark.parametrize("words", lines(), ids=lambda words: " ".join(words)[:60])
def test_commands_can_be_parsed(words: list[str]) -> None:
    if words[0] == "python":
        assert words[:3] == ["python", "-m", "calibration.refinement"]
        _parser().parse_args(words[3:])
        return
    assert words[0] == "calibrate"
    cli.commands[words[1]].make_context(words[1], words[2:])


@pytest.mark.parametrize("words", comparisons(), ids=lambda words: " ".join(words)[:60])
def test_comparisons_make_sound_plans(words: list[str]) -> None:
    given = cli.commands["compare"].make_context("compare", words[2:]).params
    names = given["detectors"].split(",")
    for name in names:
        options = _options_of(name, given, published=given["published"])
        plan, _ = make_plan(Path("data"), Path("recipe"), options)
        plan = plan.resolved()
        assert plan.detector == name
        assert set(plan.backbones) <= set(backbone_names())
        assert plan.weights == (given["weights"] or "imagenet")


def test_cases_of_the_ablation_are_held_against_their_own_row() -> None:
    rows = {row[0]: row for row in tables("PFM paper: ablation of Table VII")}
    for words in comparisons():
        case = re.fullmatch(r"case-(\d+)\.json", words[words.index("--json") + 1])
        if case is None:
            continue
        given = cli.commands["compare"].make_context("compare", words[2:]).params
        plan, _ = make_plan(Path("a"), Path("b"), _options_of(given["detectors"], given, published=True))
        plan = plan.resolved()
        printed = rows[case[1]][2::2]
        if case[1] == "9":  # random weights: what the paper has no other name for
            assert (plan.weights, printed) == ("random:1", ["58.1", "50.8", "18.0"])
            continue
        setting = Setting(
            plan.detector, plan.source, plan.target, plan.levels or (), plan.position or "", plan.size_px[0]
        )
        column = published(setting)
        assert column is not None
        if case[1] != "11":
            assert column.source.endswith(f"case {case[1]}")
        assert [column.written_mean(metric) for metric in METRICS] == printed
    assert len(rows) == 13


def column_of(detector: str, **matches: object) -> Published:
    (column,) = [column for column in PUBLISHED[detector] if matches.items() <= dict(column.matches).items()]
    return column


def expected(columns: Sequence[tuple[Published, Sequence[str]]], category: str | None) -> list[str]:
    """The printed cells of a row; without a category those of the means."""
    return [
        " / ".join(
            (column.written(category, metric) if category else column.written_mean(metric)) or "–" for metric in metrics
        )
        for column, metrics in columns
    ]


MB_PFM = PUBLISHED["mb-pfm"][0]
PIXELS = METRICS[1:]


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("PFM paper: MB-PFM by category", [(MB_PFM, [metric]) for metric in METRICS]),
        (
            "PEFM paper: position codes",
            [(column_of("pefm", position=code, side_px=256), PIXELS) for code in ("none", "add", "concat")],
        ),
        (
            "PEFM paper: image sizes",
            [(column_of("pefm", position="add", side_px=side), METRICS) for side in (128, 256, 512)],
        ),
        (
            "PaDiM, PatchCore, CFLOW-AD",
            [
                (PUBLISHED["padim"][0], METRICS[:2]),
                (PUBLISHED["patchcore"][0], METRICS[:2]),
                (PUBLISHED["cflow-ad"][0], PIXELS),
            ],
        ),
    ],
)
def test_tables_print_what_the_papers_print(heading: str, columns: Sequence[tuple[Published, Sequence[str]]]) -> None:
    rows = {row[0]: row[1::2] for row in tables(heading)}
    for category in MVTEC_COUNTS:
        assert rows[category] == expected(columns, category)
    assert rows["mean"] == expected(columns, None)
