"""The configuration of the daemon, as `inspector.yaml` holds it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from inspector.config.cameras import CameraConfig
from inspector.config.keys import CurveKeys, listening_or_raise
from inspector.config.strict import Strict
from inspector.domain.errors import ConfigError
from inspector.domain.precision import Precision

#: Name of the view of a station's first camera.
MAIN_VIEW = "main"
_LONGEST_STATION = 64
_LONGEST_VIEW = 24
_VIEW_NAME = rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{_LONGEST_VIEW - 1}}}"


class Line(Strict):
    """Deadlines and bounds of the line."""

    deadline_ms: float = Field(default=500.0, gt=0, le=3_600_000)
    """A verdict is due so long after its trigger; later is not inspected."""
    queue_frames: int = Field(default=8, ge=1, le=1024)
    """Frames that may wait for the worker; one more is refused and counted."""
    open_parts: int = Field(default=1024, ge=1, le=1_000_000)
    """Parts that may be without a verdict at once."""
    together_ms: float = Field(default=50.0, gt=0, le=60_000)
    """With further views: triggers of one part, less their view's delay, lie at most so far from the first of
    them. Less than half of the time between two parts."""


class Worker(Strict):
    """The process that runs the network."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network runs; never chosen silently."""
    engine: Literal["cuda", "openvino", "pytorch"] | None = None
    """What runs the network; null takes openvino on the CPU and cuda on a GPU."""
    precision: Precision = "float32"
    """Arithmetic of the network: that which the recipe was calibrated with. bfloat16 needs engine cuda, or openvino
    and a CPU that has it; float16 needs engine cuda."""
    threads: int = Field(default=2, ge=1, le=256)
    """Threads of the network on the CPU."""
    max_batch: int = Field(default=4, ge=1, le=64)
    """Frames computed together at most; only frames that already wait are taken."""
    shared: bool = False
    """One process judges all views that take these settings: they have the weights of their networks in memory once,
    and frames that wait are computed in one batch where their recipe is the same. false gives each view a process of
    its own, which uses more cores of a CPU."""
    golden_check_s: float = Field(default=3600.0, gt=0)
    """The worker computes the recipe's golden frame again so often, when no frame waits; one whose score is another
    is replaced."""
    allow_random_weights: bool = False
    """Accept a recipe whose backbones have random weights. Such a recipe can't inspect: for trials of the
    chain only."""

    @model_validator(mode="after")
    def _engine_fits(self) -> Worker:
        if self.device == "cuda" and self.engine == "openvino":
            raise ValueError("engine openvino runs on the CPU: take device cpu, or engine cuda")
        if self.device == "cpu" and self.engine == "cuda":
            raise ValueError("engine cuda runs on a GPU: take device cuda, or engine openvino")
        if self.precision == "bfloat16" and self.chosen_engine == "pytorch":
            raise ValueError("precision bfloat16 needs engine openvino on device cpu, or engine cuda on device cuda")
        if self.precision == "float16" and self.chosen_engine != "cuda":
            raise ValueError("precision float16 needs engine cuda on device cuda")
        return self

    @property
    def chosen_engine(self) -> Literal["cuda", "openvino", "pytorch"]:
        """The engine, with the default filled in."""
        return self.engine or ("openvino" if self.device == "cpu" else "cuda")


class Verdicts(Strict):
    """Where verdicts go."""

    curve: CurveKeys | None = None
    """Keys; without them the endpoint must be on this machine."""
    endpoint: str | None = "tcp://127.0.0.1:5561"
    """ZeroMQ PUB endpoint (tcp, or ipc with an absolute path); null publishes nowhere."""
    log: Path | None = Path("verdicts.jsonl")
    """JSON-lines file that every verdict is appended to; null writes none."""
    log_queue: int = Field(default=10_000, ge=1)
    """Records that may wait for a slow disk; one more is dropped from the log and counted."""

    @field_validator("endpoint")
    @classmethod
    def _protected(cls, endpoint: str | None, info: ValidationInfo) -> str | None:
        if endpoint is None or endpoint.startswith("ipc:///"):
            return endpoint
        match = re.fullmatch(r"tcp://\[?([^\]]+?)\]?:(\d{1,5})", endpoint)
        if match is None:
            raise ValueError("expected tcp://127.0.0.1:PORT or ipc:///path/of/socket")
        protected = info.data.get("curve", ...) is not None
        listening_or_raise(match.group(1), protected, "add verdicts.curve with secret_key and clients")
        return endpoint


