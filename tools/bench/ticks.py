"""What does it cost to watch many live sessions? Twice a second ``Sessions`` look at those that something concerns."""

import tempfile
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from autobahn.twisted.util import peer2str
from bench import Bench
from filled import digits, fill
from report import Spread, Table
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from wampauth.claims import Principal
from wampauth.connections import TICK as LOOK
from wampauth.connections import Connections
from wampauth.connections.known import SWEEP
from wampauth.live import Live
from wampauth.lookup import Lookup
from wampauth.store import Connection, OpenStore, connect, reading, writing
from wampauth.store.principals import AT_ONCE
from wampauth.watch import TICK, Watch

LOOKS = round(2 * SWEEP / LOOK)  # enough for the seldom ones


class Direct:
    """The store, asked without threads, so that all of it counts."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_ids(self, credentials: Collection[str]) -> dict[str, Principal]:
        ids, found = list(credentials), dict[str, Principal]()
        for start in range(0, len(ids), AT_ONCE):
            found |= reading.by_ids(self._connection, ids[start : start + AT_ONCE])
        return found

    def changes(self, since: Any) -> Any:
        return reading.changes(self._connection, since)

    def by_ticket(self, claim: Any) -> None:
        """Nobody logs in here."""

    by_key = by_ticket


def ticks(bench: Bench) -> Table:
    """A tick with nothing to do, with one that is revoked, and with everybody to be looked at."""
    number, turns = bench.effort.watched, bench.effort.ticks
    table = Table("ticks", f"10. CPU of a tick, twice a second, with {number:,} live sessions in one process", "CPU ms")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = str(Path(folder) / "principals.db")
        bench.progress(f"10 ticks: a store for {number:,}")
        fill(path, 2 * number, 0)
        ended: list[Live] = []
        with closing(connect(path)) as connection:
            clock = Clock()
            watch = Watch(Lookup(OpenStore(Direct(connection)), clock), clock, lambda live, why: ended.append(live))
            watch.start()
            clock.advance(TICK)
            before = psutil.Process().memory_info().rss
            for session in range(number):
                watch.add(live(session))
            memory = (psutil.Process().memory_info().rss - before) / number
            table.rows["all have just come in"] = {"CPU ms": tick(clock)}
            nothing, revoked = [], []
            for turn in range(turns):
                nothing.append(tick(clock))
                writing.revoke(connection, f"user{turn}")
                revoked.append(tick(clock))
            table.rows["nothing has changed"] = {"CPU ms": Spread.of(nothing)}
            table.rows["one is revoked"] = {"CPU ms": Spread.of(revoked)}
            mostly, seldom = strangers(number, turns)
            table.rows["strangers are looked for (four times a second)"] = {"CPU ms": mostly}
            table.rows["they are looked for among all (once in ten seconds)"] = {"CPU ms": seldom}
            assert len(ended) == turns, "those who were revoked must be ended, and nobody else"
            watch.stop()
    table.notes = [f"Of each session, {memory:.0f} bytes are kept. All of it counts, the query in the thread as well."]
    return table


class Accepted(tcp.Server):
    """A connection, of which only the peer is known."""

    connected = 1

    def __init__(self, port: int) -> None:
        self._port = port

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self._port)


def strangers(number: int, turns: int) -> tuple[Spread, float]:
    """Milliseconds of CPU to find nobody among so many connections that have all joined: at most looks, and at the one
    in forty that goes through all of them."""
    clock: Any = Clock()
    those = [Accepted(port) for port in range(number)]
    clock.getReaders, clock.getWriters = lambda: list(those), list
    connections = Connections(clock)
    connections.watch("realm1")
    for session, one in enumerate(those):
        connections.joined(session, {"transport": {"peer": peer2str(one)}})
    clock.advance(LOOK)  # all are new at the first
    took = [look(clock) for _ in range(max(turns, LOOKS))]
    connections.unwatch("realm1")
    return Spread.of(took), max(took)


def look(clock: Clock) -> float:
    """Milliseconds of CPU."""
    began = time.process_time()
    clock.advance(LOOK)
    return (time.process_time() - began) * 1000


def live(session: int) -> Live:
    """One of those that `fill` has made."""
    authid = f"user{session}"
    principal = Principal(authid, "realm1", "frontend", {"foo": 23}, credential=digits(authid)[:16])
    return Live(session, principal, f"tcp4:127.0.0.1:{session}", None)


def tick(clock: Clock) -> float:
    """Milliseconds of CPU."""
    began = time.process_time()
    clock.advance(TICK)
    return (time.process_time() - began) * 1000
