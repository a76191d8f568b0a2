"""How many sessions has a connection at the router?

By itself Crossbar.io 26.10.1 makes one each time that an authenticator says yes. Where two of them, or one in another
process, are asked for one client at a time, that can be twice, and nobody ends the first one: the router has forgotten
whose it is. Here what comes after the first yes is passed over.
"""

from typing import Any

from autobahn.wamp.types import Accept
from twisted.internet.defer import Deferred, maybeDeferred


def let_in_once() -> None:
    """Change the router's side of a client: that module has just been loaded."""
    from crossbar.router.session import RouterSession

    hello, authenticate = RouterSession.onHello, RouterSession.onAuthenticate

    def asked(self: Any, *args: Any) -> "Deferred[Any]":
        return maybeDeferred(hello, self, *args).addCallback(_unless_in, self)

    def proven(self: Any, *args: Any) -> "Deferred[Any]":
        return maybeDeferred(authenticate, self, *args).addCallback(_unless_in, self)

    RouterSession.onHello, RouterSession.onAuthenticate = asked, proven


def _unless_in(answer: Any, session: Any) -> Any:
    """The answer; None, which the router says nothing to, for a yes to a client that doesn't wait to join any more."""
    return None if isinstance(answer, Accept) and session._pending_session_id is None else answer
