"""How does a proxy come to a session in the authenticators' realm?

By itself the proxy of Crossbar.io 26.10.1 makes one for as long as it runs: once that is lost, none of its clients can
log in any more. And if it can't make it, it tries again and again, for minutes, and whoever logs in meanwhile hears
nothing. Here it tries once: who logs in is told how that went, and the next one has it try anew.
"""

from collections.abc import Callable
from typing import Any

from autobahn.twisted.component import Component
from twisted.internet.defer import Deferred, maybeDeferred, succeed


class Once(Component):  # type: ignore[misc]
    """Connects once, and tells those who listen for its end, too, if it couldn't; the log has why."""

    def __init__(self, **given: Any) -> None:
        """As its base class."""
        super().__init__(**given, is_fatal=lambda _: True)

    def start(self, reactor: Any = None) -> "Deferred[Any]":
        """Connect. Nobody awaits what this returns."""
        ending: Deferred[Any] = super().start(reactor)
        return ending.addErrback(lambda _: self.fire("disconnect", None, was_clean=False))


class Kept:
    """A session for all who ask for it, one after the other."""

    def __init__(self) -> None:
        self._session: Any = None
        self._waiting: list[Deferred[Any]] = []

    def get(self, make: Callable[[], "Deferred[Any]"]) -> "Deferred[Any]":
        """Fires with the session, which `make` makes if there is none, or it was lost; with None, if that fails."""
        if self._session is not None and self._session.is_attached():
            return succeed(self._session)
        mine: Deferred[Any] = Deferred()
        self._waiting.append(mine)
        if len(self._waiting) == 1:
            maybeDeferred(make).addErrback(lambda _: None).addCallback(self._came)
        return mine

    def _came(self, session: Any) -> None:
        self._session = session
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(session)


def connect_once() -> None:
    """Change how the proxy comes to its own sessions: that module has just been loaded."""
    from crossbar.worker import proxy

    def get_service_session(self: Any, realm: str, role: str) -> "Deferred[Any]":
        if not self.can_map_backend(None, realm, None, role, None):
            return succeed(None)
        config = self.get_backend_config(realm, role)
        kept = self._service_sessions.setdefault((realm, role), Kept())
        return kept.get(lambda: proxy.make_service_session(self._reactor, self, config, realm, role))  # type: ignore[no-any-return]

    proxy.Component = Once
    proxy.ProxyController.get_service_session = get_service_session
