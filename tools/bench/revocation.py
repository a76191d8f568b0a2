"""8. How long does a revoked session still get something?"""

import os
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from bench import Bench
from report import Spread, Table
from turns import AUTHORIZED, THOUSAND


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
