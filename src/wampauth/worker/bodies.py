"""How much may a client send as the body of an HTTP request?

At a port with a path, HTTP is spoken with anybody. By itself Twisted 26 keeps bodies of any length, the longer ones in
files that fill the disk, and parses them as forms before anybody is asked whether there is such a path: 2 MB kept the
process for 16 seconds (measured). Nothing here needs either: what is longer than a message of WAMP may be ends the
connection, and no forms are parsed.
"""

from typing import Any

from twisted.web.server import Request

MOST = 65_536  # bytes, as `max_message_size` is in the configurations that we ship


class BriefRequest(Request):
    """A request with a body that is kept in memory, as far as it may be kept."""

    _left = MOST

    def gotLength(self, length: int | None) -> None:
        """Take the length that was announced, if any."""
        super().gotLength(0)  # no file
        self._may_take(0 if length is None or length <= MOST else length)

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        if self._may_take(len(data)):
            super().handleContentChunk(data)

    def requestReceived(self, *whole: Any) -> None:
        """All is there."""
        if self._left >= 0:
            super().requestReceived(*whole)

    def _may_take(self, length: int) -> bool:
        if self._left >= 0:
            self._left -= length
            if self._left < 0:
                self.channel.transport.abortConnection()
        return self._left >= 0


def bound() -> None:
    """Change the router's HTTP: that module has just been loaded."""
    from crossbar.common.twisted.web import Site

    begin = Site.__init__

    def begun(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        self._parsePOSTFormSubmission = False

    Site.requestFactory, Site.__init__ = BriefRequest, begun
