"""What can a stranger make us do, keep or write? Each attack is played on a real node, at its different transports, and
an honest client gets in all the while. (What is bounded on a clock that a test turns: test_guard.py, test_logs.py.)"""

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import cbor2
import msgpack  # type: ignore[import-untyped]
import pytest
from conftest import CHOSEN, Bundle, Config, MakeBundle, read_audit, wait_for
from nacl.signing import SigningKey
from test_tags import COSTLY, tagged
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_websocket

from wampauth.probe.turns import trust
from wampauth.store import connect, moving, ticket_digest
from wampauth.testing.wamp import (
    ABORT,
    AUTHENTICATE,
    CHALLENGE,
    HELLO,
    ROLES,
    WELCOME,
    Message,
    RawClient,
    pubkey,
    sign,
)

PERIOD = 2.0  # seconds; the node's, in place of a minute
PLACES = 40  # attempts underway on this node, in place of 2,000
ELSEWHERE = {"source_address": ("127.0.0.2", 0)}
ALICE, BOB = (SigningKey(bytes([number]) * 32) for number in (1, 2))
GOOD = ("good", "ticket-of-good")

# The lesson's authenticator, in quicker motion.
BOUNDED = f"""
from wampauth import logs, reports, turns
from authenticator import AuthenticatorSession, Checks, Sessions, create_cryptosign, create_ticket

reports.SUMMARY = logs.PERIOD = {PERIOD}
turns.MAX_UNDERWAY = {PLACES}
"""


@pytest.fixture(scope="module")
def nodes(make_bundle: MakeBundle) -> Iterator[dict[str, Bundle]]:
    quick = {"refusal_delay": 0.02}
    bundles = {
        "plain": make_bundle(start=False, **quick),
        "hardened": make_bundle("hardened.yaml", start=False, **quick),
    }
    for bundle in bundles.values():
        prepare(bundle)
    with ThreadPoolExecutor() as pool, ExitStack() as running:
        for node in pool.map(Bundle.start, bundles.values()):
            running.callback(node.stop)
        yield bundles


def prepare(bundle: Bundle) -> None:
    def use(config: Config) -> None:
        for worker in config["workers"]:
            worker["options"]["pythonpath"].append(str(bundle.directory))

    (bundle.directory / "bounded.py").write_text(BOUNDED)
    bundle.edit_config(use)
    file = bundle.directory / bundle.config
    file.write_text(file.read_text().replace('"authenticator.', '"bounded.'))
    with closing(connect(str(bundle.store))) as store:
        moving.load(store, [json.dumps(principal).encode() for principal in principals()])


def principals() -> Iterator[dict[str, Any]]:
    verifier = {"kind": "ticket", "verifier": ticket_digest(GOOD[1])}
    yield {"authid": GOOD[0], "realm": "realm1", "role": "frontend", "credentials": [verifier]}
    for authid, key in ("alice", ALICE), ("bob", BOB):
        verifier = {"kind": "key", "verifier": pubkey(key)}
        yield {"authid": authid, "realm": "devices", "role": "device", "credentials": [verifier]}


@pytest.fixture
def plain(nodes: dict[str, Bundle]) -> Bundle:
    return nodes["plain"]


# -- the ways in


class WebSocket:
    """A connection that sends what it is told to, in any serializer."""

    def __init__(self, url: str, serializer: str, **options: Any) -> None:
        self._serializer = serializer
        self._connection = connect_websocket(url, subprotocols=[f"wamp.2.{serializer}"], proxy=None, **options)  # type: ignore[list-item]

    def send_raw(self, data: bytes) -> None:
        self._connection.send(data.decode(errors="replace") if self._serializer == "json" else data)

    def receive(self) -> Message:
        return decode(self._serializer, self._connection.recv(timeout=15))

    def close(self) -> None:
        self._connection.close()


RAWSOCKET = {"json": 1, "msgpack": 2, "cbor": 3}  # numbers of the serializers


