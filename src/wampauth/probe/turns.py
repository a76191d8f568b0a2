"""Why does a TLS connection take turns?

The WebSocket library reads it in one thread and writes it in another. Python before 3.13 lets both into OpenSSL at
once, which every now and then garbles what is said right after the handshake, when session tickets come in.
"""

import select
import ssl
from pathlib import Path
from threading import RLock
from typing import Any


class TurnTaking(ssl.SSLSocket):
    """A TLS connection that lets in one thread at a time, and none that would wait inside."""

    _turn: Any

    def __new__(cls, *args: Any, **options: Any) -> "TurnTaking":
        self = super().__new__(cls, *args, **options)
        self._turn = RLock()
        return self

    def settimeout(self, value: float | None) -> None:
        """As all sockets do; so do the next two."""
        with self._turn:
            super().settimeout(value)

    def sendall(self, data: Any, flags: int = 0) -> None:
        with self._turn:
            super().sendall(data, flags)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        while True:
            with self._turn:
                timeout = self.gettimeout()
                self.settimeout(0)
                try:
                    return super().recv(size, flags)
                except ssl.SSLWantReadError:
                    pass  # nothing yet, or nothing that concerns us, such as a session ticket
                finally:
                    self.settimeout(timeout)
            if not select.select([self], [], [], timeout)[0]:
                raise TimeoutError


def trust(authority: Path | None, own: Path | None = None) -> ssl.SSLContext:
    """Believe in this certificate authority only, or in the system's, and take turns.

    :param own: a file with a private key and its certificate, to show.
    :raises OSError: if a file can't be read, or holds no certificate, or no key.
    """
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    if own:
        context.load_cert_chain(own, password="")  # or OpenSSL would ask for it
    context.sslsocket_class = TurnTaking
    return context
