"""Where the parts of a demo come from: the rendered conveyor, or a folder in MVTec AD's layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from inspector.cameras.conveyor.rendering import render_part
from inspector.cameras.conveyor.scene import build_scene
from inspector.cameras.decoding import IMAGE_SUFFIXES
from inspector.cameras.synthetic import write_good_parts
from inspector.cli.demo.request import Demo
from inspector.cli.snapshot import write_picture
from inspector.config.cameras import CameraConfig, FolderCamera, SyntheticCamera
from inspector.domain.errors import DataError
from inspector.domain.verdict import Verdict
from inspector.roles.gate import Gate

#: Good parts of the conveyor: enough that those held out for the threshold promise the demo's target.
GOOD_PARTS = 900
_PARTS = 600
_DEFECTS = 0.2
#: Plain defects: the smallest ones of a kind are beyond small networks.
_DEFECT_SCALE = 3.0


class Source:
    """A camera, and what is known of its parts.

    Args:
        camera: Its configuration.
        total: Parts that it will show.
        good: Folder to calibrate on.

    Attributes:
        camera: The same.
        total: The same.
        good: The same.
        on_conveyor: True for the conveyor's parts, which always lie in the same place.
        queue_frames: Frames that may wait for the worker.
        finished: True once the source itself has stopped the line.
        remark: How to make parts come by when its configuration is run again.
    """

    on_conveyor = False
    queue_frames = 4
    finished = False
    remark = ""

    def __init__(self, camera: CameraConfig, total: int, good: Path) -> None:
        self.camera = camera
        self.total = total
        self.good = good

    def watch(self, verdict: Verdict) -> None:
        """Told every verdict."""

    @contextmanager
    def beside(self, gate: Gate) -> Iterator[None]:
        """Runs beside the line what makes the parts come."""
        yield

    def labelled(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdicts with sources that begin with the class of their part, such as "scratch/000018"."""
        return list(verdicts)

    def pictures(self, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
        """Files with the frames of some labelled verdicts; those that must be written go to the folder."""
        raise NotImplementedError


class Conveyor(Source):
    """The rendered conveyor."""

    on_conveyor = True

    def __init__(self, demo: Demo, output: Path, console: Console) -> None:
        self.rendered = conveyor(demo)
        super().__init__(self.rendered, demo.parts or _PARTS, output / "good-parts")
        count = demo.good_parts or GOOD_PARTS
        with console.status(f"rendering {count} good parts of the synthetic conveyor"):
            write_good_parts(self.good, self.rendered, count)

    def pictures(self, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
        """Their parts, rendered again."""
        return rendered_again(self.rendered, verdicts, folder)


class Folder(Source):
    """The test images of an MVTec AD category."""

    def __init__(self, demo: Demo, data: Path, output: Path) -> None:
        data = data.absolute()
        images = sorted(
            path
            for path in (data / "test").rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        if not images:
            raise DataError(f"{data / 'test'} holds no images")
        self._folder = data / "test"
        if demo.parts is not None:
            images = sample(images, demo.parts)
            self._folder = _linked(images, data / "test", output / "parts")
        super().__init__(FolderCamera(kind="folder", path=self._folder, rate=demo.rate), len(images), data)

    def pictures(self, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
        """Their files."""
        return [self._folder / verdict.source for verdict in verdicts]


def check_category(data: Path) -> None:
    """Raises DataError for a folder that is no category in MVTec AD's layout."""
    if not (data / "train" / "good").is_dir() or not (data / "test").is_dir():
        raise DataError(
            f"{data}: expected a category in MVTec AD's layout, with train/good and test/good, test/<defect>"
        )


def conveyor(demo: Demo) -> SyntheticCamera:
    """The conveyor that a demo shows."""
    return SyntheticCamera(
        kind="synthetic",
        seed=demo.seed,
        parts=demo.parts or _PARTS,
        rate=demo.rate,
        defect_ratio=_DEFECTS,
        defect_scale=_DEFECT_SCALE,
    )


def rendered_again(camera: SyntheticCamera, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
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


def sample(images: Sequence[Path], count: int) -> list[Path]:
    """So many of the images, evenly spread over the classes; again from the first where there are too few.

    >>> [path.name for path in sample([Path("a"), Path("b"), Path("c"), Path("d")], 2)]
    ['a', 'c']
    >>> [path.name for path in sample([Path("a"), Path("b")], 3)]
    ['a', 'b', 'a']
    """
    if count <= len(images):
        return [images[index * len(images) // count] for index in range(count)]
    return [images[index % len(images)] for index in range(count)]


def _linked(images: Sequence[Path], root: Path, folder: Path) -> Path:
    for number, image in enumerate(images):
        relative = image.relative_to(root)
        link = folder / relative.parent / f"{relative.stem}-{number:06d}{relative.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(image)
    return folder
