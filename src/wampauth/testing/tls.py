"""How does a client read in one thread and write in another, over TLS?

``websockets`` does so, and Python's sockets don't stand it: what is written while something is read that comes after
the handshake may not arrive (Python's issues 76714 and 151508). Here one waits for the other, but not for what has yet
to come.
"""

import select
import ssl
import threading
from typing import Any


class OneAtATime(ssl.SSLSocket):
    """To be set as a context's ``sslsocket_class``."""

    _turn: Any

    def __new__(cls, *args: Any, **options: Any) -> "OneAtATime":
        """As its base class, which makes these without ``__init__``."""
        made = super().__new__(cls, *args, **options)
        made._turn = threading.RLock()
        return made

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """What has come.

        :raises TimeoutError: if nothing comes in time.
        :raises OSError: if the connection is lost, or was closed here.
        """
        while True:
            with self._turn:
                patience = self.gettimeout()
                super().settimeout(0)
                try:
                    return super().recv(buflen, flags)
                except ssl.SSLWantReadError:
                    pass
                finally:
                    super().settimeout(patience)
            self._wait(patience)

    def _wait(self, patience: float | None) -> None:
        poll = select.poll()
        try:
            poll.register(self, select.POLLIN)
        except ValueError:
            raise OSError("it was closed") from None
        if not poll.poll(None if patience is None else patience * 1000):
            raise TimeoutError

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it. Raises OSError if the connection is lost."""
        with self._turn:
            super().sendall(data, flags)

    def settimeout(self, value: float | None) -> None:
        """Seconds to wait from now on; None: without end."""
        with self._turn:
            super().settimeout(value)

    def shutdown(self, how: int) -> None:
        """Nothing more is read, or sent."""
        with self._turn:
            super().shutdown(how)
