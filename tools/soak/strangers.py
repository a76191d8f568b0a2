"""What does a stranger send? Connections that stay, at each step on the way to a session, over each kind of transport.

Nothing here waits for an answer, but for what the next step needs, and nothing is sent without a bound.
"""

import resource
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from wires import PATIENCE, PING, PONG, Way

from wampauth.testing.wamp import AUTHENTICATE, HELLO, ROLES

NEST = 60_000  # what is opened, and never closed
HELLO1: list[Any] = [HELLO, "realm1", {"roles": ROLES, "authmethods": ["ticket"], "authid": "client1"}]


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


def nest(serializer: str) -> bytes:
    """So many lists in each other, none of which ends."""
    return {"json": b"[", "cbor": bytes([0x81]), "msgpack": bytes([0x91])}[serializer] * NEST
