"""3. The node is started again: how soon are those back who were in, and are all of them?"""

import statistics
import time
from collections import defaultdict
from typing import Any

from arrivals import KINDS, LIMIT, OURS, YARDSTICK, wait_until_gone
from bench import Bench
from load import Load
from nodes import BenchNode
from report import Bar, Spread, Table
from wire import Credential


def restart(bench: Bench) -> Table:
    """And after the node was started again?"""
    count = max(bench.effort.crowds)
    table = Table(
        "restart", f"3. The node is started again under {count:,} live clients, that come back", "last back s"
    )
    ours, smallest = bench.boot(OURS, YARDSTICK)
    rows: dict[str, list[Any]] = defaultdict(list)
    for turn in range(bench.effort.restarts):
        for method, kind in KINDS.items():
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
