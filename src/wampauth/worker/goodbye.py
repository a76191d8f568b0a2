"""How does a client behind a proxy learn why its session has ended, or can't be had?

When the router ends a session, it says GOODBYE with the reason. The proxy of Crossbar.io 26.10.1 answers that in the
client's place, keeps the reason to itself, and sends a GOODBYE of its own without one, or just loses the connection.
Here the router's GOODBYE is passed on, and the connection is closed when the client has answered, or soon after. So it
is if the proxy loses the router: to be told ``wamp.close.normal`` then would keep a client from coming back. And the
router's ABORT is passed on, where the proxy would say that authentication has failed.

What can't be written for this client, since it is too large or its serializer has no such value, would cost it its
connection: so another client could throw it out. Here it misses an event, and a call has an error.
"""

from contextlib import suppress
from typing import Any

from autobahn.exception import Disconnected, PayloadExceededError
from autobahn.wamp.exception import ApplicationError, SerializationError, TransportLost
from autobahn.wamp.message import Abort, Call, Challenge, Error, Event, Goodbye, Interrupt, Invocation, Result, Welcome
from autobahn.wamp.types import CloseDetails

CUT = 2.0  # seconds more after which nothing waits for it any more
HUNG_UP = (Disconnected, TransportLost)  # the client has, a moment ago
PATIENCE = 0.5  # seconds that a client may take to answer
UNWRITABLE = ApplicationError.INVALID_ARGUMENT  # as the router says where it finds that itself
AGAIN = "the router is out of reach: try again"


def pass_on() -> None:
    """Change the proxy's side of a session at the router: that module has just been loaded."""
    from crossbar.worker.proxy import ProxyBackendSession

    receive, close = ProxyBackendSession.onMessage, ProxyBackendSession.onClose

    def received(self: Any, told: Any) -> None:
        if isinstance(told, Goodbye) and self._session_id and not self._goodbye_sent:
            _end(self, told)
        elif isinstance(told, Abort) and not self._session_id:
            _turn_away(self, Abort(told.reason))
        if self._frontend is None and not isinstance(told, Welcome | Challenge | Abort | Goodbye):
            return  # it was under way when the session ended, and there is nobody left to hear it
        try:
            receive(self, told)
        except HUNG_UP:
            return
        except (PayloadExceededError, SerializationError):
            if not _is_done_without(self, told):
                raise

    def closed(self: Any, was_clean: bool) -> None:
        if self._session_id:
            _end(self, Goodbye(CloseDetails.REASON_TRANSPORT_LOST, AGAIN))
        else:
            _turn_away(self, Abort(ApplicationError.CANCELED, AGAIN))
        close(self, was_clean)

    ProxyBackendSession.onMessage, ProxyBackendSession.onClose = received, closed


def cut(connection: Any) -> None:
    """Close a connection at once, whatever is waiting to be sent over it; nothing, if it is closed."""
    if (transport := getattr(connection, "transport", None)) is not None:
        transport.abortConnection()


def _is_done_without(session: Any, told: Any) -> bool:
    """Whether a session can go on without this message. Who waits for an answer is told that there is none."""
    with suppress(*HUNG_UP):
        match told:
            case Result():
                session._frontend._forward(Error(Call.MESSAGE_TYPE, told.request, UNWRITABLE))
            case Error():
                session._frontend._forward(Error(told.request_type, told.request, UNWRITABLE))
            case Invocation():
                session._transport.send(Error(Invocation.MESSAGE_TYPE, told.request, UNWRITABLE))
    return isinstance(told, Event | Interrupt | Result | Error | Invocation)


def _parted(session: Any) -> Any:
    """The client of a session that is over, unless it has left before. Neither knows of the other any more."""
    client, session._frontend = session._frontend, None
    sessions = client._controller._backends_by_frontend if client else {}
    if sessions.get(client) is not session:
        return None
    del sessions[client]  # else it is kept for as long as the proxy runs
    client._backend_session = None
    return client if client.transport is not None else None


def _turn_away(session: Any, told: Any) -> None:
    """Tell the client of a session that it can't have it. It may try again."""
    if client := _parted(session):
        client.is_let_in = False
        with suppress(*HUNG_UP):
            client._forward(told)


def _end(session: Any, told: Any) -> None:
    """Say GOODBYE to the client of a session, and hear nothing more of it but that it hangs up."""
    from twisted.internet import reactor

    client = _parted(session)
    if client is None:
        return
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
    reactor.callLater(PATIENCE + CUT, cut, transport)  # type: ignore[attr-defined]  # which a client that doesn't read keeps
