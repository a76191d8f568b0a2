"""What does a proxy keep of a session that the router has ended? Nothing. (What its client is told: test_scaled.py.)"""

from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.wamp import message

from wampauth.worker import goodbye


class Wire:
    """A transport that only keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, told: Any) -> None:
        self.sent.append(told)

    def isOpen(self) -> bool:
        return False


def test_a_proxy_forgets_whom_the_router_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy maps clients to their sessions at the router, and forgets one when the client leaves or is lost: but
    not if it doesn't know of that session any more."""
    from crossbar.worker.proxy import ProxyBackendSession, ProxyFrontendSession

    monkeypatch.setattr(ProxyBackendSession, "onMessage", ProxyBackendSession.onMessage)
    goodbye.pass_on()
    controller = SimpleNamespace(_backends_by_frontend={})
    client, backend = ProxyFrontendSession(SimpleNamespace(worker=controller)), ProxyBackendSession()
    client.transport, backend._transport = Wire(), Wire()
    client._backend_session, backend._frontend, backend._session_id = backend, client, 1
    controller._backends_by_frontend[client] = backend
    backend.onMessage(message.Goodbye("com.example.revoked"))
    assert [told.reason for told in client.transport.sent] == ["com.example.revoked"]
    assert controller._backends_by_frontend == {}
    backend.onMessage(message.Result(1, args=[5]))  # of a call that was under way
    assert len(client.transport.sent) == 1
    client.onClose(True)  # as when the client hangs up: nothing more is to be done
