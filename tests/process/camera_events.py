"""The events of a camera in the metrics of a daemon that runs."""

from __future__ import annotations

from .conftest import Daemon, samples, wait_for


def events(daemon: Daemon) -> dict[str, int]:
    """How often each kind has happened, as the metrics say now; empty before they answer."""
    return {one.labels["event"]: int(one.value) for one in samples(daemon, "inspector_camera_events_total")}


def settled_events(daemon: Daemon, **least: int) -> dict[str, int]:
    """One answer of the metrics, once each of these has happened at least so often.

    A loss is counted when it is seen, its parts one by one as they are handed on, and the camera process reports four
    times a second: two counts may be compared only once both are where they will stay.
    """

    def reached() -> dict[str, int] | None:
        now = events(daemon)
        return now if now and all(now[name] >= count for name, count in least.items()) else None

    settled: dict[str, int] = wait_for(reached, f"the events {least}\n{daemon.errors()}")
    return settled