class RawSocket:
    """The same at a Unix domain socket."""

    def __init__(self, path: Path, serializer: str) -> None:
        self._serializer = serializer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(15)
        self._socket.connect(str(path))
        self._socket.sendall(bytes([0x7F, 0xF0 | RAWSOCKET[serializer], 0, 0]))
        assert self._read(4)[0] == 0x7F

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(struct.pack("!I", len(data)) + data)

    def receive(self) -> Message:
        (length,) = struct.unpack("!I", self._read(4))
        return decode(self._serializer, self._read(length))

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (more := self._socket.recv(size - len(data))):
                raise ConnectionError("closed")
            data += more
        return data


def encode(serializer: str, message: Message) -> bytes:
    if serializer == "json":
        return json.dumps(message).encode()
    return cbor2.dumps(message) if serializer == "cbor" else msgpack.packb(message)  # type: ignore[no-any-return]


def decode(serializer: str, data: str | bytes) -> Message:
    if serializer == "json":
        return json.loads(data)  # type: ignore[no-any-return]
    return cbor2.loads(data) if serializer == "cbor" else msgpack.unpackb(data)  # type: ignore[arg-type,no-any-return]


Connect = Callable[[Bundle, str], Any]
WAYS: dict[str, tuple[str, Connect]] = {
    "ws": ("plain", lambda node, serializer: WebSocket(node.url, serializer)),
    "ws-function": ("plain", lambda node, serializer: WebSocket(node.function_url, serializer)),
    "wss": ("hardened", lambda node, serializer: WebSocket(node.tls_url, serializer, ssl=trust(node.ca))),
    "unix": ("hardened", lambda node, serializer: RawSocket(node.directory / "sockets" / "local.sock", serializer)),
}
EACH_WAY = pytest.mark.parametrize("way", WAYS)
EACH_SERIALIZER = pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])


def honest(node: Bundle) -> None:
    """A client with a good ticket, from another address, gets in, and soon."""
    began = time.monotonic()
    if node.config == "hardened.yaml":
        client = RawClient(node.tls_url, ssl=trust(node.ca), **ELSEWHERE)
    else:
        client = RawClient(node.url, **ELSEWHERE)
    with client:
        assert client.login_ticket(*GOOD)[0] == WELCOME
    assert time.monotonic() - began < 5


# -- the log


def hello(method: str, **details: Any) -> Message:
    return [HELLO, "realm1", {"roles": ROLES, "authmethods": [method], "authid": "good", **details}]


def nonsense(serializer: str) -> dict[str, list[bytes]]:
    """What no client library would send, a connection each."""
    say = {name: encode(serializer, message) for name, message in MESSAGES.items()}
    return {
        **{name: [data] for name, data in say.items()},
        "null for a signature": [encode(serializer, hello("ticket")), encode(serializer, [AUTHENTICATE, None, {}])],
        "a message cut short": [say["a message of no known type"][:-1]],
        "broken UTF-8": [b"\xff\xfe\xfd"],
        "a frame that is too large": [b"x" * 70_000],
        "nothing": [b""],
    }


MESSAGES: dict[str, Message] = {
    "an empty realm": [HELLO, "", {"roles": ROLES}],
    "a message of no known type": [999, 1],
    "a type that is text": ["HELLO", "realm1", {}],
    "no roles": [HELLO, "realm1", {}],
    "a call before HELLO": [48, 1, {}, "com.example.add2"],
    "an AUTHENTICATE before HELLO": [AUTHENTICATE, "x", {}],
    "a WELCOME": [WELCOME, 1, {}],
    "an object": [{"a": 1}],
}


@EACH_WAY
@EACH_SERIALIZER
def test_nonsense_of_all_kinds_writes_a_bounded_log(nodes: dict[str, Bundle], way: str, serializer: str) -> None:
    which, connect_to = WAYS[way]
    node, rounds = nodes[which], 3
    before, began = len(node.log), time.monotonic()
    kinds = nonsense(serializer)
    for _ in range(rounds):
        for data in kinds.values():
            with closing(connect_to(node, serializer)) as client, suppress(ConnectionError, ConnectionClosed):
                for part in data[:-1]:
                    client.send_raw(part)
                    client.receive()
                client.send_raw(data[-1])
    honest(node)
    periods = 1 + (time.monotonic() - began) / PERIOD
    written = node.log[before:]
    assert written.count("Traceback") <= 8 * periods  # of some kinds, two each, and one may quote another
    assert len(written) < 20_000 * periods


