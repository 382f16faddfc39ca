"""The camera process: takes captures, announces each trigger to the gate, sends frames to the worker."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

import zmq

from inspector.cameras.base import Camera, CountsEvents, HasFigures, Pauses, SourceEnded
from inspector.cameras.factory import create_camera
from inspector.cameras.picture_quality import glance
from inspector.domain.camera_events import CameraEvent
from inspector.domain.frame import Capture, Frame, PixelFormat, pixels_of
from inspector.domain.ledger import trigger_key
from inspector.domain.verdict import Cause
from inspector.roles.heartbeat import Heartbeat
from inspector.roles.job import Job, run_child
from inspector.roles.lifeline import Lifeline
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.messages import FrameHeader, Refused, State, Trigger
from inspector.wire.transport import FrameSender, open_sender

#: Longest wait for a trigger; within it the lifeline is read and the heartbeat sent.
_TURN_S = 0.05
#: A frame's light and focus are measured so often.
_LOOK_NS = 1_000_000_000
_PROBLEMS = {
    Cause.FRAME_MISSING: CameraEvent.FRAME_MISSING,
    Cause.FRAME_INCOMPLETE: CameraEvent.FRAME_INCOMPLETE,
    Cause.FRAME_CORRUPT: CameraEvent.FRAME_CORRUPT,
    Cause.CAMERA_LOST: CameraEvent.CAMERA_LOST,
}


class CameraRole:
    """One turn after the other: lifeline, credits, capture, announce, send, heartbeat.

    Args:
        job: The orders.
        camera: An unopened camera.
        sender: Where frames go.
        gate: Where announcements go.
        lifeline: The gate's commands.
        clock_ns: Monotonic clock.
    """

    def __init__(
        self,
        job: Job,
        camera: Camera,
        sender: FrameSender,
        gate: GateOutbox,
        lifeline: Lifeline,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._incarnation = job.incarnation
        self._deadline_ns = round(job.config.line.deadline_ms * 1e6)
        self._camera = camera
        self._sender = sender
        self._gate = gate
        self._lifeline = lifeline
        self._clock_ns = clock_ns
        self._sequence = 0
        self._heart = Heartbeat(self._report, clock_ns)
        self._ended = False
        self._worker = 0
        self._look: dict[str, float] = {}
        self._looked_ns: int | None = None
        self._events = dict.fromkeys(CameraEvent, 0)

    def run(self) -> None:
        """Works until the lifeline says stop."""
        self._camera.open()
        try:
            gc.collect()
            gc.freeze()
            self._heart.say("ready")
            started = paused = False
            while True:
                self._lifeline.take()
                if self._lifeline.stopping:
                    break
                self._sender.take_credits()
                self._meet_worker()
                if self._lifeline.armed and not started:
                    self._camera.start()
                    started = True
                if started and paused == self._lifeline.armed and isinstance(self._camera, Pauses):
                    paused = not self._lifeline.armed
                    if paused:
                        self._camera.pause()
                    else:
                        self._camera.resume()
                if started and self._lifeline.armed and not self._ended and self._may_capture():
                    self._turn()
                else:
                    self._sender.socket.poll(5 if started and not self._ended else round(_TURN_S * 1000))
                self._heart.turn(self._standing)
            self._heart.say("stopped")
        finally:
            self._camera.close()

    def _meet_worker(self) -> None:
        """The gate arms a new line only once frames have somewhere to go, so it is told at once."""
        worker = self._sender.choose()
        if worker is Cause.QUEUE_FULL or worker == self._worker:
            return
        self._worker = worker if isinstance(worker, int) else 0
        if self._worker:
            self._heart.say(self._standing)

    def _may_capture(self) -> bool:
        """A source that waits to be asked is asked only when the worker has room."""
        return not self._camera.on_demand or isinstance(self._sender.choose(), int)

    def _turn(self) -> None:
        try:
            capture = self._camera.capture(_TURN_S)
        except SourceEnded:
            self._ended = True
            self._heart.say("ended")
            return
        if capture is not None:
            self._sender.take_credits()
            self._hand_over(capture)

    def _hand_over(self, capture: Capture) -> None:
        trigger = trigger_key(self._incarnation, self._sequence)
        self._sequence += 1
        if capture.pixels is None:
            problem = capture.problem or Cause.FRAME_MISSING
            self._announce(trigger, capture, problem)
            if problem in _PROBLEMS:
                self._events[_PROBLEMS[problem]] += 1
            if problem is Cause.CAMERA_LOST:
                self._heart.say("running")  # the camera's next word may be an error that ends the process
            return
        worker = self._sender.choose()
        if isinstance(worker, Cause):
            self._announce(trigger, capture, worker)
            return
        # The gate knows of the part before the frame leaves: if this process dies in between, the deadline
        # settles the part.
        self._announce(trigger, capture, None, worker)
        header = FrameHeader(
            trigger=trigger,
            triggered_ns=capture.triggered_ns,
            captured_ns=capture.captured_ns,
            sent_ns=self._clock_ns(),
            deadline_ns=capture.triggered_ns + self._deadline_ns,
            pixel_format=PixelFormat.of(capture.pixels),
            width_px=capture.pixels.shape[1],
            height_px=capture.pixels.shape[0],
        )
        refusal = self._sender.send(worker, header, pixels_of(capture.pixels))
        if refusal is not None:
            self._gate.send(Refused(trigger, refusal))
        self._look_at(capture.pixels)

    def _look_at(self, frame: Frame) -> None:
        """Light and focus for the gate's metrics; after the frame has left, so that no part waits for it."""
        now_ns = self._clock_ns()
        if self._looked_ns is None or now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            self._look = glance(frame)

    def _announce(self, trigger: int, capture: Capture, refusal: Cause | None, worker: int = 0) -> None:
        self._gate.send(Trigger(trigger, capture.triggered_ns, worker, refusal, capture.source))

    @property
    def _standing(self) -> str:
        return "ended" if self._ended else "running"

    def _report(self, state: str, turns: int) -> None:
        self._gate.send(
            State(
                "camera",
                self._incarnation,
                state,
                progress=turns,
                triggers=self._sequence,
                queue_frames=self._sender.waiting,
                details={"worker": self._worker} | self._sender.counts() | self._look | self._counted(),
            )
        )

    def _counted(self) -> dict[str, float]:
        if isinstance(self._camera, CountsEvents):
            self._events.update(self._camera.events())
        figures = dict(self._camera.figures()) if isinstance(self._camera, HasFigures) else {}
        return figures | {f"event_{event.value}": count for event, count in self._events.items() if count}


def work(job: Job, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
    """Runs the camera process until it is told to stop.

    Args:
        job: The orders.
        clock_ns: Monotonic clock.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sender = open_sender(context, job.frames_endpoint, job.ring, job.lease_ns)
    gate = GateOutbox(context, job.gate_endpoint)
    try:
        camera = create_camera(
            job.config.camera,
            first_part=job.first_part,
            memory=job.memory,
            allocate=sender.allocate,
            raw_bayer=job.config.worker.chosen_engine == "cuda",  # its GPU demosaics
            clock_ns=clock_ns,
        )
        CameraRole(job, camera, sender, gate, Lifeline(), clock_ns).run()
    finally:
        sender.close()
        gate.close()
        context.term()


if __name__ == "__main__":
    sys.exit(run_child("camera", work, sys.argv[1:]))
