"""`inspector demo`: calibrates on good parts, then runs the whole daemon over test parts whose class is known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import yaml
from rich.console import Console

from inspector.cameras.simulator import check_folder, find_compiler, find_sources
from inspector.cli.demo.report import run_table
from inspector.cli.demo.request import Demo, Precision
from inspector.cli.demo.simulator import PLACE, Simulator
from inspector.cli.demo.sources import Conveyor, Folder, Source, check_category
from inspector.cli.figures import Run, measure, worst_rejects
from inspector.cli.live import LiveLine
from inspector.cli.results import write_json
from inspector.config.schema import InspectorConfig, Line, Metrics, Verdicts, Worker
from inspector.domain.errors import ConfigError, FatalError
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Verdict
from inspector.engines.capabilities import cpu_has_bfloat16
from inspector.recipe.store import Recipe
from inspector.roles.daemon import open_station, stop_signals

#: False-reject rate asked for on the conveyor.
_CONVEYOR_TARGET = 0.02
#: The part lies in the same place each time, so its mapping may know where it is (PEFM).
_CONVEYOR_OPTIONS = ("--levels", "2,3", "--position", "add", "--smoothing", "6")
#: Rejects on the contact sheet.
_SHEET = 12
#: Marks a folder that a demo made, and that the next one may empty.
_MARKER = ".inspector-demo"


def run_demo(demo: Demo) -> None:
    """Calibrates, runs the daemon, prints the table, and leaves figures and a contact sheet.

    Raises:
        FatalError: Something can't be done, or the ledger does not balance.
        click.Abort: The user stopped it; the parts that were open are settled all the same.
    """
    console = Console(stderr=True)
    output = demo.output.absolute()
    _check(demo, output)
    _empty_folder(output)
    if demo.chosen_weights.startswith("random:"):
        console.print(
            "random backbones: this run shows that the chain works; its verdicts can't be trusted "
            "(58 % image AUROC in the PFM paper, against 97 %)",
            style="bold yellow",
        )
    source = _source(demo, output, console)
    recipe_folder = output / "recipe"
    precision = demo.precision or ("bfloat16" if cpu_has_bfloat16() else "float32")
    if demo.precision is None:
        console.print(f"precision: {precision}, the fastest that this CPU has; choose with --precision")
    _calibrate(demo, source, recipe_folder, precision)
    with tempfile.TemporaryDirectory(prefix="inspector-demo-") as runtime:
        config = _configuration(demo, source, recipe_folder, output, Path(runtime), precision)
        recipe, run, verdicts, stopped = _run(config, source, console)
    threshold = Threshold(**recipe.manifest.threshold.model_dump())
    record = {"recipe_hash": recipe.content_hash, "weights": demo.chosen_weights, **run.as_record(threshold)}
    write_json(output / "figures.json", record)
    if demo.json_path is not None:
        write_json(demo.json_path, record)
    sheet = _contact_sheet(source, verdicts, recipe_folder, output)
    Console().print(run_table(run, threshold))
    console.print(f"figures, verdicts, recipe and configuration: {output}", soft_wrap=True, highlight=False)
    if sheet is not None:
        console.print(f"the worst rejects beside their anomaly maps: {sheet}", soft_wrap=True, highlight=False)
    if not run.tally.balanced or run.tally.pending:
        raise FatalError(f"the ledger does not balance: {run.tally}")
    if stopped:
        raise click.Abort
    if run.tally.triggered != source.total and not run.unknown:
        raise FatalError(f"{source.total} parts were to be inspected, {run.tally.triggered} were triggered")


def _check(demo: Demo, output: Path) -> None:
    """Finds what is wrong before the last demo's output is gone."""
    if demo.data is not None:
        check_category(demo.data)
    elif demo.camera == "genicam-simulator":
        find_sources()
        find_compiler()
        check_folder(output / PLACE)


def _empty_folder(output: Path) -> None:
    """Makes the output folder; empties it if a former demo made it.

    Raises:
        ConfigError: It holds something else, or can't be made.
    """
    try:
        if output.exists():
            if any(output.iterdir()) and not (output / _MARKER).exists():
                raise ConfigError(f"--output: {output} exists and no demo made it; choose another folder")
            shutil.rmtree(output)
        output.mkdir(parents=True)
        (output / _MARKER).touch()
    except OSError as error:
        raise ConfigError(f"--output: {output}: {error.strerror}") from error