@EACH_WAY
def test_values_that_only_cbor_has_are_not_read(nodes: dict[str, Bundle], way: str) -> None:
    """Such as cost seconds and gigabytes. The others are."""
    which, connect_to = WAYS[way]
    for value in COSTLY.values():
        with closing(connect_to(nodes[which], "cbor")) as client:
            client.send_raw(tagged(value))
            with pytest.raises((ConnectionError, ConnectionClosed)):
                client.receive()
    with closing(connect_to(nodes[which], "cbor")) as client:
        client.send_raw(tagged(Decimal("1.5")))
        assert client.receive()[0] == CHALLENGE


POST = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
FORM = b"--b\r\nContent-Disposition: form-data" + b";" * 30_000 + b"\r\n\r\nx\r\n--b--\r\n"
LONG = b"Content-Length: 70000\r\n\r\n"
CHUNK = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"


def posted(port: int, *parts: bytes) -> bytes:
    """What an HTTP server says to that, until it hangs up."""
    with closing(socket.create_connection(("127.0.0.1", port), 15)) as client, suppress(ConnectionError):
        client.sendall(POST)
        for part in parts:
            client.sendall(part)
        return client.recv(1000)
    return b""


def test_bodies_of_http_are_bounded_and_no_forms(plain: Bundle) -> None:
    """One of a port's paths isn't asked before the body is there."""
    assert b" 405 " in posted(plain.port, b"Content-Length: %d\r\n\r\n" % len(FORM), FORM)
    assert posted(plain.port, LONG) == b""
    assert posted(plain.port, b"Transfer-Encoding: chunked\r\n\r\n", *[CHUNK] * 30) == b""
    honest(plain)


