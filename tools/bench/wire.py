"""What goes over the wire? Just enough WebSocket and WAMP to get in: plain frames, JSON, no library between."""

import asyncio
import functools
import itertools
import json
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeVar

from nacl.signing import SigningKey

HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE, ERROR = 1, 2, 3, 4, 5, 6, 8
PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, EVENT, CALL, RESULT = 16, 17, 32, 33, 36, 48, 50
ROLES: dict[str, Any] = {"caller": {}, "publisher": {}, "subscriber": {}}
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A  # first bytes of a frame
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
)

P = TypeVar("P", bound=asyncio.Protocol)
Message = list[Any]
Credential = dict[str, Any]  # method, realm, authid; ticket or seed; refused: True if it shouldn't get in
Transport = tuple[int, str]  # port and path


class LoadError(Exception):
    """The router did something else than the benchmark reckons with. The text says what."""


class Closed(LoadError):
    """The connection has come to its end."""


class Link(asyncio.Protocol):
    """One connection, whatever is spoken over it.

    :ivar closed: a future that is done when it is.
    """

    def __init__(self) -> None:
        """In the loop that it belongs to."""
        self._buffer = b""
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport


class Wire(Link):
    """One WebSocket connection with WAMP messages in JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._upgraded = False
        self._inbox: deque[Message] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._request = itertools.count(1)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set_result(None)
        self._wake()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:  # a node that is only half up says 404
                self._transport.abort()
                return
            self._upgraded, self._buffer = True, rest
            self._wake()
        for opcode, payload in self._frames():
            if opcode == TEXT:
                self._inbox.append(json.loads(payload))
                self._wake()
            elif opcode == PING:
                self._frame(PONG, payload)
            elif opcode == CLOSE:
                self._frame(CLOSE, payload)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """The complete frames that have come in; a server doesn't mask them."""
        while len(self._buffer) >= 2:
            size, start = self._buffer[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(self._buffer[2:start])
            if len(self._buffer) < start + size:
                return
            opcode, payload = self._buffer[0], self._buffer[start : start + size]
            self._buffer = self._buffer[start + size :]
            yield opcode, payload

    def _frame(self, opcode: int, payload: bytes) -> None:
        """A client must mask; the mask 0 changes nothing, and so costs nothing here."""
        size = len(payload)
        head = bytes((opcode, 0x80 | size)) if size < 126 else bytes((opcode, 0x80 | 126)) + size.to_bytes(2)
        self._transport.write(head + b"\0\0\0\0" + payload)

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)

    async def _news(self) -> None:
        if self.closed.done():
            raise Closed("the router closed the connection")
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    @classmethod
    async def open(cls, transport: Transport, source: str | None = None) -> "Wire":
        """Connect, from the address `source` if it is given, and get through the WebSocket handshake.

        :raises OSError: if nobody listens.
        :raises Closed: if the router hangs up.
        """
        port, path = transport
        wire = await connect(cls, port, source)
        wire._transport.write(UPGRADE.format(port=port, path=path).encode())
        while not wire._upgraded:
            await wire._news()
        return wire

    def send(self, *message: Any) -> None:
        """Send a message, given as its elements."""
        self._frame(TEXT, json.dumps(message, separators=(",", ":")).encode())

    def ask(self, kind: int, *rest: Any) -> None:
        """Send a CALL, PUBLISH or SUBSCRIBE with the next request id."""
        self.send(kind, next(self._request), *rest)

    async def receive(self) -> Message:
        """The next message."""
        while not self._inbox:
            await self._news()
        return self._inbox.popleft()

    async def attempt(self, credential: Credential) -> Message:
        """Try to join: the WELCOME or ABORT."""
        method = credential["method"]
        details: dict[str, Any] = {"roles": ROLES, "authmethods": [method], "authid": credential["authid"]}
        if method == "cryptosign":
            details["authextra"] = {"pubkey": key_pair(credential["seed"])[1], "channel_binding": None}
        self.send(HELLO, credential["realm"], details)
        answer = await self.receive()
        if answer[0] == CHALLENGE:
            proof = credential["ticket"] if method == "ticket" else sign(credential["seed"], answer)
            self.send(AUTHENTICATE, proof, {})
            answer = await self.receive()
        return answer

    async def login(self, credential: Credential) -> Message:
        """The same, where it is known how it ends.

        :raises LoadError: if it ends otherwise.
        """
        answer = await self.attempt(credential)
        if (answer[0] == WELCOME) is bool(credential.get("refused")):
            raise LoadError(f"unexpected: {answer} for {credential['authid']}")
        return answer

    async def enter(self, credential: Credential) -> tuple[str, str] | None:
        """Try to join: None if it has, else the URI and text of the no."""
        answer = await self.attempt(credential)
        return None if answer[0] == WELCOME else (answer[2], answer[1].get("message", ""))

    async def call(self) -> None:
        """Call the demo's procedure, and wait for the result; nothing else may be under way."""
        self.ask(CALL, {}, "com.example.add2", [2, 3])
        if (answer := await self.receive())[0] != RESULT:
            raise LoadError(f"unexpected: {answer}")

    async def leave(self) -> None:
        """Say GOODBYE where there is a session, close, and wait until the router has hung up."""
        self.send(GOODBYE, {}, "wamp.close.close_realm")
        while (await self.receive())[0] != GOODBYE:
            pass
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close the connection the WebSocket way."""
        if not self.closed.done():
            self._frame(CLOSE, b"\x03\xe8")
            await self.closed
        self._transport.close()

    def drop(self) -> None:
        """End the connection at once, and leave no port behind that would have to wait before it is used again."""
        with suppress(OSError):  # it has ended by itself
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


async def connect(protocol: type[P], port: int, source: str | None) -> P:
    """Connect to this machine, from the address `source` if it is given."""
    source_address = (source, 0) if source else None
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(protocol, "127.0.0.1", port, local_addr=source_address))[1]


@functools.cache
def key_pair(seed: str) -> tuple[SigningKey, str]:
    """The private key of a seed, and the public one in hexadecimal."""
    key = SigningKey(bytes.fromhex(seed))
    return key, bytes(key.verify_key).hex()


def sign(seed: str, challenge: Message) -> str:
    """The answer to a CHALLENGE: signature and message, in hexadecimal."""
    return bytes(key_pair(seed)[0].sign(bytes.fromhex(challenge[2]["challenge"]))).hex()
