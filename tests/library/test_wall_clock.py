"""What happens when the wall clock of a node is set, by two hours back or ahead, while sessions are live?

Each process of the node reads a wall clock that is off by what a file says; the machine's own is left alone.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import wall_clock
from conftest import WRONG, Bundle, MakeBundle, wait_for
from nacl.signing import SigningKey
from websockets.exceptions import ConnectionClosed
from wires import ways

from wampauth.probe.turns import trust
from wampauth.testing.wamp import (
    ABORT,
    CALL,
    CHALLENGE,
    ERROR,
    GOODBYE,
    RESULT,
    WELCOME,
    RawClient,
    pubkey,
    sign,
)

HOURS = 7200.0  # seconds
PATIENCE = 15.0  # seconds
GRACE = 10.0  # seconds in which a connection must have joined
SLACK = 5.0  # seconds that a busy machine may take on top


@dataclass
class Clocked:
    """A hardened node whose wall clock can be set."""

    bundle: Bundle
    number: int = 0
    stack: ExitStack = field(default_factory=ExitStack)

    def set_clock(self, off_by: float) -> None:
        wall_clock.be_off_by(self.bundle.directory, off_by)

    def client(self, address: str = "127.0.0.1") -> RawClient:
        return self.stack.enter_context(
            RawClient(self.bundle.tls_url, ssl=trust(self.bundle.ca), source_address=(address, 0))
        )

    def person(self, *terms: str) -> str:
        """The authid of somebody new, whose ticket is the same."""
        self.number += 1
        authid = f"person-{self.number}-{time.time_ns()}"
        self.bundle.wampauth("add", authid, "--realm", "realm1", "--role", "frontend")
        self.bundle.wampauth("ticket", authid, "--from-env", "TICKET", *terms, TICKET=authid)
        return authid

    def join(self, *terms: str) -> tuple[str, RawClient]:
        authid, client = self.person(*terms), self.client()
        assert client.login_ticket(authid, authid)[0] == WELCOME
        return authid, client


@pytest.fixture(scope="module")
def running(make_bundle: MakeBundle) -> Iterator[Bundle]:
    bundle = make_bundle("hardened.yaml", start=False, require_channel_binding=False)
    (bundle.directory / "sockets").mkdir(mode=0o700)
    with wall_clock.settable(bundle.directory):
        node = bundle.start()
    yield bundle
    node.stop()


@pytest.fixture
def clocked(running: Bundle) -> Iterator[Clocked]:
    clocked = Clocked(running)
    clocked.set_clock(0)
    with clocked.stack:
        yield clocked
    clocked.set_clock(0)


def add2(client: RawClient) -> Any:
    return client.request(CALL, {}, "com.example.add2", [2, 3])


def is_ended(client: RawClient, why: str) -> None:
    """It is told so; and if it doesn't go, it may do nothing more, or is hung up on."""
    assert client.receive(PATIENCE)[::2] == [GOODBYE, f"com.example.{why}"]
    with suppress(ConnectionClosed):
        answer = add2(client)
        assert (answer[0], answer[4]) == (ERROR, "wamp.error.not_authorized")


def run_dry(clocked: Clocked, authid: str, address: str) -> str:
    """Guess until the guesses are throttled; the refusal's text."""
    while True:
        answer = clocked.client(address).login_ticket(authid, WRONG)
        assert answer[0] == ABORT
        if answer[2] == "com.example.too_many_attempts":
            return str(answer[1]["message"])


BACK, AHEAD = -HOURS, HOURS


@pytest.mark.parametrize("off_by", [BACK, AHEAD])
def test_the_clock_is_really_set(clocked: Clocked, off_by: float) -> None:
    """By what the store says of a ticket, whose times are those of the wall clock."""
    expired, early = clocked.person("--expires", "1h"), clocked.person("--not-before", "1h")
    assert clocked.client().login_ticket(early, early)[0] == ABORT
    assert clocked.client().login_ticket(expired, expired)[0] == WELCOME
    clocked.set_clock(off_by)
    assert clocked.client().login_ticket(early, early)[0] == (WELCOME if off_by > 0 else ABORT)
    assert clocked.client().login_ticket(expired, expired)[0] == (ABORT if off_by > 0 else WELCOME)


