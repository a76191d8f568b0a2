"""Is a client pinned to what the store says? The two checks, with a store that answers whatever a test wants."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authenticator import Authenticator, Checks, admit, principal
from claims import Claim, Origin
from database import StoreError
from guard import Answer, Refusal, Refused
from principals import ACTIVE, Credential, Principals
from settings import Settings, SettingsError

KEY, OTHER_KEY = "5" * 64, "6" * 64
NEARBY, FAR, FAR_TLS = Origin(1, "127.0.0.1", False), Origin(1, "::2", False), Origin(1, "::2", True)
ALICE = Credential("alice", "realm1", "frontend", {"foo": 23}, "00112233aabbccdd", "ticket", "digest", ACTIVE, None)
DEVICE = Credential("device7", "devices", "device", {}, "ffeeddcc33221100", "key", KEY, ACTIVE, None)


class Stub(Principals):
    """A store that finds one credential, or none, whatever it is asked, and remembers what that was."""

    def __init__(self, found: Credential | None) -> None:
        self._found = found
        self.asked: list[tuple[str, ...]] = []

    async def by_ticket(self, authid: str, ticket: str) -> Credential | None:
        self.asked.append((authid, ticket))
        return self._found

    async def by_key(self, pubkey: str) -> Credential | None:  # type: ignore[override]
        self.asked.append((pubkey,))
        return self._found


def ticket_claim(**changes: Any) -> Claim:
    """Alice's claim, as her client makes it."""
    return replace(Claim("ticket", "realm1", "alice", "secret", "", None), **changes)


def key_claim(**changes: Any) -> Claim:
    """The device's claim, as its client makes it: only the key."""
    return replace(Claim("cryptosign", None, None, "", KEY, None), **changes)


def check(claim: Claim, found: Credential | None, origin: Origin = NEARBY, settings: Settings | None = None) -> Answer:
    """What the check of the claim's method says, if the store has found that."""
    checks = Checks(Stub(found), settings or Settings())
    return asyncio.run(getattr(checks, claim.method)(claim, origin))


def test_the_store_is_asked_for_what_is_claimed() -> None:
    stub = Stub(ALICE)
    asyncio.run(Checks(stub, Settings()).ticket(ticket_claim(), NEARBY))
    assert stub.asked == [("alice", "secret")]
    stub = Stub(DEVICE)
    asyncio.run(Checks(stub, Settings()).cryptosign(key_claim(), NEARBY))
    assert stub.asked == [(KEY,)]


def test_the_answer_to_a_ticket() -> None:
    assert check(ticket_claim(), ALICE) == {
        "realm": "realm1",
        "authid": "alice",
        "role": "frontend",
        "extra": {"foo": 23, "credential": "00112233aabbccdd"},
    }


def test_the_answer_to_a_key() -> None:
    assert check(key_claim(), DEVICE) == {
        "realm": "devices",
        "authid": "device7",
        "role": "device",
        "extra": {"credential": "ffeeddcc33221100"},
        "pubkey": KEY,
    }


@pytest.mark.parametrize("realm", [None, "devices"])
@pytest.mark.parametrize("authid", [None, "device7"])
def test_a_claim_may_be_open(realm: str | None, authid: str | None) -> None:
    answer = check(key_claim(realm=realm, authid=authid), DEVICE)
    assert (answer["realm"], answer["authid"], answer["role"]) == ("devices", "device7", "device")


def test_a_ticket_may_come_without_a_realm() -> None:
    assert check(ticket_claim(realm=None), ALICE)["realm"] == "realm1"


def test_the_key_in_the_answer_is_the_stored_one() -> None:
    """The router checks the signature with it, so it must not be the client's word."""
    assert check(key_claim(pubkey=OTHER_KEY), DEVICE)["pubkey"] == KEY


