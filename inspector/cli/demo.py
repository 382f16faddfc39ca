"""`inspector demo`: calibrates on good parts, then runs the whole daemon over test parts whose class is known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
import yaml
from rich.console import Console
from rich.table import Table

from inspector.cameras.conveyor.rendering import render_part
from inspector.cameras.conveyor.scene import build_scene
from inspector.cameras.decoding import IMAGE_SUFFIXES
from inspector.cameras.synthetic import write_good_parts
from inspector.cli.figures import Run, measure, worst_rejects
from inspector.cli.live import LiveLine
from inspector.cli.results import write_json
from inspector.cli.snapshot import write_picture
from inspector.config.cameras import CameraConfig, FolderCamera, SyntheticCamera
from inspector.config.schema import InspectorConfig, Line, Metrics, Verdicts, Worker
from inspector.domain.errors import ConfigError, DataError, FatalError
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Verdict
from inspector.engines.capabilities import cpu_has_bfloat16
from inspector.recipe.store import Recipe
from inspector.roles.daemon import open_station, stop_signals

#: Good parts of the synthetic conveyor: enough that those held out for the threshold promise `_SYNTHETIC_TARGET`.
_SYNTHETIC_GOOD = 900
#: False-reject rate asked for on the synthetic conveyor.
_SYNTHETIC_TARGET = 0.02
_SYNTHETIC_PARTS = 600
_SYNTHETIC_DEFECTS = 0.2
#: Plain defects: the smallest ones of a kind are beyond small networks.
_SYNTHETIC_SCALE = 3.0
#: The part lies in the same place each time, so its mapping may know where it is (PEFM).
_SYNTHETIC_OPTIONS = ("--levels", "2,3", "--position", "add", "--smoothing", "6")
#: Rejects on the contact sheet.
_SHEET = 12
#: Marks a folder that a demo made, and that the next one may empty.
_MARKER = ".inspector-demo"


Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Demo:
    """What the user asked for.

    Attributes:
        data: MVTec AD category; None takes the synthetic conveyor.
        weights: "bundled", "imagenet" or "random:SEED"; None chooses.
        weights_dir: Folder with ImageNet weight files.
        source_network: Source backbone; None takes the default of the weights.
        target_network: Target backbone.
        parts: Parts to inspect; None takes every test image, or a few hundred rendered parts.
        rate: Triggers a second; None takes a part whenever the worker has room.
        deadline_ms: Deadline of a verdict.
        false_rejects: Target false-reject rate; None takes the default.
        precision: Arithmetic of the network; None takes bfloat16 where the CPU has it.
        output: Folder for everything that the demo makes.
        json_path: Where to write the figures.
        seed: Of everything random.
    """

    data: Path | None
    weights: str | None
    weights_dir: Path | None
    source_network: str | None
    target_network: str | None
    parts: int | None
    rate: float | None
    deadline_ms: float
    false_rejects: float | None
    precision: Precision | None
    output: Path
    json_path: Path | None
    seed: int

    @property
    def chosen_weights(self) -> str:
        """The weights to calibrate with: the bundled ones unless something else was named."""
        if self.weights is not None:
            return self.weights
        named = self.weights_dir or self.source_network or self.target_network
        return "imagenet" if named else "bundled"


def run_demo(demo: Demo) -> None:
    """Calibrates, runs the daemon, prints the table, and leaves figures and a contact sheet.

    Raises:
        FatalError: Something can't be done, or the ledger does not balance.
        click.Abort: The user stopped it; the parts that were open are settled all the same.
    """
    console = Console(stderr=True)
    _check(demo)
    output = _empty_folder(demo.output.absolute())
    if demo.chosen_weights.startswith("random:"):
        console.print(
            "random backbones: this run shows that the chain works; its verdicts can't be trusted "
            "(58 % image AUROC in the PFM paper, against 97 %)",
            style="bold yellow",
        )
    camera, total, good = _source(demo, output, console)
    recipe_folder = output / "recipe"
    precision = demo.precision or ("bfloat16" if cpu_has_bfloat16() else "float32")
    if demo.precision is None:
        console.print(f"precision: {precision}, the fastest that this CPU has; choose with --precision")
    _calibrate(demo, good, recipe_folder, precision)
    with tempfile.TemporaryDirectory(prefix="inspector-demo-") as runtime:
        config = _configuration(demo, camera, recipe_folder, output, Path(runtime), precision)
        recipe, run, verdicts, stopped = _run(config, total, console)
    threshold = Threshold(**recipe.manifest.threshold.model_dump())
    record = {"recipe_hash": recipe.content_hash, "weights": demo.chosen_weights, **run.as_record(threshold)}
    write_json(output / "figures.json", record)
    if demo.json_path is not None:
        write_json(demo.json_path, record)
    sheet = _contact_sheet(camera, verdicts, recipe_folder, output)
    Console().print(_table(run, threshold))
    console.print(f"figures, verdicts, recipe and configuration: {output}", soft_wrap=True, highlight=False)
    if sheet is not None:
        console.print(f"the worst rejects beside their anomaly maps: {sheet}", soft_wrap=True, highlight=False)
    if not run.tally.balanced or run.tally.pending:
        raise FatalError(f"the ledger does not balance: {run.tally}")
    if stopped:
        raise click.Abort
    if total is not None and run.tally.triggered != total:
        raise FatalError(f"{total} parts were to be inspected, {run.tally.triggered} were triggered")


def _check(demo: Demo) -> None:
    if demo.data is None:
        return
    if not (demo.data / "train" / "good").is_dir() or not (demo.data / "test").is_dir():
        raise DataError(
            f"{demo.data}: expected a category in MVTec AD's layout, with train/good and test/good, test/<defect>"
        )


def _empty_folder(output: Path) -> Path:
    """The output folder, emptied if a former demo made it.

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
    return output


