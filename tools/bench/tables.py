"""What else does it cost? Questions, each a function that measures on real nodes and returns a table.

Whatever is compared is measured in turns, a short moment each (A B C A B C ...), so that what else the machine does
hits all alike; ratios are formed within a turn, and what is shown is their median.
"""

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bench import Bench
from nodes import BenchNode, Kind, digits
from report import Bar, Cell, Spread, Table
from storms import percentile
from wire import Credential, Transport

AT_ONCE = 8  # clients that log in at a time
SETTLE = 0.01  # seconds for the router to tidy up after the last of them
BUSY = 0.85  # of a core that the router must have used, for "logins per second" to speak of it
SMALLEST, OPEN, SCALED = Kind("smallest"), Kind("open"), Kind("scaled")
THOUSAND, AUTHORIZED = Kind("open", 1_000, 0), Kind("authorized", 1_000)


@dataclass
class Subject:
    """One of those that are compared in logins."""

    node: BenchNode
    transport: Transport
    credentials: list[Credential]
    count: int


class Turns:
    """What the turns have brought, by subject: CPU per login and the rest."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = defaultdict(list)  # milliseconds
        self.rate: dict[str, list[float]] = defaultdict(list)
        self.delays: dict[str, list[float]] = defaultdict(list)  # milliseconds
        self.busy: dict[str, list[float]] = defaultdict(list)
        self.load_busy: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, count: int, cpu: float, result: dict[str, Any]) -> None:
        seconds = result["seconds"]
        self.cpu[name].append(cpu / count * 1000)
        self.rate[name].append(count / seconds)
        self.delays[name] += [delay * 1000 for delay in result.get("delays", ())]
        self.busy[name].append(cpu / seconds)
        self.load_busy[name].append(result["load_cpu"] / seconds)

    def ratio(self, name: str, other: str) -> Spread:
        return Spread.of_ratios(self.cpu[name], self.cpu[other])

    def notes(self) -> list[str]:
        """Says so where the load generator, and not the router, set the pace."""
        idle = [name for name, busy in self.busy.items() if statistics.median(busy) < BUSY]
        blamed = [name for name, busy in self.load_busy.items() if statistics.median(busy) > BUSY]
        if blamed:
            return [f"THE LOAD GENERATOR WAS THE BOTTLENECK: {'; '.join(blamed)}. The rates there are its own."]
        if idle:
            share = f"in {len(idle)} of {len(self.busy)} rows the router had less than {BUSY:.0%} of a core"
            return [f"The load generator was not the bottleneck, but {share}: it could do more a second than shown."]
        return ["The load generator was not the bottleneck: the router was busy throughout."]


def take_turns(bench: Bench, title: str, subjects: dict[str, Subject]) -> Turns:
    """Let each log in, again and again; the first turn warms up and isn't counted."""
    turns = Turns()
    for turn in range(-1, bench.effort.turns):
        bench.progress(f"{title}: turn {turn + 1} of {bench.effort.turns}")
        for name, subject in subjects.items():
            first = (turn + 1) * subject.count % len(subject.credentials)
            credentials = (subject.credentials[first:] + subject.credentials[:first])[: subject.count]
            cpu = subject.node.cpu()
            result = bench.load.do(
                "logins", transport=subject.transport, credentials=credentials, count=subject.count, at_once=AT_ONCE
            )
            time.sleep(SETTLE)
            if turn >= 0:
                turns.add(name, subject.count, subject.node.cpu() - cpu, result)
    return turns


def cells(turns: Turns, name: str) -> dict[str, Cell]:
    """What is shown of each subject that logs in."""
    return {
        "CPU ms": Spread.of(turns.cpu[name]),
        "logins/s": Spread.of(turns.rate[name]),
        "p50 ms": percentile(turns.delays[name], 50),
        "p99 ms": percentile(turns.delays[name], 99),
        "router": f"{statistics.median(turns.busy[name]):.0%}",
        "load": f"{statistics.median(turns.load_busy[name]):.0%}",
    }


# -- 5


def principals(bench: Bench) -> Table:
    """Does it matter how many there are?"""
    table = Table("principals", "5. Router CPU for one login, by the number of principals in the store", "CPU ms")
    kinds = (OPEN, Kind("open", 10_000, 0), Kind("open", bench.effort.large, 0))
    nodes = bench.boot(*kinds)
    subjects = {}
    for credential, method in ("made", "ticket"), ("key", "key"):
        for kind, node in zip(kinds, nodes, strict=True):
            known = node.credentials[credential]
            subjects[f"{method}, {kind.principals:,}"] = Subject(node, node.transport("ws"), known, bench.effort.logins)
    turns = take_turns(bench, "5 principals", subjects)
    for name in subjects:
        method, _, size = name.partition(", ")
        ratio = turns.ratio(name, f"{method}, 10")
        table.rows[name] = {**cells(turns, name), "× ten": "" if size == "10" else ratio}
        if size == f"{bench.effort.large:,}":
            table.bars.append(Bar(f"{name} principals, against ten", ratio.median, 1.05))
    table.notes = turns.notes()
    return table


