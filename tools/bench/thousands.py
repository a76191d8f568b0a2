"""As many as one node is made for come at once: how long does that take, and how much memory do they need?"""

import itertools
import statistics
import time

from arrivals import KINDS, OURS, SETTLE, Subject, wait_until_gone, warm_up
from bench import Bench
from report import Bar, Table

LIMIT = 120.0  # seconds after which those who aren't in are given up


def thousands(bench: Bench) -> Table:
    """All at one address, with the shipped limits. Several have the same credential: the store makes no difference."""
    count = bench.effort.thousands
    table = Table(
        "thousands", f"11. {count:,} clients come to one node at once, from one address, and stay", "last in s"
    )
    (ours,) = bench.boot(OURS)
    warm_up(bench, *(Subject(ours, ours.transport("ws"), ours.credentials[kind], 1) for kind in KINDS.values()))
    for method, kind in KINDS.items():
        bench.progress(f"11 thousands: {method}")
        before, cpu, memory = ours.connections(), ours.cpu(), ours.memory()
        credentials = list(itertools.islice(itertools.cycle(ours.credentials[kind]), count))
        crowd = {"protocol": "wamp", "transport": ours.transport("ws"), "sources": 1, "limit": LIMIT}
        result = bench.load.do("come", name=method, credentials=credentials, **crowd)
        time.sleep(SETTLE)
        took = [moment - result["began"] for moment in result["came_in"]]
        table.rows[f"{method}, our dynamic"] = {
            "last in s": LIMIT if result["out"] else took[-1],
            "median in s": statistics.median(took),
            "refused": str(sum(result["refused"].values())),
            "lost": str(result["lost"]),
            "never in": str(result["out"]),
            "CPU ms": (ours.cpu() - cpu) / count * 1000,
            "MiB before": memory,
            "MiB": ours.memory(),
            "load": f"{result['load_busy']:.0%}",
        }
        table.bars.append(Bar(f"clients that never got in, {count:,} {method}", result["out"], 0, ""))
        bench.load.do("leave", name=method)
        wait_until_gone(ours, before)
    table.notes = ["Lost: connections that were closed before there was an answer; their clients came again."]
    return table