def _source(demo: Demo, output: Path, console: Console) -> Source:
    if demo.data is not None:
        return Folder(demo, demo.data, output)
    return Simulator(demo, output, console) if demo.camera == "genicam-simulator" else Conveyor(demo, output, console)


def _calibrate(demo: Demo, source: Source, recipe: Path, precision: Precision) -> None:
    target = demo.false_rejects or (_CONVEYOR_TARGET if source.on_conveyor else None)
    options: list[str] = ["--name", "demo", "--seed", str(demo.seed), "--weights", demo.chosen_weights]
    for flag, value in (
        ("--weights-dir", demo.weights_dir),
        ("--source-network", demo.source_network),
        ("--target-network", demo.target_network),
        ("--detector", demo.detector),
        ("--false-rejects", target),
        ("--precision", precision),
    ):
        if value is not None:
            options += [flag, str(value)]
    if source.on_conveyor and demo.detector is None:
        options += _CONVEYOR_OPTIONS
    # A process of its own: the daemon's main process never loads torch.
    _calibration("train", str(source.good), "--recipe", str(recipe), *options)


def _calibration(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "calibration", *arguments], check=False, stdout=subprocess.DEVNULL)
    if done.returncode == 130:
        raise click.Abort
    if done.returncode != 0:
        error = FatalError(f"calibrate {arguments[0]} ended with exit code {done.returncode}; its error stands above")
        error.exit_code = done.returncode if done.returncode > 0 else FatalError.exit_code
        raise error


def _configuration(
    demo: Demo, source: Source, recipe: Path, output: Path, runtime: Path, precision: Precision
) -> InspectorConfig:
    config = InspectorConfig(
        station="demo",
        recipe=recipe,
        camera=source.camera,
        line=Line(deadline_ms=demo.deadline_ms, queue_frames=source.queue_frames),
        worker=Worker(
            precision=precision,
            threads=min(2, os.cpu_count() or 1),
            allow_random_weights=demo.chosen_weights.startswith("random:"),
        ),
        verdicts=Verdicts(endpoint=f"ipc://{runtime}/verdicts.sock", log=output / "verdicts.jsonl"),
        metrics=Metrics(port=0),
        runtime_dir=runtime,
    )
    shown = config.model_dump(
        mode="json", exclude_defaults=True, exclude={"runtime_dir": True, "verdicts": {"endpoint"}}
    )
    text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    head = "# The demo's station; run it again with: inspector run -c FILE\n"
    if source.remark:
        head += f"# {source.remark}\n"
    (output / "inspector.yaml").write_text(head + text, encoding="utf-8")
    return config


def _run(config: InspectorConfig, source: Source, console: Console) -> tuple[Recipe, Run, list[Verdict], bool]:
    """Recipe, figures, labelled verdicts, and whether somebody stopped it."""
    verdicts: list[Verdict] = []
    live = LiveLine(console, source.total)

    def watch(verdict: Verdict) -> None:
        for watcher in (verdicts.append, live, source.watch):
            watcher(verdict)

    with open_station(config, os.environ, watcher=watch) as station, stop_signals(station.gate):
        console.print(
            f"metrics while it runs: http://127.0.0.1:{station.metrics_port}/metrics", soft_wrap=True, highlight=False
        )
        with source.beside(station.gate):
            tally = station.gate.run()
        stopped = station.gate.stopping and not source.finished
        live.close()
        labelled = source.labelled(verdicts)
        return station.recipe, measure(labelled, tally), labelled, stopped


def _contact_sheet(source: Source, verdicts: Sequence[Verdict], recipe: Path, output: Path) -> Path | None:
    """Writes the picture of the worst rejects; None if nothing was rejected for its score."""
    worst = worst_rejects(verdicts, _SHEET)
    if not worst:
        return None
    sheet = output / "rejects.png"
    _calibration("sheet", str(recipe), str(sheet), *map(str, source.pictures(worst, output / "rejects")))
    return sheet
