"""Does a store in PostgreSQL keep what one in a file promises, and do two nodes that share it agree?

What both engines must do is tested with both, in ``test_store_writing.py`` and ``test_store_reading.py`` and here; the
rest is about the server: passwords, its own mistakes and ours, and its absence.
"""

import json
import secrets
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result
from conftest import Bundle, MakeBundle, wait_for
from nacl.signing import SigningKey
from test_store_later import LATER, earlier, later

from wampauth import cli as operator
from wampauth.store import StoreError, connect, create, reading, showing, ticket_digest, writing
from wampauth.store.engine import sentences, transaction
from wampauth.store.reading import Point
from wampauth.store.schema import VERSION
from wampauth.testing.wamp import ABORT, CALL, GOODBYE, WELCOME, Message, RawClient, pubkey
from wampauth.told import sentence

if TYPE_CHECKING:
    from postgres import Server

pytest_plugins = ["postgres"]

PROMISE = 1.0  # seconds in which who is revoked is out
BACK = 3.0  # seconds after which all is as ever when the server is
SLACK = 1.0  # seconds that a busy machine may take on top
PATIENCE = 20.0  # seconds
DEADLINE = 2.0  # seconds that these nodes give an attempt
ALICE = {"authid": "alice", "realm": "realm1", "role": "frontend"}
SECRET = "hunter2secret"


@pytest.fixture
def url(postgresql: "Server") -> Iterator[str]:
    """Where an empty store is."""
    url = postgresql.create()
    create(url)
    yield url
    postgresql.drop(url)


def beginning(store: Any) -> Point:
    """The point at which a store was empty."""
    return reading.changes(store, None)[0]._replace(seq=0, moment=0.0, last=(None, None))


def ticket() -> dict[str, str]:
    return {"kind": "ticket", "verifier": ticket_digest(secrets.token_hex(16))}


