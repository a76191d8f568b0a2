"""What can somebody cost us who never logs in? Each attack is made on real nodes, over each kind of transport, and an
honest client must get in all the while.

The bounds are those of docs/strangers.md. A busy machine may take some seconds on top.
"""

import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import CHOSEN, Bundle, MakeBundle, wait_for
from strangers import GUESSING, HELLO1, STEPS, crowd, many_files, nest
from websockets.exceptions import ConnectionClosed
from wires import DUMP, Way, Wire, ways

from wampauth import worker
from wampauth.testing import Node
from wampauth.testing.wamp import (
    ABORT,
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    GOODBYE,
    HELLO,
    RESULT,
    ROLES,
    WELCOME,
    RawClient,
    pubkey,
    sign,
)

MANY = 1000  # connections of strangers
STORM = 2000  # honest clients who come back at once
WITHIN = 5.0  # seconds in which an honest client is in
HOLD = 7.0  # seconds for which a crowd holds on: longer than it is spared
GRACE = 10.0  # seconds in which a connection must have joined
IN_ALL = 500
ATTEMPTS = 5  # on one connection
SLACK = 5.0  # seconds that a busy machine may take on top


@pytest.fixture(scope="module")
def plain(make_bundle: MakeBundle) -> Bundle:
    return make_bundle(failures_at_once=1_000_000, refusal_delay=0.05)


@pytest.fixture(scope="module")
def hardened(make_bundle: MakeBundle) -> Bundle:
    """As it is shipped, but that it would let the storm in, and asks for no channel binding, which needs OpenSSL."""
    settings = {"failures_at_once": 1_000_000, "refusal_delay": 0.05, "require_channel_binding": False}
    bundle = make_bundle("hardened.yaml", start=False, **settings)
    return started(bundle)


NODES: list[Node] = []


def started(bundle: Bundle) -> Bundle:
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


def best(bundle: Bundle) -> Way:
    """The way on which a ticket is taken."""
    return ways(bundle)["wss" if bundle.config == "hardened.yaml" else "ws"]


def join(way: Way) -> Wire:
    """An honest client, who tries again when it is turned away. It hands back a connection that has joined."""
    deadline = time.monotonic() + WITHIN + SLACK
    while True:
        try:
            wire = way.open()
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


def seconds_to_join(way: Way) -> float:
    started = time.monotonic()
    join(way).socket.close()
    return time.monotonic() - started


def worker_of(bundle: Bundle) -> psutil.Process:
    """The node's router worker."""
    controller = psutil.Process(json.loads((bundle.directory / "node.pid").read_text())["pid"])
    (child,) = controller.children()
    return child


# -- connections that wait


QUICK = [
    ("plain", "ws", "dripping headers"),
    ("hardened", "wss", "no HELLO"),
    ("hardened", "unix", "at CHALLENGE"),
]
THOROUGH = [
    *(("plain", "ws", step) for step in ("TCP only", "no HELLO", "at CHALLENGE", GUESSING)),
    *(("hardened", "wss", step) for step in ("TCP only", "dripping headers", "at CHALLENGE", GUESSING)),
    *(("hardened", "ws", step) for step in STEPS if step != GUESSING),
    *(("hardened", "unix", step) for step in ("TCP only", "no HELLO", GUESSING)),
]
ATTACKS = [*QUICK, *(pytest.param(*attack, marks=pytest.mark.slow) for attack in THOROUGH)]


@pytest.mark.parametrize(("node", "name", "step"), ATTACKS, ids=str)
def test_an_honest_client_gets_in_beside_a_crowd(
    node: str, name: str, step: str, request: pytest.FixtureRequest
) -> None:
    """Also from the same address, while the crowd comes again as often as it is cut off."""
    bundle: Bundle = request.getfixturevalue(node)
    way = ways(bundle)[name]
    honest = way if name == "unix" and step != GUESSING else best(bundle)
    elsewhere = step == GUESSING  # who guesses at an address is throttled there, and so is who shares it
    with crowd(way, step, MANY, "127.0.0.2" if elsewhere else "127.0.0.1"), join(honest) as member:
        until, times = time.monotonic() + HOLD, []
        while time.monotonic() < until:
            times.append(seconds_to_join(honest))
        print(f"{node}, {name}, {step}: {len(times)} logins, the slowest in {max(times):.2f} s")
        assert max(times) < WITHIN
        member.send([CALL, 1, {}, "com.example.add2", [2, 3]])
        assert member.receive()[3:] == [[5]]  # who has joined doesn't suffer


