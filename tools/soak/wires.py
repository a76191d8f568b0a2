"""How is a node reached, and how is WAMP spoken over each kind of transport? Without a client library: what is sent may
be anything.
"""

import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cbor2
import msgpack  # type: ignore[import-untyped]

NUMBERS = {"json": 1, "msgpack": 2, "cbor": 3}  # of serializers in RawSocket
DUMP: dict[str, Callable[[Any], bytes]] = {
    "json": lambda message: json.dumps(message).encode(),
    "msgpack": msgpack.packb,
    "cbor": cbor2.dumps,
}
LOAD: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "msgpack": msgpack.unpackb, "cbor": cbor2.loads}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATIENCE = 15.0  # seconds
UPGRADE = (
    "GET {way.path} HTTP/1.1\r\nHost: localhost:{way.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: wamp.2.{way.serializer}\r\n\r\n"
)


@dataclass(frozen=True)
class Way:
    """How to reach a node: over WebSocket or RawSocket, over TLS or in clear, over TCP or a Unix domain socket."""

    name: str
    address: tuple[str, int] | Path
    ca: Path | None = None
    websocket: bool = True
    serializer: str = "json"
    path: str = "/ws"

    def dial(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection, and nothing sent over it but the TLS handshake."""
        if isinstance(self.address, Path):
            local = socket.socket(socket.AF_UNIX)
            local.settimeout(PATIENCE)
            local.connect(str(self.address))
            return local
        plain = socket.create_connection(self.address, PATIENCE, (source, 0))
        if self.ca is None:
            return plain
        return ssl.create_default_context(cafile=self.ca).wrap_socket(plain, server_hostname="localhost")

    def open(self, source: str = "127.0.0.1") -> "Wire":
        """A connection that speaks WAMP."""
        return Wire(self, self.dial(source)).shake_hands()

    @property
    def port(self) -> int:
        return self.address[1] if isinstance(self.address, tuple) else 0


@dataclass
class Wire:
    """One connection that carries WAMP messages, in as many writes as one likes."""

    way: Way
    socket: socket.socket
    _rest: bytes = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def shake_hands(self) -> "Wire":
        """Open the WebSocket or the RawSocket."""
        if self.way.websocket:
            self.socket.sendall(UPGRADE.format(way=self.way).encode())
            while b"\r\n\r\n" not in self._rest:
                self._read()
            head, _, self._rest = self._rest.partition(b"\r\n\r\n")
            if b" 101 " not in head:
                raise ConnectionError(head)
        else:
            self.socket.sendall(bytes((0x7F, 0xF0 | NUMBERS[self.way.serializer], 0, 0)))
            if self._take(4)[0] != 0x7F:
                raise ConnectionError("no RawSocket")
        return self

    def send(self, *messages: Any) -> None:
        """Send messages in one write."""
        self.send_raw(*(DUMP[self.way.serializer](message) for message in messages))

    def send_raw(self, *payloads: bytes) -> None:
        """Send what may not be a message."""
        self.socket.sendall(b"".join(map(self._frame, payloads)))

    def receive(self) -> Any:
        """The next message.

        :raises EOFError: if there is none any more.
        :raises OSError: if the connection was cut, or nothing comes.
        """
        while True:
            if self.way.websocket:
                first, length = self._take(2)
                if length > 125:
                    length = int.from_bytes(self._take(2 if length == 126 else 8))
                kind, payload = first & 15, self._take(length)
            else:
                kind, *length_bytes = self._take(4)
                payload = self._take(int.from_bytes(bytes(length_bytes)))
                kind = BINARY if kind == 0 else kind
            if kind in (TEXT, BINARY):
                return LOAD[self.way.serializer](payload)
            if kind == CLOSE and self.way.websocket:
                raise EOFError

    def ends(self, timeout: float = PATIENCE) -> list[Any]:
        """Wait until the other side has closed, and return the messages that came before.

        :raises TimeoutError: if it doesn't.
        """
        self.socket.settimeout(timeout)
        messages = []
        try:
            while True:
                messages.append(self.receive())
        except TimeoutError:
            raise
        except (EOFError, OSError):
            return messages

    def _frame(self, payload: bytes) -> bytes:
        length = len(payload)
        if not self.way.websocket:
            return length.to_bytes(4) + payload
        first = 0x80 | (TEXT if self.way.serializer == "json" else BINARY)
        if length < 126:
            size = bytes((0x80 | length,))
        else:
            size = bytes((0xFE,)) + length.to_bytes(2) if length <= 0xFFFF else bytes((0xFF,)) + length.to_bytes(8)
        return bytes((first,)) + size + bytes(4) + payload  # masked with zeros

    def _read(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._rest += data

    def _take(self, number: int) -> bytes:
        while len(self._rest) < number:
            self._read()
        taken, self._rest = self._rest[:number], self._rest[number:]
        return taken


class Reachable(Protocol):
    """A node with the transports of ``hardened.yaml``."""

    @property
    def directory(self) -> Path: ...
    @property
    def port(self) -> int: ...
    @property
    def tls_port(self) -> int: ...
    @property
    def ca(self) -> Path: ...


def ways(node: Reachable, serializer: str = "json") -> dict[str, Way]:
    """All ways into the hardened node; the plain one has the first."""
    return {
        way.name: way
        for way in (
            Way("ws", ("127.0.0.1", node.port), serializer=serializer),
            Way("wss", ("127.0.0.1", node.tls_port), node.ca, serializer=serializer),
            Way("unix", node.directory / "sockets" / "local.sock", websocket=False, serializer=serializer),
        )
    }
