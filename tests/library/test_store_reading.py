"""Does the node find whom it should, as they stand now?"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nacl.pwhash import argon2id
from nacl.signing import SigningKey
from stores import (
    CHOSEN,
    KEY,
    NEVER,
    OTHER_CHOSEN,
    PATIENCE,
    TICKET,
    VERIFIERS,
    Loop,
    by_key,
    by_ticket,
    only_sqlite,
)

from wampauth import store as stores
from wampauth.claims import Claim, Principal, Refused, TicketClaim
from wampauth.store import (
    Connection,
    StoreError,
    chosen_verifier,
    moving,
    reading,
    showing,
    sqlite,
    ticket_digest,
    tickets,
    writing,
)
from wampauth.store.engine import transaction
from wampauth.store.principals import AT_ONCE, Principals
from wampauth.store.reading import BY_IDS, BY_KEY, BY_TICKET, Point

pytest_plugins = ["postgres", "store_fixtures"]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verifiers that a ticket is checked against, one after the other."""
    verifiers: list[str] = []
    verify = tickets.verify_chosen

    def record(verifier: str, ticket: str) -> bool:
        verifiers.append(verifier)
        return verify(verifier, ticket)

    monkeypatch.setattr(tickets, "verify_chosen", record)
    return verifiers


def login(loop: Loop, known: Principals, claim: Claim) -> Principal | None:
    """What the store says of a claim."""
    answer: Principal | None = loop.ask(known.by_ticket if isinstance(claim, TicketClaim) else known.by_key, claim)
    return answer


# Finding


def test_by_key(loop: Loop, known: Principals) -> None:
    found = login(loop, known, by_key())
    assert found is not None
    assert (found.authid, found.realm, found.role, found.extra) == ("alice", "realm1", "frontend", {"of": "alice"})
    assert (found.pubkey, found.expires) == (KEY, None)
    assert login(loop, known, by_key(bytes(SigningKey.generate().verify_key).hex())) is None


@pytest.mark.parametrize("ticket", [TICKET, CHOSEN], ids=["made", "chosen"])
def test_by_ticket(loop: Loop, known: Principals, store: Connection, ticket: str) -> None:
    found = login(loop, known, by_ticket(ticket))
    assert found is not None
    assert (found.authid, found.realm, found.role, found.extra) == ("alice", "realm1", "frontend", {"of": "alice"})
    assert (found.pubkey, found.expires) == (None, None)
    kinds = {one["id"]: one["kind"] for one in showing.show(store, "alice")["credentials"]}
    assert kinds[found.credential] == ("ticket" if ticket == TICKET else "chosen")
    for authid in "bob", "nobody", "ALICE", "alice' OR 1=1 --":
        assert login(loop, known, by_ticket(ticket, authid)) is None


@pytest.mark.parametrize(
    "guess",
    [
        "",
        "wrong",
        TICKET[:-1],
        TICKET + " ",
        TICKET.swapcase(),
        CHOSEN + "\x00",
        CHOSEN.upper(),
        KEY,  # a public key is no ticket
        ticket_digest(TICKET),  # what a thief of the store finds there opens nothing
        VERIFIERS[CHOSEN],
        "x" * 1024,
        "größe 😀",
    ],
    ids=lambda guess: f"{len(guess)} characters",
)
def test_no_other_ticket(loop: Loop, known: Principals, guess: str) -> None:
    assert login(loop, known, by_ticket(guess)) is None


def test_the_digest_of_a_ticket_is_no_key(loop: Loop, known: Principals) -> None:
    assert login(loop, known, by_key(ticket_digest(TICKET))) is None


