"""What can somebody cost us who never logs in? Each attack is made on real nodes, over each kind of transport, and an
honest client must get in all the while.

The bounds are those of docs/strangers.md. A busy machine may take some seconds on top.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import CHOSEN, Bundle, MakeBundle
from strangers import Way, Wire, crowd, ways

from wampauth.testing.wamp import (
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    HELLO,
    ROLES,
    WELCOME,
)

MANY = 1000  # connections of strangers
STORM = 2000  # honest clients who come back at once
WITHIN = 5.0  # seconds in which an honest client is in
GRACE = 10.0  # seconds in which a connection must have joined
PER_ADDRESS, IN_ALL = 100, 500
ATTEMPTS = 5  # on one connection
SLACK = 5.0  # seconds that a busy machine may take on top
NEST = 60_000  # what is opened, and never closed
HELLO1 = [HELLO, "realm1", {"roles": ROLES, "authmethods": ["ticket"], "authid": "client1"}]


@pytest.fixture(scope="module")
def plain(make_bundle: MakeBundle) -> Bundle:
    return make_bundle(failures_at_once=1_000_000, refusal_delay=0.05)


@pytest.fixture(scope="module")
def hardened(make_bundle: MakeBundle) -> Bundle:
    """As it is shipped, but that it would let the storm in, and asks for no channel binding, which needs OpenSSL."""
    settings = {"failures_at_once": 1_000_000, "refusal_delay": 0.05, "require_channel_binding": False}
    bundle = make_bundle("hardened.yaml", start=False, **settings)
    return started(make_bundle, bundle)


NODES: list[Any] = []


def started(_: MakeBundle, bundle: Bundle) -> Bundle:
    (bundle.directory / "sockets").mkdir(mode=0o700, exist_ok=True)
    NODES.append(bundle.start())
    return bundle


@pytest.fixture(scope="module", autouse=True)
def stopped() -> Iterator[None]:
    yield
    for node in NODES:
        node.stop()


@pytest.fixture(params=["plain", "hardened"])
def either(request: pytest.FixtureRequest) -> Bundle:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def best(bundle: Bundle, serializer: str = "json") -> Way:
    """The way on which a ticket is taken."""
    return ways(bundle, serializer)["wss" if bundle.config == "hardened.yaml" else "ws"]


def wait_for(condition: Callable[[], Any], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def join(way: Way, source: str = "127.0.0.1") -> Wire:
    """An honest client, who tries again when it is turned away. It hands back a connection that has joined."""
    deadline = time.monotonic() + WITHIN + SLACK
    while True:
        try:
            wire = way.open(source)
            wire.send(HELLO1)
            assert wire.receive()[0] == CHALLENGE
            wire.send([AUTHENTICATE, CHOSEN, {}])
            answer = wire.receive()
            assert answer[0] == WELCOME, answer
            return wire
        except (OSError, EOFError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def seconds_to_join(way: Way, source: str = "127.0.0.1") -> float:
    started = time.monotonic()
    join(way, source).socket.close()
    return time.monotonic() - started


def worker_of(bundle: Bundle) -> psutil.Process:
    """The node's router worker."""
    controller = psutil.Process(__import__("json").loads((bundle.directory / "node.pid").read_text())["pid"])
    (child,) = controller.children()
    return child


# -- connections that wait


ATTACKS = [
    ("plain", "ws", "TCP only"),
    ("plain", "ws", "dripping headers"),
    ("plain", "ws", "no HELLO"),
    ("plain", "ws", "at CHALLENGE"),
    ("hardened", "wss", "no HELLO"),
    ("hardened", "wss", "TCP only"),
    ("hardened", "ws", "at CHALLENGE"),
    ("hardened", "unix", "no HELLO"),
    ("hardened", "unix", "at CHALLENGE"),
]


@pytest.mark.parametrize(("node", "name", "step"), ATTACKS, ids=str)
def test_an_honest_client_gets_in_beside_a_crowd(
    node: str, name: str, step: str, request: pytest.FixtureRequest
) -> None:
    """Also from the same address, while the crowd comes again as often as it is cut off."""
    bundle: Bundle = request.getfixturevalue(node)
    way = ways(bundle)[name]
    honest = way if name == "unix" else best(bundle)
    with join(honest) as member, crowd(way, step, MANY):
        until, times = time.monotonic() + GRACE, []
        while time.monotonic() < until:
            times.append(seconds_to_join(honest))
        print(f"{node}, {name}, {step}: {len(times)} logins, the slowest in {max(times):.2f} s")
        assert max(times) < WITHIN
        member.send([CALL, 1, {}, "com.example.add2", [2, 3]])
        assert member.receive()[3:] == [[5]]  # who has joined doesn't suffer
