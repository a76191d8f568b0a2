"""examples/javascript: a component in another language decides. What if it isn't there, hangs, dies, talks nonsense?"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE, read_config, wait_for
from example_nodes import REALM, ROLE, Example, falling, running
from wires import Way, Wire

from wampauth.check import check
from wampauth.testing import (
    ABORT,
    CALL,
    ERROR,
    GOODBYE,
    HELLO,
    INVOCATION,
    PUBLISH,
    REGISTER,
    REGISTERED,
    SUBSCRIBE,
    WELCOME,
    YIELD,
    RawClient,
)
from wampauth.testing.wamp import ROLES

EXAMPLE = HERE / "examples" / "javascript"
PROCEDURE = "com.example.users.ticket"
TICKET = "open-sesame"
DEADLINE = 1.5  # seconds
GRACE = 2.0  # seconds
INVALID, UNAVAILABLE = "com.example.invalid_ticket", "com.example.unavailable"
WIDE = {"failures_at_once": 1_000_000, "refusal_delay": 0.05, "deadline": DEADLINE}

has_node = pytest.mark.skipif(
    not (shutil.which("node") and (EXAMPLE / "node_modules").exists()),
    reason="AutobahnJS isn't installed beside checks.mjs: `make interop` does that (it needs npm, Node.js 20)",
)


@contextmanager
def example(made: Example, **guard: Any) -> Iterator[None]:
    """Run the example's node, with these settings of the guard."""
    made.directory.mkdir(mode=0o700, exist_ok=True)
    config = read_config(EXAMPLE / ".crossbar" / "config.yaml")
    (worker,) = config["workers"]
    worker["options"]["pythonpath"] = [str(EXAMPLE)]
    worker["components"][0]["extra"] = {"guard": guard}
    worker["components"][1]["extra"] = {"connections": {"login_grace": GRACE}}
    worker["transports"][0]["endpoint"]["port"] = made.port
    with running(made, config):
        yield


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    made = Example(tmp_path_factory.mktemp("js") / ".crossbar")
    with example(made, **WIDE):
        yield made


