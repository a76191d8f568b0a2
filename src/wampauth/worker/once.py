"""How does a proxy come to a session in the authenticators' realm?

By itself the proxy of Crossbar.io 26.10.1 tries again and again, for minutes, and whoever logs in meanwhile hears
nothing. And whoever has lost the session gets another one at the next login (``reach.py``), beside which the old one
would come back as well, for nothing. Here it tries once: who logs in is told how that went, and may try again.
"""

from typing import Any

from autobahn.twisted.component import Component
from twisted.internet.defer import Deferred


class Once(Component):  # type: ignore[misc]
    """Connects once, and tells those who listen for its end, too, if it couldn't."""

    def __init__(self, **given: Any) -> None:
        """As its base class."""
        super().__init__(**given, is_fatal=lambda _: True)

    def start(self, reactor: Any = None) -> "Deferred[Any]":
        """Connect. Nobody awaits what this returns."""
        ending: Deferred[Any] = super().start(reactor)
        return ending.addErrback(lambda _: self.fire("disconnect", None, was_clean=False))


def connect_once() -> None:
    """Change what the proxy connects with: that module has just been loaded."""
    from crossbar.worker import proxy

    proxy.Component = Once
