"""Does a store that an earlier program has made go on, and is it upgraded as a whole or not at all?

``schemas/`` has the tables of each of these programs: 1.0 is the first release, 0.x came before it (0.3 for PostgreSQL,
too), and 1.1 is from between the first release and the steps of ``wampauth/store/schema``.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stores import KEY, TICKET, Loop, by_key, by_ticket, only_postgresql, only_sqlite
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from wampauth import cli
from wampauth import store as stores
from wampauth.store import (
    StoreError,
    connect,
    create,
    engine,
    open_store,
    schema,
    showing,
    sqlite,
    ticket_digest,
    writing,
)
from wampauth.store.engine import transaction
from wampauth.store.schema import VERSION

pytest_plugins = ["postgres", "store_fixtures"]

SCHEMAS = {file.stem: file for file in sorted((Path(__file__).parent / "schemas").glob("*.sql"))}
FIRST_RELEASE = "1.0"
CLOCKS = {  # of the programs that knew PostgreSQL, before it was told in milliseconds
    "0.3": "EXTRACT(EPOCH FROM clock_timestamp())::DOUBLE PRECISION",
    "1.0": "EXTRACT(EPOCH FROM date_trunc(''milliseconds'', clock_timestamp()))::DOUBLE PRECISION",
    "1.1": "EXTRACT(EPOCH FROM date_trunc(''milliseconds'', clock_timestamp()))::DOUBLE PRECISION",
}
PATIENCE = 30.0  # seconds
ROWS = [
    ("principal", ("alice", "realm1", "frontend", '{"of": "alice"}', None)),
    ("principal", ("bob", "realm1", "backend", "{}", 1_700_000_000.5)),
    ("credential", ("c1", "alice", "key", KEY, "laptop", None, 4_000_000_000.25, None)),
    ("credential", ("c2", "alice", "ticket", ticket_digest(TICKET), "", None, None, None)),
    ("credential", ("c3", "bob", "ticket", ticket_digest("gone"), "", None, None, 1_700_000_001.0)),
    ("change", (1, "bob", "c3")),
    ("change", (2, "bob", None)),
]
UPGRADED = f"was upgraded from version 1 to {VERSION}, which no older wampauth can use."
CREATED = 1_600_000_000.0


def raw(where: str) -> Any:
    """A connection that no program of ours has looked at."""
    if "://" not in where:
        connection = sqlite3.connect(where, isolation_level=None)
        connection.create_function("store_now", 0, time.time)
        return connection
    import psycopg

    return psycopg.connect(where, autocommit=True)


def make(where: str, program: str) -> None:
    """A store with two principals, as an earlier program has made it."""
    script = SCHEMAS[program].read_text()
    with closing(raw(where)) as store:
        if isinstance(store, sqlite3.Connection):
            store.executescript(f"PRAGMA journal_mode = WAL; {script}")
            Path(where).chmod(0o600)
        else:
            store.execute(
                f"CREATE FUNCTION store_now() RETURNS DOUBLE PRECISION LANGUAGE SQL AS 'SELECT {CLOCKS[program]}'"
            )
            store.execute(script.replace(" TEXT", ' TEXT COLLATE "C"'))
        place = "?" if isinstance(store, sqlite3.Connection) else "%s"
        for table, row in ROWS:
            if table == "credential" and "created" in script:
                row = (*row[:5], CREATED, *row[5:])
            store.execute(f"INSERT INTO {table} VALUES ({', '.join([place] * len(row))})", row)
        if "identity" in script:
            store.execute(f"INSERT INTO identity VALUES ('{'1' * 32}')")
        store.execute("INSERT INTO store VALUES (1)")


def everything(where: str) -> dict[str, Any]:
    """All that a store holds."""
    with closing(raw(where)) as store:
        if isinstance(store, sqlite3.Connection):
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        else:
            query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        tables = [name for (name,) in store.execute(query).fetchall()]
        return {name: sorted(store.execute(f"SELECT * FROM {name}").fetchall(), key=str) for name in tables}


def shape(where: str) -> dict[str, set[Any]]:
    """What a store is made of, in whatever order."""
    with closing(raw(where)) as store:
        if isinstance(store, sqlite3.Connection):
            queries = {
                "columns": 'SELECT m.name, c.name, c.type, "notnull", dflt_value, pk'
                " FROM sqlite_master AS m, pragma_table_info(m.name) AS c",
                "constraints": "SELECT m.name, f.* FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f",
                "indexes": "SELECT name, sql FROM sqlite_master WHERE type = 'index'",
            }
        else:
            queries = {
                "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name"
                " FROM information_schema.columns WHERE table_schema = 'public'",
                "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
                " WHERE connamespace = 'public'::regnamespace",
                "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
                "clock": "SELECT prosrc FROM pg_proc WHERE proname = 'store_now'",
            }
        return {name: set(store.execute(query).fetchall()) for name, query in queries.items()}


each_program = pytest.mark.parametrize(
    ("store_url", "program"),
    [("sqlite", program) for program in SCHEMAS] + [("postgresql", program) for program in CLOCKS],
    indirect=["store_url"],
)


@pytest.fixture
def old(store_url: str) -> str:
    """A store of the first release, of each engine in turn."""
    make(store_url, FIRST_RELEASE)
    return store_url


# The steps


def test_each_step_is_there_for_both_engines_and_none_is_skipped() -> None:
    names = {file.name for file in Path(schema.__path__[0]).glob("*.sql")}
    assert list(range(1, VERSION + 1)) == schema.NUMBERS
    for number in schema.NUMBERS:
        both, own = {f"{number:03}.sql"}, {f"{number:03}.{name}.sql" for name in ("sqlite", "postgresql")}
        assert both <= names or own <= names
        names -= both | own
    assert names == set()


def test_the_first_step_is_what_the_first_release_made() -> None:
    """And so it stays."""

    def tables(text: str) -> list[str]:
        return [line.partition("--")[0].rstrip() for line in text.splitlines() if line.partition("--")[0].strip()]

    assert tables(next(schema.steps("sqlite", 0))) == tables(SCHEMAS[FIRST_RELEASE].read_text())


# Earlier programs' stores


@each_program
def test_a_store_of_each_earlier_program_goes_on(store_url: str, program: str, loop: Loop) -> None:
    make(store_url, program)
    before = time.time()
    with closing(connect(store_url)) as store:
        assert store.upgraded == 1
        alice, bob = showing.show(store, "alice"), showing.show(store, "bob")
        assert (alice["extra"], bob["state"]) == ({"of": "alice"}, "revoked")
        assert [one["id"] for one in alice["credentials"]] == ["c1", "c2"]
        expected = CREATED if "created" in SCHEMAS[program].read_text() else pytest.approx(before, abs=PATIENCE)
        assert [created for (created,) in store.execute("SELECT created FROM credential").fetchall()] == [expected] * 3
    with closing(connect(store_url)) as store:
        assert store.upgraded is None
    known = stores._principals(store_url, loop.reactor)
    try:
        assert loop.ask(known.by_key, by_key()).authid == "alice"
        assert loop.ask(known.by_ticket, by_ticket()).credential == "c2"
        assert set(loop.ask(known.by_ids, ["c1", "c2", "c3"])) == {"c1", "c2"}
        point, _ = loop.ask(known.changes, None)
        assert (point.seq, point.last) == (2, ("bob", None))
        with closing(connect(store_url)) as store:
            writing.add_credential(store, "bob", {"kind": "ticket", "verifier": ticket_digest("new")})
            writing.revoke(store, "alice")
        assert loop.ask(known.changes, point)[1] == {"alice"}
    finally:
        loop.ask(known.close)


@each_program
def test_an_upgraded_store_is_made_like_a_new_one(store_url: str, program: str, request: pytest.FixtureRequest) -> None:
    make(store_url, program)
    connect(store_url).close()
    upgraded = shape(store_url)
    if "://" in store_url:
        request.getfixturevalue("postgresql").empty(store_url)
    else:
        Path(store_url).unlink()
    create(store_url)
    assert upgraded == shape(store_url)


def test_a_store_keeps_the_id_that_it_has(store_url: str) -> None:
    make(store_url, "1.1")
    connect(store_url).close()
    assert everything(store_url)["identity"] == [("1" * 32,)]


def test_one_without_an_id_gets_its_own(old: str) -> None:
    connect(old).close()
    (made,) = everything(old)["identity"]
    assert len(made[0]) == 32
    assert made[0] != "1" * 32


def test_credentials_may_be_of_any_kind(old: str) -> None:
    with closing(connect(old)) as store, transaction(store):
        store.execute(
            writing.ADD_CREDENTIAL, ("c9", "alice", "token", "some verifier", "", 1.0, None, None, None, None)
        )


def test_credentials_go_with_their_principal(old: str) -> None:
    """As before: the tables still know of each other."""
    with closing(connect(old)) as store:
        writing.remove(store, "alice")
        assert store.execute("SELECT id FROM credential").fetchall() == [("c3",)]


# Who upgrades


@only_sqlite
def test_credentials_of_nobody_do_not_keep_a_store_from_being_upgraded(old: str) -> None:
    """SQLite's own shell doesn't remove them with their principal."""
    with closing(raw(old)) as store:
        store.execute("DELETE FROM principal WHERE authid = 'bob'")
    with closing(connect(old)) as upgraded:
        assert upgraded.execute("SELECT id FROM credential ORDER BY id").fetchall() == [("c1",), ("c2",)]


@only_sqlite
@pytest.mark.parametrize(
    "by_hand",
    [
        "UPDATE principal SET extra = 'none' WHERE authid = 'alice'",
        "UPDATE principal SET revoked = 'yesterday' WHERE authid = 'alice'",
        "UPDATE credential SET expires = 'soon' WHERE authid = 'alice'",
        "UPDATE credential SET verifier = x'00ff' WHERE id = 'c1'",
    ],
)
def test_what_was_written_by_hand_and_makes_no_sense_is_told_in_a_sentence(old: str, by_hand: str) -> None:
    with closing(raw(old)) as store:
        store.execute(by_hand)
    said = []
    for args in ["list", "--expiring", "30d"], ["list"], ["show", "alice"], ["export"]:
        result = CliRunner().invoke(cli.main, ["--store", old, "--audit", f"{old}.audit", *args])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        said.append(result.stderr)
    assert "what is stored of 'alice' can't be read: extra must be JSON" in said[-1]


def test_the_tool_upgrades_and_says_so(old: str) -> None:
    result = CliRunner().invoke(cli.main, ["--store", old, "list", "--json"])
    with closing(connect(old)) as store:
        assert (
            result.stderr
            == f"{store.name} was upgraded from version 1 to {VERSION}, which no older wampauth can use.\n"
        )
    assert result.stdout.count("\n") == 2
    assert CliRunner().invoke(cli.main, ["--store", old, "list"]).stderr == ""


def test_a_node_upgrades_and_says_so(old: str, lines: Callable[[], list[str]]) -> None:
    stores._open_store.cache_clear()
    open_store(old)
    stores._open_store.cache_clear()
    (line,) = [line for line in lines() if "was upgraded" in line]
    assert line.startswith("error: ")  # a node shows nothing else, unless it is told to
    assert line.endswith(UPGRADED)


@pytest.fixture
def lines() -> Iterator[Callable[[], list[str]]]:
    """What is logged meanwhile."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [f"{event['log_level'].name}: {formatEvent(event)}" for event in events]
    globalLogPublisher.removeObserver(events.append)


