"""A camera at another machine, where `inspector camera` serves it (`inspector.roles.camera_server`)."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import zmq

from inspector.cameras.base import SourceEnded
from inspector.cameras.remote_clock import RemoteClock
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
    failure,
    kind_of,
    plain,
)
from inspector.config import cameras as settings
from inspector.config.keys import public_key, secret_key
from inspector.domain.errors import CameraError
from inspector.domain.frame import Allocate, Capture, Frame, new_pixels
from inspector.domain.verdict import Cause

_PING_NS = 200_000_000
#: Round trips before the first capture, for the other clock.
_FIRST_PINGS = 8
_NO_RUN = bytes(RUN_BYTES)
#: What the next camera process of this run must know, in the folder for it.
_MEMORY = "remote-camera.json"


class RemoteCamera:
    """The station's side: captures as they come, those that were lost on the way as parts without a frame.

    Triggers while the link was down are parts too: the other side goes on counting, and this one goes on with the
    number that it expects, also in the next camera process of the run.

    Args:
        config: Where the camera is, keys, time limit.
        memory: Folder in which the next number is kept for the next camera process of the run.
        allocate: Memory for the frames.
        raw_bayer: Have frames of Bayer formats sent as they are, for a `Mosaic`.
        clock_ns: Monotonic clock.
    """

    on_demand = False

    def __init__(
        self,
        config: settings.RemoteCamera,
        memory: Path | None = None,
        allocate: Allocate = new_pixels,
        raw_bayer: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._config = config
        self._memory = None if memory is None else memory / _MEMORY
        self._allocate = allocate
        self._raw_bayer = raw_bayer
        self._clock_ns = clock_ns
        self._clock = RemoteClock()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._run = _NO_RUN
        self._expected = 0  # number of the next capture to be handed on
        self._known = 0  # the other side has numbered its captures so far
        self._waiting: deque[tuple[CaptureHeader, list[memoryview]]] = deque()
        self._last_ns = 0
        self._pinged_ns = 0
        self._asked_ns: int | None = None  # since when an answer is due
        self._pongs = 0
        self._welcome = False
        self._ended = False

    def open(self) -> None:
        """Finds the other machine, and learns its clock.

        Raises:
            CameraError: It does not answer, or it refuses.
            ConfigError: A key can't be used.
        """
        secret = secret_key(self._config.secret_key, "camera.secret_key")
        server = public_key(self._config.server_key, "camera.server_key")
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, os.urandom(RUN_BYTES))
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, zmq.curve_public(secret))
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, server)
        self._socket.setsockopt(zmq.IPV6, int("[" in self._config.connect))
        self._socket.connect(self._config.connect)
        try:
            self._join(*self._remembered())
        except CameraError:
            self.close()  # or its request would be heard when the link is back
            raise

    def start(self) -> None:
        """Asks for captures."""
        self._send(plain(Kind.START))

    def pause(self) -> None:
        """Wants no captures; what is on its way is no part."""
        self._send(plain(Kind.BYE))

    def resume(self) -> None:
        """Wants captures again, from now on.

        Raises:
            CameraError: The other machine does not answer, or it refuses.
        """
        self._join(_NO_RUN, 0)
        self.start()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next capture; its trigger is the earliest that it can have been, by what is known of the other clock.

        Raises:
            SourceEnded: The camera's source has ended.
            CameraError: The camera is lost, or the link to it, for the time limit.
        """
        until_ns = self._clock_ns() + round(timeout_s * 1e9)
        while True:
            self._ping()
            self._receive(0)
            capture = self._next()
            if capture is not None:
                return capture
            now_ns = self._clock_ns()
            if self._ended:
                raise SourceEnded
            if self._silent(now_ns):
                raise CameraError(
                    f"{self._config.connect}: no sign of life for {self._config.lost_after_s:g} s; is the machine on, "
                    "the cable plugged in, and does `inspector camera` run there?"
                )
            if now_ns >= until_ns:
                return None
            self._receive(min(until_ns - now_ns, _PING_NS))

    def figures(self) -> Mapping[str, float]:
        """For the metrics: how far its times may be off, in seconds."""
        if not self._clock.known:
            return {}
        return {"clock_error_s": self._clock.error_ns(self._clock_ns()) / 1e9}

    def close(self) -> None:
        """Says goodbye if it can. What is lost is to be found again, so a camera that is lost is not dismissed."""
        if self._socket is None or self._context is None:
            return
        self._remember()
        with contextlib.suppress(CameraError):
            self._receive(0)  # an answer that lies here unread is a sign of life
        if self._welcome and not self._silent(self._clock_ns()):
            self._send(plain(Kind.BYE))
        self._socket.close()
        self._context.term()
        self._socket = self._context = None

    def _join(self, run: bytes, sequence: int) -> None:
        """Comes to the other side, and drops what came before its answer."""
        self._welcome, self._pongs = False, 0
        self._waiting.clear()
        self._asked_ns = None
        self._send(Hello(run, sequence, self._config.window_frames, self._raw_bayer).encode())
        until_ns = self._clock_ns() + round(max(self._config.lost_after_s, 2.0) * 1e9)
        while not self._welcome or self._pongs < _FIRST_PINGS:
            now_ns = self._clock_ns()
            if now_ns > until_ns:
                raise CameraError(
                    f"{self._config.connect}: no answer; does `inspector camera` run there, is camera.server_key its "
                    "public key, and lies this station's in the clients folder there?"
                )
            if self._welcome:
                self._ping(at_once=True)
            self._receive(50_000_000)
        self._remember()

    def _ping(self, at_once: bool = False) -> None:
        now_ns = self._clock_ns()
        if at_once or now_ns - self._pinged_ns >= _PING_NS:
            self._pinged_ns = now_ns
            self._asked_ns = self._asked_ns or now_ns
            self._send(Ping(now_ns, self._expected).encode())

    def _silent(self, now_ns: int) -> bool:
        """True if the other side owes an answer for too long."""
        return self._asked_ns is not None and now_ns - self._asked_ns > self._config.lost_after_s * 1e9

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(zmq.Again):  # the link is down; `capture` finds out
            self._opened().send(message, zmq.NOBLOCK)

    def _receive(self, patience_ns: int) -> None:
        """Takes what has come, after waiting for something."""
        socket = self._opened()
        if not socket.poll(-(-patience_ns // 1_000_000)):
            return
        for _ in range(self._config.window_frames + 1):  # a capture that waits comes first
            try:
                head, *rest = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                self._take(head.bytes, [part.buffer for part in rest])
            except ProtocolError as error:
                raise CameraError(
                    f"{self._config.connect}: {error}; install the same version on both machines"
                ) from error

    def _take(self, head: bytes, rest: list[memoryview]) -> None:
        kind, now_ns = kind_of(head), self._clock_ns()
        if kind is Kind.FAILED:
            self._welcome = False
            raise CameraError(f"{self._config.connect}: {failure(head)}")
        if kind is Kind.WELCOME:
            welcome = Welcome.decode(head)
            self._run, self._expected, self._known = welcome.run, welcome.sequence, welcome.sequence
            self._welcome, self._ended = True, False
        elif not self._welcome:
            return  # for a time before this
        elif kind is Kind.PONG:
            pong = Pong.decode(head)
            self._clock.met(pong.sent_ns, pong.here_ns, now_ns)
            self._pongs += 1
            self._known, self._ended = max(self._known, pong.sequence), pong.ended
        elif kind is Kind.CAPTURE:
            self._arrived(CaptureHeader.decode(head), rest)
        self._asked_ns = None

    def _arrived(self, header: CaptureHeader, rest: list[memoryview]) -> None:
        if header.sequence < self._known:
            return  # it was given up
        if sum(part.nbytes for part in rest) != header.pixel_bytes or len(rest) > 1:
            raise ProtocolError("CAPTURE with pixels of another size than it says")
        self._known = header.sequence + 1
        self._waiting.append((header, rest))

    def _next(self) -> Capture | None:
        """The capture with the expected number, or that it was lost if the other side is further; None to wait."""
        if not self._waiting:
            return self._lost(self._clock_ns(), self._known) if self._known > self._expected else None
        header, rest = self._waiting[0]
        triggered_ns = self._clock.earliest_ns(header.triggered_ns)
        if header.sequence > self._expected:
            return self._lost(triggered_ns, header.sequence)
        self._waiting.popleft()
        self._expected += 1
        self._last_ns = triggered_ns
        frame: Frame | None = None
        if header.problem is None:
            pixels = self._allocate(header.shape)
            np.copyto(pixels, np.frombuffer(rest[0], np.uint8).reshape(header.shape))
            frame = header.frame(pixels)
            self._send(Taken(self._expected).encode())
        captured_ns = triggered_ns + max(0, header.captured_ns - header.triggered_ns)
        return Capture(frame, triggered_ns, captured_ns, header.source, header.problem)

    def _lost(self, next_ns: int, next_sequence: int) -> Capture:
        """A capture that was lost on the way; its trigger is put evenly between those before and behind it."""
        last_ns = min(self._last_ns or next_ns, next_ns)
        triggered_ns = last_ns + (next_ns - last_ns) // (next_sequence - self._expected + 1)
        self._last_ns = triggered_ns
        self._expected += 1
        return Capture(None, triggered_ns, triggered_ns, f"remote {self._expected - 1}", Cause.FRAME_MISSING)

    def _remembered(self) -> tuple[bytes, int]:
        """Run of the other side, and the next number, as the camera process before this one left them."""
        if self._memory is None:
            return _NO_RUN, 0
        try:
            known = json.loads(self._memory.read_text())
        except FileNotFoundError:  # the first of this run
            return _NO_RUN, 0
        return bytes.fromhex(known["run"]), int(known["next"])

    def _remember(self) -> None:
        if self._memory is not None and self._run != _NO_RUN:
            new = self._memory.with_suffix(".new")
            new.write_text(json.dumps({"run": self._run.hex(), "next": self._expected}))
            new.replace(self._memory)

    def _opened(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            raise RuntimeError("the remote camera is not open")
        return self._socket
