"""Does examples/reconnect.py come back when it should, wait as it is told, and stop when it makes no sense?"""

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from conftest import CHOSEN, HERE, WRONG, Bundle, MakeBundle

from examples import reconnect
from wampauth.testing import RawClient, free_port

PATIENCE = 60.0  # seconds
JOINED = "joined: realm=realm1 authid=client1 authrole=frontend"


class Running:
    """The example, as a process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._said: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def says(self, pattern: str) -> "re.Match[str]":
        """Wait for a line that begins so; others may come before it."""
        while True:
            try:
                self._said.append(self._lines.get(timeout=PATIENCE))
            except queue.Empty:
                pytest.fail(f"it doesn't say {pattern!r}, but {self._said}")
            if found := re.match(pattern, self._said[-1]):
                return found

    def ends_with(self, code: int) -> None:
        assert self.process.wait(PATIENCE) == code
        assert self.process.stderr
        assert "Traceback" not in self.process.stderr.read()


def start(url: str, *args: str, ticket: str = CHOSEN) -> Running:
    command = [sys.executable, str(HERE / "examples" / "reconnect.py"), *args, "--url", url]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "MYTICKET": ticket, "PYTHONWARNINGS": "ignore"}
    return Running(subprocess.Popen(command, env=environment, **pipes))


@contextmanager
def running(url: str, *args: str, ticket: str = CHOSEN) -> Iterator[Running]:
    client = start(url, *args, ticket=ticket)
    with client.process:
        try:
            yield client
        finally:
            client.process.kill()


@pytest.fixture(scope="module")
def own(make_bundle: MakeBundle) -> Bundle:
    """A node with the throttle as it is shipped."""
    return make_bundle(refusal_delay=0.05)


def test_it_comes_back_after_a_restart_and_stops_when_it_is_revoked(make_bundle: MakeBundle) -> None:
    live = make_bundle(start=False)
    node = live.start()
    try:
        with running(live.url, "client1") as one, running(live.url, "client1") as other:
            one.says(JOINED)
            other.says(JOINED)
            node.stop()
            waits = [[client.says(r"again in ([\d.]+) s: ")[1] for _ in range(2)] for client in (one, other)]
            assert waits[0] != waits[1]  # not at the same moment
            node = live.start()
            for client in one, other:
                client.says(JOINED)
            live.wampauth("revoke", "client1", "--yes")
            for client in one, other:
                client.says("stopped: com.example.revoked")
                client.ends_with(1)
    finally:
        node.stop()


@pytest.mark.parametrize("key", [False, True], ids=["ticket", "key"])
def test_it_stops_at_a_no(own: Bundle, key: bool) -> None:
    device = own.directory / "stranger.key"
    device.write_bytes(os.urandom(32))
    args = ("client01@example.com", "--key", str(device)) if key else ("client1",)
    with running(own.url, *args, ticket=WRONG) as client:
        client.says("stopped: com.example." + ("no_such_user" if key else "invalid_ticket"))
        client.ends_with(1)


def test_it_waits_as_it_is_told_and_gets_in(make_bundle: MakeBundle) -> None:
    """Somebody at its address has guessed as the same principal, until it was enough for a while."""
    slow = make_bundle(refusal_delay=0.05, failures_at_once=2, failures_per_second=0.05)
    answer = ""
    while answer != "com.example.too_many_attempts":
        with RawClient(slow.url) as stranger:
            answer = stranger.login_ticket("client1", WRONG)[2]
    with running(slow.url, "client1", "--seconds", "600") as client:
        assert float(client.says(r"again in ([\d.]+) s: .*com\.example\.too_many_attempts")[1]) >= 1
        client.says(JOINED)


def test_it_comes_with_a_key_and_goes_when_its_time_is_over(own: Bundle) -> None:
    key = str(own.device_key_file())
    with running(own.url, "--key", key, "--seconds", "5") as client:  # whose it is, the router finds out
        client.says("joined: realm=devices authid=client01@example.com authrole=device")
        client.ends_with(0)


def test_it_waits_for_a_router_that_is_not_there() -> None:
    with running(f"ws://127.0.0.1:{free_port()}/ws", "client1", "--seconds", "5") as client:
        client.says(r"again in [\d.]+ s: ")
        client.says(r"again in [\d.]+ s: ")
        client.ends_with(0)


@pytest.mark.parametrize(
    ("uri", "stops"),
    [
        *((name, True) for name in ("com.example.invalid_ticket", "org.acme.no_such_user", "com.example.revoked")),
        ("wamp.error.not_authorized", True),
        *((name, False) for name in ("com.example.too_many_attempts", "com.example.unavailable")),
        *((name, False) for name in ("com.example.expired", "com.example.kicked", "wamp.close.transport_lost")),
    ],
)
def test_what_is_for_good(uri: str, stops: bool) -> None:
    assert reconnect.is_fatal(ApplicationError(uri, "text")) is stops


@pytest.mark.parametrize(
    ("error", "least"),
    [
        (ApplicationError("com.example.too_many_attempts", "too many failed attempts - try again in 7 seconds"), 7),
        (ApplicationError("com.example.too_many_attempts", "try again in 1 second"), 1),
        (ApplicationError("com.example.unavailable", "try again later (reference 12)"), 0),
        (ApplicationError("com.example.expired"), 0),
        (ConnectionRefusedError("in 9 seconds"), 0),
    ],
)
def test_how_long_it_waits(error: Exception, least: float) -> None:
    waits = {reconnect.pause(error) for _ in range(50)}
    assert len(waits) == 50
    assert least <= min(waits) <= max(waits) <= least + reconnect.SPREAD
