"""What can a stranger cost a node of ``scaled.yaml``? Its proxies load nothing of the library but the precautions, and
its authenticators see attempts, and no connections.

One of the proxies has a second transport, of type RawSocket.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import CHOSEN, Bundle, MakeBundle, wait_for
from strangers import HELLO1, nest
from test_strangers_guard import CHUNK, LONG, posted
from test_tags import COSTLY, tagged
from websockets.exceptions import InvalidHandshake, InvalidStatus
from wires import DUMP, Way, Wire

from wampauth.testing.wamp import (
    ABORT,
    AUTHENTICATE,
    CHALLENGE,
    GOODBYE,
    HELLO,
    INVOCATION,
    ROLES,
    WELCOME,
    RawClient,
    pubkey,
    sign,
)

ATTEMPTS = 5  # on one connection, at each of the two authenticators
WITHIN = 5.0  # seconds in which an honest client is in
ROUNDS = 40  # of each kind of nonsense


@pytest.fixture(scope="module")
def scaled(make_bundle: MakeBundle) -> Iterator[Bundle]:
    bundle = make_bundle("scaled.yaml", start=False, refusal_delay=0.02, failures_at_once=1_000_000)

    def add_a_rawsocket(config: Any) -> None:
        proxy = next(worker for worker in config["workers"] if worker["id"] == "proxy1")
        auth = proxy["transports"][0]["paths"]["ws"]["auth"]
        endpoint = {"type": "tcp", "interface": "127.0.0.1", "port": bundle.tls_port}
        options = {"max_message_size": 65536}
        proxy["transports"].append(
            {"type": "rawsocket", "serializers": [*DUMP], "endpoint": endpoint, "auth": auth, "options": options}
        )

    bundle.edit_config(add_a_rawsocket)
    node = bundle.start()
    missing = {"proxy1", "proxy2"}

    def all_serve() -> bool:
        missing.difference_update(proxy(bundle))
        return not missing

    wait_for(all_serve)
    yield bundle
    node.stop()


def proxy(bundle: Bundle) -> list[str]:
    """Which of them lets us in; none, if it listens, but has yet to know the path."""
    with suppress(OSError, InvalidHandshake), RawClient(bundle.url) as client:
        return [client.login_ticket("client1", CHOSEN)[2]["authextra"]["x_cb_proxy_worker"]]
    return []


def way(bundle: Bundle, name: str, serializer: str = "json") -> Way:
    port = bundle.port if name == "ws" else bundle.tls_port
    return Way(name, ("127.0.0.1", port), websocket=name == "ws", serializer=serializer)


def workers(bundle: Bundle) -> list[psutil.Process]:
    controller = psutil.Process(json.loads((bundle.directory / "node.pid").read_text())["pid"])
    return [controller, *controller.children()]


def honest(bundle: Bundle) -> None:
    began = time.monotonic()
    with way(bundle, "ws").open() as wire:
        wire.send(HELLO1)
        assert wire.receive()[0] == CHALLENGE
        wire.send([AUTHENTICATE, CHOSEN, {}])
        assert wire.receive()[0] == WELCOME
    assert time.monotonic() - began < WITHIN


EACH_WAY = pytest.mark.parametrize("name", ["ws", "rawsocket"])


@EACH_WAY
def test_values_that_only_cbor_has_are_not_read(scaled: Bundle, name: str) -> None:
    for value in COSTLY.values():
        with way(scaled, name, "cbor").open() as wire:
            wire.send_raw(tagged(value))
            wire.ends()
    honest(scaled)


EACH_SERIALIZER = pytest.mark.parametrize("serializer", DUMP)


def test_bodies_of_http_are_bounded(scaled: Bundle) -> None:
    assert posted(scaled.port, LONG) == b""
    assert posted(scaled.port, b"Transfer-Encoding: chunked\r\n\r\n", *[CHUNK] * 30) == b""
    honest(scaled)


@EACH_WAY
@EACH_SERIALIZER
def test_deep_nesting_is_refused_at_once(scaled: Bundle, name: str, serializer: str) -> None:
    """In one that comes first, and in one that comes instead of a ticket."""
    before = sum(sum(process.cpu_times()[:2]) for process in workers(scaled))
    for messages in [], [HELLO1]:
        with way(scaled, name, serializer).open() as wire:
            for message in messages:
                wire.send(message)
                assert wire.receive()[0] == CHALLENGE
            wire.send_raw(nest(serializer))
            wire.ends()
    assert sum(sum(process.cpu_times()[:2]) for process in workers(scaled)) - before < 2.0
    honest(scaled)


@EACH_SERIALIZER
def test_deep_nesting_at_the_sockets_within(scaled: Bundle, serializer: str) -> None:
    """Who may enter their folder is believed a lot, but can't stall the realms with a message either."""
    within = Way("realms", scaled.directory / "sockets" / "realms.sock", websocket=False, serializer="cbor")
    with within.open() as wire, suppress(TimeoutError):
        wire.send_raw(nest(serializer))
        wire.ends(2.0)
    honest(scaled)


NONSENSE: list[list[Any]] = [
    [[HELLO, "", {"roles": ROLES}]],
    [[HELLO, "realm1", {}]],
    [[999, 1]],
    [{"a": 1}],
    [[AUTHENTICATE, "x", {}]],
    [HELLO1, [AUTHENTICATE, None, {}]],
    [HELLO1, HELLO1],
]


