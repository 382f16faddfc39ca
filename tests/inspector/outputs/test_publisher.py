"""Subscribers hear the verdicts, and none of them ever holds the line up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from inspector.domain.errors import ConfigError
from inspector.outputs import publisher as module
from inspector.outputs.publisher import Publisher


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context
        context.destroy(linger=0)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/verdicts.sock"


def subscribed(context: zmq.Context, publisher: Publisher, endpoint: str, topic: str = "") -> zmq.Socket[bytes]:
    """A subscriber that surely hears what is published from now on."""
    subscriber = context.socket(zmq.SUB)
    subscriber.setsockopt_string(zmq.SUBSCRIBE, topic)
    subscriber.setsockopt_string(zmq.SUBSCRIBE, "warm-up")
    subscriber.setsockopt(zmq.IPV6, 1)
    subscriber.connect(endpoint)
    for _ in range(1000):
        publisher.publish("warm-up", {})
        if subscriber.poll(20):
            break
    publisher.publish("warm-up", {"last": True})
    told: list[bytes] = []
    while told != [b"warm-up", b'{"last": true}']:
        assert subscriber.poll(20_000)
        told = subscriber.recv_multipart()
        assert told[0] == b"warm-up"
    return subscriber


def test_subscriber_receives_topic_and_json(context: zmq.Context, endpoint: str) -> None:
    publisher = Publisher(context, endpoint)
    subscriber = subscribed(context, publisher, endpoint)
    record = {"part": 1, "decision": "pass", "source": "Straße.png", "score": 0.25, "p_value": None}
    publisher.publish("verdict", record)
    publisher.publish("heartbeat", {"state": "running"})
    received = [subscriber.recv_multipart() for _ in range(2) if subscriber.poll(20_000)]
    assert [(topic, json.loads(text)) for topic, text in received] == [
        (b"verdict", record),
        (b"heartbeat", {"state": "running"}),
    ]
    subscriber.close()
    publisher.close()


def test_topics_can_be_chosen(context: zmq.Context, endpoint: str) -> None:
    publisher = Publisher(context, endpoint)
    subscriber = subscribed(context, publisher, endpoint, "heartbeat")
    publisher.publish("verdict", {"part": 1})
    publisher.publish("heartbeat", {})
    assert subscriber.poll(20_000)
    assert subscriber.recv_multipart() == [b"heartbeat", b"{}"]
    subscriber.close()
    publisher.close()


def test_without_subscribers_nothing_waits(context: zmq.Context, endpoint: str) -> None:
    publisher = Publisher(context, endpoint)
    for part in range(20_000):
        publisher.publish("verdict", {"part": part})
    publisher.close()


def test_slow_subscriber_misses_records_and_holds_nobody_up(
    context: zmq.Context, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HIGH_WATER", 100)
    publisher = Publisher(context, endpoint)
    subscriber = subscribed(context, publisher, endpoint)
    other = subscribed(context, publisher, endpoint)
    text = "x" * 10_000  # more than the sockets between them hold
    for part in range(3000):
        publisher.publish("verdict", {"part": part, "text": text})
        assert other.poll(20_000)  # the one that listens misses nothing
        assert json.loads(other.recv_multipart()[1])["part"] == part
    late = 0
    while subscriber.poll(200):
        subscriber.recv_multipart()
        late += 1
    assert 0 < late < 3000
    publisher.publish("verdict", {"part": "last"})
    assert subscriber.poll(20_000)  # and is served again as soon as it listens
    for socket in (subscriber, other):
        socket.close(linger=0)
    publisher.close()


def test_numbers_that_are_no_json_are_never_published(context: zmq.Context, endpoint: str) -> None:
    publisher = Publisher(context, endpoint)
    with pytest.raises(ValueError, match="JSON"):
        publisher.publish("verdict", {"score": float("nan")})
    publisher.close()


def test_no_endpoint_publishes_nothing(context: zmq.Context) -> None:
    publisher = Publisher(context, None)
    publisher.publish("verdict", {"part": 1})
    publisher.close()
    publisher.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "localhost"])
def test_every_loopback_address_that_the_configuration_accepts_can_be_bound(
    context: zmq.Context, address: str, unused_port: int
) -> None:
    # ZeroMQ speaks IPv6 only when told to: tcp://[::1] passed the configuration and then could not be bound.
    endpoint = f"tcp://{address}:{unused_port}"
    publisher = Publisher(context, endpoint)
    subscriber = subscribed(context, publisher, endpoint)
    publisher.publish("verdict", {})
    assert subscriber.poll(20_000)
    subscriber.close()
    publisher.close()


def test_a_socket_is_protected_before_anybody_can_connect(context: zmq.Context, endpoint: str) -> None:
    bound: list[bytes] = []
    publisher = Publisher(context, endpoint, lambda socket: bound.append(socket.getsockopt(zmq.LAST_ENDPOINT)))
    assert [name.strip(b"\0") for name in bound] == [b""]
    publisher.close()


def test_taken_endpoint_is_a_mistake_in_the_configuration(context: zmq.Context, unused_port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{unused_port}"
    publisher = Publisher(context, endpoint)
    with pytest.raises(ConfigError, match=r"verdicts\.endpoint: can't listen on tcp://127\.0\.0\.1"):
        Publisher(context, endpoint)
    publisher.close()


def test_closing_twice_does_no_harm_and_frees_the_endpoint(context: zmq.Context, endpoint: str) -> None:
    publisher = Publisher(context, endpoint)
    publisher.close()
    publisher.close()
    Publisher(context, endpoint).close()
