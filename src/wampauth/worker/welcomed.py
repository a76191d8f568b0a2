"""How many sessions has a connection at the router?

By itself Crossbar.io 26.10.1 makes one each time that an authenticator says yes. Where two of them, or one in another
process, are asked for one client at a time, that can be twice, and nobody ends the first one: the router has forgotten
whose it is. Here what comes after the first yes is passed over.

And a client of RawSocket that takes only messages too short for its WELCOME would have a session that nobody is told
of: it would be in, and in no list. Here it has no connection.
"""

from typing import Any

from autobahn.wamp.types import Accept
from twisted.internet.defer import Deferred, maybeDeferred

LEAST = 32_768  # bytes that a client must take: a WELCOME has one, and 4,096 characters of authextra, of up to 4


def let_in_once() -> None:
    """Change the router's side of a client: that module has just been loaded."""
    from crossbar.router.session import RouterSession

    hello, authenticate = RouterSession.onHello, RouterSession.onAuthenticate

    def asked(self: Any, *args: Any) -> "Deferred[Any]":
        return maybeDeferred(hello, self, *args).addCallback(_unless_in, self)

    def proven(self: Any, *args: Any) -> "Deferred[Any]":
        return maybeDeferred(authenticate, self, *args).addCallback(_unless_in, self)

    RouterSession.onHello, RouterSession.onAuthenticate = asked, proven


def refuse_the_smallest() -> None:
    """Change the router's RawSocket: that module has just been loaded."""
    from crossbar.router.protocol import WampRawSocketServerProtocol

    complete = WampRawSocketServerProtocol._on_handshake_complete

    def completed(self: Any) -> None:
        if self._max_len_send < LEAST:
            self.abort()
        else:
            complete(self)

    WampRawSocketServerProtocol._on_handshake_complete = completed


def _unless_in(answer: Any, session: Any) -> Any:
    """The answer; None, which the router says nothing to, for a yes to a client that doesn't wait to join any more."""
    return None if isinstance(answer, Accept) and session._pending_session_id is None else answer
