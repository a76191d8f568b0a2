"""9. What do more processes bring?"""

import itertools
import os
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass

from bench import Bench
from nodes import BenchNode, Kind
from report import Bar, Cell, Spread, Table
from turns import AT_ONCE, OPEN, SETTLE
from wire import Credential, Transport

SCALED = Kind("scaled")


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
