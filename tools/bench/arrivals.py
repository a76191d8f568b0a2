"""Crowds of clients that come at once: what have they brought, turn by turn?"""

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from bench import Bench
from filled import SAMPLE
from load import Load
from nodes import Kind
from report import Cell, Spread
from wire import Credential, Transport

CHOSEN = 16  # principals with a chosen ticket: a fresh one for each storm, since the node remembers
OURS, YARDSTICK = Kind("ours", 2 * SAMPLE + CHOSEN, CHOSEN), Kind("smallest", 2 * SAMPLE, 0)
MANY = 250  # addresses
LIMIT = 90.0  # seconds after which those who aren't in are given up
SETTLE = 0.3  # seconds for the node to tidy up after the last of them
GONE = 20.0  # seconds in which it must have noticed that they have left
SLACK = 20  # files that a node may have opened meanwhile
WARM_UP = 50  # clients that aren't counted
KINDS = {"tickets": "made", "keys": "key"}  # of credentials, by what is said of them


@dataclass
class Subject:
    """One of those that are compared."""

    node: Any  # a BenchNode or NatsNode
    transport: Transport
    credentials: list[Credential]
    sources: int
    protocol: str = "wamp"


@dataclass
class Storms:
    """What the turns have brought, by subject."""

    last: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds until all were in
    median: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # and until half of them were
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # milliseconds a login
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # attempts
    lost: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # connections, without an answer
    out: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # clients that never got in
    memory: dict[str, float] = field(default_factory=dict)  # KiB a session
    load_busy: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self, load: Load, name: str, subject: Subject, beside: Any = None) -> None:
        """One storm, and away with them again.

        :param beside: what begins with it, and is waited for.
        """
        node = subject.node
        before, cpu, memory = node.connections(), node.cpu(), node.memory()
        doing = beside() if beside else None
        crowd = {"protocol": subject.protocol, "transport": subject.transport, "sources": subject.sources}
        result = load.do("come", name=name, credentials=subject.credentials, limit=LIMIT, **crowd)
        time.sleep(SETTLE)
        count = len(subject.credentials)
        self.memory.setdefault(name, (node.memory() - memory) * 1024 / count)
        self.cpu[name].append((node.cpu() - cpu) / count * 1000)
        took = [moment - result["began"] for moment in result["came_in"]]
        self.last[name].append(LIMIT if result["out"] else took[-1])
        self.median[name].append(statistics.median(took) if took else LIMIT)
        self.refused[name] += sum(result["refused"].values())
        self.lost[name] += result["lost"]
        self.out[name] += result["out"]
        self.load_busy[name].append(result["load_busy"])
        if doing:
            doing()
        load.do("leave", name=name)
        wait_until_gone(node, before)

    def in_vain(self, name: str) -> int:
        """Attempts that came to nothing, though nothing was wrong with them."""
        return self.refused[name] + self.lost[name] + self.out[name]

    def cells(self, name: str, memory: bool = False) -> dict[str, Cell]:
        """What is shown of a subject."""
        return {
            "last in s": Spread.of(self.last[name]),
            "median in s": Spread.of(self.median[name]),
            "refused": str(self.refused[name]),
            "lost": str(self.lost[name]),
            "never in": str(self.out[name]),
            "CPU ms": Spread.of(self.cpu[name]),
            "KiB": f"{self.memory[name]:.0f}" if memory else "",
            "load": f"{statistics.median(self.load_busy[name]):.0%}",
        }


def wait_until_gone(node: Any, before: int) -> None:
    until = time.monotonic() + GONE
    while node.connections() > before + SLACK and time.monotonic() < until:
        time.sleep(0.02)


def warm_up(bench: Bench, *subjects: Subject) -> None:
    """What is loaded, made or allocated with the first logins isn't theirs."""
    for subject in subjects:
        few = Subject(subject.node, subject.transport, subject.credentials[:WARM_UP], 1, subject.protocol)
        Storms().run(bench.load, "warm up", few)
