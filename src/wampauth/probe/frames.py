"""What does a router read of a stranger? Nested and large frames, foreign pages, and what its handshake tells."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress

from wampauth.probe.client import Client, hello
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, Found
from wampauth.probe.target import Target, Turned

DEPTHS = (2_500, 5_000, 10_000, 20_000)  # opening brackets; the first that tells is the last that is sent
STALL = 0.5  # seconds longer than without
LARGE = 1_000_000  # bytes
ORIGIN = "https://probe.invalid"


def nesting(target: Target) -> Iterator[Found]:
    """The row ``deep-nesting``. How long others wait shows it, long before anybody is harmed."""
    usual = max(_handshake(target) for _ in range(3))
    for depth in DEPTHS:
        try:
            beside = _beside(target, depth)
            if beside > usual + STALL:  # or the machine had something else to do
                beside = min(beside, _beside(target, depth))
        except (OSError, Turned) as error:
            yield Found("deep-nesting", FALLS, f"{depth:,} brackets, and nobody gets in: {error or 'no answer'}")
            return
        if beside > usual + STALL:
            came = f"{depth:,} brackets: the handshake beside took {beside:.1f} s, and {usual:.2f} s without"
            yield Found("deep-nesting", FALLS, came)
            return
    yield Found("deep-nesting", HOLDS, f"{depth:,} brackets: the handshake beside took {beside:.2f} s")


def _beside(target: Target, depth: int) -> float:
    """Seconds that a handshake takes while the router reads so many opening brackets."""
    with target.connect(target.source()) as client:
        client.send("[" * depth)
        return _handshake(target)


def _handshake(target: Target) -> float:
    """Seconds from TCP to the answer to HELLO."""
    began = time.monotonic()
    with target.connect(target.source()) as client:
        client.hello("ticket", target.authid)
        return time.monotonic() - began


def oversized(target: Target) -> Iterator[Found]:
    """The row ``oversized``: one that is answered has been read."""
    with target.connect(target.source()) as client:
        answer = client.ask(json.dumps(hello(target.realm, "ticket", target.authid, {"probe": "x" * LARGE})))
    read = answer.kind not in ("closed", "nothing")
    yield Found("oversized", FALLS if read else HOLDS, str(answer))


def origin(target: Target) -> Iterator[Found]:
    """The row ``origin``."""
    try:
        with target.connect(target.source(), origin=ORIGIN) as client:
            answer = client.hello("ticket", target.authid)
    except Turned as turned:
        yield Found("origin", HOLDS, str(turned))
        return
    yield Found("origin", HOLDS if answer.kind == "closed" else FALLS, f"{answer}, to a page from {ORIGIN}")


def version(target: Target) -> Iterator[Found]:
    """The row ``version``."""
    client: Client | None = None
    with suppress(Turned):
        client = target.connect(target.source())
    if client is None:
        yield Found("version", CANT_TELL, "the opening handshake was refused")
        return
    with client:
        headers = client.headers
    named = [f"{name}: {headers[name]}" for name in ("server", "x-powered-by", "via") if name in headers]
    told = [header for header in named if re.search(r"\d", header)]
    yield Found("version", FALLS if told else HOLDS, "; ".join(told or named) or "no Server header")
