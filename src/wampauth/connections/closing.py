"""How is a connection closed, and what does the log say of it?"""

from typing import Any

from twisted.logger import Logger

from wampauth.connections.connection import Connection

SUMMARY = 60.0  # seconds between two log lines that count what was closed
CLOSED = (
    "{count} connections that hadn't joined were closed in {seconds:g} s. If they weren't strangers: each realm that "
    "clients can join needs a Sessions component"
)


class Closing:
    """Closes connections, and counts those that somebody may miss."""

    log = Logger()

    def __init__(self, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock = clock
        self._counted = 0  # since the last line in the log
        self._is_due = False  # whether the next one will be written

    def hang_up(self, connection: Connection) -> None:
        """Let what was written reach the client, but don't wait for it long: the second time it is closed at once."""
        if connection.is_closing:
            self.abort(connection)
        else:
            connection.is_closing = True
            connection.transport.loseConnection()

    def cut(self, connection: Connection) -> None:
        """Close at once a connection that we have seen, and of which nothing more shall be heard."""
        if connection.transport is not None and not connection.is_closing:
            connection.is_closing = True
            connection.due = self._clock.seconds()
            connection.transport.abortConnection()

    def abort(self, connection: Connection) -> None:
        """Close a stranger's at once. The log tells how many these are, in case that they weren't strangers'."""
        connection.transport.abortConnection()
        if not connection.is_closing:
            connection.is_closing = True
            self._count()

    def _count(self) -> None:
        self._counted += 1
        if not self._is_due:
            self._is_due = True
            self._clock.callLater(SUMMARY, self._summarise)

    def _summarise(self) -> None:
        self.log.error(CLOSED, count=self._counted, seconds=SUMMARY)
        self._counted = 0
        self._is_due = False
