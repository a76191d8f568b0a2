"""Whatever is compared in logins takes turns, a short moment each (A B C A B C ...), so that what else the machine does
hits all alike; ratios are formed within a turn, and what is shown is their median.
"""

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from bench import Bench
from nodes import BenchNode, Kind
from report import Cell, Spread, percentile
from wire import Credential, Transport

AT_ONCE = 8  # clients that log in at a time
SETTLE = 0.01  # seconds for the router to tidy up after the last of them
BUSY = 0.85  # of a core that the router must have used, for "logins per second" to speak of it
OPEN, THOUSAND, AUTHORIZED = Kind("open"), Kind("open", 1_000, 0), Kind("authorized", 1_000)


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