def _source(demo: Demo, output: Path, console: Console) -> tuple[CameraConfig, int | None, Path]:
    """Camera, number of parts, and the folder to calibrate on."""
    if demo.data is None:
        parts = demo.parts or _SYNTHETIC_PARTS
        camera = SyntheticCamera(
            kind="synthetic",
            seed=demo.seed,
            parts=parts,
            rate=demo.rate,
            defect_ratio=_SYNTHETIC_DEFECTS,
            defect_scale=_SYNTHETIC_SCALE,
        )
        good = output / "good-parts"
        with console.status(f"rendering {_SYNTHETIC_GOOD} good parts of the synthetic conveyor"):
            write_good_parts(good, camera, _SYNTHETIC_GOOD)
        return camera, parts, good
    data = demo.data.absolute()
    images = sorted(
        path
        for path in (data / "test").rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not images:
        raise DataError(f"{data / 'test'} holds no images")
    folder = data / "test"
    if demo.parts is not None:
        images = _sample(images, demo.parts)
        folder = _linked(images, data / "test", output / "parts")
    return FolderCamera(kind="folder", path=folder, rate=demo.rate), len(images), data


def _sample(images: list[Path], count: int) -> list[Path]:
    """So many of the images, evenly spread over the classes; again from the first where there are too few."""
    if count <= len(images):
        return [images[index * len(images) // count] for index in range(count)]
    return [images[index % len(images)] for index in range(count)]


def _linked(images: list[Path], root: Path, folder: Path) -> Path:
    for number, image in enumerate(images):
        relative = image.relative_to(root)
        link = folder / relative.parent / f"{relative.stem}-{number:06d}{relative.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(image)
    return folder


def _calibrate(demo: Demo, good: Path, recipe: Path, precision: Precision) -> None:
    target = demo.false_rejects or (_SYNTHETIC_TARGET if demo.data is None else None)
    options: list[str] = ["--name", "demo", "--seed", str(demo.seed), "--weights", demo.chosen_weights]
    for flag, value in (
        ("--weights-dir", demo.weights_dir),
        ("--source-network", demo.source_network),
        ("--target-network", demo.target_network),
        ("--false-rejects", target),
        ("--precision", precision),
    ):
        if value is not None:
            options += [flag, str(value)]
    if demo.data is None:
        options += _SYNTHETIC_OPTIONS
    # A process of its own: the daemon's main process never loads torch.
    _calibration("train", str(good), "--recipe", str(recipe), *options)


def _calibration(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "calibration", *arguments], check=False, stdout=subprocess.DEVNULL)
    if done.returncode == 130:
        raise click.Abort
    if done.returncode != 0:
        error = FatalError(f"calibrate {arguments[0]} ended with exit code {done.returncode}; its error stands above")
        error.exit_code = done.returncode if done.returncode > 0 else FatalError.exit_code
        raise error


def _configuration(
    demo: Demo, camera: CameraConfig, recipe: Path, output: Path, runtime: Path, precision: Precision
) -> InspectorConfig:
    config = InspectorConfig(
        station="demo",
        recipe=recipe,
        camera=camera,
        line=Line(deadline_ms=demo.deadline_ms, queue_frames=4),
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
    (output / "inspector.yaml").write_text(f"# The demo's station; run it again with: inspector run -c FILE\n{text}")
    return config


def _run(config: InspectorConfig, total: int | None, console: Console) -> tuple[Recipe, Run, list[Verdict], bool]:
    verdicts: list[Verdict] = []
    live = LiveLine(console, total)
    watchers: tuple[Callable[[Verdict], None], ...] = (verdicts.append, live)

    def watch(verdict: Verdict) -> None:
        for watcher in watchers:
            watcher(verdict)

    with open_station(config, os.environ, watcher=watch) as station, stop_signals(station.gate):
        console.print(
            f"metrics while it runs: http://127.0.0.1:{station.metrics_port}/metrics", soft_wrap=True, highlight=False
        )
        tally = station.gate.run()
        stopped = station.gate.stopping
        live.close()
        return station.recipe, measure(verdicts, tally), verdicts, stopped


def _contact_sheet(camera: CameraConfig, verdicts: list[Verdict], recipe: Path, output: Path) -> Path | None:
    """Writes the picture of the worst rejects; None if nothing was rejected for its score."""
    worst = worst_rejects(verdicts, _SHEET)
    if not worst:
        return None
    if isinstance(camera, SyntheticCamera):
        images = _rendered_again(camera, worst, output / "rejects")
    else:
        assert isinstance(camera, FolderCamera)
        images = [camera.path / verdict.source for verdict in worst]
    sheet = output / "rejects.png"
    _calibration("sheet", str(recipe), str(sheet), *map(str, images))
    return sheet


def _rendered_again(camera: SyntheticCamera, verdicts: list[Verdict], folder: Path) -> list[Path]:
    """Files of the parts that the conveyor showed: a part is a function of its number."""
    scene = build_scene(camera.width_px, camera.height_px, colour=camera.colour)
    images = []
    for verdict in verdicts:
        image = folder / f"{verdict.source}.png"
        part = render_part(
            scene,
            camera.seed,
            int(image.stem),
            defect_ratio=camera.defect_ratio,
            defect_scale=camera.defect_scale,
        )
        write_picture(image, part.pixels)
        images.append(image)
    return images


def _table(run: Run, threshold: Threshold) -> Table:
    table = Table(title="the run", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    tally, (low, high) = run.tally, run.false_reject_interval()
    table.add_row(
        "parts",
        f"{tally.triggered} triggered = {tally.passed} pass + {tally.failed} fail + "
        f"{tally.not_inspected} not inspected + {tally.pending} pending",
    )
    if tally.not_inspected:
        table.add_row("causes", ", ".join(f"{cause} {count}" for cause, count in run.causes.items()))
    table.add_row("threshold", threshold.describe())
    verdict = "consistent with" if run.keeps(threshold.promise) else "HIGHER THAN"
    table.add_row(
        "good parts",
        f"{run.good_rejected} of {run.good} rejected: {run.false_reject_rate:.2%} "
        f"(95 % interval {low:.2%} to {high:.2%}), {verdict} the promise of {threshold.promise:.2%}",
    )
    table.add_row("defective parts", f"{run.bad_rejected} of {run.bad} rejected: {run.detection_rate:.2%}")
    for name, (parts, rejected) in run.by_class.items():
        table.add_row(f"  {name}", f"{rejected} of {parts}")
    table.add_row("image AUROC", f"{run.image_auroc:.4f}")
    table.add_row(
        "latency", f"trigger to verdict: median {run.latency(50):.1f} ms, 99th percentile {run.latency(99):.1f} ms"
    )
    table.add_row("throughput", f"{run.frames_per_second:.1f} parts a second")
    return table