def test_who_takes_no_welcome_does_not_get_in(nodes: dict[str, Bundle]) -> None:
    """By RawSocket, a client says how long a message may be that is sent to it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(15)
        client.connect(str(nodes["hardened"].directory / "sockets" / "local.sock"))
        client.sendall(bytes([0x7F, 0x50 | RAWSOCKET["json"], 0, 0]))
        while client.recv(100):  # an answer to that, at most
            pass


def test_a_flood_of_one_kind_is_two_tracebacks_and_a_line_that_counts(plain: Bundle) -> None:
    wait_for(lambda: settled(plain))
    before, number = len(plain.log), 300
    for _ in range(number):
        with RawClient(plain.url) as client:
            client.send_raw('[1, "", {"roles": {"caller": {}}}]')
    wait_for(lambda: "left out of the log" in plain.log[before:] and settled(plain))
    written = plain.log[before:]
    assert 'invalid value "" for URI' in written  # the first are whole
    assert "WebSocket" in written.split("left out of the log: ")[1].splitlines()[0]
    assert len(written) < 10_000


@pytest.mark.parametrize("way", ["ws", "wss"])
@pytest.mark.parametrize("origin", ["http://elsewhere.example", "no origin at all", "http://\x1b[31m:y"])
def test_a_foreign_origin_is_told_of(nodes: dict[str, Bundle], way: str, origin: str) -> None:
    """Whose page is it, and which setting lets it in? At the level at which a node runs; and the answer is the same."""
    node = nodes[WAYS[way][0]]
    before = len(node.log)
    url, options = node.url, {}
    if way == "wss":
        url, options = node.tls_url, {"ssl": trust(node.ca)}
    with pytest.raises(InvalidStatus, match="400"):
        RawClient(url, additional_headers={"Origin": origin}, **options)
    wait_for(lambda: "allowed_origins" in node.log[before:])
    (line,) = [line for line in node.log[before:].splitlines() if "allowed_origins" in line]
    assert "tcp4:127.0.0.1:" in line
    assert origin.isprintable() is (origin in line)
    assert "\x1b" not in line


def test_a_flood_of_foreign_origins_is_bounded(plain: Bundle) -> None:
    wait_for(lambda: settled(plain))
    before = len(plain.log)
    for _ in range(200):
        with pytest.raises(InvalidStatus):
            RawClient(plain.url, additional_headers={"Origin": "http://" + 3000 * "x"})
    wait_for(lambda: "left out of the log" in plain.log[before:] and settled(plain))
    assert len(plain.log[before:]) < 20_000


def settled(node: Bundle) -> bool:
    """Whether a period has gone by in which nothing was written."""
    before = len(node.log)
    time.sleep(PERIOD + 0.5)
    return len(node.log) == before


# -- a key that is shown again and again


def show(way: str, serializer: str, node: Bundle, key: SigningKey, times: int) -> Iterator[Message]:
    """Say HELLO with a key that others have, on as few connections as it takes."""
    connect_to = WAYS[way][1]
    extra = {"pubkey": pubkey(key), "channel_binding": "tls-unique" if way == "wss" else None}
    said = encode(serializer, [HELLO, "devices", {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": extra}])
    client = connect_to(node, serializer)
    for number in range(times):
        if number and number % 5 == 0:  # a connection makes no more attempts
            client.close()
            client = connect_to(node, serializer)
        try:
            client.send_raw(said)
            yield client.receive()
        except (ConnectionError, ConnectionClosed):
            client.close()
            client = connect_to(node, serializer)
    client.close()


@EACH_WAY
@EACH_SERIALIZER
def test_a_known_key_is_challenged_so_many_times_and_no_more(
    nodes: dict[str, Bundle], way: str, serializer: str
) -> None:
    node, began = nodes[WAYS[way][0]], time.monotonic()
    stranger = SigningKey.generate()
    verifier = {"kind": "key", "verifier": pubkey(stranger)}
    with closing(connect(str(node.store))) as store:
        principal = {"authid": f"x{pubkey(stranger)[:9]}", "realm": "devices", "role": "device"}
        moving.load(store, [json.dumps({**principal, "credentials": [verifier]}).encode()])
    answers = list(show(way, serializer, node, stranger, 25))
    challenges = sum(answer[0] == CHALLENGE for answer in answers)
    assert 10 <= challenges <= 11 + time.monotonic() - began
    assert {answer[2] for answer in answers if answer[0] == ABORT} <= {
        "com.example.too_many_attempts",
        "com.example.malformed",
    }
    honest(node)


def test_other_devices_behind_the_address_get_in_and_the_same_key_elsewhere(plain: Bundle) -> None:
    list(show("ws", "json", plain, ALICE, 25))
    with RawClient(plain.url) as client:
        assert client.login_key(BOB)[0] == WELCOME
    with RawClient(plain.url, **ELSEWHERE) as client:
        assert client.login_key(ALICE)[0] == WELCOME


@pytest.mark.parametrize("way", ["ws", "ws-function"])
def test_a_device_that_proves_its_key_may_come_back_as_often_as_it_likes(plain: Bundle, way: str) -> None:
    for _ in range(40):
        with RawClient(f"ws://127.0.0.1:{plain.port}/{way}") as client:
            assert client.login_key(BOB)[0] == WELCOME


def test_a_challenge_that_is_signed_wrongly_is_a_failure(plain: Bundle) -> None:
    key = SigningKey.generate()
    plain.wampauth("add", "often", "--realm", "devices", "--role", "device")
    plain.wampauth("key", "often", pubkey(key))
    began, challenges = time.monotonic(), 0
    for _ in range(15):
        with RawClient(plain.url) as client:
            answer = client.hello("devices", "cryptosign", None, {"pubkey": pubkey(key)})
            if answer[0] == CHALLENGE:
                challenges += 1
                assert client.authenticate(sign(SigningKey.generate(), answer))[0] == ABORT
    assert 10 <= challenges <= 11 + time.monotonic() - began


# -- the audit


def attempts(node: Bundle) -> Path:
    return node.directory / "audit.attempts.jsonl"


@EACH_WAY
def test_a_flood_of_refusals_is_counted_and_who_joins_stands_elsewhere(nodes: dict[str, Bundle], way: str) -> None:
    which, connect_to = WAYS[way]
    node = nodes[which]
    before, joined = attempts(node).stat().st_size, read_audit([node.directory / "audit.jsonl"])
    malformed = encode("json", hello("cryptosign", authextra={"pubkey": "no key"}))
    began = time.monotonic()
    for _ in range(20):
        with closing(connect_to(node, "json")) as client, suppress(ConnectionError, ConnectionClosed):
            for _ in range(10):  # one attempt, and others at the same time
                client.send_raw(malformed)
            client.receive()
    honest(node)
    periods = 2 + (time.monotonic() - began) / PERIOD
    wait_for(lambda: '"count": ' in attempts(node).read_text()[before:])
    assert attempts(node).stat().st_size - before < 12 * 300 * periods
    added = read_audit([node.directory / "audit.jsonl"])[len(joined) :]
    assert {"accepted", "joined"} <= {record["outcome"] for record in added} <= {"accepted", "joined", "left"}


@pytest.mark.parametrize("name", ["audit.jsonl", "audit.attempts.jsonl"])
@pytest.mark.parametrize("do", ["deleted", "moved", "truncated"])
def test_an_audit_that_another_program_has_rotated_goes_on(plain: Bundle, name: str, do: str) -> None:
    file = plain.directory / name
    honest(plain)
    with RawClient(plain.url) as client:
        client.hello("realm1", "cryptosign", None, {"pubkey": "no key"})
    if do == "deleted":
        file.unlink()
    elif do == "moved":
        file.rename(plain.directory / f"{name}.moved")
    else:
        file.write_bytes(b"")
    honest(plain)

    def goes_on() -> bool:
        with RawClient(plain.url) as client:
            client.hello("realm1", "cryptosign", None, {"pubkey": "no key"})
        return file.exists() and file.stat().st_size > 0

    wait_for(goes_on)
    assert all(record["outcome"] for record in read_audit([file]))


# -- places and tokens


@pytest.mark.parametrize("way", ["ws", "ws-function"])
@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
def test_who_is_throttled_takes_no_place_from_others(plain: Bundle, way: str, method: str) -> None:
    """More attempts at once than this node has places, of which one address may have half."""
    key = pubkey(SigningKey.generate())
    details = {"roles": ROLES, "authmethods": [method], "authid": f"victim-{way}", "authextra": {"pubkey": key}}
    outcomes: list[str] = []
    for _ in range(3):
        with ExitStack() as stack:
            url, address = f"ws://127.0.0.1:{plain.port}/{way}", ("127.0.0.3", 0)
            flood = [stack.enter_context(RawClient(url, source_address=address)) for _ in range(PLACES + 20)]
            for client in flood:
                client.send(HELLO, "realm1", details)
            if method == "ticket":
                for client in flood:
                    assert client.receive()[0] == CHALLENGE
                    client.send(AUTHENTICATE, "wrong", {})
            honest(plain)
            outcomes = [client.receive()[2] for client in flood]
    assert outcomes.count("com.example.too_many_attempts") > PLACES
    assert "com.example.unavailable" not in outcomes


def test_an_outage_of_the_store_costs_clients_nothing(plain: Bundle) -> None:
    away = plain.store.with_suffix(".away")
    address = {"source_address": ("127.0.0.4", 0)}
    plain.store.rename(away)
    try:
        for _ in range(25):
            with RawClient(plain.url, **address) as client:
                assert client.login_ticket(*GOOD)[2] == "com.example.unavailable"
            with RawClient(plain.url, **address) as client:
                assert client.login_key(BOB)[2] == "com.example.unavailable"
    finally:
        away.rename(plain.store)
    with RawClient(plain.url, **address) as client:
        assert client.login_ticket(*GOOD)[0] == WELCOME
    with RawClient(plain.url, **address) as client:
        assert client.login_key(BOB)[0] == WELCOME


def test_guesses_at_chosen_tickets_do_not_keep_others_from_theirs(plain: Bundle) -> None:
    """Each costs two Argon2id checks, and they take turns by address."""
    with ExitStack() as stack:
        for number in range(15):
            client = RawClient(plain.url, source_address=("127.0.0.5", 0))
            stack.enter_context(client)
            assert client.hello("realm1", "ticket", f"guess{number}")[0] == CHALLENGE
            client.send(AUTHENTICATE, "wrong", {})
        with RawClient(plain.url, **ELSEWHERE) as client:
            assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
