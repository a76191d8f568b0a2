"""Many clients come at once, each as it is told to. Is one of them refused for being one of many? On a real node, with
what it ships."""

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from conftest import Bundle, MakeBundle, chosen_once
from nacl.signing import SigningKey

from wampauth.store import connect, moving, ticket_digest
from wampauth.testing.wamp import ABORT, AUTHENTICATE, CHALLENGE, HELLO, WELCOME, RawClient, pubkey, sign

MANY = 150  # more than may fail at once
FLEET = 30  # sessions of one principal; more than may fail at once, too
KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, MANY + 1)]
MADE = secrets.token_urlsafe()
CHOSEN = "correct horse battery"
DOORS = pytest.mark.parametrize("door", ["ws", "ws-function"])
ROLES: dict[str, Any] = {"caller": {}}


@pytest.fixture(scope="module")
def node(make_bundle: MakeBundle) -> Iterator[Bundle]:
    bundle = make_bundle()
    with closing(connect(str(bundle.store))) as store:
        moving.load(store, [json.dumps(principal).encode() for principal in principals()])
    yield bundle


def principals() -> Iterator[dict[str, Any]]:
    user, device = {"realm": "realm1", "role": "frontend"}, {"realm": "devices", "role": "device"}
    for number, key in enumerate(KEYS):
        made = {"kind": "ticket", "verifier": ticket_digest(f"ticket-{number}")}
        yield {"authid": f"user{number}", **user, "credentials": [made]}
        yield {"authid": f"device{number}", **device, "credentials": [{"kind": "key", "verifier": pubkey(key)}]}
    both = [
        {"kind": "ticket", "verifier": ticket_digest(MADE)},
        {"kind": "chosen", "verifier": chosen_once(CHOSEN)},
    ]
    yield {"authid": "fleet", **user, "credentials": both}


class Crowd:
    """Connections that are open all at once."""

    def __init__(self, stack: ExitStack, node: Bundle, door: str, number: int, address: str = "127.0.0.1") -> None:
        url = f"ws://127.0.0.1:{node.port}/{door}"
        self.clients = [stack.enter_context(RawClient(url, source_address=(address, 0))) for _ in range(number)]

    def show_tickets(self, *tickets: tuple[str, str]) -> None:
        """All have their challenge before any answers."""
        for client, (authid, _) in zip(self.clients, tickets, strict=True):
            client.send(HELLO, "realm1", {"roles": ROLES, "authmethods": ["ticket"], "authid": authid})
        for client in self.clients:
            assert client.receive()[0] == CHALLENGE
        for client, (_, ticket) in zip(self.clients, tickets, strict=True):
            client.send(AUTHENTICATE, ticket, {})

    def show_keys(self, *keys: SigningKey) -> None:
        for client, key in zip(self.clients, keys, strict=True):
            extra = {"pubkey": pubkey(key), "channel_binding": None}
            client.send(HELLO, "devices", {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": extra})
        for client, key in zip(self.clients, keys, strict=True):
            answer = client.receive()
            if answer[0] == CHALLENGE:
                client.send(AUTHENTICATE, sign(key, answer), {})

    def outcomes(self) -> Counter[Any]:
        answers = [client.receive() for client in self.clients]
        return Counter(answer[2] if answer[0] == ABORT else answer[0] for answer in answers)


@DOORS
def test_all_tickets_of_one_address_get_in(node: Bundle, door: str) -> None:
    with ExitStack() as stack:
        crowd = Crowd(stack, node, door, MANY)
        crowd.show_tickets(*((f"user{number}", f"ticket-{number}") for number in range(MANY)))
        assert crowd.outcomes() == {WELCOME: MANY}


@DOORS
def test_all_keys_of_one_address_get_in(node: Bundle, door: str) -> None:
    with ExitStack() as stack:
        crowd = Crowd(stack, node, door, MANY)
        crowd.show_keys(*KEYS)
        assert crowd.outcomes() == {WELCOME: MANY}


@DOORS
@pytest.mark.parametrize("ticket", [MADE, CHOSEN], ids=["made", "chosen"])
def test_all_sessions_of_one_ticket_get_in(node: Bundle, door: str, ticket: str) -> None:
    with ExitStack() as stack:
        crowd = Crowd(stack, node, door, FLEET)
        crowd.show_tickets(*[("fleet", ticket)] * FLEET)
        assert crowd.outcomes() == {WELCOME: FLEET}


@DOORS
def test_all_sessions_of_one_key_get_in(node: Bundle, door: str) -> None:
    with ExitStack() as stack:
        crowd = Crowd(stack, node, door, FLEET)
        crowd.show_keys(*KEYS[:1] * FLEET)
        assert crowd.outcomes() == {WELCOME: FLEET}


@DOORS
def test_a_flood_of_guesses_turns_nobody_away_at_another_address(node: Bundle, door: str) -> None:
    with ExitStack() as stack:
        flood = Crowd(stack, node, door, MANY, {"ws": "127.0.0.8", "ws-function": "127.0.0.9"}[door])
        honest = Crowd(stack, node, door, MANY)
        flood.show_tickets(*((f"user{number}", "wrong") for number in range(MANY)))
        honest.show_tickets(*((f"user{number}", f"ticket-{number}") for number in range(MANY)))
        assert honest.outcomes() == {WELCOME: MANY}