def test_the_encoding_is_not_left_to_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As which the environment may say, or a database that was made without a locale, SQL_ASCII: texts stay texts."""
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    with closing(connect(url)) as store:
        writing.add(store, {**ALICE, "authid": "Ωmega"})
        assert showing.show(store, "Ωmega")["role"] == "frontend"


# No password is ever shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://owner:{}@127.0.0.1:1/db",
        "postgresql://owner:{}@127.0.0.1:port/db",
        "postgresql://owner:{}/x@127.0.0.1/db",
        "postgresql://owner:{}#x@127.0.0.1/db",
        "postgresql://owner:{}?x@127.0.0.1/db",
        "postgresql://owner:{}%zz@127.0.0.1/db",
        "postgresql://owner:x@{}@127.0.0.1:1/db",
        "postgresql://owner:{} x@127.0.0.1:1/db",
        "postgresql://owner:[{}]@127.0.0.1:1/db",
        "postgresql://[{}/db",
        "postgresql:////owner:{}@127.0.0.1",
        "postgresql://127.0.0.1:1/db?password={}",
        "postgresql://127.0.0.1:1/db?sslmode=require&password={}",
        "postgresql://127.0.0.1:1/db?{}",
        "postgresql://127.0.0.1:{}/db",
        "postgresql://127.0.0.1:1{}/db",
        "postgresql://127.0.0.1:1/db\n{}",
    ],
)
@pytest.mark.parametrize("use", [connect, create])
def test_a_password_in_the_url_is_refused_and_not_repeated(use: Callable[[str], Any], url: str) -> None:
    with pytest.raises(StoreError, match=r"a password belongs in ~/\.pgpass or PGPASSWORD") as refused:
        use(url.format(SECRET))
    assert SECRET not in repr(refused.value)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://owner@127.0.0.1:1/db", "postgresql://127.0.0.1:1/db"),
        ("postgresql://127.0.0.1:1/db?sslmode=verify-full", "postgresql://127.0.0.1:1/db"),
        ("postgresql://o.w-n+er@localhost:1/my-db", "postgresql://localhost:1/my-db"),
        ("postgresql://127.0.0.1:1,127.0.0.1:2/db", "postgresql://127.0.0.1:1,127.0.0.1:2/db"),
        ("postgresql:///db", "postgresql:///db"),
    ],
)
def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, url: str, named: str) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    monkeypatch.setenv("PGHOST", "/nowhere")
    with pytest.raises(StoreError) as refused:
        connect(url)
    assert str(refused.value).startswith(named + ": conn")
    assert "\n" not in str(refused.value)
    assert SECRET not in repr(refused.value)


def test_a_wrong_password_is_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with pytest.raises(StoreError, match="password authentication failed") as refused:
        connect(url)
    assert SECRET not in repr(refused.value)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("INSERT INTO secret VALUES (?)", 'duplicate key value violates unique constraint "secret_pkey"'),
        ("INSERT INTO secret VALUES (? || ?)", 'new row for relation "secret" violates check constraint "short"'),
        ("SELECT CAST(? AS INTEGER)", 'invalid input syntax for type integer: "..."'),
        ("SELECT CAST(? || '\n\"' AS JSON)", "invalid input syntax for type json"),
        ("SELECT to_timestamp(?, 'YYYY')", 'invalid value "..."'),
        ("SELECT DATE '1-1-1' + ?::INTERVAL", 'invalid input syntax for type interval: "..."'),
    ],
)
def test_what_the_server_quotes_is_not_repeated(url: str, statement: str, told: str) -> None:
    """It tells what was stored, or was to be, in a line of details, and of a value in the wrong form in the first."""
    with closing(connect(url)) as store:
        store.execute("CREATE TABLE secret (value TEXT PRIMARY KEY CONSTRAINT short CHECK (length(value) < 20))")
        store.execute("INSERT INTO secret VALUES (?)", (SECRET,))
        with pytest.raises(StoreError) as refused, sentences(store):
            try:
                store.execute(statement, (SECRET,) * statement.count("?"))
            except store.Error as error:
                assert SECRET[:4] in str(error)  # as the driver has it
                raise
    assert str(refused.value) == f"{store.name}: {told}"
    assert SECRET[:4] not in "".join(traceback.format_exception(refused.value)) + sentence(refused.value)


# Making it


def test_a_database_without_our_tables_is_no_store(postgresql: "Server") -> None:
    url = postgresql.create()
    try:
        with pytest.raises(StoreError, match=r"holds no principals; `wampauth add` makes the tables"):
            connect(url)
        assert manage(url, "list").exit_code == 1
        assert manage(url, "add", "alice", "--realm", "realm1", "--role", "frontend").exit_code == 0
        assert json.loads(manage(url, "list", "--json").stdout)["authid"] == "alice"
    finally:
        postgresql.drop(url)


def test_many_make_it_at_once(postgresql: "Server") -> None:
    url = postgresql.create()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(create, [url] * 8))
        with closing(connect(url)) as store:
            assert store.execute("SELECT version FROM store").fetchall() == [(VERSION,)]
    finally:
        postgresql.drop(url)


def test_one_that_exists_is_left_alone(url: str) -> None:
    with closing(connect(url)) as store:
        writing.add(store, ALICE)
        create(url)
        assert showing.show(store, "alice")["authid"] == "alice"
        store.execute("UPDATE store SET version = 99")
    create(url)
    with pytest.raises(StoreError, match=f"has version 99, and this program knows {VERSION}"):
        connect(url)


@pytest.mark.parametrize(
    "query",
    [reading.BY_KEY, reading.BY_TICKET, reading.BY_IDS.format("?"), reading.CHANGES, reading.ANY_CHOSEN],
)
def test_lookups_are_index_probes(url: str, query: str) -> None:
    with closing(connect(url)) as store:
        store.execute("SET enable_seqscan = off")  # the tables are empty, and reading them whole would be cheapest
        arguments = tuple("1" if "seq" not in query else 1 for _ in range(query.count("?")))
        plan = "\n".join(row[0] for row in store.execute("EXPLAIN " + query, arguments))
    assert "Index" in plan
    assert "Seq Scan" not in plan


# Several at once: with each engine


@pytest.fixture
def shared(store_url: str) -> str:
    """An empty store of each engine in turn."""
    create(store_url)
    return store_url


WRITER = """
import sys
from wampauth.store import connect, writing
where, name, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(times):
    store = connect(where, busy=60)
    writing.add(store, {"authid": f"{name}-{number}", "realm": "realm1", "role": "frontend"})
    writing.revoke(store, f"{name}-{number}")
    store.close()
