"""`inspector camera`: serves the camera of this machine to a station on another one (`inspector.cameras.remote`).

It numbers every trigger from the station's start on, also while the link is down; what did not get through is known by
its number. It ends when its camera is lost, and the service manager starts it again.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType

import zmq

from inspector.cameras.base import Camera, SourceEnded
from inspector.cameras.bayer import demosaiced
from inspector.cameras.factory import create_camera
from inspector.cameras.remote_protocol import (
    RUN_BYTES,
    CaptureHeader,
    Hello,
    Kind,
    Ping,
    Pong,
    ProtocolError,
    Taken,
    Welcome,
    failed,
    kind_of,
    plain,
)
from inspector.config.camera_server import CameraServerConfig
from inspector.domain.errors import CameraError, ConfigError
from inspector.domain.frame import Capture, PixelFormat, pixels_of
from inspector.domain.verdict import Cause
from inspector.outputs.service_manager import ServiceManager
from inspector.wire.curve import CurveServer, load_keys

log = logging.getLogger("inspector")

#: Longest wait for a trigger: the station's pings are answered in between, the sooner the better its clock is known.
_TURN_S = 0.002
_IDLE_MS = 50
_WATCHDOG_NS = 1_000_000_000
#: A station that was silent for so long gives way to another.
_SILENT_NS = 2_000_000_000
#: Longest message of a station.
_LARGEST_BYTES = 4096


@dataclass
class _Session:
    """The station that has the camera.

    Attributes:
        identity: Of its connection.
        name: Of its key.
        window: Frames that may be on their way to it.
        taken: Number of the next capture that it expects.
        heard_ns: When it last said something.
        raw_bayer: It takes frames of Bayer formats as they are.
        on_way: Numbers of the frames on their way.
    """

    identity: bytes
    name: str
    window: int
    taken: int
    heard_ns: int
    raw_bayer: bool
    on_way: deque[int] = field(default_factory=deque)

    def take(self, sequence: int, now_ns: int) -> None:
        """It has what came before this number."""
        self.heard_ns = now_ns
        self.taken = max(self.taken, sequence)
        while self.on_way and self.on_way[0] < self.taken:
            self.on_way.popleft()


class CameraServer:
    """One turn after the other: what the station says, then a capture.

    Args:
        camera: An open camera whose triggers come by themselves.
        socket: A bound ROUTER that lets in stations only.
        names: Of the stations, by public key (Z85).
        clock_ns: Monotonic clock, that of the camera.
    """

    def __init__(
        self,
        camera: Camera,
        socket: zmq.Socket[bytes],
        names: Mapping[bytes, str],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._camera = camera
        self._socket = socket
        self._names = names
        self._clock_ns = clock_ns
        self._run = os.urandom(RUN_BYTES)
        self._session: _Session | None = None
        self._sequence = 0
        self._started = False
        self._wanted = False
        self._ended = False

    def turn(self) -> None:
        """Answers the station, and sends a capture if there is one.

        Raises:
            CameraError: The camera is lost; the station was told.
        """
        self._take_messages()
        if not self._started or self._ended:
            self._socket.poll(_IDLE_MS)
            return
        try:
            capture = self._camera.capture(_TURN_S)
        except SourceEnded:
            self._ended = True
            return
        except CameraError as error:
            self.fail(str(error))
            raise
        if capture is not None and self._session is not None and self._wanted:
            self._hand_over(self._session, capture)

    def fail(self, why: str) -> None:
        """Tells the station that its camera goes."""
        if self._session is not None:
            self._say(self._session.identity, failed(why))

    def _hand_over(self, session: _Session, capture: Capture) -> None:
        frame, problem = capture.pixels, capture.problem
        if frame is not None and len(session.on_way) >= session.window:
            frame, problem = None, Cause.QUEUE_FULL
        if frame is not None and not session.raw_bayer:
            frame = demosaiced(frame)
        height_px, width_px = (0, 0) if frame is None else frame.shape[:2]
        layout = None if frame is None else PixelFormat.of(frame)
        times_ns = capture.triggered_ns, capture.captured_ns
        header = CaptureHeader(self._sequence, *times_ns, width_px, height_px, layout, problem, capture.source)
        if frame is None:
            self._say(session.identity, header.encode())
        else:
            session.on_way.append(self._sequence)
            self._say(session.identity, header.encode(), pixels_of(frame).data.cast("B"))
        self._sequence += 1

    def _say(self, identity: bytes, *parts: bytes | memoryview) -> None:
        """To a station that is gone nothing is said: ROUTER drops it, and its number tells."""
        self._socket.send_multipart([identity, *parts], zmq.NOBLOCK, copy=False)

    def _take_messages(self) -> None:
        """What waits. Messages of different connections come in any order, so a station asks for the camera last: the
        one before it may have let go of it.
        """
        messages = []
        while self._socket.poll(0):
            messages.append(self._socket.recv_multipart(zmq.NOBLOCK, copy=False))
        if self._session is not None:
            messages.sort(key=lambda parts: parts[1:] != [] and parts[1].bytes.startswith(plain(Kind.HELLO)))
        for identity, *parts in messages:
            try:
                if len(parts) != 1:
                    raise ProtocolError(f"{len(parts)} parts, expected one")
                self._take(identity.bytes, parts[0].bytes, self._name_of(parts[0]))
            except ProtocolError as error:
                self._say(identity.bytes, failed(f"{error}; install the same version on both machines"))

    def _name_of(self, message: zmq.Frame) -> str:
        return self._names.get(str(message.get("User-Id")).encode(), "of no known name")

    def _take(self, identity: bytes, data: bytes, name: str) -> None:
        kind, now_ns = kind_of(data), self._clock_ns()
        if kind is Kind.HELLO:
            self._welcome(identity, Hello.decode(data), name, now_ns)
            return
        session = self._session
        if session is None or session.identity != identity:
            if kind is Kind.PING:  # of one that gave way, or that knows a former run
                has_it = "was started anew there" if session is None else f"went to station {session.name}"
                self._say(identity, failed(f"the camera {has_it}"))
            return
        if kind is Kind.PING:
            ping = Ping.decode(data)
            session.take(ping.sequence, now_ns)
            self._say(identity, Pong(ping.sent_ns, now_ns, self._sequence, self._ended).encode())
        elif kind is Kind.TAKEN:
            session.take(Taken.decode(data).sequence, now_ns)
        elif kind is Kind.START:
            self._wanted = True
            if not self._started:
                self._camera.start()
                self._started = True
        elif kind is Kind.BYE:
            log.info("station %s has let go of the camera", session.name)
            self._session, self._wanted = None, False

    def _welcome(self, identity: bytes, hello: Hello, name: str, now_ns: int) -> None:
        former = self._session
        again = hello.run == self._run
        if former is not None and identity != former.identity and not again and now_ns - former.heard_ns < _SILENT_NS:
            self._say(identity, failed(f"the camera is in use by station {former.name}"))
            return
        first = self._sequence
        if again:  # what it missed meanwhile are its parts
            first = min(max(hello.sequence, former.taken if former is not None else 0), self._sequence)
        else:
            self._wanted = False
        self._session = _Session(identity, name, hello.window, first, now_ns, hello.raw_bayer)
        self._say(identity, Welcome(self._run, first).encode())
        log.info("station %s has the camera, from capture %d on", name, first)


def serve_camera(config: CameraServerConfig, service_manager: ServiceManager) -> None:
    """Serves the camera until SIGTERM or SIGINT.

    Raises:
        CameraError: The camera can't be opened, or was lost.
        ConfigError: The keys or the address can't be used.
    """
    stopping: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    keys = load_keys(config.curve, "curve")
    camera = create_camera(config.camera, raw_bayer=True)  # a station that wants colours is given them here
    camera.open()
    curve = CurveServer()
    socket = curve.context.socket(zmq.ROUTER)
    try:
        curve.protect(socket, keys, "camera")
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST_BYTES)
        socket.setsockopt(zmq.LINGER, 500)
        socket.setsockopt(zmq.IPV6, int("[" in config.listen))
        try:
            socket.bind(config.listen)
        except zmq.ZMQError as error:
            raise ConfigError(f"listen: can't listen on {config.listen}: {error}; does another one run?") from error
        server = CameraServer(camera, socket, keys.clients)
        gc.collect()
        gc.freeze()
        service_manager.notify("READY=1")
        log.info("camera %s is served on %s", config.camera.kind, config.listen)
        watched_ns = 0
        while not stopping:
            server.turn()
            if time.monotonic_ns() - watched_ns >= _WATCHDOG_NS:
                watched_ns = time.monotonic_ns()
                service_manager.notify("WATCHDOG=1")
        service_manager.notify("STOPPING=1")
        server.fail("it was stopped there")
    finally:
        socket.close()
        curve.close()
        camera.close()