@EACH_WAY
@EACH_SERIALIZER
def test_nonsense_writes_a_bounded_log(scaled: Bundle, name: str, serializer: str) -> None:
    before = len(scaled.log)
    for _ in range(ROUNDS):
        for messages in NONSENSE:
            with way(scaled, name, serializer).open() as wire, suppress(OSError, EOFError):
                wire.send(*messages)
    honest(scaled)
    written = scaled.log[before:]
    # Two of a kind, 2,000 characters each, in each of the proxies; and these three see much the same.
    assert len(written) < 8 * 2 * 2 * 2000
    assert written.count("Traceback") <= 8 * 2 * 2


@EACH_WAY
@pytest.mark.parametrize("at_once", [True, False], ids=["in one write", "one after the other"])
def test_so_many_attempts_on_one_connection(scaled: Bundle, name: str, at_once: bool) -> None:
    """The authenticators take turns, and count apart."""
    answers: list[str] = []
    authid = f"nobody-{name}-{at_once}"
    with way(scaled, name).open() as wire, suppress(OSError, EOFError):
        wire.send([*HELLO1[:2], {**HELLO1[2], "authid": authid}])
        assert wire.receive()[0] == CHALLENGE
        guesses = [[AUTHENTICATE, f"guess {number}", {}] for number in range(40)]
        for batch in [guesses] if at_once else [[guess] for guess in guesses]:
            wire.send(*batch)
            answers += [wire.receive()[2] for _ in batch]
    assert answers.count("com.example.invalid_ticket") <= 2 * ATTEMPTS
    checked = [one for one in scaled.audit if (one["outcome"], one.get("claimed")) == ("refused", authid)]
    assert len(checked) <= 2 * ATTEMPTS
    honest(scaled)


@EACH_WAY
@EACH_SERIALIZER
@pytest.mark.parametrize("at_once", [True, False], ids=["in one write", "one after the other"])
def test_a_signature_lets_nobody_in_twice(scaled: Bundle, name: str, serializer: str, at_once: bool) -> None:
    with way(scaled, name, serializer).open() as wire:
        extra = {"pubkey": pubkey(scaled.device), "channel_binding": None}
        wire.send([HELLO, None, {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": extra}])
        proof = [AUTHENTICATE, sign(scaled.device, wire.receive()), {}]
        wire.send(proof)
        assert wire.receive()[0] == WELCOME
        again = [[GOODBYE, {}, "wamp.close.normal"], proof, proof]
        with suppress(OSError):
            for batch in [again] if at_once else [[message] for message in again]:
                wire.send(*batch)
        came: list[int] = []
        wire.socket.settimeout(1.0)
        with suppress(OSError, EOFError):
            while True:
                came.append(wire.receive()[0])
        assert {*came} <= {GOODBYE, ABORT}
    honest(scaled)


def proof(bundle: Bundle, wire: Wire) -> list[Any]:
    """The answer to the challenge that comes over a connection."""
    extra = {"pubkey": pubkey(bundle.device), "channel_binding": None}
    wire.send([HELLO, None, {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": extra}])
    return [AUTHENTICATE, sign(bundle.device, wire.receive()), {}]


def nobody_is_here(bundle: Bundle) -> None:
    wait_for(lambda: not bundle.wampauth("sessions", "--json").output.strip())


@EACH_WAY
def test_a_connection_leaves_no_session_behind(scaled: Bundle, name: str) -> None:
    """However often its client has sent its proof."""
    with way(scaled, name).open() as wire:
        wire.send(*[proof(scaled, wire)] * 5)
        wire.ends()
    nobody_is_here(scaled)
    honest(scaled)


@EACH_WAY
@pytest.mark.parametrize(
    ("said", "heard"),
    [([INVOCATION, 1, 1, {}], [[GOODBYE, "wamp.close.transport_lost"]]), (HELLO1, [])],
    ids=["the router hangs up", "the proxy does"],
)
def test_nonsense_of_one_who_is_in_ends_the_connection(scaled: Bundle, name: str, said: Any, heard: Any) -> None:
    with way(scaled, name).open() as wire:
        wire.send(proof(scaled, wire))
        assert wire.receive()[0] == WELCOME
        wire.send(said)
        assert [message[::2] for message in wire.ends()] == heard
    nobody_is_here(scaled)


def test_a_router_out_of_reach(scaled: Bundle) -> None:
    """Its clients are told to try again, which helps once it is back, also over the same connection."""
    socket = scaled.directory / "sockets" / "realms.sock"
    socket.rename(socket.with_suffix(".away"))
    try:
        with way(scaled, "ws").open() as wire:
            wire.send(proof(scaled, wire))
            told = [ABORT, {"message": "the router is out of reach: try again"}, "wamp.error.canceled"]
            assert wire.receive() == told
            socket.with_suffix(".away").rename(socket)
            wire.send(proof(scaled, wire))
            assert wire.receive()[0] == WELCOME
    finally:
        if not socket.exists():
            socket.with_suffix(".away").rename(socket)


def test_a_proxy_tells_of_foreign_origins(scaled: Bundle) -> None:
    before = len(scaled.log)
    for _ in range(60):
        with pytest.raises(InvalidStatus, match="400"):
            RawClient(scaled.url, additional_headers={"Origin": "http://elsewhere.example"})
    honest(scaled)
    told = [line for line in scaled.log[before:].splitlines() if "http://elsewhere.example" in line]
    assert 1 <= len(told) <= 2 * 20  # in each proxy so many a minute
    assert "allowed_origins" in told[0]
