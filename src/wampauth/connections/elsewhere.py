"""How often has somebody tried on a connection that another process has accepted, and closes or doesn't?

Behind proxies an authenticator sees attempts, and no connections. It can't close them, but needn't look at more.
"""

from collections import OrderedDict
from typing import Any

FORGET = 10.0  # seconds after the last attempt: then it may be another connection from the same port
MOST = 10_000  # connections; the longest unused goes first


class Elsewhere:
    """Counts attempts by the name of their connection."""

    def __init__(self, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock = clock
        self._tried: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when last

    def count(self, connection: str) -> int:
        """One attempt more; the number up to now."""
        now = self._clock.seconds()
        while self._tried and now - next(iter(self._tried.values()))[1] > FORGET:
            self._tried.popitem(last=False)
        number, _ = self._tried.pop(connection, (0, now))
        self._tried[connection] = number + 1, now
        if len(self._tried) > MOST:
            self._tried.popitem(last=False)
        return number + 1
