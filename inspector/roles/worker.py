"""The worker: loads the recipe, proves itself on the golden frame, then turns frames into results."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from inspector.domain.errors import RecipeError
from inspector.engines.base import Engine, PipelinedEngine
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.golden_check import GoldenCheck
from inspector.roles.heartbeat import Heartbeat
from inspector.roles.inference import Inference
from inspector.roles.job import Job, run_child
from inspector.roles.lifeline import Lifeline
from inspector.roles.seat import Seat
from inspector.roles.taps import open_taps
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.transport import open_receiver

_TURN_MS = 50


class WorkerRole:
    """One turn after the other: lifeline, each engine's frames and results, heartbeat.

    Args:
        inferences: The engines, each with the seats that it judges for.
        lifeline: The gate's commands.
        clock_ns: Monotonic clock.
    """

    def __init__(
        self, inferences: Sequence[Inference], lifeline: Lifeline, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._inferences = inferences
        self._lifeline = lifeline
        self._heart = Heartbeat(self._report, clock_ns)

    def run(self) -> None:
        """Works until the lifeline says stop, or nobody is left to work for."""
        poller = zmq.Poller()
        poller.register(self._lifeline.fd, zmq.POLLIN)
        for _, seat in self._seats():
            poller.register(seat.socket, zmq.POLLIN)
            seat.serve(armed=False)  # before it says so: the first part comes as soon as the gate knows
        self._heart.say("ready")
        while not self._lifeline.stopping and self._seats():
            poller.poll(0 if any(inference.busy for inference in self._inferences) else _TURN_MS)
            self._lifeline.take()
            self._follow(poller)
            for inference in self._inferences:
                inference.work()
            self._prove(poller)
            self._heart.turn()
        for inference in self._inferences:
            inference.finish()
        self._heart.say("stopped")

    def _seats(self) -> list[tuple[Inference, Seat]]:
        return [(inference, seat) for inference in self._inferences for seat in inference.seats]

    def _follow(self, poller: zmq.Poller) -> None:
        """Does what the lifeline says of the seats."""
        for inference, seat in self._seats():
            if seat.name in self._lifeline.left:
                poller.unregister(seat.socket)
                inference.leave(seat)
            elif self._lifeline.armed:
                seat.serve(armed=True)

    def _prove(self, poller: zmq.Poller) -> None:
        """The golden frames that are due, while no frame is computed and none waits; one in a turn."""
        for inference in self._inferences:
            if inference.golden is not None and inference.golden.due:
                if not any(other.busy for other in self._inferences) and not poller.poll(0):
                    inference.prove()
                return

    def _report(self, state: str, turns: int) -> None:
        for inference, seat in self._seats():
            seat.report(state, turns, inference.golden_age_s)


@dataclass(frozen=True)
class Duty:
    """A recipe's engine and the lines that it judges for.

    Attributes:
        jobs: The orders of each line.
        recipe: That of all of them.
        engine: Warmed up.
        golden: Proves the engine again from time to time; None never does.
    """

    jobs: Sequence[Job]
    recipe: Recipe
    engine: Engine
    golden: GoldenCheck | None = None


def work(job: Job, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
    """Runs the worker until it is told to stop.

    Args:
        job: The orders.
        clock_ns: Monotonic clock.
    """
    # Seconds to load, which a worker without torch need not wait for.
    from inspector.roles.engine import create_engines

    settings = job.config.worker
    recipes: dict[str, tuple[Recipe, list[Job]]] = {}
    for line in job.lines:
        if line.recipe_hash not in recipes:
            recipe = load_recipe(line.config.recipe)
            if recipe.content_hash != line.recipe_hash:
                raise RecipeError(f"{recipe.folder}: changed since the daemon started; restart it to take it up")
            recipes[line.recipe_hash] = recipe, []
        recipes[line.recipe_hash][1].append(line)
    engines = create_engines(settings, [recipe for recipe, _ in recipes.values()], clock_ns)
    duties = [
        Duty(lines, recipe, engine, GoldenCheck(recipe.golden_frame(), recipe.manifest.golden, settings.golden_check_s))
        for (recipe, lines), engine in zip(recipes.values(), engines, strict=True)
    ]
    gc.collect()
    gc.freeze()  # a full collection with torch loaded takes a tenth of a second
    serve(duties, clock_ns)


def serve(duties: Sequence[Duty], clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
    """Runs the loop between its sockets until it is told to stop.

    Args:
        duties: The engines, and what they do.
        clock_ns: Monotonic clock.
    """
    with contextlib.ExitStack() as stack:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.term)
        inferences = []
        for duty in duties:
            seats = [_open_seat(stack, context, job, duty, clock_ns) for job in duty.jobs]
            max_batch = duty.jobs[0].config.worker.max_batch
            inferences.append(Inference(duty.engine, seats, max_batch, clock_ns, duty.golden))
        WorkerRole(inferences, Lifeline(), clock_ns).run()


def _open_seat(
    stack: contextlib.ExitStack,
    context: zmq.Context[zmq.Socket[bytes]],
    job: Job,
    duty: Duty,
    clock_ns: Callable[[], int],
) -> Seat:
    """A line's seat with its sockets open; the stack closes them."""
    gate = GateOutbox(context, job.gate_endpoint)
    stack.callback(gate.close)
    receiver = open_receiver(context, job.frames_endpoint, job.incarnation, job.ring)
    stack.callback(receiver.close)
    memory = receiver.memory
    if memory is not None and isinstance(duty.engine, PipelinedEngine):
        duty.engine.register(memory)
    taps = open_taps(context, job, duty.recipe)
    if taps is not None:
        stack.callback(taps.close)
    return Seat(job, duty.recipe.manifest.geometry, receiver, gate, clock_ns, taps)


if __name__ == "__main__":
    sys.exit(run_child("worker", work, sys.argv[1:]))
