"""4. So many logins a second, as on an ordinary day: how long does one take, and what do others notice of it?"""

from arrivals import KINDS, LIMIT, MANY, OURS, YARDSTICK
from bench import Bench
from report import Table, percentile


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
