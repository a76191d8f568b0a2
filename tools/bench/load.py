"""Who logs in? A process that makes many logins and calls at once, and as little work of it as it can.

It speaks just enough WebSocket and WAMP to get in: plain frames, JSON, no library between. ``run.py`` starts it, sends
it jobs, one a line in JSON, and gets one line back for each: jobs run side by side, each in its own time. It counts its
own CPU, so that a run in which it was the bottleneck can say so.
"""

import asyncio
import functools
import itertools
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

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
PACE = 0.02  # seconds between two events or calls of a session that is watched
SILENCE = 1.2  # seconds without an event or result after which a revoked session has had its last; a tick takes 0.5

Message = list[Any]
Credential = dict[str, Any]  # method, realm, authid; ticket or seed; refused: True if it shouldn't get in
Transport = tuple[int, str]  # port and path


class LoadError(Exception):
    """The router did something else than the benchmark reckons with. The text says what."""


class Wire(asyncio.Protocol):
    """One WebSocket connection with WAMP messages in JSON."""

    def __init__(self) -> None:
        self._buffer = b""
        self._upgraded = False
        self._inbox: deque[Message] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._request = itertools.count(1)
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set_result(None)
        self._wake()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                raise LoadError(f"no WebSocket there: {head[:200]!r}")
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
            raise LoadError("the router closed the connection")
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    @classmethod
    async def open(cls, transport: Transport) -> "Wire":
        """Connect, and get through the WebSocket handshake."""
        port, path = transport
        _, wire = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
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

    async def login(self, credential: Credential) -> Message:
        """Try to join: the WELCOME or ABORT."""
        method = credential["method"]
        details: dict[str, Any] = {"roles": ROLES, "authmethods": [method]}
        if method != "anonymous":
            details["authid"] = credential["authid"]
        if method == "cryptosign":
            details["authextra"] = {"pubkey": key_pair(credential["seed"])[1], "channel_binding": None}
        self.send(HELLO, credential["realm"], details)
        answer = await self.receive()
        if answer[0] == CHALLENGE:
            proof = credential["ticket"] if method == "ticket" else sign(credential["seed"], answer)
            self.send(AUTHENTICATE, proof, {})
            answer = await self.receive()
        if (answer[0] == WELCOME) is bool(credential.get("refused")):
            raise LoadError(f"unexpected: {answer} for {credential['authid']}")
        return answer

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


@functools.lru_cache(maxsize=10_000)
def key_pair(seed: str) -> tuple[SigningKey, str]:
    """The private key of a seed, and the public one in hexadecimal."""
    key = SigningKey(bytes.fromhex(seed))
    return key, bytes(key.verify_key).hex()


def sign(seed: str, challenge: Message) -> str:
    """The answer to a CHALLENGE: signature and message, in hexadecimal."""
    return bytes(key_pair(seed)[0].sign(bytes.fromhex(challenge[2]["challenge"]))).hex()


