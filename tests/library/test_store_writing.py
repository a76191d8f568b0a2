"""Does each change to the store do what it says, or nothing at all?"""

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from wampauth import names
from wampauth.store import (
    Connection,
    chosen_verifier,
    connect,
    create,
    moments,
    moving,
    showing,
    ticket_digest,
    writing,
)
from wampauth.store.reading import STATE
from wampauth.testing.wamp import pubkey

ALICE = {"authid": "alice", "realm": "realm1", "role": "frontend", "extra": {"foo": 23}}
PAST, FUTURE = "2001-02-03T04:05:06.789+00:00", "2999-12-31T23:59:59.000+00:00"


pytest_plugins = ["postgres"]


@pytest.fixture
def store(store_url: str) -> Iterator[Connection]:
    """An open store with the principal alice in it, of each engine in turn."""
    create(store_url)
    with closing(connect(store_url)) as connection:
        writing.add(connection, ALICE)
        yield connection


def dump(store: Connection) -> list[list[Any]]:
    """All that the store holds."""
    tables = ("store", "principal", "credential", "change", "identity")
    return [sorted(store.execute(f"SELECT * FROM {table}").fetchall(), key=str) for table in tables]


def in_transaction(store: Any) -> bool:
    """Whether something was begun there and hasn't ended."""
    return store.in_transaction if isinstance(store, sqlite3.Connection) else bool(store.info.transaction_status)


def key(**terms: Any) -> dict[str, Any]:
    return {"kind": "key", "verifier": pubkey(SigningKey.generate()), **terms}


def chosen(salt: int = 0) -> dict[str, Any]:
    """What is stored of a chosen ticket; well-formed, though no ticket fits."""
    return {"kind": "chosen", "verifier": f"$argon2id$v=19$m=65536,t=2,p=1${salt:022}${'A' * 43}"}


def state(store: Connection, credential: str) -> str:
    """How the node sees the credential."""
    query = f"SELECT {STATE} FROM credential c JOIN principal p ON p.authid = c.authid WHERE c.id = ?"
    return str(store.execute(query, (credential,)).fetchone()[0])


def changes(store: Connection) -> list[tuple[str, str | None]]:
    return store.execute("SELECT authid, credential FROM change ORDER BY seq").fetchall()


def ids(store: Connection, authid: str = "alice") -> list[str]:
    return [credential["id"] for credential in showing.show(store, authid)["credentials"]]


# Adding


def test_a_principal_is_shown_as_it_was_added(store: Connection) -> None:
    principal = {**ALICE, "state": "active", "revoked": None, "max_sessions": None}
    assert showing.show(store, "alice") == {**principal, "credentials": []}
    assert list(showing.principals(store)) == [{**principal, "credentials": 0}]


def test_principals_are_listed_in_order_with_the_number_of_their_credentials(store: Connection) -> None:
    for authid in "zoe", "Bob", "änne":
        writing.add(store, {**ALICE, "authid": authid})
    writing.add_credential(store, "zoe", key())
    writing.add_credential(store, "zoe", key())
    assert [(p["authid"], p["credentials"]) for p in showing.principals(store)] == [
        ("Bob", 0),
        ("alice", 0),
        ("zoe", 2),
        ("änne", 0),
    ]


def test_a_credential_is_shown_with_its_terms(store: Connection) -> None:
    credential = key(label="laptop", not_before=PAST, expires=FUTURE)
    identifier = writing.add_credential(store, "alice", credential)
    shown = showing.show(store, "alice")["credentials"]
    assert abs((moments.seconds(shown[0].pop("created")) or 0) - showing.now(store)) < 60
    assert shown == [{**credential, "id": identifier, "revoked": None, "state": "active"}]


def test_the_same_clock_time_in_another_zone_is_the_same_moment(store: Connection) -> None:
    writing.add_credential(store, "alice", key(expires="2999-12-31T23:59:59+02:00"))
    assert showing.show(store, "alice")["credentials"][0]["expires"] == "2999-12-31T21:59:59.000+00:00"


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, "active"),
        ({"not_before": PAST, "expires": FUTURE}, "active"),
        ({"not_before": FUTURE}, "not yet"),
        ({"not_before": "2998-01-01", "expires": FUTURE}, "not yet"),
    ],
)
def test_state_of_a_credential(store: Connection, terms: dict[str, str], expected: str) -> None:
    identifier = writing.add_credential(store, "alice", key(**terms))
    assert state(store, identifier) == showing.show(store, "alice")["credentials"][0]["state"] == expected