class MutualTls(Strict):
    """Certificates by which both sides of a connection prove who they are; files in PEM format."""

    certificate: Path
    """This station's certificate, with those between it and its authority."""
    key: Path
    """Its private key, without a password."""
    client_ca: Path
    """Certificates of the authorities whose clients may connect."""


class Metrics(Strict):
    """The Prometheus endpoint."""

    tls: MutualTls | None = None
    """Certificates; without them the host must be a loopback address."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=9464, ge=0, le=65535)
    """Port of /metrics; 0 takes a free one."""

    @field_validator("host")
    @classmethod
    def _protected(cls, host: str, info: ValidationInfo) -> str:
        protected = info.data.get("tls", ...) is not None
        listening_or_raise(host, protected, "add metrics.tls with certificate, key and client_ca")
        return host


class Archive(Strict):
    """Pictures and verdicts on the disk: every reject whose frame arrived, and a sample of the passes."""

    folder: Path
    """Where they go; each station needs a folder of its own."""
    pass_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the passed parts that are kept too."""
    quota_bytes: int = Field(default=20_000_000_000, ge=1_000_000)
    """The oldest entries are deleted to stay below so many bytes."""
    quota_days: float = Field(default=90.0, gt=0)
    """Entries older than so many days are deleted."""
    format: Literal["png", "jpg"] = "png"
    """Of the pictures: png keeps every pixel, jpg is some ten times smaller."""
    heatmaps: bool = False
    """Compute the anomaly map of each entry again and draw it beside the picture; takes a processor's spare time and
    the memory of a second worker."""
    queue_frames: int = Field(default=16, ge=1, le=1024)
    """Frames that may wait for a slow disk; one more is not kept, and counted."""
    refine: bool = False
    """Find the exact outlines of the defects of fails afterwards (F2PAD), in a process that takes what processor time
    is left; needs a recipe with a prior, and the memory of a second worker."""
    refine_iterations: int = Field(default=100, ge=1, le=1200)
    """Steps for each of them at most; fewer take less time and find outlines less exact."""


class Supervision(Strict):
    """When children are started again, and how long things may take."""

    restarts: int = Field(default=5, ge=0)
    """Restarts of one child that are allowed within `restart_window_s`; one more ends the daemon."""
    restart_window_s: float = Field(default=60.0, gt=0)
    """Window in which restarts are counted."""
    camera_retry_s: float | None = Field(default=None, gt=0)
    """A camera that was ready in this run and is lost is tried again for so long, apart from `restarts`; null never
    gives up."""
    camera_pause_s: float = Field(default=5.0, gt=0, le=3600)
    """Longest pause between two tries to get a lost camera back; the first comes at once."""
    heartbeat_timeout_s: float = Field(default=5.0, gt=0)
    """A child that shows no progress for so long is killed and started again."""
    start_timeout_s: float = Field(default=180.0, gt=0)
    """A child that is not ready after so long is killed and started again."""
    stop_timeout_s: float = Field(default=10.0, gt=0)
    """After SIGTERM the daemon is gone within this time, every open part settled."""


def _best_transport() -> Literal["shared_memory", "zeromq"]:
    return "shared_memory" if hasattr(os, "memfd_create") else "zeromq"


class View(Strict):
    """A further camera that looks at the same parts, with a recipe of its own."""

    recipe: Path
    """Folder of its recipe."""
    camera: CameraConfig
    """Where its frames come from."""
    delay_ms: float = Field(default=0.0, ge=0, le=3_600_000)
    """So much later than the first camera it sees a part."""
    worker: Worker | None = None
    """Its worker; null takes the station's settings."""
    shadow: Path | None = None
    """A second recipe for this view that judges without acting."""

    @field_validator("worker")
    @classmethod
    def _of_its_own(cls, worker: Worker | None) -> Worker | None:
        if worker is not None and worker.shared:
            raise ValueError(
                "shared is a setting of the station's worker; leave the view's worker out, and it takes the shared one"
            )
        return worker


