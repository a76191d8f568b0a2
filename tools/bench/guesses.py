"""Does the time of a "no" tell how many chosen tickets somebody has, or whether there is such a somebody?

Asks the store itself, since the guard answers at fixed times. Wrong tickets for authids of four kinds, in turns; what
is shown is the median of the differences to an unknown authid, with its interval of 95 %.
"""

import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from wampauth.claims import Origin, TicketClaim
from wampauth.store import chosen_verifier, connect, create, writing
from wampauth.store.principals import Principals

TURNS = 200
KINDS = {"nobody": None, "none": 0, "one": 1, "two": 2}  # chosen tickets; some third party has one in any case


def fill(path: str) -> None:
    create(path)
    with closing(connect(path)) as store:
        for authid, number in {**KINDS, "somebody": 1}.items():
            if number is not None:
                writing.add(store, {"authid": authid, "realm": "realm1", "role": "frontend", "extra": {}})
                for _ in range(number):
                    writing.add_credential(store, authid, {"kind": "chosen", "verifier": chosen_verifier("right")})


async def measure(store: Principals, turns: int) -> dict[str, list[float]]:
    """Milliseconds of processor time of each guess, by kind: what else the machine does makes no difference."""
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    order = list(KINDS)
    for turn in range(turns):
        for authid in order[turn % 4 :] + order[: turn % 4]:
            began = time.process_time()
            claim = TicketClaim(authid=authid, ticket=f"wrong{turn}", origin=Origin(address="192.0.2.1"))
            assert await store.by_ticket(claim) is None
            took[authid].append((time.process_time() - began) * 1000)
    return took


def interval(values: list[float]) -> tuple[float, float, float]:
    """The median, and where it lies with 95 %, by order statistics."""
    ordered, number = sorted(values), len(values)
    half = 0.98 * number**0.5
    return statistics.median(ordered), ordered[int(number / 2 - half)], ordered[min(number - 1, int(number / 2 + half))]


async def main(_: object, turns: str = str(TURNS)) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "principals.db")
        fill(path)
        store = Principals("wampauth.store.sqlite", path, 1, reactor)
        took = await measure(store, int(turns))
        store.close()
    print("| chosen tickets | median | difference to an unknown authid | 95 % |\n|---|---|---|---|")
    for kind, values in took.items():
        median, low, high = interval([one - other for one, other in zip(values, took["nobody"], strict=True)])
        print(f"| {kind} | {statistics.median(values):.1f} ms | {median:+.2f} ms | {low:+.2f} to {high:+.2f} ms |")


if __name__ == "__main__":
    react(lambda clock: Deferred.fromCoroutine(main(clock, *sys.argv[1:])))