@pytest.mark.parametrize("off_by", [BACK, AHEAD])
def test_who_is_revoked_after_a_step_is_ended(clocked: Clocked, off_by: float) -> None:
    (revoked, client), (_, other) = clocked.join(), clocked.join()
    clocked.set_clock(off_by)
    clocked.bundle.wampauth("revoke", revoked, "--yes")
    is_ended(client, "revoked")
    assert clocked.client().login_ticket(revoked, revoked)[0] == ABORT
    assert add2(other)[0] == RESULT


def test_who_was_revoked_just_before_a_step_back_is_ended(clocked: Clocked) -> None:
    (revoked, client), (_, other) = clocked.join(), clocked.join()
    clocked.bundle.wampauth("revoke", revoked, "--yes")
    clocked.set_clock(BACK)
    is_ended(client, "revoked")
    assert clocked.client().login_ticket(revoked, revoked)[0] == ABORT
    assert add2(other)[0] == RESULT


def test_a_step_ahead_ends_those_alone_whose_time_it_passes(clocked: Clocked) -> None:
    (_, over), (_, later), (_, never) = clocked.join("--expires", "1h"), clocked.join("--expires", "3h"), clocked.join()
    clocked.set_clock(AHEAD)
    is_ended(over, "expired")
    for client in later, never:
        assert add2(client)[0] == RESULT
        with pytest.raises(TimeoutError):
            client.receive(1.0)


def test_a_step_back_ends_nobody(clocked: Clocked) -> None:
    clients = [client for _, client in (clocked.join("--expires", "1h"), clocked.join())]
    clocked.set_clock(BACK)
    for client in clients:
        assert add2(client)[0] == RESULT
        with pytest.raises(TimeoutError):
            client.receive(1.0)


@pytest.mark.parametrize("off_by", [BACK, AHEAD])
def test_the_throttle_neither_hears_of_a_step_nor_forgets(clocked: Clocked, off_by: float) -> None:
    address = "127.0.1.1" if off_by > 0 else "127.0.1.2"
    authid = clocked.person()
    assert run_dry(clocked, authid, address).endswith("try again in 1 seconds")
    clocked.set_clock(off_by)
    answers = [clocked.client(address).login_ticket(authid, WRONG) for _ in range(8)]
    throttled = [answer[1]["message"] for answer in answers if answer[2] == "com.example.too_many_attempts"]
    assert throttled, "it had ten tokens again"
    assert {*throttled} == {"too many failed attempts - try again in 1 seconds"}
    wait_for(lambda: clocked.client(address).login_ticket(authid, authid)[0] == WELCOME)


@pytest.mark.parametrize("off_by", [BACK, AHEAD])
def test_a_login_that_is_under_way_goes_on(clocked: Clocked, off_by: float) -> None:
    """Also a refusal comes at its time: it waits for a timer that was set before."""
    authid, key = clocked.person(), SigningKey.generate()
    clocked.bundle.wampauth("add", f"device-of-{authid}", "--realm", "devices", "--role", "device")
    clocked.bundle.wampauth("key", f"device-of-{authid}", pubkey(key))
    good, bad, device = clocked.client(), clocked.client("127.0.1.3"), clocked.client()
    assert good.hello("realm1", "ticket", authid)[0] == bad.hello("realm1", "ticket", authid)[0] == CHALLENGE
    challenge = device.hello(None, "cryptosign", extra={"pubkey": pubkey(key), "channel_binding": None})
    bad.send(5, WRONG, {})
    clocked.set_clock(off_by)
    assert bad.receive()[2] == "com.example.invalid_ticket"
    assert good.authenticate(authid)[0] == WELCOME
    assert device.authenticate(sign(key, challenge))[0] == WELCOME


@pytest.mark.parametrize("off_by", [BACK, AHEAD])
def test_strangers_have_their_time_and_no_more(clocked: Clocked, off_by: float) -> None:
    with ways(clocked.bundle)["wss"].open() as wire:
        began = time.monotonic()
        clocked.set_clock(off_by)
        with suppress(OSError, EOFError):
            wire.ends(GRACE + SLACK)
        assert GRACE - SLACK < time.monotonic() - began < GRACE + SLACK