@pytest.mark.slow
def test_what_a_crowd_may_hold(plain: Bundle) -> None:
    """So many of one address, and so many in all, once they are not spared any more."""
    sources = tuple(f"127.0.0.{number}" for number in range(2, 10))
    process = worker_of(plain)

    def held() -> int:
        peers = [one.raddr.ip for one in process.net_connections("tcp") if one.raddr and one.laddr.port == plain.port]
        return sum(1 for peer in peers if peer in sources)

    with many_files(), ExitStack() as stack:
        for number in range(IN_ALL + 200):
            stack.enter_context(ways(plain)["ws"].dial(sources[number % 8]))
        wait_for(lambda: held() <= IN_ALL, WITHIN + SLACK)
        wait_for(lambda: held() == 0, GRACE + SLACK)


@pytest.mark.slow
def test_connections_from_one_port_to_two_of_ours_do_not_stay(hardened: Bundle) -> None:
    """The router knows both by the same peer. Of neither may it seem at each look that it has just come."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def dial(listening: int) -> socket.socket:
        dialling = socket.socket()
        dialling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        dialling.bind(("127.0.0.1", port))
        dialling.connect(("127.0.0.1", listening))
        return dialling

    context = ssl.create_default_context(cafile=hardened.ca)
    with (
        RawClient(f"ws://127.0.0.1:{hardened.port}/ws", sock=dial(hardened.port)) as plain,
        RawClient(f"wss://localhost:{hardened.tls_port}/ws", sock=dial(hardened.tls_port), ssl=context) as secure,
    ):
        for client in plain, secure:
            with pytest.raises(ConnectionClosed):
                client.receive(GRACE + SLACK)


def test_a_storm_of_honest_clients_gets_in(make_bundle: MakeBundle) -> None:
    """All of them at once, from one address, by the same limits."""
    bundle = make_bundle(start=False, failures_at_once=1_000_000)
    bundle.edit_config(lambda config: config["workers"][0]["transports"][0].update(max_connections=2 * STORM))
    with many_files(), ExitStack() as stack:
        node = bundle.start()
        stack.callback(node.stop)
        cut: list[Exception] = []
        extra = {"pubkey": pubkey(bundle.device), "channel_binding": None}

        def come(_: int) -> Wire | None:
            try:
                wire = stack.enter_context(ways(bundle)["ws"].open())
                wire.send([HELLO, None, {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": extra}])
                wire.send([AUTHENTICATE, sign(bundle.device, wire.receive()), {}])
                return wire if wire.receive()[0] == WELCOME else None
            except (OSError, EOFError) as error:
                cut.append(error)
                return None

        with ThreadPoolExecutor(300) as clients:  # more than are read from at once
            inside = list(clients.map(come, range(STORM)))
        assert cut == []
        assert None not in inside


SLOW = """
from twisted.internet import reactor
from twisted.internet.task import deferLater
from wampauth import Authenticator, Principal

class Checks:
    def __init__(self, settings):
        pass

    async def ticket(self, claim):
        await deferLater(reactor, 4.0)
        return Principal(claim.authid, "realm1", "frontend")

authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession, Sessions = authenticator.component, authenticator.sessions
"""


def test_who_waits_for_our_answer_is_not_cut_off(make_bundle: MakeBundle) -> None:
    """Many at once whose tickets take us longer than a stranger is spared, and longer than the time to log in."""
    bundle = make_bundle(start=False, failures_at_once=1_000_000)
    (bundle.directory / "slow.py").write_text(SLOW)

    def use(config: Any) -> None:
        (worker,) = config["workers"]
        worker["options"]["pythonpath"].append(str(bundle.directory))
        del worker["transports"][0]["paths"]["ws-function"]
        for component in worker["components"]:
            component["classname"] = component["classname"].replace("authenticator.", "slow.")
            if component["classname"] == "slow.Sessions":
                component["extra"] = {"connections": {"login_grace": 3, "spared": 1, "per_address": 20, "in_all": 30}}

    bundle.edit_config(use)
    with ExitStack() as stack:
        node = bundle.start()
        stack.callback(node.stop)
        wires = [stack.enter_context(best(bundle).open()) for _ in range(60)]
        for wire in wires:
            wire.send(HELLO1)
            assert wire.receive()[0] == CHALLENGE
            wire.send([AUTHENTICATE, "ticket", {}])
        assert [wire.receive()[0] for wire in wires] == [WELCOME] * 60


# -- connections that are done


@pytest.mark.parametrize(
    ("name", "serializer"),
    [*((name, serializer) for name in ("ws", "wss") for serializer in DUMP), ("unix", "cbor")],
)
def test_who_was_refused_is_hung_up_on(hardened: Bundle, name: str, serializer: str) -> None:
    """Over a Unix domain socket only the router knows which connection it is: there it takes the grace time."""
    with ways(hardened, serializer)[name].open() as wire:
        wire.send(HELLO1)
        assert wire.receive()[0] == CHALLENGE
        wire.send([AUTHENTICATE, "wrong", {}])
        assert wire.receive()[0] == ABORT  # it arrives before the end
        started = time.monotonic()
        assert wire.ends() == []
        assert time.monotonic() - started < (GRACE if name == "unix" else 1.0) + SLACK


@pytest.mark.parametrize("name", ["wss", "unix"])
def test_who_has_left_is_hung_up_on(hardened: Bundle, name: str) -> None:
    wire = join(ways(hardened)[name])
    wire.send([GOODBYE, {}, "wamp.close.normal"])
    started = time.monotonic()
    assert [message[0] for message in wire.ends()] == [GOODBYE]
    assert time.monotonic() - started < 1.0 + SLACK


def test_who_is_silent_is_cut_off(either: Bundle) -> None:
    connections = [step(best(either), "127.0.0.1") for step in STEPS.values()]
    for connection in connections:
        connection.settimeout(GRACE + SLACK)
        with suppress(ConnectionError):
            while connection.recv(4096):
                pass
        connection.close()


@pytest.mark.parametrize("at_once", [True, False], ids=["in one write", "one after the other"])
@pytest.mark.parametrize("name", ["ws", "wss", "unix"])
def test_so_many_attempts_on_one_connection(hardened: Bundle, name: str, at_once: bool) -> None:
    authid = f"nobody-{secrets.token_hex(4)}"
    with ways(hardened)[name].open() as wire:
        wire.send([HELLO, "realm1", {"roles": ROLES, "authmethods": ["ticket"], "authid": authid}])
        assert wire.receive()[0] == CHALLENGE
        guesses = [[AUTHENTICATE, f"guess {number}", {}] for number in range(300)]
        answers = []
        with suppress(OSError, EOFError):
            for batch in [guesses] if at_once else [[guess] for guess in guesses]:
                wire.send(*batch)
                answers += [wire.receive() for _ in batch]
        answers += wire.ends()
        uris = [answer[2] for answer in answers]
        assert len([uri for uri in uris if uri == "com.example.invalid_ticket"]) <= ATTEMPTS
    checked = [one for one in hardened.audit if (one["outcome"], one.get("claimed")) == ("refused", authid)]
    assert len(checked) <= ATTEMPTS


def test_a_key_that_is_shown_again_and_again(either: Bundle) -> None:
    """Public keys aren't secret."""
    hello = [
        HELLO,
        None,
        {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": {"pubkey": pubkey(either.device)}},
    ]
    way = best(either)
    with way.open() as wire:
        challenges = 0
        with suppress(OSError, EOFError):
            for _ in range(100):
                wire.send(hello)
                challenges += wire.receive()[0] == CHALLENGE
        assert challenges == ATTEMPTS


@pytest.mark.parametrize("pipelined", ["all in one write", "one after the other"])
@pytest.mark.parametrize("name", ["ws", "wss", "unix"])
def test_a_signature_lets_nobody_in_twice(plain: Bundle, hardened: Bundle, name: str, pipelined: str) -> None:
    """After GOODBYE the router takes the same AUTHENTICATE again, and asks nobody."""
    bundle = plain if name == "ws" else hardened
    with ways(bundle, "cbor")[name].open() as wire:
        extra = {"pubkey": pubkey(bundle.device), "channel_binding": None}
        wire.send([HELLO, None, {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": extra}])
        proof = [AUTHENTICATE, sign(bundle.device, wire.receive()), {}]
        wire.send(proof)
        assert wire.receive()[0] == WELCOME
        again = [[GOODBYE, {}, "wamp.close.normal"], proof, [CALL, 1, {}, "com.example.add2", [2, 3]]]
        with suppress(OSError):
            for batch in [again] if pipelined == "all in one write" else [[message] for message in again]:
                wire.send(*batch)
        assert RESULT not in [message[0] for message in wire.ends(GRACE)]


# -- what keeps a process busy


@pytest.mark.parametrize("serializer", DUMP)
@pytest.mark.parametrize("name", ["ws", "wss", "unix"])
def test_deep_nesting_is_refused_at_once(hardened: Bundle, name: str, serializer: str) -> None:
    process = worker_of(hardened)
    before = sum(process.cpu_times()[:2])
    with ways(hardened, serializer)[name].open() as wire:
        wire.send_raw(nest(serializer))
        wire.ends()
    assert sum(process.cpu_times()[:2]) - before < 1.0  # and not a minute
    assert seconds_to_join(best(hardened)) < WITHIN


def test_http2_is_not_offered(hardened: Bundle) -> None:
    context = ssl.create_default_context(cafile=hardened.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain_socket = socket.create_connection(("127.0.0.1", hardened.tls_port), 5)
    with context.wrap_socket(plain_socket, server_hostname="localhost") as secure:
        assert secure.selected_alpn_protocol() == "http/1.1"


# -- the precautions


IN_FORCE = """
import sys, time
from twisted.internet import reactor
from twisted.web import http
from wampauth import worker
import py_ecc
worker.tags.refuse()  # as in a worker
print(worker.missing(), sys.getrecursionlimit(), http.H2_ENABLED, abs(reactor.seconds() - time.monotonic()) < 1)
print(http.datetimeToLogString(reactor.seconds())[8:12] == str(time.gmtime().tm_year))
"""


def run(script: str, *path: Any) -> list[str]:
    environment = {"PATH": "", "PYTHONPATH": ":".join(map(str, path)), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_precautions_are_in_force() -> None:
    assert run(IN_FORCE, worker.FOLDER, worker.FOLDER.parents[1]) == ["[] 1000 False True", "True"]


def test_without_them_we_know(tmp_path: Any) -> None:
    first, _ = run(IN_FORCE, worker.FOLDER.parents[1])
    assert first.startswith("['deep nesting in a message keeps it for a minute', 'a change of the wall clock")


def test_another_sitecustomize_runs_too(tmp_path: Any) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the other one')")
    assert run("", worker.FOLDER, tmp_path) == ["the other one"]


def test_where_the_precautions_lie_can_be_asked() -> None:
    done = subprocess.run([sys.executable, "-m", "wampauth.worker"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{worker.FOLDER}\n"
    assert (worker.FOLDER / "sitecustomize.py").is_file()


def without_sessions(config: Any) -> None:
    (worker,) = config["workers"]
    worker["components"] = [one for one in worker["components"] if not one["classname"].endswith(".Sessions")]


def with_functions_alone(config: Any) -> None:
    """And no component that brings settings, so that each login is told that it is unavailable."""
    (worker,) = config["workers"]
    worker["components"] = []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "lines"),
    [(lambda config: None, 1), (without_sessions, 1), (with_functions_alone, 1), (None, 0)],
    ids=["whole", "without Sessions", "functions alone", "with them"],
)
def test_a_node_that_is_started_without_them_says_so(
    make_bundle: MakeBundle, edit: Callable[[Any], None] | None, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its workers started by the controller, whatever starts that, and at the level at which a node runs."""
    bundle = make_bundle(start=False)
    if edit:
        bundle.edit_config(edit)
        monkeypatch.setattr("wampauth.testing.node._environment", lambda: dict(os.environ))
    node = bundle.start()
    try:
        way = ways(bundle)["ws"]
        with Way(way.name, way.address, path="/ws-function").open() as wire:
            wire.send(HELLO1)
            wire.receive()
    finally:
        node.stop()
    assert bundle.log.count("without precautions") == lines
