"""Who gets in at a real node, and who doesn't? In both wirings: what the lesson's own tests don't ask."""

import secrets

import pytest
from conftest import CHOSEN, Bundle
from nacl.signing import SigningKey

from wampauth.testing.wamp import ABORT, WELCOME, RawClient, pubkey

DOORS = {"ws": "dynamic", "ws-function": "function"}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, bundle: Bundle) -> str:
    """The URL of a door; each test is run at both."""
    return f"ws://127.0.0.1:{bundle.port}/{request.param}"


def refused(answer: list[object], uri: str, message: str) -> bool:
    """Whether that is just what a stranger sees."""
    return answer == [ABORT, {"message": message}, uri]


def invalid_ticket(answer: list[object]) -> bool:
    text = "could not authenticate session - invalid ticket for principal client1"
    return refused(answer, "com.example.invalid_ticket", text)


def stranger(door: str) -> tuple[str, RawClient]:
    """One whose first refusals are whole in the audit: an address that nobody else has here, and a connection."""
    address = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
    return address, RawClient(door, source_address=(address, 0))


def claims(bundle: Bundle, address: str) -> list[tuple[str | None, ...]]:
    """What the audit says of those from there: whatever they claimed, and who it is."""
    said = ("claimed", "authid", "claimed_authid", "claimed_realm", "claimed_role", "realm")
    return [tuple(record.get(name) for name in said) for record in bundle.audit if record.get("peer") == address]


def no_such_user(answer: list[object], key: SigningKey) -> bool:
    return refused(answer, "com.example.no_such_user", f"no principal with matching public key 0x{pubkey(key)}")


def test_ticket_without_a_realm_leads_to_the_principals(door: str) -> None:
    with RawClient(door) as client:
        assert client.login_ticket("client1", CHOSEN, realm=None)[2]["realm"] == "realm1"


@pytest.mark.parametrize("realm", ["devices", "realm-auth", "nowhere"])
def test_ticket_for_another_realm(door: str, bundle: Bundle, realm: str) -> None:
    address, client = stranger(door)
    with client:
        assert invalid_ticket(client.login_ticket("client1", CHOSEN, realm=realm))
    assert claims(bundle, address) == [("client1", "client1", None, realm, None, "realm1")]


@pytest.mark.parametrize("realm", [None, "devices"])
@pytest.mark.parametrize("authid", [None, "client01@example.com"])
def test_good_key(door: str, bundle: Bundle, realm: str | None, authid: str | None) -> None:
    with RawClient(door) as client:
        kind, _, details = client.login_key(bundle.device, realm, authid)
    assert kind == WELCOME
    assert (details["realm"], details["authid"], details["authrole"]) == ("devices", "client01@example.com", "device")
    assert details["authextra"]["foo"] == 23
    assert details["authprovider"] == DOORS[door.rpartition("/")[2]]


def test_unknown_key(door: str) -> None:
    key = SigningKey.generate()
    with RawClient(door) as client:
        assert no_such_user(client.login_key(key), key)


@pytest.mark.parametrize(("realm", "authid"), [("realm1", None), (None, "client1"), ("realm1", "client1")])
def test_key_with_a_claim_that_is_not_the_keys(
    door: str, bundle: Bundle, realm: str | None, authid: str | None
) -> None:
    address, client = stranger(door)
    with client:
        extra = {"pubkey": pubkey(bundle.device), "channel_binding": None}
        answer = client.hello(realm, "cryptosign", authid, extra, authrole="admin")
    assert no_such_user(answer, bundle.device)
    found = (pubkey(bundle.device), "client01@example.com", authid, realm, "admin", "devices")
    assert claims(bundle, address) == [found]


@pytest.mark.parametrize("method", ["anonymous", "wampcra", "scram", "tls", "cookie"])
def test_no_other_method(door: str, method: str) -> None:
    with RawClient(door) as client:
        assert client.hello("realm1", method, "client1")[0] == ABORT


@pytest.mark.parametrize("subprotocol", ["wamp.2.json", "wamp.2.cbor", "wamp.2.msgpack"])
def test_serializers(door: str, subprotocol: str) -> None:
    from websockets.sync.client import connect

    with connect(door, subprotocols=[subprotocol], proxy=None) as connection:  # type: ignore[list-item]
        assert connection.subprotocol == subprotocol
