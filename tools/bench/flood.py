"""2. N clients come back while a stranger guesses: does that keep them out?"""

from typing import Any

from arrivals import KINDS, OURS, Storms, Subject, warm_up
from bench import Bench
from report import Bar, Spread, Table

GUESSER = "127.2.0.1"


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

    quiet, flooded = "{}, nobody guesses, our dynamic", "{}, somebody guesses, our dynamic"
    subjects = {
        method: Subject(ours, ours.transport("ws"), ours.credentials[kind][:count], 1) for method, kind in KINDS.items()
    }
    warm_up(bench, *subjects.values())
    for turn in range(bench.effort.floods):
        for method, subject in subjects.items():
            bench.progress(f"2 flood: turn {turn + 1} of {bench.effort.floods}, {method}")
            results.run(bench.load, quiet.format(method), subject)
            results.run(bench.load, flooded.format(method), subject, guess)
    for method in KINDS:
        calm, other = quiet.format(method), flooded.format(method)
        table.rows[calm], table.rows[other] = results.cells(calm), results.cells(other)
        ratio = Spread.of_ratios(results.last[other], results.last[calm]).median
        table.bars.append(Bar(f"last one in, {method}, with and without a flood of guesses", ratio, 1.5))
        promise = f"honest attempts refused or cut off, {method}, in a flood of guesses"
        table.bars.append(Bar(promise, results.in_vain(other), 0, ""))
    table.notes = ["The last guesses: " + ", ".join(f"{how} {number}" for how, number in sorted(outcome.items())) + "."]
    return table
