"""How do many come back at once? Clients who want in, each of whom does as it is told until it is in."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from nats_wire import NatsWire
from wire import Closed, Credential, LoadError, Transport, Wire

SPREAD = 2.0  # seconds within which they come back, in any case: all as examples/reconnect.py does
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 1.0, 1.5, 30.0  # seconds more, from the second time in vain on
TOLD = re.compile(r"in (\d+) seconds?")
COME_BACK = ("too_many_attempts", "unavailable")  # any other no is for good


class AnyWire(Protocol):
    """A connection to a server of some kind."""

    closed: "asyncio.Future[None]"

    async def enter(self, credential: Credential) -> tuple[str, str] | None: ...
    def drop(self) -> None: ...


WIRES: dict[str, Any] = {"wamp": Wire, "nats": NatsWire}


class Client:
    """One of them."""

    def __init__(self, protocol: str, transport: Transport, credential: Credential, source: str | None) -> None:
        self._open, self._where, self._credential = WIRES[protocol].open, (transport, source), credential
        self.wire: Any = None  # while it is in
        self.refused: Counter[str] = Counter()  # by the last part of the URI
        self.lost = 0  # connections that couldn't be made, or ended without an answer
        self.came_in = 0.0  # seconds, monotonic

    async def come_in(self) -> None:
        """Try until it is in.

        :raises LoadError: if it is refused for good.
        """
        pause = 0.0
        while True:
            wire: AnyWire | None = None
            told = 0.0
            try:
                wire = await self._open(*self._where)
                assert wire
                if (no := await wire.enter(self._credential)) is None:
                    self.wire, self.came_in = wire, time.monotonic()
                    return
                told = self._understand(*no)
            except (OSError, Closed):
                self.lost += 1
            finally:
                if wire and not self.wire:
                    wire.drop()
            await asyncio.sleep(told + pause + random.random() * SPREAD)
            pause = min(LONGEST_PAUSE, GROWTH * pause) or FIRST_PAUSE

    def _understand(self, uri: str, text: str) -> float:
        """The seconds for which it is told to wait, if it is told so."""
        name = uri.rpartition(".")[2]
        self.refused[name] += 1
        if name not in COME_BACK:
            raise LoadError(f"refused for good: {uri}: {text}")
        found = TOLD.search(text)
        return float(found[1]) if found else 0.0

    def leave(self) -> None:
        """End the connection, if there is one."""
        if self.wire:
            self.wire.drop()
            self.wire = None


class Crowd:
    """All of them."""

    def __init__(self, protocol: str, transport: Transport, credentials: Sequence[Credential], sources: int) -> None:
        """:param sources: from how many addresses they come; 1: all from 127.0.0.1."""
        self.clients = [
            Client(protocol, transport, credential, address(number, sources))
            for number, credential in enumerate(credentials)
        ]

    async def come(self, limit: float) -> dict[str, Any]:
        """All come at once. Who isn't in after `limit` seconds gives up."""
        return await self._until_in([client.come_in() for client in self.clients], limit)

    async def return_(self, limit: float) -> dict[str, Any]:
        """Wait until they are thrown out, and have them come back."""

        async def come_back(client: Client) -> None:
            await client.wire.closed
            client.wire = None
            await asyncio.sleep(random.random() * SPREAD)
            await client.come_in()

        for client in self.clients:
            client.refused.clear()
            client.lost = 0
        return await self._until_in([come_back(client) for client in self.clients], limit)

    async def _until_in(self, coming: Sequence[Any], limit: float) -> dict[str, Any]:
        began, cpu = time.monotonic(), time.process_time()
        tasks = [asyncio.ensure_future(one) for one in coming]
        done, waiting = await asyncio.wait(tasks, timeout=limit)
        for task in waiting:
            task.cancel()
        for why in {str(error) for task in done if (error := task.exception())}:
            raise LoadError(why)
        inside = [client for client in self.clients if client.wire]
        last = max([client.came_in for client in inside], default=began)
        return {
            "came_in": sorted(client.came_in for client in inside),  # seconds, monotonic
            "began": began,
            "out": len(self.clients) - len(inside),
            "refused": sum((client.refused for client in self.clients), Counter()),
            "lost": sum(client.lost for client in self.clients),
            "load_busy": (time.process_time() - cpu) / max(1e-3, last - began),
        }

    def leave(self) -> None:
        """All go, without a word."""
        for client in self.clients:
            client.leave()


def address(number: int, sources: int) -> str | None:
    """Where one of them comes from: the loopback interface has 16 million addresses, at least in Linux."""
    if sources == 1:
        return None
    host = number % sources
    return f"127.1.{host // 250}.{host % 250 + 1}"


async def guess(transport: Transport, credential: Credential, source: str) -> str:
    """One wrong guess on a connection of its own, and what came of it."""
    try:
        wire = await Wire.open(transport, source)
    except (OSError, Closed):
        return "lost"
    try:
        no = await wire.enter(credential)
        return no[0].rpartition(".")[2] if no else "in"
    except Closed:
        return "lost"
    finally:
        wire.drop()
