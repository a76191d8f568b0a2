"""N clients come back: how long does that take, is anybody turned away, and what do others notice of it?

Whatever is compared takes turns; ratios are formed within a turn, and what is shown is their median.
"""

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from bench import Bench
from load import Load
from nodes import SAMPLE, BenchNode, Kind
from report import Bar, Cell, Spread, Table
from wire import Credential, Transport

CHOSEN = 16  # principals with a chosen ticket: a fresh one for each storm, since the node remembers
OURS, YARDSTICK = Kind("ours", 2 * SAMPLE + CHOSEN, CHOSEN), Kind("smallest", 2 * SAMPLE, 0)
MANY = 250  # addresses
LIMIT = 90.0  # seconds after which those who aren't in are given up
SETTLE = 0.3  # seconds for the node to tidy up after the last of them
GONE = 20.0  # seconds in which it must have noticed that they have left
SLACK = 20  # files that a node may have opened meanwhile
WARM_UP = 50  # clients that aren't counted
GUESSER = "127.2.0.1"


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


# -- 1


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


BUSY = 0.9  # of a core, that the load generator may use without being the bottleneck


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


# -- 2


def flood(bench: Bench) -> Table:
    """Does a flood of guesses from elsewhere keep them out?"""
    count = max(bench.effort.crowds)
    table = Table(
        "flood", f"2. The same, while somebody else guesses {count:,} times from another address", "last in s"
    )
    (ours,) = bench.boot(OURS)
    results = Storms()
    outcome: dict[str, int] = {}

    def guess() -> Any:
        wrong = {**ours.credentials["made"][0], "ticket": "wrong"}
        where = {"transport": ours.transport("ws"), "credential": wrong, "count": count, "source": GUESSER}
        number = bench.witness.begin("guess", **where)
        return lambda: outcome.update(bench.witness.finish(number))

    kinds = {"tickets": "made", "keys": "key"}
    quiet, flooded = "{}, nobody guesses, our dynamic", "{}, somebody guesses, our dynamic"
    subjects = {
        method: Subject(ours, ours.transport("ws"), ours.credentials[kind][:count], 1) for method, kind in kinds.items()
    }
    warm_up(bench, *subjects.values())
    for turn in range(bench.effort.floods):
        for method, subject in subjects.items():
            bench.progress(f"2 flood: turn {turn + 1} of {bench.effort.floods}, {method}")
            results.run(bench.load, quiet.format(method), subject)
            results.run(bench.load, flooded.format(method), subject, guess)
    for method in kinds:
        calm, other = quiet.format(method), flooded.format(method)
        table.rows[calm], table.rows[other] = results.cells(calm), results.cells(other)
        ratio = Spread.of_ratios(results.last[other], results.last[calm]).median
        table.bars.append(Bar(f"last one in, {method}, with and without a flood of guesses", ratio, 1.5))
        promise = f"honest attempts refused or cut off, {method}, in a flood of guesses"
        table.bars.append(Bar(promise, results.in_vain(other), 0, ""))
    table.notes = ["The last guesses: " + ", ".join(f"{how} {number}" for how, number in sorted(outcome.items())) + "."]
    return table


# -- 3


def restart(bench: Bench) -> Table:
    """And after the node was started again?"""
    count = max(bench.effort.crowds)
    table = Table(
        "restart", f"3. The node is started again under {count:,} live clients, that come back", "last back s"
    )
    ours, smallest = bench.boot(OURS, YARDSTICK)
    rows: dict[str, list[Any]] = defaultdict(list)
    for turn in range(bench.effort.restarts):
        for method, kind in ("tickets", "made"), ("keys", "key"):
            for who, node in ("smallest", smallest), ("our dynamic", ours):
                bench.progress(f"3 restart: turn {turn + 1} of {bench.effort.restarts}, {method}, {who}")
                rows[f"{method}, {who}"].append(thrown_out(bench.load, node, ours.credentials[kind][:count]))
    for name, runs in rows.items():
        out, refused = sum(run["out"] for run in runs), sum(sum(run["refused"].values()) for run in runs)
        table.rows[name] = {
            "last back s": Spread.of([max(run["came_in"]) - run["ready"] for run in runs]),
            "median back s": Spread.of([statistics.median(run["came_in"]) - run["ready"] for run in runs]),
            "refused": str(refused),
            "connections in vain": str(sum(run["lost"] for run in runs)),
            "never back": str(out),
            "the node's start s": Spread.of([run["ready"] - run["stopped"] for run in runs]),
        }
        if "our" in name:
            table.bars.append(Bar(f"clients that never came back, {name}", out, 0, ""))
    table.notes = ["Counted from the moment at which the node is ready again; some are back before all of it is."]
    return table


def thrown_out(load: Load, node: BenchNode, credentials: list[Credential]) -> dict[str, Any]:
    """A crowd that is in, and what becomes of it when the node is started again."""
    crowd = {"protocol": "wamp", "transport": node.transport("ws"), "sources": 1}
    load.do("come", name="crowd", credentials=credentials, limit=LIMIT, **crowd)
    coming = load.begin("return_", name="crowd", limit=LIMIT)
    stopped = time.monotonic()
    ready = node.restart()
    result = load.finish(coming)
    before = node.connections() - len(result["came_in"])
    load.do("leave", name="crowd")
    wait_until_gone(node, before)
    return {**result, "stopped": stopped, "ready": ready}


# -- 4


def latency(bench: Bench) -> Table:
    """How long does one login take on an ordinary day, and what do those who are in notice of it?"""
    effort = bench.effort
    title = f"4. So many logins a second, from {MANY} addresses, beside {effort.live} sessions that call once a second"
    table = Table("latency", title, "p50 ms")
    ours, smallest = bench.boot(OURS, YARDSTICK)
    nodes = {"smallest": smallest, "our dynamic": ours}
    for who, node in nodes.items():
        crowd = {"protocol": "wamp", "transport": node.transport("ws"), "sources": MANY, "limit": LIMIT}
        bench.witness.do("come", name=who, credentials=ours.credentials["made"][: effort.live], **crowd)
    for rate in effort.rates:
        for (method, kind), (who, node) in ((way, one) for way in KINDS.items() for one in nodes.items()):
            name = f"{rate} {method} a second, {who}"
            bench.progress(f"4 latency: {name}")
            calls = bench.witness.begin("call", name=who, period=1.0, seconds=effort.paced)
            where = {"transport": node.transport("ws"), "credentials": ours.credentials[kind], "sources": MANY}
            result = bench.load.do("pace", rate=rate, seconds=effort.paced, **where)
            called = bench.witness.finish(calls)
            table.rows[name] = {
                "p50 ms": 1000 * percentile(result["delays"], 50),
                "p99 ms": 1000 * percentile(result["delays"], 99),
                "a call's p50 ms": 1000 * percentile(called, 50),
                "a call's p99 ms": 1000 * percentile(called, 99),
                "refused": str(sum(result["refused"].values())),
            }
    for who in nodes:
        bench.witness.do("leave", name=who)
    return table


KINDS = {"tickets": "made", "keys": "key"}


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


STORMS = (storms, flood, restart, latency)
