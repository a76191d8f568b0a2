"""What if a component of ours can't do its work? A node that lets nobody in, or can't put anybody out, must not come
up."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from autobahn.wamp.exception import TransportLost
from autobahn.wamp.types import CloseDetails
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.defer import Deferred, maybeDeferred

from wampauth.told import Stopped, sentence

OPEN = WebSocketProtocol.STATE_OPEN


async def begin(session: Any, beginning: Awaitable[None], fault: str) -> None:
    """Wait for what a component does first. If that fails, it leaves.

    :param session: the component's, which has joined.
    :param fault: what to say then, before the reason.
    :raises Stopped: which says the same, without the text of an author's: the router logs it.
    """
    try:
        await beginning
    except Exception as error:
        if not session.is_attached() and is_loss(error):
            return  # the node stops, or Crossbar.io makes a new component: it tells of that itself
        told = sentence(error)
        session.log.error("{fault}: {error}", fault=fault, error=told)
        if session.is_attached():  # else nobody would hear it
            session.leave()
        raise Stopped(told) from None


def unless_lost(session: Any, procedure: Callable[..., Any]) -> Callable[..., Any]:
    """A procedure of a component's, which never answers when the connection is lost already, or is being closed: over
    most of what it could say then, Autobahn would fail."""

    def held_back(outcome: Any) -> Any:
        transport = session._transport
        is_open = transport is not None and getattr(transport, "state", OPEN) == OPEN
        return outcome if is_open else Deferred()

    @functools.wraps(procedure)
    def asked(*args: Any, **kwargs: Any) -> "Deferred[Any]":
        return maybeDeferred(procedure, *args, **kwargs).addBoth(held_back)

    return asked


def is_loss(error: Exception) -> bool:
    """Whether something was asked over a connection that is lost, or was lost before the answer."""
    return isinstance(error, TransportLost) or getattr(error, "error", None) == CloseDetails.REASON_TRANSPORT_LOST
