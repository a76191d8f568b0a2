"""What if a client says null, a number or an object where a text belongs? It is answered, or hung up on, and soon; no
check is asked, nobody joins, and the log stays small (crossbario/crossbar#987: a null signature)."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from conftest import Bundle, MakeBundle
from nacl.signing import SigningKey
from wires import DUMP, Way, ways

from wampauth.testing.wamp import ABORT, AUTHENTICATE, CHALLENGE, GOODBYE, HELLO, ROLES, pubkey

SOON = 5.0  # seconds; who isn't answered at all is hung up on after 10
CLOSED = "closed"
ODD: list[Any] = [
    *(None, True, False, 0, -1, 2**53, 1.5, "", " ", "\0", "💥", "x" * 5000),
    *([], {}, [None], {"a": None}, [[["x"]]], {"a": {"b": {"c": []}}}),
]
KEY = pubkey(SigningKey.generate())
TICKET: dict[str, Any] = {"roles": ROLES, "authmethods": ["ticket"], "authid": "client1"}
CRYPTOSIGN: dict[str, Any] = {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": {"pubkey": KEY}}
PLACES = {
    "authid": lambda odd: {**TICKET, "authid": odd},
    "authmethods": lambda odd: {**TICKET, "authmethods": odd},
    "one of authmethods": lambda odd: {**TICKET, "authmethods": [odd]},
    "authextra": lambda odd: {**TICKET, "authextra": odd},
    "roles": lambda odd: {**TICKET, "roles": odd},
    "a role": lambda odd: {**TICKET, "roles": {"caller": odd}},
    "pubkey": lambda odd: {**CRYPTOSIGN, "authextra": {"pubkey": odd}},
    "channel_binding": lambda odd: {**CRYPTOSIGN, "authextra": {"pubkey": KEY, "channel_binding": odd}},
    "authid of a key": lambda odd: {**CRYPTOSIGN, "authid": odd},
    "resumable": lambda odd: {**TICKET, "resumable": odd, "resume-session": odd, "resume-token": odd},
}


@pytest.fixture(scope="module")
def nodes(make_bundle: MakeBundle) -> Iterator[dict[str, Bundle]]:
    settings = {"failures_at_once": 1_000_000, "refusal_delay": 0.02}
    bundles = {name: make_bundle(name, start=False, **settings) for name in ("config.json", "hardened.yaml")}
    with ExitStack() as running:
        for bundle in bundles.values():
            running.callback(bundle.start().stop)
        yield bundles


def way(nodes: dict[str, Bundle], name: str, serializer: str) -> Way:
    if name == "ws-function":
        return Way(name, ("127.0.0.1", nodes["config.json"].port), serializer=serializer, path="/ws-function")
    return ways(nodes["config.json" if name == "ws" else "hardened.yaml"], serializer)[name]


def answers(way: Way, *messages: Any) -> list[Any]:
    """The types of the answers to each, and whether it was hung up on."""
    found: list[Any] = []
    with way.open() as wire:
        wire.socket.settimeout(SOON)
        try:
            for message in messages:
                wire.send(message)
                found.append(wire.receive()[0])
        except TimeoutError:
            raise
        except (OSError, EOFError):
            found.append(CLOSED)
    return found


EACH_WAY = pytest.mark.parametrize("name", ["ws", "ws-function", "wss", "unix"])
EACH_SERIALIZER = pytest.mark.parametrize(
    "serializer", ["cbor", *(pytest.param(name, marks=pytest.mark.slow) for name in DUMP if name != "cbor")]
)
NO = (ABORT, GOODBYE, CLOSED)


@EACH_WAY
@EACH_SERIALIZER
@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
def test_an_odd_proof_is_answered(nodes: dict[str, Bundle], name: str, serializer: str, method: str) -> None:
    device = nodes["config.json" if name.startswith("ws") and name != "wss" else "hardened.yaml"].device
    hello = [HELLO, "realm1", TICKET]
    if method == "cryptosign":
        extra = {"pubkey": pubkey(device), "channel_binding": None if name != "wss" else "tls-unique"}
        hello = [HELLO, None, {**CRYPTOSIGN, "authextra": extra}]
    place = way(nodes, name, serializer)
    before = {config: len(bundle.log) for config, bundle in nodes.items()}
    for odd in ODD:
        for proof in [AUTHENTICATE, odd, {}], [AUTHENTICATE, "x", odd]:
            challenge, *rest = answers(place, hello, proof)
            assert challenge == CHALLENGE
            assert rest and rest[0] in NO, proof
    for config, bundle in nodes.items():
        assert bundle.log[before[config] :].count("Traceback") <= 5


@EACH_WAY
@EACH_SERIALIZER
@pytest.mark.parametrize("where", PLACES)
def test_an_odd_hello_is_answered(nodes: dict[str, Bundle], name: str, serializer: str, where: str) -> None:
    place = way(nodes, name, serializer)
    for odd in ODD:
        (answer,) = answers(place, [HELLO, "realm1", PLACES[where](odd)])
        assert answer in (CHALLENGE, *NO), odd


@EACH_WAY
@EACH_SERIALIZER
def test_an_odd_realm_is_answered(nodes: dict[str, Bundle], name: str, serializer: str) -> None:
    for odd in ODD:
        (answer,) = answers(way(nodes, name, serializer), [HELLO, odd, TICKET])
        assert answer in (CHALLENGE, *NO), odd
        (answer,) = answers(way(nodes, name, serializer), [HELLO, "realm1", odd])
        assert answer in (CHALLENGE, *NO), odd
