"""What does a client hear if the authenticator is out of the router's reach?

By itself a proxy says nothing then, and writes a traceback: its client waits until the connection is closed. (How it
comes to the session in which it asks: ``once.py``.)
"""

from typing import Any

from autobahn.wamp.exception import ApplicationError, TransportLost
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.logger import Logger
from twisted.python.failure import Failure

from wampauth.told import told

log = Logger()
LOST = (TransportLost, ConnectError, ConnectionClosed)
AGAIN = "the authenticator is out of reach: try again"


class Reaching:
    """Goes in front of a class of the router's that asks an authenticator: one object for each HELLO."""

    _realm_container: Any

    def _init_dynamic_authenticator(self) -> Any:
        """The router's: come to a session in the realm of the authenticators."""
        self._realm_container = Realms(self._realm_container)
        return super()._init_dynamic_authenticator()  # type: ignore[misc]


class Realms:
    """Where the router's classes find that session. If it can't be had, they would wait for ever."""

    def __init__(self, realms: Any) -> None:
        self._realms = realms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._realms, name)

    def get_service_session(self, realm: str, role: str) -> "Deferred[Asking]":
        """Fires with the session, whether it is there or not."""
        found = maybeDeferred(self._realms.get_service_session, realm, role)
        return found.addErrback(_nobody).addCallback(Asking)


def _nobody(failure: Failure) -> None:
    """Whatever the reason is: it may be over at the next attempt."""
    if not failure.check(*LOST):
        log.error("the realm of the authenticators can't be reached: {fault}", fault=told(failure.value))


class Asking:
    """That session. What the router's classes ask for over it is answered, in one way or another."""

    def __init__(self, session: Any) -> None:
        """:param session: None: there is none."""
        self._session = session

    def __getattr__(self, name: str) -> Any:
        """What the router's log tells of it."""
        return getattr(self._session, name, None)

    def call(self, *args: Any) -> "Deferred[Any]":
        """Call a procedure."""
        return maybeDeferred(self._call, *args).addErrback(_again)

    def _call(self, *args: Any) -> Any:
        if self._session is None:
            raise TransportLost
        return self._session.call(*args)


def _again(failure: Failure) -> Failure:
    return Failure(ApplicationError(ApplicationError.CANCELED, AGAIN)) if failure.check(*LOST) else failure
