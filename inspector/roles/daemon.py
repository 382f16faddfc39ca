"""Puts a station together: recipe, sockets, outputs and gate; opens in order, closes in reverse."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import zmq
from prometheus_client import CollectorRegistry, ProcessCollector
from pydantic import ValidationError

import inspector
from inspector.config.schema import MAIN_VIEW, InspectorConfig, Verdicts, Worker
from inspector.domain.errors import RecipeError
from inspector.domain.ledger import Tally
from inspector.domain.threshold import Threshold
from inspector.domain.views import PartLedger
from inspector.outputs.audit_log import AuditLog
from inspector.outputs.metrics import Families, LineMetrics, PartMetrics
from inspector.outputs.metrics_server import MetricsServer, tls_context
from inspector.outputs.publisher import Publisher
from inspector.outputs.service_manager import ServiceManager
from inspector.outputs.verdict_log import VerdictLog
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.active_recipe import recipe_labels
from inspector.roles.control_desk import ControlDesk
from inspector.roles.crew import limits_of
from inspector.roles.desks import PartDesk, VerdictDesk, Watcher
from inspector.roles.gate import Gate
from inspector.roles.judge import Desk
from inspector.roles.line import Line
from inspector.roles.reload_desk import ReloadDesk
from inspector.roles.shared_worker import SharedWorker
from inspector.wire.archive_socket import ArchiveOutbox
from inspector.wire.control import ControlSocket
from inspector.wire.curve import CurveServer, load_keys
from inspector.wire.endpoints import RuntimeFolder, runtime_folder
from inspector.wire.gate_socket import GateInbox
from inspector.wire.ring import RingHandle, close_ring, create_ring

log = logging.getLogger("inspector")

#: Size of a slot where the recipe does not fix the frame's: 22 megapixels in colour. Larger frames go as messages.
_ANY_FRAME_BYTES = 64 << 20


@dataclass(frozen=True)
class Station:
    """A station that is put together and not running yet.

    Attributes:
        gate: Its loop.
        recipes: The recipe of each view, by name.
        metrics_port: Where /metrics answers.
    """

    gate: Gate
    recipes: dict[str, Recipe]
    metrics_port: int

    @property
    def recipe(self) -> Recipe:
        """The recipe of the first view."""
        return self.recipes[MAIN_VIEW]


def admit_recipe(config: InspectorConfig) -> Recipe:
    """Opens the configured recipe and refuses one that can't inspect.

    Raises:
        RecipeError: Damaged, of another precision than the worker's, with random weights that the configuration
            doesn't ask for by name, or without the prior that a refinement needs.
    """
    # Where a link leads now: a running line must not find another recipe there later.
    recipe = load_recipe(config.recipe.resolve())
    if recipe.manifest.random_weights and not config.worker.allow_random_weights:
        raise RecipeError(
            f"{recipe.folder}: its backbones have random weights, which can't inspect (58 % image AUROC in the PFM "
            "paper, against 97 %); calibrate with weights 'bundled' or 'imagenet', or set "
            "worker.allow_random_weights: true to try the chain"
        )
    if recipe.manifest.precision != config.worker.precision:
        raise RecipeError(
            f"{recipe.folder}: its threshold was set with scores in {recipe.manifest.precision}, and worker.precision "
            f"is {config.worker.precision}; set worker.precision: {recipe.manifest.precision}, or calibrate again with "
            f"--precision {config.worker.precision}"
        )
    if config.archive is not None and config.archive.refine and recipe.manifest.prior is None:
        # Not only a warning after a changeover: what a line takes up it must also start with after a power cut.
        raise RecipeError(
            f"{recipe.folder}: archive.refine needs what a calibration learns of good parts, and this recipe holds no "
            "prior; calibrate it again (without --tile, tiles can't be refined), or set archive.refine: false"
        )
    return recipe


def admit_shadow(config: InspectorConfig) -> Recipe | None:
    """Opens the shadow recipe; None without one.

    Raises:
        RecipeError: It can't judge here.
    """
    if config.shadow is None:
        return None
    recipe = load_recipe(config.shadow.resolve())
    try:
        worker = Worker.model_validate(config.worker.model_dump() | {"precision": recipe.manifest.precision})
    except ValidationError as error:
        raise RecipeError(
            f"shadow: {recipe.folder}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None
    beside = {"recipe": recipe.folder, "worker": worker, "archive": None, "shadow": None}
    return admit_recipe(config.model_copy(update=beside))


@contextlib.contextmanager
def open_station(
    config: InspectorConfig,
    environ: Mapping[str, str],
    *,
    watcher: Watcher = lambda verdict: None,
    load: Callable[[], InspectorConfig] | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Iterator[Station]:
    """A station with its sockets and outputs open; all closed at the end of the block.

    Args:
        config: The configuration.
        environ: Process environment, for runtime folder and service manager.
        watcher: Told every verdict.
        load: Reads the configuration again; None can't.
        clock_ns: Monotonic clock.

    Raises:
        FatalError: Anything that keeps it from starting, with how to mend it.
    """
    with contextlib.ExitStack() as stack:
        lines = config.lines()
        recipes = {name: admit_recipe(line) for name, line in lines.items()}
        shadows = {name: admit_shadow(line) for name, line in lines.items()}
        folder = RuntimeFolder(runtime_folder(config.runtime_dir, config.station, environ))
        stack.callback(folder.close)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.term)
        publisher = _open_publisher(stack, context, config.verdicts)
        verdict_log = VerdictLog(config.verdicts.log, config.verdicts.log_queue)
        stack.callback(verdict_log.close)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # start time, memory and descriptors of the gate
        families = Families(registry, config.line.deadline_ms / 1000)
        tls = None if config.metrics.tls is None else tls_context(config.metrics.tls)
        server = MetricsServer(registry, config.metrics.host, config.metrics.port, tls)
        stack.callback(server.close)
        audit = AuditLog(config.audit_log)
        run_id = uuid.uuid4().hex
        parts = None
        station_metrics: PartMetrics | None = None
        if config.views:
            station_metrics = PartMetrics(families, config.station)
            parts = PartDesk(_part_ledger(config), publisher, verdict_log, station_metrics, run_id, watcher, clock_ns)
        worker = SharedWorker(limits_of(config.supervision), folder.path) if config.views else None
        shared = _Shared(stack, context, publisher, audit, worker, clock_ns)
        running = []
        for name, line in lines.items():
            metrics = _line_metrics(families, line, recipes[name])
            station_metrics = station_metrics or metrics
            desk: Desk = parts.view(name) if parts else VerdictDesk(publisher, verdict_log, run_id, watcher)
            where = folder
            if config.views:
                where = RuntimeFolder(folder.path / name)
                stack.callback(where.close)
            running.append(shared.open_line(line, recipes[name], shadows[name], where, desk, metrics))
        assert station_metrics is not None
        control = ControlSocket(folder.path, clock_ns)
        stack.callback(control.close)
        gate = Gate(
            config.station,
            running,
            publisher,
            verdict_log,
            station_metrics,
            ServiceManager(environ),
            run_id=run_id,
            stop_timeout_s=config.supervision.stop_timeout_s,
            parts=parts,
            control=ControlDesk(control, audit),
            reload_desk=None if load is None else ReloadDesk(config, load, audit),
            clock_ns=clock_ns,
        )
        yield Station(gate, recipes, server.port)


@dataclass(frozen=True)
class _Shared:
    """What the lines of a station have in common."""

    stack: contextlib.ExitStack
    context: zmq.Context[zmq.Socket[bytes]]
    publisher: Publisher
    audit: AuditLog
    worker: SharedWorker | None
    clock_ns: Callable[[], int]

    def open_line(
        self,
        config: InspectorConfig,
        recipe: Recipe,
        shadow: Recipe | None,
        folder: RuntimeFolder,
        desk: Desk,
        metrics: LineMetrics,
    ) -> Line:
        """A line with its sockets and its ring open; the stack closes them."""
        inbox = GateInbox(self.context, folder.gate)
        self.stack.callback(inbox.close)
        ring = _ring(config, recipe)
        if ring is not None:
            self.stack.callback(close_ring, ring)
        archive = None if config.archive is None else ArchiveOutbox.for_verdicts(self.context, folder.archive)
        if archive is not None:
            self.stack.callback(archive.close)
        return Line(
            config,
            recipe,
            folder,
            inbox,
            desk,
            metrics,
            ring=ring,
            archive=archive,
            shadow=None if shadow is None else (shadow, self._tell_shadow),
            shared=self.worker if config.worker.shared else None,
            audit=self.audit,
            admit=lambda path: admit_recipe(config.model_copy(update={"recipe": path})),
            clock_ns=self.clock_ns,
        )

    def _tell_shadow(self, record: dict[str, Any]) -> None:
        self.publisher.publish("shadow", record)


def _part_ledger(config: InspectorConfig) -> PartLedger:
    delays_ms = {MAIN_VIEW: 0.0, **{name: view.delay_ms for name, view in config.views.items()}}
    return PartLedger(
        {name: round(delay_ms * 1e6) for name, delay_ms in delays_ms.items()},
        round(config.line.together_ms * 1e6),
        round(config.line.deadline_ms * 1e6),
        config.line.open_parts,
    )


def _ring(config: InspectorConfig, recipe: Recipe) -> RingHandle | None:
    """Shared memory for the frames, if it is to carry them."""
    if config.transport != "shared_memory":
        return None
    # Those that wait, those that are computed, one that is being written and one that a source has ready.
    # During a change of the recipe two workers compute.
    slots = config.line.queue_frames + 2 * config.worker.max_batch + 2
    geometry = recipe.manifest.geometry
    if geometry.frame_px is None:  # any size: memory is taken as frames come
        return create_ring(slots, _ANY_FRAME_BYTES, allocate=False)
    width_px, height_px = geometry.frame_px
    return create_ring(slots, width_px * height_px * (geometry.channels or 3), allocate=True)


def _line_metrics(families: Families, config: InspectorConfig, recipe: Recipe) -> LineMetrics:
    return LineMetrics(
        families,
        station=config.station,
        threshold=Threshold(**recipe.manifest.threshold.model_dump()),
        recipe=recipe_labels(recipe),
        version=inspector.__version__,
    )


def _open_publisher(
    stack: contextlib.ExitStack, context: zmq.Context[zmq.Socket[bytes]], verdicts: Verdicts
) -> Publisher:
    if verdicts.curve is None:
        publisher = Publisher(context, verdicts.endpoint)
    else:
        keys = load_keys(verdicts.curve, "verdicts.curve")
        server = CurveServer()
        stack.callback(server.close)
        publisher = Publisher(
            server.context, verdicts.endpoint, lambda socket: server.protect(socket, keys, "verdicts")
        )
    stack.callback(publisher.close)
    return publisher


@contextlib.contextmanager
def stop_signals(gate: Gate) -> Iterator[None]:
    """SIGTERM and SIGINT make the gate stop, SIGHUP makes it read its configuration again; the handler only takes a
    note, the loop acts. To a daemon at a terminal SIGHUP says that the terminal is gone, and it stops.
    """
    at_terminal = os.isatty(0)

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and not at_terminal:
            gate.reloading = True
        else:
            gate.stopping = True

    former = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def run_daemon(
    config: InspectorConfig, environ: Mapping[str, str], load: Callable[[], InspectorConfig] | None = None
) -> Tally:
    """Runs a station until SIGTERM, SIGINT or the end of its source.

    Args:
        config: The configuration.
        environ: Process environment.
        load: Reads the configuration again, for SIGHUP; None can't.

    Returns:
        The final sums.
    """
    with open_station(config, environ, load=load) as station, stop_signals(station.gate):
        log.info(
            "station %s: recipe %s, deadline %g ms, metrics on %s://%s:%d/metrics",
            config.station,
            ", ".join(recipe.folder.name for recipe in station.recipes.values()),
            config.line.deadline_ms,
            "https" if config.metrics.tls else "http",
            config.metrics.host,
            station.metrics_port,
        )
        tally = station.gate.run()
    log.info(
        "stopped: %d triggered = %d pass + %d fail + %d not inspected",
        tally.triggered,
        tally.passed,
        tally.failed,
        tally.not_inspected,
    )
    return tally
