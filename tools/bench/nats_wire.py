"""The same for NATS: just enough of its protocol to get in, with a user and a password."""

import asyncio
import json

from wire import Closed, Credential, Link, Transport, connect

CONNECT = {"verbose": False, "pedantic": False, "lang": "bench", "version": "1", "protocol": 1}


class NatsWire(Link):
    """One connection."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set_result(None)
        self._lines.put_nowait("")

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            if line == b"PING":
                self._transport.write(b"PONG\r\n")
            else:
                self._lines.put_nowait(line.decode())

    @classmethod
    async def open(cls, transport: Transport, source: str | None = None) -> "NatsWire":
        """Connect, and wait for the server's greeting.

        :raises OSError: if nobody listens.
        :raises Closed: if the server hangs up.
        """
        wire = await connect(cls, transport[0], source)
        await wire._line()
        return wire

    async def enter(self, credential: Credential) -> tuple[str, str] | None:
        """Try to join: None if it has, else what is wrong."""
        options = {**CONNECT, "user": credential["authid"], "pass": credential["ticket"]}
        self._transport.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        while (line := await self._line()) != "PONG":
            if line.startswith("-ERR"):
                return ("unavailable" if "Timeout" in line else "refused"), line
        return None

    def drop(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    async def _line(self) -> str:
        if not (line := await self._lines.get()):
            raise Closed("the server closed the connection")
        return line