class Jobs:
    """What can be asked for. Each method is a job; what it returns goes back as JSON."""

    def __init__(self) -> None:
        self._wires: dict[str, Wire] = {}  # sessions that stay, by name
        self._tasks: dict[str, asyncio.Task[Any]] = {}  # what goes on in the background, by name
        self._watched: dict[str, dict[int, float]] = {}  # by kind of message, when the last one came

    async def logins(
        self, transport: Transport, credentials: list[Credential], count: int, at_once: int
    ) -> dict[str, Any]:
        """Log in and out again `count` times, `at_once` at a time, as each of the credentials in turn."""
        turns = iter(itertools.islice(itertools.cycle(credentials), count))
        delays: list[float] = []

        async def client() -> None:
            for credential in turns:
                started = time.perf_counter()
                wire = await Wire.open(transport)
                answer = await wire.login(credential)
                delays.append(time.perf_counter() - started)
                await (wire.leave() if answer[0] == WELCOME else wire.hang_up())

        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client() for _ in range(at_once)))
        return {
            "seconds": time.perf_counter() - started,
            "load_cpu": time.process_time() - cpu,
            "delays": sorted(delays),
        }

    async def enter(self, transport: Transport, credential: Credential, name: str) -> None:
        """Log in, and stay."""
        self._wires[name] = await Wire.open(transport)
        await self._wires[name].login(credential)

    async def traffic(self, name: str, kind: str, count: int, at_once: int) -> dict[str, Any]:
        """Call or publish `count` times in a session that has been entered, `at_once` at a time."""
        wire = self._wires[name]
        started, cpu = time.perf_counter(), time.process_time()
        for number in range(count + at_once):
            if number < count:
                act(wire, kind)
            if number >= at_once and (answer := await wire.receive())[0] not in (RESULT, PUBLISHED):
                raise LoadError(f"unexpected: {answer}")
        return {"seconds": time.perf_counter() - started, "load_cpu": time.process_time() - cpu}

    async def echo(self, name: str) -> None:
        """Begin to call again and again in a session that has been entered, each time when the last is answered."""
        wire = self._wires[name]

        async def run() -> float:
            worst = 0.0
            while name in self._tasks:
                started = time.perf_counter()
                act(wire, "call")
                await wire.receive()
                worst = max(worst, time.perf_counter() - started)
                await asyncio.sleep(0.002)
            return worst

        self._tasks[name] = asyncio.create_task(run())

    async def worst(self, name: str) -> float:
        """End the calls, and return the longest that one of them took, in seconds."""
        return float(await self._tasks.pop(name))

    async def publish(self, name: str) -> None:
        """Begin to publish at an even pace in a session that has been entered, and go on while it lasts."""
        wire = self._wires[name]

        async def run() -> None:
            while not wire.closed.done():
                wire.ask(PUBLISH, {}, "com.example.topic1", ["tick"])
                await asyncio.sleep(PACE)

        self._tasks[name] = asyncio.create_task(run())

    async def watch(self, transport: Transport, credential: Credential, name: str, polite: bool) -> None:
        """Begin a session that calls at an even pace and hears events; return once it has got one of each."""
        wire = await Wire.open(transport)
        await wire.login(credential)
        wire.ask(SUBSCRIBE, {}, "com.example.topic1")
        seen = self._watched[name] = {EVENT: 0.0, RESULT: 0.0, GOODBYE: 0.0}
        settled = asyncio.Event()

        async def call() -> None:
            while not wire.closed.done():
                act(wire, "call")
                await asyncio.sleep(PACE)

        async def run() -> None:
            calling = asyncio.create_task(call())
            try:
                while True:
                    kind = (await wire.receive())[0]
                    if kind in seen:
                        seen[kind] = time.monotonic()
                    if seen[EVENT] and seen[RESULT]:
                        settled.set()
                    if kind == GOODBYE and polite:
                        wire.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
                        await wire.hang_up()
                        return
            finally:
                calling.cancel()
                wire._transport.abort()

        self._tasks[name] = asyncio.create_task(run())
        await settled.wait()

    async def last(self, name: str) -> float:
        """When a watched session that is told to go has heard its last: seconds on the monotonic clock."""
        seen = self._watched.pop(name)
        while not (seen[GOODBYE] and time.monotonic() - max(seen.values()) > SILENCE):
            await asyncio.sleep(0.1)
        self._tasks.pop(name).cancel()
        return max(seen[EVENT], seen[RESULT])


def act(wire: Wire, kind: str) -> None:
    """One call of the demo's procedure, or one acknowledged event on its topic."""
    if kind == "call":
        wire.ask(CALL, {}, "com.example.add2", [2, 3])
    else:
        wire.ask(PUBLISH, {"acknowledge": True}, "com.example.topic1", ["hello"])


async def serve() -> None:
    """Do the jobs that come in by standard input, until it ends."""
    loop, jobs, tasks = asyncio.get_running_loop(), Jobs(), set()
    lines = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def work(number: int, job: str, arguments: dict[str, Any]) -> None:
        try:
            answer = {"result": await getattr(jobs, job)(**arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"number": number, **answer}), flush=True)

    while line := await lines.readline():
        tasks.add(task := asyncio.create_task(work(*json.loads(line))))
        task.add_done_callback(tasks.discard)


class Load:
    """The handle of such a process: a context manager that has it running."""

    def __enter__(self) -> "Load":
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._numbers = itertools.count()
        self._answers: dict[int, dict[str, Any]] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, job: str, **arguments: Any) -> int:
        """Hand over a job, and return the number to :meth:`finish` it with."""
        assert self._process.stdin
        number = next(self._numbers)
        self._process.stdin.write(json.dumps([number, job, arguments]) + "\n")
        self._process.stdin.flush()
        return number

    def finish(self, number: int) -> Any:
        """Wait for a job to be done.

        :raises LoadError: if it failed.
        """
        assert self._process.stdout
        while number not in self._answers:
            if not (line := self._process.stdout.readline()):
                raise LoadError("the load generator ended")
            answer = json.loads(line)
            self._answers[answer["number"]] = answer
        answer = self._answers.pop(number)
        if "error" in answer:
            raise LoadError(answer["error"])
        return answer["result"]

    def do(self, job: str, **arguments: Any) -> Any:
        """Hand over a job, and wait for it."""
        return self.finish(self.begin(job, **arguments))


if __name__ == "__main__":
    asyncio.run(serve())