def test_state_changes_on_the_stroke_of_the_stores_clock(store: Connection) -> None:
    identifier = writing.add_credential(store, "alice", key())

    def with_times(not_before: float | None, expires: float | None) -> str:
        store.execute("UPDATE credential SET not_before = ?, expires = ?", (not_before, expires))
        return state(store, identifier)

    now = showing.now(store)
    assert with_times(now, None) == "active"  # it counts from that moment on
    assert with_times(None, now) == "expired"  # and has run out at that moment
    assert with_times(now + 60, now + 120) == "not yet"
    writing.revoke(store, "alice", identifier)
    assert state(store, identifier) == "revoked"


# Refusals: each with its own sentence, and the store stays as it was

REFUSED: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "principal twice": (lambda s: writing.add(s, ALICE), "there is a principal alice already"),
    "authid": (lambda s: writing.add(s, {**ALICE, "authid": "a b"}), "an authid is 1 to 128"),
    "realm": (lambda s: writing.add(s, {**ALICE, "authid": "bob", "realm": "a b"}), "a realm is 3 to 255"),
    "role": (lambda s: writing.add(s, {**ALICE, "authid": "bob", "role": ""}), "a role is 1 to 128"),
    "trusted": (lambda s: writing.add(s, {**ALICE, "authid": "bob", "role": "trusted"}), "belongs to the router"),
    "anonymous": (lambda s: writing.add(s, {**ALICE, "authid": "bob", "role": "anonymous"}), "belongs to the router"),
    "extra": (lambda s: writing.add(s, {**ALICE, "authid": "bob", "extra": []}), "extra is a JSON object"),
    "remove nobody": (lambda s: writing.remove(s, "bob"), "there is no principal bob"),
    "revoke nobody": (lambda s: writing.revoke(s, "bob"), "there is no principal bob"),
    "revoke nothing": (lambda s: writing.revoke(s, "alice", "0" * 16), "alice has no credential '0000000000000000'"),
    "restore nobody": (lambda s: writing.restore(s, "bob"), "there is no principal bob"),
    "restore the active": (lambda s: writing.restore(s, "alice"), "alice isn't revoked"),
    "show nobody": (lambda s: showing.show(s, "bob"), "there is no principal bob"),
    "credential for nobody": (lambda s: writing.add_credential(s, "bob", key()), "there is no principal bob"),
    "key of small order": (
        lambda s: writing.add_credential(s, "alice", {"kind": "key", "verifier": "00" * 32}),
        "isn't a point of Ed25519",
    ),
    "label": (lambda s: writing.add_credential(s, "alice", key(label="a\nb")), "a label is at most 64"),
    "expiry past": (lambda s: writing.add_credential(s, "alice", key(expires=PAST)), "the expiry is in the past"),
    "ends before it begins": (
        lambda s: writing.add_credential(s, "alice", key(not_before=FUTURE, expires="2500-01-01")),
        "would run out before it begins",
    ),
    "no time": (lambda s: writing.add_credential(s, "alice", key(expires="soon")), "a time is written like"),
    "out of all time": (
        lambda s: writing.add_credential(s, "alice", key(expires="9999-12-31T23:59:59-23:59")),
        "a time is written like",
    ),
    "rotate nothing": (lambda s: writing.rotate(s, "alice", "0" * 16, key(), 60), "alice has no credential"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_sentence_and_nothing_changed(store: Connection, case: str) -> None:
    refused, sentence = REFUSED[case]
    before = dump(store)
    with pytest.raises((showing.Refused, names.Malformed), match=sentence):
        refused(store)
    assert dump(store) == before
    assert not in_transaction(store)


def test_a_key_has_one_owner(store: Connection) -> None:
    writing.add(store, {**ALICE, "authid": "bob"})
    credential = key()
    writing.add_credential(store, "bob", credential)
    before = dump(store)
    for authid, verifier in ("alice", credential["verifier"].upper()), ("bob", credential["verifier"]):
        with pytest.raises(showing.Refused, match="this key is registered already, for bob"):
            writing.add_credential(store, authid, {**credential, "verifier": verifier})
    assert dump(store) == before


def test_a_credential_of_somebody_else_is_not_touched(store: Connection) -> None:
    writing.add(store, {**ALICE, "authid": "bob"})
    bobs = writing.add_credential(store, "bob", key())
    before = dump(store)
    with pytest.raises(showing.Refused, match="alice has no credential"):
        writing.revoke(store, "alice", bobs)
    with pytest.raises(showing.Refused, match="alice has no credential"):
        writing.rotate(store, "alice", bobs, key(), 0)
    assert dump(store) == before


# Chosen tickets: two at most, for each costs every wrong guess an Argon2id check


def test_a_third_chosen_ticket_is_refused(store: Connection) -> None:
    for salt in range(2):
        writing.add_credential(store, "alice", chosen(salt))
    before = dump(store)
    with pytest.raises(
        showing.Refused, match="alice has 2 chosen tickets already: `wampauth revoke alice --credential ID` first"
    ):
        writing.add_credential(store, "alice", chosen(2))
    assert dump(store) == before


def test_a_revoked_chosen_ticket_makes_room(store: Connection) -> None:
    first, second = (writing.add_credential(store, "alice", chosen(salt)) for salt in range(2))
    writing.revoke(store, "alice", first)
    third = writing.add_credential(store, "alice", chosen(2))
    assert set(ids(store)) == {second, third}


def test_a_new_ticket_for_a_revoked_principal_costs_it_none_of_the_others(store: Connection) -> None:
    first = writing.add_credential(store, "alice", chosen(0))
    writing.revoke(store, "alice")
    second = writing.add_credential(store, "alice", chosen(1))
    writing.restore(store, "alice")
    assert set(ids(store)) == {first, second}


# Rotating


def test_rotation_has_both_count_for_the_overlap(store: Connection) -> None:
    old = writing.add_credential(store, "alice", key(label="laptop"))
    new = writing.rotate(store, "alice", old, key(), 3600)
    shown = {credential["id"]: credential for credential in showing.show(store, "alice")["credentials"]}
    assert shown[old]["state"] == shown[new]["state"] == "active"
    left = (moments.seconds(shown[old]["expires"]) or 0) - showing.now(store)
    assert 3500 < left <= 3600
    assert shown[new]["expires"] is None
    assert shown[new]["label"] == "laptop"  # it is still the laptop's, unless the successor says otherwise
    assert changes(store) == [("alice", old)]


def test_rotation_without_overlap_ends_the_old_one_now(store: Connection) -> None:
    old = writing.add_credential(store, "alice", key())
    new = writing.rotate(store, "alice", old, key(label="other"), 0)
    assert (state(store, old), state(store, new)) == ("expired", "active")


def test_rotation_never_prolongs(store: Connection) -> None:
    soon = moments.iso(showing.now(store) + 60)
    old = writing.add_credential(store, "alice", key(expires=soon))
    writing.rotate(store, "alice", old, key(), 3600)
    assert soon in [credential["expires"] for credential in showing.show(store, "alice")["credentials"]]


def test_rotation_is_refused_as_a_whole(store: Connection) -> None:
    old = writing.add_credential(store, "alice", key())
    taken = key()
    writing.add_credential(store, "alice", taken)
    before = dump(store)
    for successor in taken, {"kind": "key", "verifier": "01" + "00" * 31}, key(expires=PAST):
        with pytest.raises((showing.Refused, names.Malformed)):
            writing.rotate(store, "alice", old, successor, 60)
    assert dump(store) == before


def test_what_does_not_count_has_no_successor(store: Connection) -> None:
    later = writing.add_credential(store, "alice", key(not_before=FUTURE))
    revoked = writing.add_credential(store, "alice", key())
    writing.revoke(store, "alice", revoked)
    before = dump(store)
    for identifier, why in (later, "not yet"), (revoked, "revoked"):
        with pytest.raises(showing.Refused, match=f"credential {identifier} is {why}"):
            writing.rotate(store, "alice", identifier, key(), 60)
    assert dump(store) == before


# Withdrawing and forgetting


def test_a_withdrawn_credential_leaves_the_others(store: Connection) -> None:
    one, other = (writing.add_credential(store, "alice", key()) for _ in range(2))
    writing.revoke(store, "alice", one)
    assert (state(store, one), state(store, other)) == ("revoked", "active")
    assert changes(store) == [("alice", one)]


def test_the_first_revocation_is_the_one_on_record(store: Connection) -> None:
    one = writing.add_credential(store, "alice", key())
    for credential in one, None:
        writing.revoke(store, "alice", credential)
    store.execute("UPDATE credential SET revoked = 981173106.0")
    store.execute("UPDATE principal SET revoked = 981173106.0")
    for credential in one, None:
        writing.revoke(store, "alice", credential)
    shown = showing.show(store, "alice")
    assert shown["revoked"] == shown["credentials"][0]["revoked"] == "2001-02-03T04:05:06.000+00:00"


def test_restore_takes_back_the_principals_revocation_alone(store: Connection) -> None:
    one, other = (writing.add_credential(store, "alice", key()) for _ in range(2))
    writing.revoke(store, "alice", one)
    writing.revoke(store, "alice")
    assert state(store, one) == state(store, other) == showing.show(store, "alice")["state"] == "revoked"
    writing.restore(store, "alice")
    assert (state(store, one), state(store, other)) == ("revoked", "active")


def test_removed_means_gone_with_all_credentials(store: Connection) -> None:
    credential = key()
    writing.add_credential(store, "alice", credential)
    writing.remove(store, "alice")
    assert list(showing.principals(store)) == []
    assert store.execute("SELECT COUNT(*) FROM credential").fetchone() == (0,)
    assert changes(store) == [("alice", None)]
    writing.add(store, ALICE)  # name and key are free again
    writing.add_credential(store, "alice", credential)


def test_changes_are_numbered_without_gap_or_repetition(store: Connection) -> None:
    for _ in range(3):
        writing.revoke(store, "alice")
        writing.restore(store, "alice")
    assert [seq for (seq,) in store.execute("SELECT seq FROM change ORDER BY seq")] == [1, 2, 3]


# Export and import


def lines(*records: Any) -> list[bytes]:
    return [json.dumps(record).encode() + b"\n" for record in records]


def furnish(store: Connection) -> None:
    """Principals and credentials of every kind and in every state."""
    for authid in "bob", "carol", "größe", "revoked", "without":
        writing.add(store, {**ALICE, "authid": authid, "extra": {"n": [1, 2.5, None, "ü"]}})
    writing.add_credential(store, "alice", key(label="laptop", not_before=PAST, expires=FUTURE))
    writing.add_credential(store, "alice", {"kind": "ticket", "verifier": ticket_digest("x")})
    for authid in "alice", "bob", "carol", "revoked":
        for salt in range(2):
            writing.add_credential(store, authid, {**chosen(secrets.randbelow(10**20)), "label": str(salt)})
    store.execute("UPDATE credential SET expires = 981173106.125 WHERE authid = 'bob' AND label = '0'")
    for credential in ids(store, "carol"):
        writing.revoke(store, "carol", credential)
    writing.revoke(store, "revoked")


def test_export_and_import_make_the_same_store(store: Connection, tmp_path: Path) -> None:
    furnish(store)
    exported = list(moving.export(store))
    assert [principal["authid"] for principal in exported] == ["alice", "bob", "carol", "größe", "revoked", "without"]
    other = str(tmp_path / "other.db")
    create(other)
    with closing(connect(other)) as copy:
        assert moving.load(copy, lines(*exported)) == 6
        assert list(moving.export(copy)) == exported


def test_export_holds_no_secret(store: Connection) -> None:
    private, ticket = SigningKey.generate(), secrets.token_urlsafe(32)
    writing.add_credential(store, "alice", {"kind": "key", "verifier": bytes(private.verify_key).hex()})
    writing.add_credential(store, "alice", {"kind": "ticket", "verifier": ticket_digest(ticket)})
    writing.add_credential(store, "alice", {"kind": "chosen", "verifier": chosen_verifier("secret123")})
    exported = json.dumps(list(moving.export(store)))
    assert ticket not in exported
    assert "secret123" not in exported
    assert bytes(private).hex() not in exported
    assert bytes(private.verify_key).hex() in exported


def test_an_export_is_of_one_moment(store: Connection, store_url: str) -> None:
    writing.add(store, {**ALICE, "authid": "bob"})
    export = moving.export(store)
    next(export)
    with closing(connect(store_url)) as other:
        writing.remove(other, "bob")
    assert [principal["authid"] for principal in export] == ["bob"]
    assert [principal["authid"] for principal in showing.principals(store)] == ["alice"]


def test_an_export_that_is_given_up_leaves_no_transaction(store: Connection) -> None:
    export = moving.export(store)
    next(export)
    export.close()  # type: ignore[attr-defined]
    assert not in_transaction(store)


GOOD = {"authid": "n", "realm": "realm1", "role": "r"}
KEY = {"kind": "key", "verifier": pubkey(SigningKey.generate()), "id": "0" * 16}
BAD_LINES: dict[str, tuple[bytes | list[Any] | dict[str, Any], str]] = {
    "no JSON": (b"{", "isn't a principal as `export` writes it"),
    "empty": (b"\n", "isn't a principal"),
    "no UTF-8": (b'{"authid": "\xff"}', "isn't a principal"),
    "a list": ([], "isn't a principal"),
    "deeply nested": (b"[" * 100_000, "isn't a principal"),
    "no realm": ({"authid": "n", "role": "r"}, "isn't a principal"),
    "authid": ({**GOOD, "authid": "a b"}, "an authid is"),
    "authid is a number": ({**GOOD, "authid": 7}, "an authid is"),
    "realm": ({**GOOD, "realm": ""}, "a realm is"),
    "trusted": ({**GOOD, "role": "trusted"}, "the role 'trusted' belongs"),
    "extra": ({**GOOD, "extra": [1]}, "extra is a JSON object"),
    "extra has NaN": (
        b'{"authid": "n", "realm": "realm1", "role": "r", "extra": {"a": NaN}}',
        "extra is a JSON object",
    ),
    "known already": ({**GOOD, "authid": "alice"}, "there is a principal alice already"),
    "twice in the file": ({**GOOD, "authid": "first"}, "there is a principal first already"),
    "revoked at no time": ({**GOOD, "revoked": "yesterday"}, "a time is written like"),
    "revoked out of all time": ({**GOOD, "revoked": "9999-12-31T23:59:59-23:59"}, "a time is written like"),
    "revoked as a number": ({**GOOD, "revoked": 5}, "a time is written like"),
    "credentials is null": ({**GOOD, "credentials": None}, "isn't a principal"),
    "credentials is text": ({**GOOD, "credentials": "abc"}, "isn't a principal"),
    "no verifier": ({**GOOD, "credentials": [{"kind": "key"}]}, "isn't a principal"),
    "unknown kind": ({**GOOD, "credentials": [{**KEY, "kind": "password"}]}, "isn't a principal"),
    "kind is a list": ({**GOOD, "credentials": [{**KEY, "kind": []}]}, "isn't a principal"),
    "a ticket in the clear": ({**GOOD, "credentials": [{"kind": "ticket", "verifier": "secret123"}]}, "as its SHA-256"),
    "no Argon2id": ({**GOOD, "credentials": [{"kind": "chosen", "verifier": "secret123"}]}, "stored as Argon2id"),
    "key of small order": ({**GOOD, "credentials": [{**KEY, "verifier": "00" * 32}]}, "isn't a point"),
    "key twice": ({**GOOD, "credentials": [KEY, {**KEY, "id": "1" * 16}]}, "this key is registered already, for n"),
    "id twice": ({**GOOD, "credentials": [KEY, {**key(), "id": "0" * 16}]}, "0000000000000000"),
    "id": ({**GOOD, "credentials": [{**KEY, "id": "x"}]}, "the id of a credential is"),
    "label": ({**GOOD, "credentials": [{**KEY, "label": "a\nb"}]}, "a label is"),
    "ends before it begins": (
        {**GOOD, "credentials": [{**KEY, "not_before": FUTURE, "expires": PAST}]},
        "run out before it begins",
    ),
    "three chosen": ({**GOOD, "credentials": [chosen(1), chosen(2), chosen(3)]}, "has 2 chosen tickets already"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_import_is_all_or_nothing_and_names_the_line(store: Connection, case: str) -> None:
    record, sentence = BAD_LINES[case]
    bad = [record] if isinstance(record, bytes) else lines(record)
    file = [*lines({**GOOD, "authid": "first"}), *lines({**GOOD, "authid": "second"}), *bad, *lines(GOOD)]
    before = dump(store)
    with pytest.raises(showing.Refused) as refusal:
        moving.load(store, file)
    assert str(refusal.value).startswith("line 3")
    assert sentence in str(refusal.value)
    assert str(refusal.value).endswith("; nothing was imported")
    assert "secret123" not in str(refusal.value)
    assert dump(store) == before


def test_import_of_what_has_run_out_already(store: Connection) -> None:
    credential = {**key(), "expires": PAST, "revoked": PAST}
    moving.load(store, lines({**GOOD, "credentials": [credential]}))
    assert showing.show(store, "n")["credentials"][0]["expires"] == PAST


def test_import_of_nothing(store: Connection) -> None:
    assert moving.load(store, []) == 0


@pytest.mark.parametrize("moment", [PAST, FUTURE, "1970-01-01T00:00:00.000+00:00", "2026-02-28T23:59:59.999+00:00"])
def test_times_are_read_as_they_are_written(moment: str) -> None:
    assert moments.iso(moments.seconds(moment)) == moment


NO_TIMES = ["", "now", "2026-13-01", "2026-02-30", "25:00", 5, ["2026-01-01"], "0001-01-01T00:00+01:00"]


@pytest.mark.parametrize("moment", NO_TIMES)
def test_what_is_no_time_is_refused(moment: Any) -> None:
    with pytest.raises(names.Malformed, match="a time is written like"):
        moments.seconds(moment)
