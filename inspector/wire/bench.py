"""Measures the transports of this machine in one run: two real processes, the classes that the daemon uses.

``python -m inspector.wire.bench`` prints the figures as JSON; `measure_transports` gives them to a caller. Rounds of
the transports alternate, so that what else the machine does meets them alike, and ratios are taken within a round.
Pixels are random; contents are checked by checksum, and a frame lost or changed ends the measurement with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inspector.domain.errors import FatalError
from inspector.wire.bench_sides import SLOTS, Orders, Reading, Source
from inspector.wire.ring import close_ring, create_ring

#: "copies": ZeroMQ as it is without further care, the pixels copied into the message and out of it. "message": the
#: transport `zeromq`, which hands its memory to ZeroMQ. "slot": the transport `shared_memory`.
CARRIERS = ("copies", "message", "slot")
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class CarrierFigures:
    """What one carrier did.

    Attributes:
        carrier: One of `CARRIERS`.
        frames_per_s: Frames that arrived and were read, as fast as they go: median of the rounds.
        rounds_frames_per_s: The same, round by round.
        cpu_ms: Processor time of both processes for one frame, median of the rounds.
        latency_p50_ms: From before the sending to after the reading, at `TransportFigures.paced_per_s`.
        latency_p99_ms: The same for 99 of 100 frames.
        frames: Frames that were measured.
        checked: Frames whose contents were compared, those before and after the measurement of the rate included.
    """

    carrier: str
    frames_per_s: float
    rounds_frames_per_s: list[float]
    cpu_ms: float
    latency_p50_ms: float
    latency_p99_ms: float
    frames: int
    checked: int


@dataclass(frozen=True)
class TransportFigures:
    """What `measure_transports` found.

    Attributes:
        width_px: Columns of the frames.
        height_px: Rows of the frames, Mono8.
        frame_bytes: Bytes of a frame.
        source: As `Source`.
        reading: As `Reading`.
        paced_per_s: Frames a second while latencies were measured.
        copies: Over ZeroMQ, with copies.
        message: Over ZeroMQ, as the daemon does it.
        slot: Through shared memory.
        ratio_to_copies: Frames a second of slot over copies: median of the rounds' ratios.
        ratio_to_message: Frames a second of slot over message, likewise.
        cpus: Processors that this process may use.
    """

    width_px: int
    height_px: int
    frame_bytes: int
    source: Source
    reading: Reading
    paced_per_s: float
    copies: CarrierFigures
    message: CarrierFigures
    slot: CarrierFigures
    ratio_to_copies: float
    ratio_to_message: float
    cpus: int


def measure_transports(
    width_px: int = 2448,
    height_px: int = 2048,
    *,
    source: Source = "driver",
    reading: Reading = "every_byte",
    seconds: float = 2.0,
    rounds: int = 3,
    paced_per_s: float = 60.0,
) -> TransportFigures:
    """Measures the transports, one after the other, round by round.

    Args:
        width_px: Columns of the frames.
        height_px: Rows of the frames, Mono8.
        source: Where the sender has its frames.
        reading: What the receiver does with them.
        seconds: Length of a measurement; a round has two for each of `CARRIERS`.
        rounds: Number of rounds.
        paced_per_s: Frames a second while latencies are measured.

    Raises:
        FatalError: A frame was lost or changed on its way, or a process failed.
    """
    results: dict[str, list[dict[str, Any]]] = {carrier: [] for carrier in CARRIERS}
    for _ in range(rounds):
        for carrier in CARRIERS:
            ring = create_ring(SLOTS, width_px * height_px, allocate=True) if carrier == "slot" else None
            try:
                with tempfile.TemporaryDirectory() as folder:
                    results[carrier].append(
                        _run(
                            Orders(
                                side="",
                                carrier=carrier,
                                endpoint=f"ipc://{folder}/frames.sock",
                                ring=None if ring is None else asdict(ring),
                                width_px=width_px,
                                height_px=height_px,
                                source=source,
                                reading=reading,
                                seconds=seconds,
                                paced_per_s=paced_per_s,
                            )
                        )
                    )
            finally:
                if ring is not None:
                    close_ring(ring)
    copies, message, slot = (_figures(carrier, results[carrier]) for carrier in CARRIERS)
    return TransportFigures(
        width_px=width_px,
        height_px=height_px,
        frame_bytes=width_px * height_px,
        source=source,
        reading=reading,
        paced_per_s=paced_per_s,
        copies=copies,
        message=message,
        slot=slot,
        ratio_to_copies=_ratio(slot, copies),
        ratio_to_message=_ratio(slot, message),
        cpus=len(os.sched_getaffinity(0)),
    )


def _figures(carrier: str, results: Sequence[dict[str, Any]]) -> CarrierFigures:
    latencies_ms = np.concatenate([result["latencies_ns"] for result in results]) / 1e6
    rates = [round(result["frames"] / result["seconds"], 1) for result in results]
    return CarrierFigures(
        carrier=carrier,
        frames_per_s=statistics.median(rates),
        rounds_frames_per_s=rates,
        cpu_ms=round(statistics.median(1000 * result["cpu_s"] / result["frames"] for result in results), 4),
        latency_p50_ms=round(float(np.percentile(latencies_ms, 50)), 3),
        latency_p99_ms=round(float(np.percentile(latencies_ms, 99)), 3),
        frames=sum(result["frames"] for result in results),
        checked=sum(result["checked"] for result in results),
    )


def _ratio(one: CarrierFigures, other: CarrierFigures) -> float:
    rounds = zip(one.rounds_frames_per_s, other.rounds_frames_per_s, strict=True)
    return round(statistics.median(rate / former for rate, former in rounds), 3)


def _run(orders: Orders) -> dict[str, Any]:
    """One measurement with one carrier: its two processes, and what they say together."""
    pass_fds = () if orders.ring is None else (orders.ring["fd"],)

    def start(side: str) -> subprocess.Popen[str]:
        words = json.dumps({**asdict(orders), "side": side})
        command = [sys.executable, "-m", "inspector.wire.bench_sides", words]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds, start_new_session=True
        )

    with start("receiver") as receiver, start("sender") as sender:
        try:
            sent = json.loads(sender.communicate(timeout=_PATIENCE_S + 2 * orders.seconds)[0] or "null")
            got = json.loads(receiver.communicate("stop\n", timeout=_PATIENCE_S)[0] or "null")
        except subprocess.TimeoutExpired as error:
            raise FatalError("the measurement of the transport does not come to its end") from error
        finally:
            for process in (receiver, sender):
                process.kill()
    return _joined("slot" if orders.carrier == "slot" else "message", sent, got)


def _joined(carrier: str, sent: dict[str, Any] | None, got: dict[str, Any] | None) -> dict[str, Any]:
    """What both sides say together; nothing is measured on frames lost, changed, or carried by something else."""
    if sent is None or got is None:
        raise FatalError("the measurement of the transport failed; its reasons stand above")
    if got["wrong"] or got["received"] != sent["sent"] or not got["checked"]:
        raise FatalError(
            f"transport: {sent['sent']} frames sent, {got['received']} received, {got['wrong']} of them with other "
            "pixels than were sent"
        )
    if sent["counts"][f"frames_by_{carrier}"] != sent["sent"]:
        raise FatalError(f"transport: not every frame went by {carrier}: {sent['counts']}")
    return {**got, "cpu_s": got["cpu_s"] + sent["cpu_s"], "frames": sent["frames"]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures of one frame size as JSON."""
    parser = argparse.ArgumentParser(prog="python -m inspector.wire.bench", description=__doc__)
    parser.add_argument("--size", default="2448x2048", help="columns x rows of the Mono8 frames")
    parser.add_argument("--source", choices=("driver", "ready"), default="driver")
    parser.add_argument("--reading", choices=("every_byte", "nothing"), default="every_byte")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    width_px, height_px = map(int, given.size.split("x"))
    figures = measure_transports(
        width_px,
        height_px,
        source=given.source,
        reading=given.reading,
        seconds=given.seconds,
        rounds=given.rounds,
    )
    print(json.dumps(asdict(figures), indent=2))


if __name__ == "__main__":
    main()