@pytest.mark.parametrize(
    ("claim", "found", "reason"),
    [
        (ticket_claim(realm="devices"), ALICE, "claims another realm"),
        (ticket_claim(realm="Realm1"), ALICE, "claims another realm"),
        (ticket_claim(realm=""), ALICE, "claims another realm"),
        (ticket_claim(authid="bob"), ALICE, "claims another authid"),
        (ticket_claim(authid="Alice"), ALICE, "claims another authid"),
        (key_claim(realm="realm1"), DEVICE, "claims another realm"),
        (key_claim(authid="alice"), DEVICE, "claims another authid"),
        (key_claim(authid=""), DEVICE, "claims another authid"),
    ],
)
def test_a_claim_that_contradicts_the_store(claim: Claim, found: Credential, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        check(claim, found)
    assert refused.value.reason == reason
    assert refused.value.found == {"authid": found.authid, "realm": found.realm, "credential": found.id}


@pytest.mark.parametrize("state", ["revoked", "expired", "not yet", "", "ACTIVE", "a state that nobody thought of"])
@pytest.mark.parametrize(("claim", "found"), [(ticket_claim(), ALICE), (key_claim(), DEVICE)])
def test_only_an_active_credential_counts(claim: Claim, found: Credential, state: str) -> None:
    with pytest.raises(Refused) as refused:
        check(claim, replace(found, state=state))
    assert refused.value.reason == state
    assert refused.value.found["credential"] == found.id


@pytest.mark.parametrize("claim", [ticket_claim(), key_claim()])
def test_who_is_not_found(claim: Claim) -> None:
    with pytest.raises(Refused) as refused:
        check(claim, None)
    assert (refused.value.reason, refused.value.found) == ("no such credential", {})


def test_admit_returns_what_was_found() -> None:
    assert admit(ticket_claim(), ALICE) is ALICE


def test_the_answers_extra_is_a_copy() -> None:
    """The router changes what it is given, and must not change what another login will get."""
    answer = principal(ALICE)
    answer["extra"]["foo"] = answer["extra"]["x_cb_node"] = "changed"
    assert ALICE.extra == {"foo": 23}


def test_the_credentials_id_wins_over_a_field_of_that_name() -> None:
    """``names.extra`` keeps it out of the store; who writes into the store past it can't choose what is revoked."""
    assert principal(replace(ALICE, extra={"credential": "another"}))["extra"]["credential"] == ALICE.id


@pytest.mark.parametrize(
    ("settings", "origin", "uri"),
    [
        (Settings(require_tls=True), FAR, "com.example.tls_required"),
        (Settings(require_tls=True), NEARBY, "com.example.tls_required"),
        (Settings(require_tls=True, plain_from=("loopback",)), FAR, "com.example.tls_required"),
        (Settings(require_channel_binding=True), FAR_TLS, "com.example.channel_binding_required"),
    ],
)
def test_an_unsafe_transport_is_told_before_the_store_is_asked(settings: Settings, origin: Origin, uri: str) -> None:
    stub = Stub(DEVICE)
    with pytest.raises(Refusal) as refused:
        asyncio.run(Checks(stub, settings).cryptosign(key_claim(), origin))
    assert refused.value.uri == uri
    assert stub.asked == []


@pytest.mark.parametrize(
    ("settings", "claim", "origin"),
    [
        (Settings(require_tls=True), key_claim(), FAR_TLS),
        (Settings(require_tls=True, plain_from=("loopback",)), key_claim(), NEARBY),
        (Settings(require_channel_binding=True), key_claim(channel_binding="tls-unique"), FAR_TLS),
        (Settings(require_channel_binding=True, plain_from=("loopback",)), key_claim(), NEARBY),
    ],
)
def test_a_safe_transport(settings: Settings, claim: Claim, origin: Origin) -> None:
    assert check(claim, DEVICE, origin, settings)["authid"] == "device7"


def test_a_ticket_needs_no_channel_binding() -> None:
    assert check(ticket_claim(), ALICE, FAR_TLS, Settings(require_channel_binding=True))["authid"] == "alice"


def test_no_ticket_shows_in_a_claim() -> None:
    assert "secret" not in repr(ticket_claim())


@pytest.mark.parametrize("extra", [{"nosuch": 1}, {"deadline": "5"}, {"deadline": 0}, {"database": None}])
def test_settings_that_stop_the_node(extra: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(extra))):
        Authenticator.check_config(None, extra)


def test_a_missing_store_stops_the_node(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        Authenticator.check_config(None, {"database": str(tmp_path / "nosuch.db"), "cbdir": "."})