def test_who_does_not_want_to_upgrade_leaves_it(old: str) -> None:
    before = everything(old)
    with closing(connect(old, upgrading=False)) as store:
        assert store.upgraded is None
        assert engine.version(store) == 1
    assert everything(old) == before


# All or nothing


STOPS = """
import sys, time
from wampauth.store import connect, engine
real = engine.steps
def steps(name, since):
    for step in real(name, since):
        yield step
        print("halfway", flush=True)
        sys.stdin.readline()
engine.steps = steps
print(connect(sys.argv[1]).upgraded)
"""


def halfway(where: str) -> "subprocess.Popen[str]":
    """A process that has stopped in the middle of upgrading, until it reads a line."""
    command = [sys.executable, "-c", STOPS, where]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "halfway\n"
    return process


def test_who_is_killed_in_between_leaves_the_old_version(old: str) -> None:
    before = everything(old)
    process = halfway(old)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert everything(old) == before
    with closing(connect(old)) as store:
        assert store.upgraded == 1


def test_a_step_that_fails_leaves_the_old_version(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(old)
    first = next(schema.steps("postgresql" if "://" in old else "sqlite", 1))
    monkeypatch.setattr(engine, "steps", lambda name, since: iter([first, "INSERT INTO nowhere VALUES (1);"]))
    with pytest.raises(StoreError, match=f"can't be brought to version {VERSION}: "):
        connect(old)
    assert everything(old) == before
    monkeypatch.undo()
    connect(old).close()


def test_two_at_once_one_waits(old: str) -> None:
    process = halfway(old)
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(connect, old) for _ in range(3)]
        with pytest.raises(TimeoutError):
            others[0].result(timeout=0.3)
        output, _ = process.communicate("\n" * VERSION, timeout=PATIENCE)
        assert output.splitlines()[-1] == "1"
        for other in others:
            with closing(other.result(PATIENCE)) as store:
                assert store.upgraded is None
                assert engine.version(store) == VERSION