# -- 6


def authorizer(bench: Bench) -> Table:
    """What does it cost to ask the authorizer before each call and publication?"""
    table = Table("authorizer", "6. Router CPU for one call or publication", "CPU µs")
    smallest, authorized = bench.boot(SMALLEST, AUTHORIZED)
    user = authorized.credentials["made"][0]
    sessions = {
        "static permissions": (smallest, smallest.transport("static"), user),
        "smallest authorizer": (smallest, smallest.transport("static"), {**user, "authid": "authorized"}),
        "our authorizer": (authorized, authorized.transport("ws"), user),
    }
    for name, (_, transport, credential) in sessions.items():
        bench.load.do("enter", transport=transport, credential=credential, name=name)
    turns = Turns()
    for turn in range(-1, bench.effort.turns):
        bench.progress(f"6 authorizer: turn {turn + 1} of {bench.effort.turns}")
        for kind, (name, (node, *_)) in itertools.product(("call", "publish"), sessions.items()):
            cpu = node.cpu()
            result = bench.load.do("traffic", name=name, kind=kind, count=bench.effort.actions, at_once=AT_ONCE)
            if turn >= 0:
                turns.add(f"{kind}, {name}", bench.effort.actions, (node.cpu() - cpu) * 1000, result)
    for kind, name in itertools.product(("call", "publish"), sessions):
        row = f"{kind}, {name}"
        table.rows[row] = {
            "CPU µs": Spread.of(turns.cpu[row]),
            "per second": Spread.of(turns.rate[row]),
            "× static": turns.ratio(row, f"{kind}, static permissions"),
            "× smallest": turns.ratio(row, f"{kind}, smallest authorizer"),
        }
    for kind in "call", "publish":
        ratio = turns.ratio(f"{kind}, our authorizer", f"{kind}, smallest authorizer")
        table.bars.append(Bar(f"{kind}, our authorizer against the smallest", ratio.median, 1.15))
    return table


# -- 7


def soak(bench: Bench) -> Table:
    """Does the router's memory grow with the logins that it has seen?"""
    effort = bench.effort
    table = Table("soak", "7. Memory of the router worker, a tenth of the logins refused", "MiB")
    (node,) = bench.boot(THOUSAND)
    made, keys = node.credentials["made"], node.credentials["key"]
    mixed = []
    for number, (ticket, key) in enumerate(zip(made, keys, strict=True)):
        if number % 10 == 0:
            ticket = {**ticket, "ticket": "wrong", "refused": True}
        elif number % 10 == 5:
            key = {**key, "seed": digits(f"stranger{number}"), "refused": True}
        mixed += [ticket, key]
    transports = [node.transport("ws"), node.transport("ws-function")]
    for done in range(effort.soak_step, effort.soak + 1, effort.soak_step):
        for part, transport in enumerate(transports):
            count = effort.soak_step // len(transports)
            bench.progress(f"7 soak: {done - effort.soak_step + part * count:,} of {effort.soak:,}")
            bench.load.do("logins", transport=transport, credentials=mixed, count=count, at_once=8 * AT_ONCE)
        table.rows[f"{done:,} logins"] = {"MiB": node.memory()}
    first, *_, last = (cells["MiB"] for cells in table.rows.values())
    assert isinstance(first, float)
    assert isinstance(last, float)
    grown = f"memory after {effort.soak:,} logins, against {effort.soak_step:,}"
    table.bars = [Bar(grown, last / first, 1.05)]
    return table


# -- 8


