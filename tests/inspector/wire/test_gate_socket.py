"""The children's messages reach the gate in order, and a gate that takes nothing holds no child for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from inspector.domain.errors import FatalError
from inspector.domain.verdict import Cause
from inspector.wire import gate_socket
from inspector.wire.gate_socket import GateInbox, GateOutbox
from inspector.wire.messages import Credit, GateMessage, Refused, Result, State, Trigger

RESULT = Result(1, 1, 0.5, None, 1, 2, 3, 4, bytes(32))


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/gate.sock"


@pytest.fixture
def inbox(context: zmq.Context, endpoint: str) -> GateInbox:
    return GateInbox(context, endpoint)


def take(inbox: GateInbox, count: int) -> list[GateMessage]:
    taken: list[GateMessage] = []
    while len(taken) < count:
        assert inbox.socket.poll(20_000), f"only {len(taken)} of {count} messages came"
        taken += inbox.messages(count - len(taken))
    return taken


def test_messages_of_one_child_come_in_order(context: zmq.Context, endpoint: str, inbox: GateInbox) -> None:
    outbox = GateOutbox(context, endpoint)
    sent = [
        State("worker", 1, "ready"),
        Trigger(1, 10, 1, None, "a.png"),
        RESULT,
        Refused(2, Cause.QUEUE_FULL),
        State("worker", 1, "stopped", progress=3, details={"computed": 1}),
    ]
    for message in sent:
        outbox.send(message)
    assert take(inbox, len(sent)) == sent
    assert inbox.malformed == 0


def test_many_children_share_the_inbox(context: zmq.Context, endpoint: str, inbox: GateInbox) -> None:
    for child in range(4):
        GateOutbox(context, endpoint).send(Trigger(child, 0, 1, None, ""))
    assert {message.trigger for message in take(inbox, 4) if isinstance(message, Trigger)} == {0, 1, 2, 3}


def test_messages_never_waits_and_takes_no_more_than_asked(
    context: zmq.Context, endpoint: str, inbox: GateInbox
) -> None:
    assert list(inbox.messages(5)) == []
    outbox = GateOutbox(context, endpoint)
    for number in range(5):
        outbox.send(Trigger(number, 0, 1, None, ""))
    assert take(inbox, 1)
    assert len(take(inbox, 3)) == 3
    assert len(take(inbox, 1)) == 1
    assert list(inbox.messages(5)) == []


@pytest.mark.parametrize(
    "parts", [[b""], [b"garbage"], [RESULT.encode()[:-1]], [Credit(1, 1).encode()], [RESULT.encode(), b"more"]]
)
def test_what_cannot_be_read_is_counted_and_does_not_hide_the_rest(
    context: zmq.Context, endpoint: str, inbox: GateInbox, parts: list[bytes]
) -> None:
    stranger = context.socket(zmq.PUSH)
    stranger.connect(endpoint)
    stranger.send_multipart(parts)
    stranger.send(RESULT.encode())
    assert take(inbox, 1) == [RESULT]
    assert inbox.malformed == 1


def test_child_of_a_gate_that_takes_nothing_gives_up(
    context: zmq.Context, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_socket, "HIGH_WATER", 3)
    outbox = GateOutbox(context, endpoint, timeout_ms=20)  # nobody has bound the endpoint
    for _ in range(3):
        outbox.send(RESULT)
    with pytest.raises(FatalError, match="takes no messages"):
        outbox.send(RESULT)


def test_last_words_of_a_child_arrive(context: zmq.Context, endpoint: str, inbox: GateInbox) -> None:
    outbox = GateOutbox(context, endpoint)
    outbox.send(State("camera", 1, "stopped"))
    outbox.close()
    outbox.close()
    assert take(inbox, 1) == [State("camera", 1, "stopped")]
    inbox.close()
    inbox.close()
