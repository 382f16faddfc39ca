"""The line with notes: real processes, in several ways."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from inspector.benchmark.scraper import scraped
from inspector.benchmark.tail import WAYS, TailOrders, measure_tail, page_fault_ns
from inspector.benchmark.tail_causes import COLLECTIONS, COMPUTING, STAGES
from inspector.config.schema import Worker


@pytest.mark.process
def test_a_collection_that_is_forced_is_found_and_one_that_is_not_is_not(random_recipe: Path) -> None:
    said: list[str] = []
    orders = TailOrders(
        recipe=random_recipe,
        worker=Worker(engine="pytorch", threads=1, allow_random_weights=True),
        ways=("as-it-is", "forced-default"),
        rate=5.0,  # so few that the queue has room for all that come while a process stands still
        turns=1,
        seconds=12.0,
        frame_px=64,
        deadline_ms=20_000,
    )
    record = json.loads(json.dumps(measure_tail(orders, said.append), allow_nan=False))
    assert len(said) == 2
    as_it_is, forced = (record["ways"][name] for name in orders.ways)
    for way in (as_it_is, forced):
        assert 50 <= way["parts"] <= 60  # those of the first second are left out
        assert way["refused"] == 0
        everyone = way["groups"]["all"]
        assert sum(everyone["stages"][name]["ms"] for name in STAGES) == pytest.approx(everyone["whole_ms"])
        assert everyone["causes"][COMPUTING]["felt"] == 1
        for process in way["processes"].values():
            assert process["lost"] == 0
            assert process["collecting"] == 1
            assert process["running_ms"] > 0
    frozen = {role: process["frozen_objects"] for role, process in as_it_is["processes"].items()}
    assert min(frozen.values()) > 10_000
    # Python 3.12 freezes a few hundred itself.
    assert max(process["frozen_objects"] for process in forced["processes"].values()) < 1000
    assert forced["processes"]["worker"]["collections_a_second"] > 0.5
    assert forced["groups"]["all"]["causes"][COLLECTIONS]["ms"] > as_it_is["groups"]["all"]["causes"][COLLECTIONS]["ms"]


@pytest.mark.process
def test_a_page_is_asked_for_until_the_end() -> None:
    asked = threading.Semaphore(0)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.release()
            self.send_error(503)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with scraped(server.server_port):
            assert asked.acquire(timeout=60)
            assert asked.acquire(timeout=60)
        server.shutdown()
        thread.join()


def test_a_page_fault_costs_something_and_not_a_millisecond() -> None:
    assert 0 <= page_fault_ns(1 << 20) < 1e6


def test_the_first_way_is_the_daemons_own() -> None:
    name, way = next(iter(WAYS.items()))
    assert name == "as-it-is"
    assert (way.collector, way.environment, way.scraped) == ("frozen", (), False)