def revocation(bench: Bench) -> Table:
    """How long does a revoked session still get something?"""
    title = "8. From `wampauth revoke` returning to the last event or result that the revoked session gets"
    table = Table("revocation", title, "ms")
    polite, hostile = "polite client, config.json", "hostile client, with an authorizer"
    nodes = dict(zip((polite, hostile), bench.boot(THOUSAND, AUTHORIZED), strict=True))
    for node in nodes.values():
        bench.load.do(
            "enter", transport=node.transport("ws"), credential=node.credentials["made"][-1], name=node.directory.name
        )
        bench.load.do("publish", name=node.directory.name)
    ends: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    with ThreadPoolExecutor() as threads:
        for turn in range(bench.effort.revocations):
            bench.progress(f"8 revocation: turn {turn + 1} of {bench.effort.revocations}")
            victims = {name: node.credentials["made"][turn] for name, node in nodes.items()}
            for name, node in nodes.items():
                watch = {"name": f"{name} {turn}", "polite": name == polite}
                bench.load.do("watch", transport=node.transport("ws"), credential=victims[name], **watch)
            stores, authids = [node.store for node in nodes.values()], [one["authid"] for one in victims.values()]
            times = threads.map(revoke, stores, authids)
            for name, (begun, returned) in zip(nodes, list(times), strict=True):
                ends[name].append((begun, returned, bench.load.begin("last", name=f"{name} {turn}")))
    for name, pending in ends.items():
        lasts = [(begun, returned, bench.load.finish(number)) for begun, returned, number in pending]
        table.rows[name] = {
            "ms": Spread.of([(last - returned) * 1000 for _, returned, last in lasts]),
            "ms from its start": Spread.of([(last - begun) * 1000 for begun, _, last in lasts]),
        }
    table.notes = ["A figure below 0: the last came before `revoke`, which had done its work, was gone."]
    return table


def revoke(store: str, authid: str) -> tuple[float, float]:
    """As an operator would, in a process of its own: when that began and when it returned, on the monotonic clock."""
    command = [sys.executable, "-m", "wampauth", "--store", store, "revoke", authid, "--yes"]
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    return begun, time.monotonic()


# -- 9


@dataclass
class Shared:
    """What logins in one turn cost a node of several processes."""

    cpu: dict[str, float]  # milliseconds per login, by process
    load_cpu: float
    rate: float

    @property
    def busiest(self) -> float:
        return max(self.cpu.values())


def scale(bench: Bench) -> Table:
    """What do more processes bring?"""
    title = "9. Logins for each second of CPU that the node's busiest process uses"
    table = Table("scale", title, "per busiest CPU s")
    ours, scaled = bench.boot(OPEN, SCALED)
    ways = {
        "one router worker": (ours, ours.transport("ws")),
        "one proxy": (scaled, scaled.transport("ws", own=True)),
        "two proxies": (scaled, scaled.transport("ws")),
    }
    turns: dict[str, list[Shared]] = defaultdict(list)
    for turn in range(-1, bench.effort.scaled_turns):
        bench.progress(f"9 scale: turn {turn + 1} of {bench.effort.scaled_turns}")
        for (method, kind), (name, way) in itertools.product((("ticket", "made"), ("key", "key")), ways.items()):
            shared = share(bench, *way, ours.credentials[kind])
            if turn >= 0:
                turns[f"{method}, {name}"].append(shared)
    table.rows = {name: shared_cells(measured) for name, measured in turns.items()}
    for method in "ticket", "key":
        one, two = (busiest(turns[f"{method}, {name}"]) for name in ("one proxy", "two proxies"))
        promise = f"{method}, two proxies against one, by their busiest process"
        table.bars.append(Bar(promise, one / two, 1.6, at_most=False))
    table.notes = [
        f"{os.cpu_count()} cores for all of them and the load generator: that limits the logins a second.",
        "The system shares out connections by chance: in each turn one proxy has more; in the bars, over all turns.",
    ]
    return table


def busiest(turns: list[Shared]) -> float:
    """CPU for a login of the process that has used most, in all turns together."""
    return max(sum(turn.cpu[process] for turn in turns) for process in turns[0].cpu) / len(turns)


def share(bench: Bench, node: BenchNode, transport: Transport, credentials: list[Credential]) -> Shared:
    count, before = bench.effort.scaled_logins, node.cpus()
    result = bench.load.do("logins", transport=transport, credentials=credentials, count=count, at_once=2 * AT_ONCE)
    time.sleep(SETTLE)
    cpu = {process: (seconds - before[process]) / count * 1000 for process, seconds in node.cpus().items()}
    return Shared(cpu, result["load_cpu"] / count * 1000, count / result["seconds"])


def shared_cells(turns: list[Shared]) -> dict[str, Cell]:
    medians = {process: statistics.median(turn.cpu[process] for turn in turns) for process in turns[0].cpu}
    return {
        "per busiest CPU s": Spread.of([1000 / turn.busiest for turn in turns]),
        "logins/s": Spread.of([turn.rate for turn in turns]),
        "busiest": max(medians, key=lambda process: medians[process]),
        "its CPU ms": Spread.of([turn.busiest for turn in turns]),
        "proxies CPU ms": sum(cpu for process, cpu in medians.items() if process.startswith("proxy")),
        "realms CPU ms": medians.get("router", 0.0),
        "all CPU ms": sum(medians.values()),
        "load CPU ms": statistics.median(turn.load_cpu for turn in turns),
    }


COSTS = (principals, authorizer, soak, revocation, scale)
