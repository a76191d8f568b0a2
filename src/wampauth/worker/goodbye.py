"""How does a client behind a proxy learn why its session was ended?

When the router ends a session, it says GOODBYE with the reason. The proxy of Crossbar.io 26.10.1 answers that in the
client's place, keeps the reason to itself, and sends a GOODBYE of its own without one, or just loses the connection.
Here the router's GOODBYE is passed on, and the connection is closed when the client has answered, or soon after.
"""

from contextlib import suppress
from typing import Any

from autobahn.exception import Disconnected
from autobahn.wamp.exception import TransportLost

HUNG_UP = (Disconnected, TransportLost)  # the client has, a moment ago
PATIENCE = 0.5  # seconds that a client may take to answer


def pass_on() -> None:
    """Change the proxy's side of a session at the router: that module has just been loaded."""
    from autobahn.wamp import message
    from crossbar.worker.proxy import ProxyBackendSession

    about_the_session = (message.Welcome, message.Challenge, message.Abort, message.Goodbye)
    receive = ProxyBackendSession.onMessage

    def received(self: Any, told: Any) -> None:
        if isinstance(told, message.Goodbye) and self._session_id and not self._goodbye_sent:
            client, self._frontend = self._frontend, None  # so that nothing else is said to it
            if client is not None and client.transport is not None:
                _end(client, told)
        if self._frontend is None and not isinstance(told, about_the_session):
            return  # it was under way when the session ended, and there is nobody left to hear it
        with suppress(*HUNG_UP):
            receive(self, told)

    ProxyBackendSession.onMessage = received


def _end(client: Any, told: Any) -> None:
    """Say GOODBYE to a client, and hear nothing more of it but that it hangs up."""
    from twisted.internet import reactor

    client._backend_session = None
    client._controller._backends_by_frontend.pop(client, None)  # else it is kept for as long as the proxy runs
    with suppress(*HUNG_UP):
        client._forward(told)
    transport = client.transport
    late: Any = reactor.callLater(PATIENCE, lambda: transport.isOpen() and transport.abort())  # type: ignore[attr-defined]

    def answered(_: Any) -> None:
        if late.active():
            late.cancel()
        if transport.isOpen():
            transport.close()

    client.onMessage = answered
