"""1. N clients come back: how long does that take, is anybody turned away, and what does it cost?

Whatever is compared takes turns; ratios are formed within a turn, and what is shown is their median.
"""

import statistics
from typing import Any

from arrivals import MANY, OURS, YARDSTICK, Storms, Subject, warm_up
from bench import Bench
from nodes import BenchNode
from report import Bar, Spread, Table

BUSY = 0.9  # of a core, that the load generator may use without being the bottleneck


def storms(bench: Bench) -> Table:
    """How soon are they back?"""
    table = Table("storms", "1. So many clients come back at once, and stay", "last in s")
    ours, smallest = bench.boot(OURS, YARDSTICK)
    nats = bench.nats()
    table.notes += bench.absent
    results = Storms()
    largest = max(bench.effort.crowds)
    first: set[str] = set()
    remembered = iter(ours.credentials["chosen"])
    for number, count in enumerate(bench.effort.crowds):
        subjects = of_size(ours, smallest, nats, count, bench.effort.crowds)
        if number == 0:
            warm_up(bench, *(subject for name, subject in subjects.items() if "chosen" not in name))
            first = first_of_each(subjects)  # later, a node has the memory already
        for turn in range(bench.effort.storms if number == 0 else 1):
            chosen = next(remembered)
            for name, subject in subjects.items():
                bench.progress(f"1 storms: turn {turn + 1}, {name}")
                if "chosen" in name:
                    subject.credentials = [chosen] * count
                results.run(bench.load, name, subject)
        for name in subjects:
            table.rows[name] = results.cells(name, memory=name in first)
    table.bars = bars(results, largest)
    table.unplotted = [name for name in table.rows if not name.startswith(f"{largest:,}")]
    table.notes.append(
        "CPU: of the router worker (NATS: of server and service) for a login. KiB: its memory a session."
    )
    busy = [name for name, shares in results.load_busy.items() if statistics.median(shares) > BUSY]
    if busy:
        table.notes.append(f"THE LOAD GENERATOR WAS BUSY ALL THE TIME: {'; '.join(busy)}.")
    return table


def first_of_each(subjects: dict[str, Subject]) -> set[str]:
    """The names of those that come first to a node of their own."""
    found: dict[Any, str] = {}
    for name, subject in subjects.items():
        found.setdefault(subject.node, name)
    return set(found.values())


def of_size(ours: BenchNode, smallest: BenchNode, nats: Any, count: int, sizes: tuple[int, ...]) -> dict[str, Subject]:
    """Who is compared with a crowd of `count`. Many addresses, and the function wiring, only with the largest."""
    subjects = {}
    is_largest = count == max(sizes)
    for addresses in (1, MANY) if is_largest else (1,):
        remark = "one address" if addresses == 1 else f"{addresses} addresses"
        for method, kind in ("tickets", "made"), ("keys", "key"):
            name = f"{count:,} {method}, {remark}, "
            known = ours.credentials[kind][:count]
            subjects[name + "smallest"] = Subject(smallest, smallest.transport("ws"), known, addresses)
            subjects[name + "our dynamic"] = Subject(ours, ours.transport("ws"), known, addresses)
            if addresses == MANY:
                subjects[name + "our function"] = Subject(ours, ours.transport("ws-function"), known, addresses)
            if nats and method == "tickets" and addresses == 1:
                known = nats.credentials[kind][:count]
                subjects[name + "NATS"] = Subject(nats, nats.transport(""), known, addresses, "nats")
    name = f"{count:,} with one chosen ticket, one address, our dynamic"
    subjects[name] = Subject(ours, ours.transport("ws"), [], 1)
    return subjects


def bars(results: Storms, count: int) -> list[Bar]:
    """What is promised of the largest crowd."""
    found = []
    ways = {"tickets": f"{count:,} tickets", "keys": f"{count:,} keys"}
    for method, start in ways.items():
        name = f"{start}, one address, our dynamic"
        found.append(Bar(f"honest attempts refused or cut off, {name}", results.in_vain(name), 0, ""))
        ratio = Spread.of_ratios(results.last[name], results.last[f"{start}, one address, smallest"]).median
        found.append(Bar(f"last one in, {method}, one address, against the smallest", ratio, 1.25))
    shared, made = (
        f"{count:,} with one chosen ticket, one address, our dynamic",
        f"{count:,} tickets, one address, our dynamic",
    )
    ratio = Spread.of_ratios(results.last[shared], results.last[made]).median
    found.append(Bar("last one in, one chosen ticket, against made tickets", ratio, 2))
    for (method, start), (wiring, limit) in (
        (way, w) for way in ways.items() for w in (("dynamic", 1.2), ("function", 1.0))
    ):
        name = f"{start}, {MANY} addresses, "
        ratio = Spread.of_ratios(results.cpu[f"{name}our {wiring}"], results.cpu[f"{name}smallest"]).median
        found.append(Bar(f"CPU, {method}, {MANY} addresses, our {wiring}, against the smallest", ratio, limit))
    return found
