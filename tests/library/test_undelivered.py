"""What comes of a message for a client whose connection is being closed? Nobody else may miss what is sent with it."""

from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.exception import Disconnected
from autobahn.wamp import message
from autobahn.wamp.exception import SerializationError, TransportLost

from wampauth.worker import undelivered


def receiver(fault: Exception | None = None) -> Any:
    """A session whose transport keeps what is sent, or fails."""
    sent: list[Any] = []

    def send(told: Any) -> None:
        if fault:
            raise fault
        sent.append(told)

    return SimpleNamespace(_transport=SimpleNamespace(send=send), sent=sent)


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The router's own class, changed; an object with what it needs to send."""
    from crossbar.router.router import Router

    monkeypatch.setattr(Router, "send", Router.send)
    undelivered.pass_over()
    made = Router.__new__(Router)
    made._trace_traffic = made._is_traced = False
    made._message_stats = {"sent": {}}
    return made


@pytest.mark.parametrize("fault", [Disconnected("Attempt to send on a closed protocol"), TransportLost()])
def test_an_event_reaches_those_who_stay(router: Any, fault: Exception) -> None:
    event, stays = message.Event(1, 2, args=["news"]), receiver()
    for one in receiver(fault), SimpleNamespace(_transport=None), stays:  # in this order, as the router's broker does
        router.send(one, event)
    assert stays.sent == [event]


def test_an_event_that_cannot_be_written_is_missed_by_this_client_alone(router: Any) -> None:
    event, other = message.Event(1, 2, args=["news"]), receiver()
    for one in receiver(SerializationError("no such value")), other:
        router.send(one, event)
    assert other.sent == [event]


def test_another_fault_is_one(router: Any) -> None:
    with pytest.raises(SerializationError):
        router.send(receiver(SerializationError("no")), message.Result(1))
    with pytest.raises(ValueError, match="no"):
        router.send(receiver(ValueError("no")), message.Event(1, 2))