class InspectorConfig(Strict):
    """One station: a camera, a worker, a recipe, and what becomes of the verdicts."""

    station: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name of the station: the label on metrics and verdicts."""
    recipe: Path
    """Folder of the recipe, as `calibrate train` made it."""
    camera: CameraConfig
    """Where frames come from."""
    shadow: Path | None = None
    """Folder of a second recipe that judges the same parts without acting, with what processor time is left: metrics
    say how the two agree. null has none."""
    views: dict[str, View] = Field(default_factory=dict)
    """Further cameras that look at the same parts, by name; a part passes if all views of it pass. The view of
    `camera` is called main. Each view reports as a station of its own named STATION.VIEW."""
    line: Line = Line()
    """Deadlines and bounds."""
    transport: Literal["shared_memory", "zeromq"] = Field(default_factory=_best_transport)
    """What carries the pixels from the camera process to the worker: a ring of slots in shared memory (Linux), or
    ZeroMQ messages, which copy them. Default shared_memory where the system has it."""
    worker: Worker = Worker()
    """The process that runs the network."""
    verdicts: Verdicts = Verdicts()
    """Where verdicts go."""
    metrics: Metrics = Metrics()
    """The Prometheus endpoint."""
    archive: Archive | None = None
    """Pictures and verdicts on the disk; null keeps none."""
    audit_log: Path | None = None
    """JSON-lines file that every change of the running line is written to, with who and why; null writes none."""
    supervision: Supervision = Supervision()
    """Restarts and time limits of the processes."""
    runtime_dir: Path | None = None
    """Folder of sockets and lock; default $RUNTIME_DIRECTORY, else a private folder of the user."""

    @field_validator("views")
    @classmethod
    def _named(cls, views: dict[str, View]) -> dict[str, View]:
        for name in views:
            if re.fullmatch(_VIEW_NAME, name) is None or name == MAIN_VIEW:
                raise ValueError(
                    f"{name!r} can't be the name of a view: take letters, digits, - and _, at most 24, and not "
                    f"{MAIN_VIEW!r}, which is the view of `camera`"
                )
        return views

    @model_validator(mode="after")
    def _names_fit(self) -> InspectorConfig:
        if self.views and len(self.station) > _LONGEST_STATION - _LONGEST_VIEW - 1:
            raise ValueError(
                f"station {self.station!r} is too long for a station with views: at most "
                f"{_LONGEST_STATION - _LONGEST_VIEW - 1} characters"
            )
        return self

    def lines(self) -> dict[str, InspectorConfig]:
        """The configuration of each view's line, by the view's name; of the station itself where it has one camera."""
        if not self.views:
            return {MAIN_VIEW: self}
        main = View(recipe=self.recipe, camera=self.camera, shadow=self.shadow)
        return {name: self._line(name, view) for name, view in {MAIN_VIEW: main, **self.views}.items()}

    def line_of(self, view: str | None) -> InspectorConfig:
        """The configuration of one view's line.

        Args:
            view: Its name; None for the only one.

        Raises:
            ConfigError: There is no such view, or there are several.
        """
        lines = self.lines()
        if view is None and len(lines) == 1:
            return lines[MAIN_VIEW]
        if view is None or view not in lines:
            said = "the station has several views" if view is None else f"there is no view {view!r}"
            raise ConfigError(f"{said}; say which with --view: {', '.join(lines)}")
        return lines[view]

    def _line(self, name: str, view: View) -> InspectorConfig:
        archive = self.archive
        if archive is not None:
            archive = archive.model_copy(update={"folder": archive.folder / name})
        changes = {
            "station": f"{self.station}.{name}",
            "recipe": view.recipe,
            "camera": view.camera,
            "shadow": view.shadow,
            "views": {},
            "worker": view.worker or self.worker,
            "archive": archive,
        }
        return self.model_copy(update=changes)
