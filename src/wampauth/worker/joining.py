"""What if a client says more, or hangs up, while a proxy makes its session at the router? And if that can't be made?

By itself the proxy of Crossbar.io 26.10.1 makes a session for each proof that is right, and forgets all of a client's
but one: whoever sends a signature twice leaves sessions behind that nobody ends. It keeps what it has of a client that
hangs up meanwhile, says to its client why it can't connect to the router, and to one that breaks the protocol nothing.
Here a connection carries one session, which goes with it, and is closed by what has no place in the protocol then.
"""

from contextlib import suppress
from typing import Any

from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.message import Abort
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wampauth.told import told as told_of
from wampauth.worker.goodbye import AGAIN, HUNG_UP

log = Logger()


def keep_to_one() -> None:
    """Change the proxy's side of a client: that module has just been loaded."""
    from crossbar.worker.proxy import ProxyController, ProxyFrontendSession

    let_in, hear, close = (
        ProxyFrontendSession.frontend_accepted,
        ProxyFrontendSession.onMessage,
        ProxyFrontendSession.onClose,
    )
    connect = ProxyController.map_backend

    def accepted(self: Any, accept: Any) -> "Deferred[Any]":
        """Fires with the session, or never."""
        joined: Deferred[Any] = Deferred()
        if not self.is_let_in:
            self.is_let_in = True
            accept.authextra = {**(accept.authextra or {})}  # the proxy writes into it
            let_in(self, accept).addCallbacks(joined.callback, _failed, errbackArgs=(self,))
        return joined

    def heard(self: Any, told: Any) -> None:
        if self.is_let_in and self._session_id is None:  # it has to wait for WELCOME
            _hang_up(self.transport)
        else:
            hear(self, told).addErrback(_broken, self.transport)

    def closed(self: Any, was_clean: bool) -> None:
        close(self, was_clean)
        _drop(self)  # what hasn't joined yet

    def connected(self: Any, client: Any, *args: Any) -> "Deferred[Any]":
        return connect(self, client, *args).addCallback(_is_still_wanted, client)  # type: ignore[no-any-return]

    ProxyFrontendSession.is_let_in = False
    ProxyFrontendSession._pending_auth = None  # as at the router, so that AUTHENTICATE without HELLO is answered
    ProxyFrontendSession.frontend_accepted = accepted
    ProxyFrontendSession.onMessage, ProxyFrontendSession.onClose = heard, closed
    ProxyController.map_backend = connected


def _is_still_wanted(session: Any, client: Any) -> Any:
    if client is not None and client.transport is None:
        _drop(client)
        raise TransportLost
    return session


def _failed(failure: Failure, client: Any) -> None:
    """A client's session can't be made. If it is still there, it may try again."""
    _drop(client)
    client.is_let_in = False
    if client.transport is not None:
        log.error("a client can't join at the router: {fault}", fault=told_of(failure.value))
        with suppress(*HUNG_UP):
            client._forward(Abort(ApplicationError.CANCELED, AGAIN))


def _drop(client: Any) -> None:
    """Close a client's connection to the router."""
    session = client._controller._backends_by_frontend.pop(client, None)
    if session is not None:
        session._frontend = None
        with suppress(*HUNG_UP):
            session.disconnect()


def _broken(failure: Failure, transport: Any) -> None:
    """A client has said what can't be followed."""
    if not failure.check(*HUNG_UP):
        log.error("a client is cut off over what it has said: {fault}", fault=told_of(failure.value))
    _hang_up(transport)


def _hang_up(transport: Any) -> None:
    if transport is not None and transport.isOpen():
        transport.abort()
