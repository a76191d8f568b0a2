"""How much may a probe do to a router? So many connections, messages and seconds, and not one more."""

import threading
import time
from dataclasses import dataclass

CONNECTIONS = 400
MESSAGES = 1_500
SECONDS = 60.0


class Spent(Exception):
    """The budget doesn't allow for that any more."""


@dataclass(frozen=True)
class Used:
    """What has been used of a budget, or what it is: connections, messages and seconds."""

    connections: int
    messages: int
    seconds: float


class Budget:
    """Counts what is sent to the router, in all threads, and says no beyond the limits.

    A connection is one that is tried, whatever comes of it. A message is a WAMP message, or what stands for one: a
    frame of nonsense, or a line of an HTTP header. The opening handshake of WebSocket is part of its connection.
    """

    def __init__(self, connections: int = CONNECTIONS, messages: int = MESSAGES, seconds: float = SECONDS) -> None:
        """The seconds begin to run now."""
        self.limit = Used(connections, messages, seconds)
        self._lock = threading.Lock()
        self._connections = 0
        self._messages = 0
        self._began = time.monotonic()

    def connection(self) -> None:
        """Take one connection.

        :raises Spent: if there is none left, or no time.
        """
        with self._lock:
            self._require_time()
            if self._connections >= self.limit.connections:
                raise Spent(f"all {self.limit.connections} connections are used")
            self._connections += 1

    def message(self) -> None:
        """Take one message.

        :raises Spent: if there is none left, or no time.
        """
        with self._lock:
            self._require_time()
            if self._messages >= self.limit.messages:
                raise Spent(f"all {self.limit.messages} messages are used")
            self._messages += 1

    def patience(self, seconds: float) -> float:
        """How long one may wait who would wait for so many seconds.

        :raises Spent: if there is no time left.
        """
        self._require_time()
        return min(seconds, self.limit.seconds - self._elapsed())

    def used(self) -> Used:
        """What has been used so far."""
        return Used(self._connections, self._messages, round(self._elapsed(), 1))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _require_time(self) -> None:
        if self._elapsed() >= self.limit.seconds:
            raise Spent(f"all {self.limit.seconds:g} seconds are used")