@only_postgresql
def test_who_may_only_read_the_tables_is_told_so(old: str) -> None:
    before = everything(old)
    with closing(raw(old)) as owner:
        owner.execute("CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'never-to-be-seen'")
        owner.execute("ALTER ROLE reader NOSUPERUSER")
        owner.execute("GRANT USAGE ON SCHEMA public TO reader")
        owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        try:
            with pytest.raises(StoreError, match=f"can't be brought to version {VERSION}: permission denied for"):
                connect(old.replace("owner@", "reader@"))
        finally:
            owner.execute("DROP OWNED BY reader; DROP ROLE reader")
    assert everything(old) == before


@only_sqlite
def test_who_may_only_read_the_file_is_told_so(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(old)
    opened = sqlite._open

    def read_only(path: str, busy: float) -> sqlite.Connection:
        store = opened(path, busy)
        store.execute("PRAGMA query_only = ON")
        return store

    monkeypatch.setattr(sqlite, "_open", read_only)
    with pytest.raises(StoreError, match=f"can't be brought to version {VERSION}: the store can't be written; check"):
        connect(old)
    assert everything(old) == before


# Later programs' stores


def test_a_later_programs_store_is_refused_with_what_to_do(old: str) -> None:
    connect(old).close()
    with closing(raw(old)) as store:
        store.execute(f"UPDATE store SET version = {VERSION + 1}")
    before = everything(old)
    sentence = (
        f"has version {VERSION + 1}, and this program knows {VERSION}: a later wampauth upgraded it, install that one"
    )
    for use in connect, open_store:
        with pytest.raises(StoreError, match=sentence):
            use(old)
    assert everything(old) == before
