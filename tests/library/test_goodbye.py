"""What does a proxy keep of a session that the router has ended? Nothing. (What its client is told: test_scaled.py.)"""

from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.exception import Disconnected, PayloadExceededError
from autobahn.wamp import message, role
from autobahn.wamp.exception import SerializationError, TransportLost

from wampauth.worker import goodbye


class Wire:
    """A transport that only keeps what is sent.

    :ivar fault: what it raises instead.
    """

    fault: Exception | None = None

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, told: Any) -> None:
        if self.fault:
            raise self.fault
        self.sent.append(told)

    def isOpen(self) -> bool:
        return False


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client at a proxy, its session at the router, and the proxy, which maps one to the other."""
    from crossbar.worker.proxy import ProxyBackendSession, ProxyFrontendSession

    monkeypatch.setattr(ProxyBackendSession, "onMessage", ProxyBackendSession.onMessage)
    goodbye.pass_on()
    proxy = SimpleNamespace(_backends_by_frontend={})
    client, backend = ProxyFrontendSession(SimpleNamespace(worker=proxy)), ProxyBackendSession()
    client.transport, backend._transport = Wire(), Wire()
    client._backend_session, backend._frontend, backend._session_id = backend, client, 1
    proxy._backends_by_frontend[client] = backend
    return SimpleNamespace(client=client, backend=backend, proxy=proxy)


def test_a_proxy_forgets_whom_the_router_has_ended(mapped: Any) -> None:
    """It forgets one when the client leaves or is lost: but not if it doesn't know of that session any more."""
    mapped.backend.onMessage(message.Goodbye("com.example.revoked"))
    assert [told.reason for told in mapped.client.transport.sent] == ["com.example.revoked"]
    assert mapped.proxy._backends_by_frontend == {}
    mapped.backend.onMessage(message.Result(1, args=[5]))  # of a call that was under way
    assert len(mapped.client.transport.sent) == 1
    mapped.client.onClose(True)  # as when the client hangs up: nothing more is to be done


@pytest.mark.parametrize("fault", [PayloadExceededError("too large"), SerializationError("no such value")])
def test_what_cannot_be_written_for_a_client_does_not_end_its_session(mapped: Any, fault: Exception) -> None:
    """Another one may have sent it, who could throw it out by that: who waits for an answer has an error."""
    client, router = mapped.client.transport, mapped.backend._transport

    def send(told: Any) -> None:
        if not isinstance(told, message.Error) or told.args:
            raise fault
        client.sent.append(told)

    client.send = send
    mapped.backend.onMessage(message.Event(1, 2, args=["news"]))
    mapped.backend.onMessage(message.Invocation(3, 4, args=["a"]))
    mapped.backend.onMessage(message.Result(5, args=["a"]))
    mapped.backend.onMessage(message.Error(message.Call.MESSAGE_TYPE, 6, "com.example.error", args=["a"]))
    assert [(told.request_type, told.request) for told in router.sent] == [(message.Invocation.MESSAGE_TYPE, 3)]
    assert [(told.request_type, told.request) for told in client.sent] == [(48, 5), (48, 6)]
    assert {told.error for told in router.sent + client.sent} == {"wamp.error.invalid_argument"}
    assert mapped.proxy._backends_by_frontend == {mapped.client: mapped.backend}
    welcome = message.Welcome(7, {"broker": role.RoleBrokerFeatures()})
    assert not goodbye._is_done_without(mapped.backend, welcome)  # without this one, there is no session


@pytest.mark.parametrize("fault", [Disconnected("closed"), TransportLost()])
def test_a_client_that_has_just_hung_up_is_no_fault(mapped: Any, fault: Exception) -> None:
    mapped.client.transport.fault = fault
    mapped.backend.onMessage(message.Event(1, 2, args=["news"]))
    mapped.backend.onMessage(message.Goodbye("com.example.revoked"))
    assert mapped.proxy._backends_by_frontend == {}
    assert [type(told) for told in mapped.backend._transport.sent] == [message.Goodbye]  # the router is answered