def test_a_key_is_no_digest_of_a_ticket(loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ticket_digest", lambda ticket: KEY)
    assert login(loop, known, by_ticket("a ticket whose digest is the key")) is None


def test_two_chosen_tickets_count_side_by_side(loop: Loop, known: Principals, store: Connection) -> None:
    writing.add_credential(store, "alice", {"kind": "chosen", "verifier": VERIFIERS[OTHER_CHOSEN]})
    found = [login(loop, known, by_ticket(ticket)) for ticket in (CHOSEN, OTHER_CHOSEN)]
    assert len({one.credential for one in found if one}) == 2
    assert login(loop, known, by_ticket("wrong")) is None


def test_by_ids(loop: Loop, known: Principals, store: Connection) -> None:
    alice = loop.ask(known.by_key, by_key())
    identifier = alice.credential
    unknown = [f"{number:016x}" for number in range(2 * AT_ONCE)]
    assert loop.ask(known.by_ids, []) == loop.ask(known.by_ids, unknown) == {}
    for some in [identifier], [*unknown, identifier], [identifier, *unknown, identifier], {identifier}:
        assert loop.ask(known.by_ids, some) == {identifier: alice}
    writing.remove(store, "alice")
    assert loop.ask(known.by_ids, [identifier]) == {}


@only_sqlite
def test_a_question_about_many_is_asked_in_parts(
    loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that logins get their turn in between."""
    asked: list[int] = []
    ask = reading.by_ids

    def record(connection: Connection, ids: Any) -> Any:
        asked.append(len(ids))
        return ask(connection, ids)

    monkeypatch.setattr(reading, "by_ids", record)
    loop.ask(known.by_ids, {f"{number:016x}" for number in range(2 * AT_ONCE + 1)})
    assert asked == [AT_ONCE, AT_ONCE, 1]


# Nothing is cached


def test_each_answer_is_as_things_stand_now(loop: Loop, known: Principals, store: Connection) -> None:
    ids = [one["id"] for one in showing.show(store, "alice")["credentials"]]

    def state_of(claim: Claim) -> str:
        try:
            found = login(loop, known, claim)
        except Refused as no:
            assert no.found["authid"] == "alice"
            assert no.found["realm"] == "realm1"
            assert no.found["credential"] in ids
            return no.reason
        return "active" if found else "unknown"

    def states() -> set[str]:
        found = {state_of(claim) for claim in (by_key(), by_ticket(TICKET), by_ticket(CHOSEN))}
        assert sorted(loop.ask(known.by_ids, ids)) == (sorted(ids) if found == {"active"} else [])
        return found

    def set_times(not_before: float | None, expires: float | None) -> None:
        store.execute("UPDATE credential SET not_before = ?, expires = ?", (not_before, expires))

    now = showing.now(store)
    assert states() == {"active"}
    writing.revoke(store, "alice")
    assert states() == {"revoked"}
    writing.restore(store, "alice")
    assert states() == {"active"}
    set_times(now + 1000, None)
    assert states() == {"not yet"}
    set_times(None, now)
    assert states() == {"expired"}
    set_times(now, now + 1000)
    assert states() == {"active"}
    assert loop.ask(known.by_key, by_key()).expires == now + 1000
    assert {principal.expires for principal in loop.ask(known.by_ids, ids).values()} == {now + 1000}
    writing.remove(store, "alice")
    assert states() == {"unknown"}


def test_what_an_operator_alters_is_seen_by_id(loop: Loop, known: Principals, store: Connection) -> None:
    alice = loop.ask(known.by_key, by_key())
    store.execute("UPDATE principal SET role = 'other', extra = '{\"n\": 1}' WHERE authid = 'alice'")
    found = loop.ask(known.by_ids, [alice.credential])[alice.credential]
    assert (found.authid, found.realm, found.role, found.extra) == ("alice", "realm1", "other", {"n": 1})


# What has changed


def test_changes_since_a_point(loop: Loop, known: Principals, store: Connection) -> None:
    credential = loop.ask(known.by_key, by_key()).credential
    start, everybody = loop.ask(known.changes, None)
    assert everybody is None
    assert loop.ask(known.changes, start)[1] == set()
    writing.revoke(store, "alice", credential)
    writing.remove(store, "bob")
    point, changed = loop.ask(known.changes, start)
    assert changed == {"alice", "bob"}
    assert loop.ask(known.changes, point)[1] == set()
    assert loop.ask(known.changes, start)[1] == changed


def test_what_has_run_out_has_changed(loop: Loop, known: Principals, store: Connection) -> None:
    start, _ = loop.ask(known.changes, None)
    store.execute("UPDATE credential SET expires = ? WHERE kind = 'key'", (showing.now(store),))
    point, changed = loop.ask(known.changes, start._replace(moment=start.moment - 1))
    assert changed == {"alice"}
    assert loop.ask(known.changes, point._replace(moment=point.moment + 0.001))[1] in (set(), None)


@pytest.mark.parametrize("field", ["seq", "moment", "store", "last"])
def test_in_an_older_or_another_store_everybody_is_looked_at(
    loop: Loop, known: Principals, store: Connection, field: str
) -> None:
    writing.revoke(store, "alice")
    point, _ = loop.ask(known.changes, None)
    other: dict[str, Any] = {
        "seq": point.seq + 1,
        "moment": point.moment + 1000,
        "store": (*point.store[:-1], "0" * 32),
    }
    other["last"] = ("alice", "0123456789abcdef")
    assert loop.ask(known.changes, point)[1] == set()
    assert loop.ask(known.changes, point._replace(**{field: other[field]}))[1] is None


@pytest.mark.parametrize("since", [0, "", (), (0, 0, 0.0)], ids=repr)
def test_a_point_of_another_kind_is_none_of_ours(loop: Loop, known: Principals, since: Any) -> None:
    point, changed = loop.ask(known.changes, since)
    assert isinstance(point, Point)
    assert changed is None


@only_sqlite
def test_a_file_that_is_put_in_its_place_is_another_store(loop: Loop, known: Principals, path: str) -> None:
    point, _ = loop.ask(known.changes, None)
    other = Path(path + "-other")
    stores.create(str(other))
    with closing(stores.connect(str(other))) as connection:
        for authid in "carol", "dave":
            writing.add(connection, {"authid": authid, "realm": "realm1", "role": "frontend"})
            writing.revoke(connection, authid)
        connection.settle()
    other.rename(path)
    after, changed = loop.ask(known.changes, point)
    assert changed is None
    assert after.seq > point.seq
    assert loop.ask(known.by_key, by_key()) is None


def contents(where: str) -> dict[str, list[Any]]:
    with closing(stores.connect(where)) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("principal", "credential", "change", "identity")
        }


def put(where: str, tables: dict[str, list[Any]]) -> None:
    """As a tool does that brings a backup back into the tables that are there: the place stays the same."""
    with closing(stores.connect(where)) as connection, transaction(connection):
        for table in "credential", "principal", "change", "identity":
            connection.execute(f"DELETE FROM {table}")
        for table, rows in tables.items():
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def test_another_store_within_the_same_file_or_tables_is_noticed(loop: Loop, known: Principals, path: str) -> None:
    """Though its changes are as many as ours, or more."""
    before = contents(path)
    point, _ = loop.ask(known.changes, None)
    put(path, {**before, "identity": [("0" * 32,)]})
    point, changed = loop.ask(known.changes, point)
    assert changed is None
    assert loop.ask(known.changes, point)[1] == set()


def test_a_backup_that_went_on_otherwise_is_noticed(loop: Loop, known: Principals, path: str) -> None:
    before = contents(path)
    with closing(stores.connect(path)) as connection:
        writing.revoke(connection, "alice")
    point, _ = loop.ask(known.changes, None)
    put(path, before)
    with closing(stores.connect(path)) as connection:
        for _ in range(2):
            writing.revoke(connection, "bob")
    point, changed = loop.ask(known.changes, point)
    assert changed is None
    assert loop.ask(known.changes, point)[1] == set()


def test_each_store_has_its_own_id(path: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    stores.create(other)
    (ours,), (theirs,) = contents(path)["identity"], contents(other)["identity"]
    assert ours != theirs
    assert len(ours[0]) == len(theirs[0]) == 32


def test_old_changes_are_pruned_and_who_missed_some_looks_at_everybody(
    loop: Loop, known: Principals, store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "KEPT", 3)
    empty, _ = loop.ask(known.changes, None)
    writing.revoke(store, "alice")
    first, changed = loop.ask(known.changes, empty)
    assert changed == {"alice"}
    for _ in range(3):
        writing.revoke(store, "bob")
    assert store.execute("SELECT seq FROM change ORDER BY seq").fetchall() == [(2,), (3,), (4,)]
    last, _ = loop.ask(known.changes, None)
    assert loop.ask(known.changes, first)[1] is None
    assert loop.ask(known.changes, empty)[1] is None
    assert loop.ask(known.changes, last)[1] == set()
    writing.revoke(store, "alice")
    assert loop.ask(known.changes, last)[1] == {"alice"}


def test_tables_that_are_made_anew_are_another_store(postgresql: Any) -> None:
    url = postgresql.create()
    try:
        stores.create(url)
        with closing(stores.connect(url)) as connection:
            first = connection.identity
        with closing(stores.connect(url)) as connection:
            assert connection.identity == first != ()
        postgresql.empty(url)
        stores.create(url)
        with closing(stores.connect(url)) as connection:
            assert connection.identity != first
    finally:
        postgresql.drop(url)


# One indexed probe each


@only_sqlite  # test_store_postgresql.py asks the other one
@pytest.mark.parametrize(
    "query", [BY_KEY, BY_TICKET, BY_IDS.format("?, ?"), reading.CHANGES, reading.LAST, reading.ANY_CHOSEN]
)
def test_lookups_are_index_probes(store: Connection, query: str) -> None:
    plan = [row[3] for row in store.execute("EXPLAIN QUERY PLAN " + query, (1,) * query.count("?"))]
    if query == reading.ANY_CHOSEN:  # the first entry of an index that holds nothing else; LIMIT ends it there
        assert plan == ["SCAN credential USING INDEX credential_chosen"]
    elif query == reading.LAST:  # "newest" is the one line with the highest number
        assert plan[-2:] == ["SCAN newest", plan[-1]]
        assert plan[-1].startswith("SEARCH last USING INDEX")
        assert "SEARCH change USING COVERING INDEX sqlite_autoindex_change_1" in plan or "SEARCH change" in plan
    else:
        assert any(step.startswith("SEARCH") for step in plan)
        assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan)


@only_sqlite
def test_a_lookup_is_one_query(loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connect = sqlite.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sqlite, "connect", traced)
    for claim in by_key(), by_ticket(TICKET), by_ticket(CHOSEN):
        login(loop, known, claim)  # opens a connection, the first time
        asked.clear()
        login(loop, known, claim)
        assert [sql.split()[0] for sql in asked] == ["SELECT"]


def test_many_at_once(loop: Loop, known: Principals, store: Connection) -> None:
    keys = {f"device{i}": bytes(SigningKey.generate().verify_key).hex() for i in range(100)}
    devices = [
        {"authid": authid, "realm": "devices", "role": "device", "credentials": [{"kind": "key", "verifier": verifier}]}
        for authid, verifier in keys.items()
    ]
    moving.load(store, [json.dumps(device).encode() for device in devices])
    answers = {authid: loop.start(known.by_key, by_key(verifier)) for authid, verifier in keys.items()}
    assert {authid: answer.result(PATIENCE).authid for authid, answer in answers.items()} == {a: a for a in keys}


# Chosen tickets: slow by design


def test_a_made_ticket_takes_the_fast_path(loop: Loop, known: Principals, hashed: list[str]) -> None:
    assert login(loop, known, by_ticket())
    assert login(loop, known, by_key())
    assert hashed == []


@pytest.mark.parametrize("chosen", [0, 1, 2])
@pytest.mark.parametrize("authid", ["bob", "nobody"])
def test_every_no_costs_two_checks(
    loop: Loop, known: Principals, store: Connection, hashed: list[str], authid: str, chosen: int
) -> None:
    """However many chosen tickets somebody has, and whether he exists."""
    number = chosen if authid == "bob" else 0
    verifiers = [argon2id.str(b"bobs", argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN).decode() for _ in range(number)]
    for verifier in verifiers:
        writing.add_credential(store, authid, {"kind": "chosen", "verifier": verifier})
    assert login(loop, known, by_ticket("wrong", authid)) is None
    assert sorted(hashed) == sorted([*verifiers, *[VERIFIERS[NEVER]] * (2 - len(verifiers))])


def test_as_many_checks_as_a_principal_may_have_chosen_tickets(store: Connection) -> None:
    writing.add_credential(store, "alice", {"kind": "chosen", "verifier": VERIFIERS[OTHER_CHOSEN]})
    with pytest.raises(showing.Refused, match="2 chosen tickets"):
        writing.add_credential(store, "alice", {"kind": "chosen", "verifier": VERIFIERS[NEVER]})


def test_without_chosen_tickets_there_is_nothing_to_hide(
    loop: Loop, known: Principals, store: Connection, hashed: list[str]
) -> None:
    store.execute("DELETE FROM credential WHERE kind = 'chosen'")
    assert login(loop, known, by_ticket("wrong")) is None
    assert hashed == []


def test_the_decoy_is_at_the_price_of_a_real_one() -> None:
    def price(verifier: str) -> str:
        return verifier.rpartition("$")[0].rpartition("$")[0]

    assert price(tickets.decoy()) == price(chosen_verifier("x")) == "$argon2id$v=19$m=65536,t=2,p=1"


def test_chosen_tickets_are_salted() -> None:
    assert chosen_verifier("same") != chosen_verifier("same")


# Nobody learns a secret


@pytest.mark.parametrize("ticket", [TICKET, CHOSEN], ids=["made", "chosen"])
def test_no_verifier_in_a_repr(loop: Loop, known: Principals, store: Connection, ticket: str) -> None:
    found, chosen, _ = reading.by_ticket(store, "alice", ticket)
    credential = found or chosen[0]
    assert credential.verifier
    assert credential.verifier not in f"{credential!r} {credential} {known!r} {loop.ask(known.by_ticket, by_ticket())}"


@only_sqlite
def test_no_ticket_in_an_exception(loop: Loop, known: Principals, path: str) -> None:
    import traceback

    loop.ask(known.by_key, by_key())
    Path(path).write_bytes(b"garbage" * 1000)
    for _ in range(2):
        error = loop.start(known.by_ticket, by_ticket()).exception(PATIENCE)
        assert isinstance(error, StoreError)
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
        assert TICKET not in told + repr(error) + repr(error.__context__)
