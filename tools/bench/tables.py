"""What else does it cost? Questions, each a function that measures on real nodes and returns a table."""

import itertools

from bench import Bench
from filled import digits
from nodes import Kind
from report import Bar, Spread, Table
from turns import AT_ONCE, AUTHORIZED, OPEN, THOUSAND, Subject, Turns, cells, take_turns

SMALLEST = Kind("smallest")


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