@contextmanager
def started(node: Example) -> Iterator["subprocess.Popen[str]"]:
    """checks.mjs, whether there is a router or not."""
    environment = {**os.environ, "SOCKET": str(node.directory / "sockets" / "checks.sock")}
    command = ["node", str(EXAMPLE / "checks.mjs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def javascript(node: Example) -> Iterator["subprocess.Popen[str]"]:
    """checks.mjs, once it is ready."""
    with started(node) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def join(node: Example) -> Wire:
    """A connection of somebody who can enter the folder, which is in the realm of the authenticators."""
    wire = Way("checks", node.directory / "sockets" / "checks.sock", websocket=False).open()
    wire.send([HELLO, "realm-auth", {"roles": ROLES, "authmethods": ["anonymous"]}])
    kind, _, details = wire.receive()
    assert (kind, details["authrole"]) == (WELCOME, "checks")
    return wire


@contextmanager
def component(node: Example, answer: Callable[[Wire, Any], None]) -> Iterator[Wire]:
    """A component that registers the procedure, and answers each invocation so."""
    with join(node) as wire:
        wire.send([REGISTER, 1, {}, PROCEDURE])
        assert wire.receive()[0] == REGISTERED

        def serve() -> None:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    message = wire.receive()
                    if message[0] == INVOCATION:
                        answer(wire, message)

        wire.socket.settimeout(None)
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield wire
        finally:
            with contextlib.suppress(OSError):
                wire.socket.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: "no_such_procedure" in why(node))


def why(node: Example) -> str:
    """What comes of a login just now: the URI, and the reason in the audit."""
    answer = node.login("alice", TICKET)
    return f"{answer[2]}: {node.reason('alice')}" if answer[0] == ABORT else "welcome"


def says(*answer: Any, **more: Any) -> Callable[[Wire, Any], None]:
    return lambda wire, message: wire.send([YIELD, message[1], {}, list(answer), more])


def yes(**changed: Any) -> dict[str, Any]:
    return {"authid": "alice", "realm": REALM, "role": ROLE, **changed}


# -- with the component


@has_node
def test_good_and_bad_tickets(node: Example) -> None:
    with javascript(node):
        kind, _, details = node.login("alice", TICKET)
        assert (kind, details["realm"], details["authid"], details["authrole"]) == (WELCOME, REALM, "alice", ROLE)
        for authid, ticket, realm in ("alice", "wrong", REALM), ("bob", TICKET, REALM), ("alice", TICKET, "realm-auth"):
            message = f"could not authenticate session - invalid ticket for principal {authid}"
            assert node.login(authid, ticket, realm) == [ABORT, {"message": message}, INVALID]
    wait_for(lambda: "no_such_procedure" in why(node))


@has_node
def test_it_hangs_dies_and_comes_back(node: Example) -> None:
    with javascript(node) as first:
        assert why(node) == "welcome"
        first.send_signal(signal.SIGSTOP)
        assert why(node) == f"{UNAVAILABLE}: no answer after {DEADLINE:g} seconds"
        first.send_signal(signal.SIGCONT)
        wait_for(lambda: why(node) == "welcome")  # also after invocations that were given up
        first.send_signal(signal.SIGSTOP)
        with ThreadPoolExecutor() as pool:
            underway = pool.submit(node.login, "alice", TICKET)
            time.sleep(0.2)
            first.kill()
            assert underway.result()[2] == UNAVAILABLE
    wait_for(lambda: why(node).startswith(f"{UNAVAILABLE}: ApplicationError"))
    with javascript(node):
        assert why(node) == "welcome"
    wait_for(lambda: "no_such_procedure" in why(node))


@has_node
def test_it_waits_for_a_router_that_is_not_there_yet(tmp_path: Path) -> None:
    """And for one that comes back."""
    made = Example(tmp_path / ".crossbar")
    with started(made) as process:
        for _ in range(2):
            with example(made, **WIDE):
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                assert made.login("alice", TICKET)[0] == WELCOME


# -- without


def test_it_is_not_there_yet(node: Example) -> None:
    assert node.login("alice", TICKET)[2] == UNAVAILABLE
    assert "no_such_procedure" in node.reason("alice")


NONSENSE: dict[str, Callable[[Wire, Any], None]] = {
    "true": says(True),
    "false": says(False),
    "a-text": says("alice"),
    "a-number": says(1),
    "a-list": says(["alice", REALM, ROLE]),
    "two-results": says(yes(), yes()),
    "named-results": says(yes(), more=1),
    "nothing-but-names": says(**yes()),
    "no-role": says({"authid": "alice", "realm": REALM}),
    "no-authid": says({"realm": REALM, "role": ROLE}),
    "role-number": says(yes(role=7)),
    "role-null": says(yes(role=None)),
    "role-trusted": says(yes(role="trusted")),
    "realm-object": says(yes(realm={})),
    "long-authid": says(yes(authid="a" * 10_000)),
    "an-error": lambda wire, message: wire.send(
        [ERROR, INVOCATION, message[1], {}, "com.example.invalid_ticket", [""]]
    ),
    "an-error-that-quotes": lambda wire, message: wire.send(
        [ERROR, INVOCATION, message[1], {}, "com.example.oops", [f"what is {message[4][1]}?"]]
    ),
    "too-long": lambda wire, message: wire.send([YIELD, message[1], {}, [yes(authid="a" * 70_000)]]),
    "no-message": lambda wire, message: wire.send_raw(b"]["),
    "another-request": lambda wire, message: wire.send([YIELD, message[1] + 7, {}, [yes()]]),
    "goodbye": lambda wire, message: wire.send([GOODBYE, {}, "wamp.close.normal"]),
    "silence": lambda wire, message: None,
    "death": lambda wire, message: wire.socket.shutdown(socket.SHUT_RDWR),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_neither_yes_nor_no(node: Example, case: str) -> None:
    with component(node, NONSENSE[case]):
        assert node.login("alice", TICKET)[2] == UNAVAILABLE
        assert TICKET not in node.log + json.dumps(node.audit)


@pytest.mark.parametrize(
    "answer", [says(None), says(), says(yes(authid="bob")), says(yes(realm="realm-auth")), says(yes(realm="realm2"))]
)
def test_what_is_a_no(node: Example, answer: Callable[[Wire, Any], None]) -> None:
    with component(node, answer):
        assert node.login("alice", TICKET)[2] == INVALID


def test_a_yes_of_the_stand_in(node: Example) -> None:
    """So that it isn't the stand-in itself that is refused above."""
    with component(node, says(yes(more="ignored"))):
        assert node.login("alice", TICKET)[0] == WELCOME


def test_a_late_answer_is_nobodys(node: Example) -> None:
    """It comes after the deadline of the one who asked, and the next one isn't let in on it."""
    late: list[Any] = []

    def answer(wire: Wire, message: Any) -> None:
        if late:
            wire.send([YIELD, late[0][1], {}, [yes()]], [YIELD, message[1], {}, [None]])
        else:
            late.append(message)

    with component(node, answer):
        assert node.login("alice", "first")[2] == UNAVAILABLE
        assert node.login("alice", "second")[2] == INVALID


def test_its_connection_stays(node: Example) -> None:
    """Connections that haven't joined are closed after a while; this one has."""
    with component(node, says(yes())):
        end = time.monotonic() + 2 * GRACE
        while time.monotonic() < end:
            assert node.login("alice", TICKET)[0] == WELCOME
            time.sleep(0.5)


# -- what its role may do


@pytest.mark.parametrize(
    "request_",
    [
        (REGISTER, {}, "com.example.authenticate.ticket"),
        (REGISTER, {"match": "prefix"}, "com.example.authenticate."),
        (REGISTER, {"match": "prefix"}, "com.example."),
        (REGISTER, {"match": "wildcard"}, "com.example..ticket"),
        (REGISTER, {"match": "prefix"}, "com"),
        (REGISTER, {"force_reregister": True}, "com.example.authenticate.ticket"),
        (REGISTER, {}, "com.example.users.ticket.more"),
        (REGISTER, {}, "wamp.session.list"),
        (CALL, {}, "com.example.authenticate.ticket", [REALM, "alice", {}]),
        (CALL, {}, PROCEDURE, ["alice", TICKET]),
        (CALL, {}, "wamp.session.list"),
        (CALL, {}, "wamp.session.kill_all"),
        (CALL, {}, "wamp.registration.list"),
        (SUBSCRIBE, {}, "wamp.session.on_join"),
        (SUBSCRIBE, {"match": "prefix"}, "wamp."),
        (SUBSCRIBE, {"match": "prefix"}, ""),
        (PUBLISH, {"acknowledge": True}, PROCEDURE),
    ],
    ids=str,
)
def test_it_may_do_nothing_else(node: Example, request_: tuple[Any, ...]) -> None:
    kind, *rest = request_
    with join(node) as wire:
        wire.send([kind, 7, *rest])
        answer = wire.receive()
    assert answer[:3] == [ERROR, kind, 7]
    taken = ["wamp.error.procedure_already_exists"] if rest[-1] == "com.example.authenticate.ticket" else []
    assert answer[4] in ("wamp.error.not_authorized", "wamp.error.invalid_uri", *taken)


def test_it_can_not_join_elsewhere(node: Example) -> None:
    with Way("checks", node.directory / "sockets" / "checks.sock", websocket=False).open() as wire:
        wire.send([HELLO, REALM, {"roles": ROLES, "authmethods": ["anonymous"], "authrole": ROLE}])
        kind, *_, details = wire.receive()
    assert kind == ABORT or (details["realm"], details["authrole"]) == ("realm-auth", "checks")


def test_clients_can_not_be_that_component(node: Example) -> None:
    with RawClient(node.url) as client:
        assert client.hello("realm-auth", "anonymous")[0] == ABORT


def test_its_configuration_is_checked(node: Example) -> None:
    """Clients join the authenticators' realm, for once: so it needs a Sessions component."""
    assert check(node.directory, "config.yaml") == []
    unwatched = node.directory / "unwatched.yaml"
    config = read_config(node.directory / "config.yaml")
    assert config["workers"][0]["components"].pop()["realm"] == "realm-auth"
    unwatched.write_text(json.dumps(config))
    (warning,) = check(node.directory, unwatched.name)
    assert (warning.place, warning.severity) == ("workers[0].realms[0].name", "warning")
    assert "no `Sessions` watches" in warning.text


# -- the attacker that we ship


@has_node
@pytest.mark.slow
def test_the_probe_holds(tmp_path: Path) -> None:
    node = Example(tmp_path / ".crossbar")
    with example(node), javascript(node):
        assert falling(node.url, "alice", TICKET) == set()