"""


def writers(where: str, number: int, times: int) -> "list[subprocess.Popen[bytes]]":
    """Processes that add and revoke one principal after the other."""
    commands = [[sys.executable, "-c", WRITER, where, f"writer{i}", str(times)] for i in range(number)]
    return [subprocess.Popen(command) for command in commands]


def test_two_processes_that_write_lose_nothing_and_a_follower_misses_nothing(shared: str) -> None:
    number, times = 2, 40
    running = writers(shared, number, times)
    expected = sorted(f"writer{i}-{j}" for i in range(number) for j in range(times))
    heard: set[str] = set()  # what comes while it looks may come twice
    with closing(connect(shared)) as store:
        point, done = beginning(store), False
        changed: set[str] | None = set()
        while changed or not done:
            done = all(process.poll() is not None for process in running)
            point, changed = reading.changes(store, point)
            assert changed is not None  # it is one and the same store all the while
            heard |= changed
        assert [process.returncode for process in running] == [0] * number
        assert sorted(heard) == expected
        assert [record["authid"] for record in showing.principals(store)] == expected
        assert [seq for (seq,) in store.execute("SELECT seq FROM change ORDER BY seq")] == list(range(1, 81))


def test_a_reader_does_not_wait_for_a_writer(shared: str) -> None:
    with closing(connect(shared)) as writer, closing(connect(shared, busy=0.1)) as reader:
        writing.add(writer, ALICE)
        with transaction(writer):
            writing.insert(writer, {**ALICE, "authid": "bob"})
            assert [record["authid"] for record in showing.principals(reader)] == ["alice"]
            assert reading.changes(reader, beginning(reader))[1] == set()


def test_a_writer_that_waits_too_long_is_told_so_and_may_try_again(shared: str) -> None:
    with closing(connect(shared)) as one, closing(connect(shared, busy=0.1)) as other:
        with transaction(one), pytest.raises(StoreError, match="lock"):
            writing.add(other, ALICE)
        writing.add(other, ALICE)
        assert showing.show(one, "alice")["authid"] == "alice"


def test_who_is_frozen_while_it_writes_keeps_others_from_it_for_a_time(url: str) -> None:
    from wampauth.store import postgresql

    with closing(postgresql.connect(url, longest=0.2)) as frozen, closing(connect(url, busy=5.0)) as other:
        for statement in frozen.BEGIN_WRITING:
            frozen.execute(statement)
        writing.add(other, ALICE)
        wait_for(frozen.is_stale)  # so that a node makes another connection


def manage(where: str, *args: str, **options: Any) -> Result:
    """Do what the command line does on a store."""
    return CliRunner().invoke(operator.main, ["--store", where, *args], **options)


def test_export_moves_a_store_from_one_engine_to_the_other_and_back(url: str, tmp_path: Any) -> None:
    first, second = str(tmp_path / "first.db"), str(tmp_path / "second.db")
    create(first)
    with closing(connect(first)) as store:
        for authid in "zoe", "Bob", "alice", "größe", "revoked":
            writing.add(store, {**ALICE, "authid": authid, "extra": {"n": [1, 2.5, None, "ü?%s"]}})
            for terms in (
                {},
                {"label": "laptop", "not_before": "2001-02-03T04:05:06.789+00:00"},
                {"expires": "2999-01-01"},
            ):
                writing.add_credential(store, authid, {**ticket(), **terms})
            key = {"kind": "key", "verifier": pubkey(SigningKey.generate())}
            writing.revoke(store, authid, writing.add_credential(store, authid, key))
        writing.revoke(store, "revoked")
    texts = []
    for source, target in (first, url), (url, second), (second, None):
        exported = manage(source, "export")
        assert exported.exit_code == 0
        texts.append(exported.stdout)
        if target:
            file = tmp_path / "principals.jsonl"
            file.write_text(exported.stdout)
            assert "5 principals were imported.\n" in manage(target, "import", str(file)).stderr
    assert texts[0].count("\n") == 5
    assert texts[0] == texts[1] == texts[2]


# Two nodes that share it


class Two:
    """Two nodes on this machine, each with a port and a directory of its own, and one store."""

    def __init__(self, make_bundle: MakeBundle, url: str) -> None:
        self.url = url
        self.nodes = [make_bundle(start=False, deadline=DEADLINE, refusal_delay=0.05) for _ in range(2)]
        for node in self.nodes:
            file = node.directory / node.config
            file.write_text(file.read_text().replace('"principals.db"', json.dumps(url)))
            node.store.unlink()

    def add(self) -> tuple[str, str]:
        """A principal, added with the command line: its authid and its ticket."""
        authid = f"person-{secrets.token_hex(4)}"
        assert manage(self.url, "add", authid, "--realm", "realm1", "--role", "frontend").exit_code == 0
        return authid, manage(self.url, "ticket", authid).stdout.strip()

    def logins(self, authid: str, ticket: str) -> list[Message]:
        """Try to log in at both: the answers."""
        answers = []
        for node in self.nodes:
            with RawClient(node.url) as client:
                answers.append(client.login_ticket(authid, ticket))
        return answers

    def welcome(self, authid: str, ticket: str) -> bool:
        return [answer[0] for answer in self.logins(authid, ticket)] == [WELCOME, WELCOME]


@pytest.fixture(scope="module")
def two(make_bundle: MakeBundle, postgresql: "Server") -> Iterator[Two]:
    url = postgresql.create()
    create(url)
    two = Two(make_bundle, url)
    with ThreadPoolExecutor() as pool:
        nodes = list(pool.map(Bundle.start, two.nodes))
    yield two
    for node in nodes:
        node.stop()
    postgresql.drop(url)


def unavailable(answer: Message) -> bool:
    """Whether that is all that a client learns of it."""
    kind, details, uri = answer
    text = "authentication is unavailable - try again later (reference "
    return kind == ABORT and uri == "com.example.unavailable" and details["message"].startswith(text)


def test_added_once_known_at_both(two: Two) -> None:
    authid, ticket = two.add()
    assert two.welcome(authid, ticket)
    assert [answer[2] for answer in two.logins(authid, ticket + "x")] == ["com.example.invalid_ticket"] * 2


def test_revoked_once_out_of_both_within_a_second(two: Two) -> None:
    authid, ticket = two.add()
    with RawClient(two.nodes[0].url) as one, RawClient(two.nodes[1].url) as other:
        assert one.login_ticket(authid, ticket)[0] == other.login_ticket(authid, ticket)[0] == WELCOME
        assert manage(two.url, "revoke", authid, "--yes").exit_code == 0
        done = time.time()
        for client in one, other:
            assert client.receive()[::2] == [GOODBYE, "com.example.revoked"]
        assert time.time() - done < PROMISE + SLACK
    assert [answer[2] for answer in two.logins(authid, ticket)] == ["com.example.invalid_ticket"] * 2


def test_the_server_goes_and_comes_back(two: Two, postgresql: "Server") -> None:
    authid, ticket = two.add()
    pids = [(node.directory / "node.pid").read_text() for node in two.nodes]
    with RawClient(two.nodes[0].url) as one, RawClient(two.nodes[1].url) as other:
        assert one.login_ticket(authid, ticket)[0] == other.login_ticket(authid, ticket)[0] == WELCOME
        postgresql.stop()
        try:
            for _ in range(3):
                assert all(map(unavailable, two.logins(authid, ticket)))
        finally:
            postgresql.start()
        wait_for(lambda: two.welcome(authid, ticket))
        assert all(two.welcome(authid, ticket) for _ in range(5))  # and it stays well
        assert manage(two.url, "revoke", authid, "--yes").exit_code == 0
        for client in one, other:  # who was there before is watched again
            assert client.receive()[::2] == [GOODBYE, "com.example.revoked"]
    assert [(node.directory / "node.pid").read_text() for node in two.nodes] == pids


def test_a_restart_between_two_logins_is_not_noticed(two: Two, postgresql: "Server") -> None:
    """Connections that were lost meanwhile are replaced before they are used."""
    authid, ticket = two.add()
    assert all(two.welcome(authid, ticket) for _ in range(3))
    postgresql.stop()
    postgresql.start()
    assert all(two.welcome(authid, ticket) for _ in range(10))


def test_a_server_that_does_not_answer_is_not_waited_for(two: Two, postgresql: "Server") -> None:
    """Who was revoked meanwhile is out of both nodes when it goes on."""
    authid, ticket = two.add()
    revoked, spent = two.add()
    assert two.welcome(authid, ticket)
    with (
        ThreadPoolExecutor(7) as pool,
        closing(connect(two.url)) as store,
        RawClient(two.nodes[0].url) as one,
        RawClient(two.nodes[1].url) as other,
    ):
        assert one.login_ticket(revoked, spent)[0] == other.login_ticket(revoked, spent)[0] == WELCOME
        processes = postgresql.processes()
        for process in processes:
            process.suspend()
        try:
            revoking, started = pool.submit(writing.revoke, store, revoked), time.monotonic()
            assert all(map(unavailable, pool.map(lambda _: two.logins(authid, ticket)[0], range(6))))
            assert time.monotonic() - started < 2 * DEADLINE + 2 * SLACK
        finally:
            for process in processes:
                process.resume()
        revoking.result(PATIENCE)
        done = time.monotonic()
        for client in one, other:
            assert client.receive()[::2] == [GOODBYE, "com.example.revoked"]
        assert time.monotonic() - done < BACK + SLACK
    wait_for(lambda: two.welcome(authid, ticket))


def test_a_later_program_upgrades_the_store_of_nodes_that_run(two: Two, postgresql: "Server") -> None:
    """They go on with the connections that they have. To those that they open anew the store is away, until they are
    given the later program; here, the store is brought back."""
    authid, ticket = two.add()
    assert two.welcome(authid, ticket)
    with RawClient(two.nodes[0].url) as stays:
        assert stays.login_ticket(authid, ticket)[0] == WELCOME
        later(two.url)
        assert all(two.welcome(authid, ticket) for _ in range(5))
        postgresql.disconnect(two.url)
        wait_for(lambda: all(map(unavailable, two.logins(authid, ticket))))
        assert stays.request(CALL, {}, "com.example.add2", [2, 3])[3:] == [[5]]  # its role has permissions
        assert manage(two.url, "revoke", authid, "--yes").exit_code == 1
        wait_for(lambda: all(LATER in node.log for node in two.nodes))
        earlier(two.url)
        wait_for(lambda: two.welcome(authid, ticket))
        assert manage(two.url, "revoke", authid, "--yes").exit_code == 0
        assert stays.receive()[::2] == [GOODBYE, "com.example.revoked"]


def test_one_of_two_dies_and_the_other_goes_on(two: Two) -> None:
    """Nobody is counted at the one that is gone, and it is waited for once."""
    authid, ticket = two.add()
    with RawClient(two.nodes[0].url) as stays, RawClient(two.nodes[1].url) as lost:
        assert stays.login_ticket(authid, ticket)[0] == lost.login_ticket(authid, ticket)[0] == WELCOME
        assert len(manage(two.url, "sessions", "--authid", authid, "--json").stdout.splitlines()) == 2
        controller = psutil.Process(json.loads((two.nodes[1].directory / "node.pid").read_text())["pid"])
        family = [*controller.children(recursive=True), controller]
        for process in family:
            process.kill()
        psutil.wait_procs(family, PATIENCE)
        assert stays.request(CALL, {}, "com.example.add2", [2, 3])[3:] == [[5]]
        with RawClient(two.nodes[0].url) as third:
            assert third.login_ticket(authid, ticket)[0] == WELCOME
            first = manage(two.url, "sessions", "--authid", authid, "--json")
            assert len(first.stdout.splitlines()) == 2
            assert "1 of 2 node processes didn't answer" in first.stderr
            second = manage(two.url, "sessions", "--authid", authid, "--json")
            assert (len(second.stdout.splitlines()), second.stderr, second.exit_code) == (2, "", 0)
            done = time.time()
            assert manage(two.url, "kick", authid).exit_code == 0
            for client in stays, third:
                assert client.receive()[::2] == [GOODBYE, "com.example.kicked"]
            assert time.time() - done < PROMISE + SLACK


def test_no_password_in_what_the_nodes_wrote(two: Two, postgresql: "Server") -> None:
    """After all of the above."""
    for node in two.nodes:
        assert "the store is away" in node.log
        assert postgresql.password not in node.log
        assert postgresql.password not in json.dumps(node.audit)
        assert postgresql.password not in (node.directory / node.config).read_text()
