"""Who logs in? A process that makes many logins and calls at once, and as little work of it as it can.

``load.py`` starts it, and sends it jobs, one a line in JSON; it answers each with a line. Jobs run side by side, each
in its own time. It counts its own CPU, so that a run in which it was the bottleneck can say so.
"""

import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from typing import Any

from crowd import Client, Crowd, address, guess
from wire import (
    CALL,
    EVENT,
    GOODBYE,
    PUBLISH,
    PUBLISHED,
    RESULT,
    SUBSCRIBE,
    WELCOME,
    Credential,
    LoadError,
    Transport,
    Wire,
)

PACE = 0.02  # seconds between two events or calls of a session that is watched
SILENCE = 1.2  # seconds without an event or result after which a revoked session has had its last; a tick takes 0.5


class Jobs:
    """What can be asked for. Each method is a job; what it returns goes back as JSON."""

    def __init__(self) -> None:
        self._wires: dict[str, Wire] = {}  # sessions that stay, by name
        self._crowds: dict[str, Crowd] = {}  # many that stay, by name
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

    async def come(
        self, name: str, protocol: str, transport: Transport, credentials: list[Credential], sources: int, limit: float
    ) -> dict[str, Any]:
        """Have a crowd come at once, one for each of the credentials, and stay."""
        crowd = self._crowds[name] = Crowd(protocol, transport, credentials, sources)
        return await crowd.come(limit)

    async def return_(self, name: str, limit: float) -> dict[str, Any]:
        """Have the crowd come back, once it was thrown out."""
        return await self._crowds[name].return_(limit)

    async def leave(self, name: str) -> None:
        """Have the crowd go."""
        self._crowds.pop(name).leave()

    async def call(self, name: str, period: float, seconds: float) -> list[float]:
        """Have each of the crowd call once in `period` seconds; how long each call took, in seconds."""
        until = time.perf_counter() + seconds
        delays: list[float] = []

        async def calls(client: Client) -> None:
            await asyncio.sleep(random.random() * period)
            while (began := time.perf_counter()) < until:
                await client.wire.call()
                delays.append(time.perf_counter() - began)
                await asyncio.sleep(max(0.0, period - delays[-1]))

        await asyncio.gather(*map(calls, self._crowds[name].clients))
        return sorted(delays)

    async def pace(
        self, transport: Transport, credentials: list[Credential], rate: float, seconds: float, sources: int
    ) -> dict[str, Any]:
        """Log in and out again, so many a second, however long that takes; how long each took, in seconds."""
        delays: list[float] = []
        clients: list[Client] = []

        async def login(number: int) -> None:
            await asyncio.sleep(number / rate)
            credential = credentials[number % len(credentials)]
            clients.append(client := Client("wamp", transport, credential, address(number, sources)))
            began = time.perf_counter()
            await client.come_in()
            delays.append(time.perf_counter() - began)
            client.leave()

        await asyncio.gather(*map(login, range(int(rate * seconds))))
        return {"delays": sorted(delays), "refused": sum((client.refused for client in clients), Counter[str]())}

    async def guess(self, transport: Transport, credential: Credential, count: int, source: str) -> dict[str, int]:
        """Guess `count` times at once, each on a connection of its own, and don't come back; what became of it."""
        return Counter(await asyncio.gather(*(guess(transport, credential, source) for _ in range(count))))

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


if __name__ == "__main__":
    asyncio.run(serve())
