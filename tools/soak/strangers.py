"""What a stranger sends: connections that stay, at each step on the way to a session, over each kind of transport.

Nothing here waits for an answer, but for what the next step needs, and nothing is sent without a bound.
"""

import json
import resource
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cbor2
import msgpack  # type: ignore[import-untyped]

from wampauth.testing.wamp import AUTHENTICATE, HELLO, ROLES

NUMBERS = {"json": 1, "msgpack": 2, "cbor": 3}  # of serializers in RawSocket
DUMP: dict[str, Callable[[Any], bytes]] = {
    "json": lambda message: json.dumps(message).encode(),
    "msgpack": msgpack.packb,
    "cbor": cbor2.dumps,
}
LOAD: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "msgpack": msgpack.unpackb, "cbor": cbor2.loads}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATIENCE = 15.0  # seconds
NEST = 60_000  # what is opened, and never closed
HELLO1: list[Any] = [HELLO, "realm1", {"roles": ROLES, "authmethods": ["ticket"], "authid": "client1"}]
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


def at_tcp(way: Way, source: str) -> socket.socket:
    """Connect, and say nothing."""
    return way.dial(source)


def in_headers(way: Way, source: str) -> socket.socket:
    """Say the beginning of a request; :class:`Crowd` lets the headers drip in."""
    connection = way.dial(source)
    connection.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n")
    return connection


def at_websocket(way: Way, source: str) -> socket.socket:
    """Open a WebSocket or a RawSocket, and say no HELLO."""
    return way.open(source).socket


def at_challenge(way: Way, source: str) -> socket.socket:
    """Say HELLO, hear CHALLENGE, and say no more."""
    wire = way.open(source)
    wire.send(HELLO1)
    wire.receive()
    return wire.socket


def at_authenticate(way: Way, source: str) -> socket.socket:
    """Send a ticket that takes the node long to refuse, and wait for that."""
    wire = way.open(source)
    wire.send(HELLO1)
    wire.receive()
    wire.send([AUTHENTICATE, "guess", {}])
    return wire.socket


GUESSING = "at AUTHENTICATE"  # is throttled, and so are all others from the same address
STEPS = {
    "TCP only": at_tcp,
    "dripping headers": in_headers,
    "no HELLO": at_websocket,
    "at CHALLENGE": at_challenge,
    GUESSING: at_authenticate,
}


@dataclass
class Crowd:
    """So many connections that wait at the same step, and answer pings; who is cut off comes again."""

    way: Way
    step: str
    number: int
    sources: tuple[str, ...] = ("127.0.0.1",)
    held: dict[socket.socket, None] = field(default_factory=dict)
    made: int = 0
    full: threading.Event = field(default_factory=threading.Event)  # as many as wanted have been tried
    _end: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._end.is_set():
            missing = self.number - len(self.held)
            for _ in range(min(missing, 50)):
                self._one_more()
            if self.made >= self.number:
                self.full.set()
            self._tend()

    def _one_more(self) -> None:
        source = self.sources[self.made % len(self.sources)]
        self.made += 1
        with suppress(OSError, EOFError):
            connection = STEPS[self.step](self.way, source)
            connection.setblocking(False)
            self.held[connection] = None

    def _tend(self) -> None:
        """Answer pings, send another header line, and forget what is closed."""
        poll = select.poll()
        by_number = {connection.fileno(): connection for connection in self.held}
        for number in by_number:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(50):
            connection = by_number[number]
            try:
                data = connection.recv(4096)
                if not data:
                    raise EOFError
                if data[0] & 15 == PING:
                    connection.send(bytes((0x80 | PONG, 0x80 | len(data[2:126]))) + bytes(4) + data[2:126])
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            except (OSError, EOFError):
                self._forget(connection)
        if self.step == "dripping headers":
            for connection in list(self.held):
                try:
                    connection.send(b"X-Drip: drop\r\n")
                except OSError:
                    self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        self.held.pop(connection, None)
        connection.close()

    def stop(self) -> None:
        self._end.set()


@contextmanager
def crowd(way: Way, step: str, number: int, *sources: str) -> Iterator[Crowd]:
    """Strangers who wait in a thread of their own, until the block ends. All of them have been there once before."""
    strangers = Crowd(way, step, number, sources or ("127.0.0.1",))
    thread = threading.Thread(target=strangers.run, daemon=True)
    with many_files():
        thread.start()
        try:
            assert strangers.full.wait(60)
            yield strangers
        finally:
            strangers.stop()
            thread.join(PATIENCE)
            for connection in strangers.held:
                connection.close()


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process have as many open files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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


def nest(serializer: str) -> bytes:
    """So many lists in each other, none of which ends."""
    return {"json": b"[", "cbor": bytes([0x81]), "msgpack": bytes([0x91])}[serializer] * NEST
