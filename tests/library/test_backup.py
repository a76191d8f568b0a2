"""Does a backup hold the whole store, of one moment, and does the store become what it was, while a node uses it?"""

import errno
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import MakeBundle
from nacl.signing import SigningKey
from stores import Loop, by_ticket, only_postgresql, only_sqlite
from test_store_schema import FIRST_RELEASE, everything, make
from websockets.exceptions import ConnectionClosed

from wampauth import cli
from wampauth.store import Connection, backup, connect, engine, enrolling, reading, showing, ticket_digest, writing
from wampauth.store.engine import transaction
from wampauth.store.principals import Principals
from wampauth.store.schema import VERSION
from wampauth.testing.wamp import CALL, GOODBYE, SUBSCRIBE, SUBSCRIBED, WELCOME, RawClient

pytest_plugins = ["postgres", "store_fixtures"]

PATIENCE = 30.0  # seconds


def run(where: str, *args: str, **options: Any) -> Result:
    """A command, whose act goes where no other test looks."""
    with tempfile.TemporaryDirectory() as folder:
        audit = str(Path(folder, "audit.jsonl"))
        return CliRunner().invoke(cli.main, ["--store", where, "--audit", audit, *args], **options)


def holds(where: str) -> dict[str, Any]:
    """All but the id, which belongs to the place."""
    found = everything(where)
    found.pop("identity")
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a backup may be written."""
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "monday.db"


# Keeping


def test_a_backup_is_a_store_with_all_that_is_in_it(path: str, file: Path) -> None:
    writing_something(path)
    done = run(path, "backup", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"{file} holds the store as it is now: keep it like the store itself." in done.stderr
    assert everything(str(file)) == everything(path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    assert run(str(file), "list", "--json").stdout == run(path, "list", "--json").stdout


def writing_something(where: str) -> None:
    """A bit of everything, with all that is hard to carry over."""
    with closing(connect(where)) as store:
        writing.add(store, {"authid": "größe", "realm": "realm1", "role": "r", "extra": {"n": [1.5, None, "ü?%s"]}})
        terms = {"label": "it's", "not_before": "2001-02-03T04:05:06.789+00:00", "expires": "2999-01-01"}
        writing.add_credential(store, "größe", {"kind": "ticket", "verifier": ticket_digest("x"), **terms})
        writing.revoke(store, "bob")


@pytest.mark.parametrize("there", ["file", "link", "folder"])
def test_a_backup_replaces_nothing(path: str, file: Path, there: str) -> None:
    if there == "file":
        file.write_text("mine")
    elif there == "link":
        file.symlink_to("nowhere")
    else:
        file.mkdir()
    refused = run(path, "backup", str(file))
    assert refused.exit_code != 0
    assert "Traceback" not in refused.output
    assert there == "folder" or "is there already, and a backup replaces nothing" in refused.stderr
    assert there != "file" or file.read_text() == "mine"
    assert list(file.parent.iterdir()) == [file]


def test_a_backup_that_cannot_be_written_leaves_nothing(path: str, file: Path) -> None:
    refused = run(path, "backup", str(file.parent / "nowhere" / file.name))
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr == f"Error: there is no folder {file.parent / 'nowhere'}: make it first\n"
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("where", ["missing.db", "own_store:Store", "postgresql://127.0.0.1:1/db"])
def test_what_is_no_store_is_not_backed_up(where: str, tmp_path: Path, file: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    refused = run(where, "backup", str(file))
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert list(file.parent.iterdir()) == []


WRITER = """
import sys
from wampauth.store import connect, ticket_digest, writing
number = 0
while True:
    store = connect(sys.argv[1], busy=60)
    with writing.transaction(store):
        for authid in (f"even-{number}", f"odd-{number}"):
            writing.insert(store, {"authid": authid, "realm": "realm1", "role": "frontend"})
            writing.insert_credential(store, authid, {"kind": "ticket", "verifier": ticket_digest(authid)})
    store.close()
    number += 1
    print(number, flush=True)
"""


def test_a_backup_is_of_one_moment_while_others_write(path: str, file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        try:
            assert writer.stdout.readline() == "1\n"
            for number in range(5):
                backup.keep(path, file.with_name(f"{number}.db"))
            assert writer.poll() is None
        finally:
            writer.kill()
    for number in range(5):
        with closing(connect(str(file.with_name(f"{number}.db")))) as kept:
            counts = [
                kept.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("principal", "credential")
            ]
            assert counts[0] % 2 == 0
            assert counts[1] - counts[0] == 1  # alice has three, bob none


@only_sqlite
def test_a_backup_of_an_older_store_is_as_old(store_url: str, file: Path) -> None:
    make(store_url, FIRST_RELEASE)
    before = everything(store_url)
    backup.keep(store_url, file)
    assert everything(str(file)) == everything(store_url) == before
    with closing(connect(str(file), upgrading=False)) as store:
        assert engine.version(store) == 1  # so that the first release can be gone back to
    with closing(connect(store_url)) as store:
        writing.remove(store, "alice")
    kept = file.read_bytes()
    assert run(store_url, "recover", str(file), "--yes").exit_code == 0
    assert file.read_bytes() == kept
    with closing(connect(store_url, upgrading=False)) as store:
        assert engine.version(store) == VERSION
        assert showing.show(store, "alice")["credentials"]


@only_postgresql
def test_an_older_store_in_a_server_is_for_its_own_tool(store_url: str, file: Path) -> None:
    make(store_url, FIRST_RELEASE)
    refused = run(store_url, "backup", str(file))
    assert "has an older version: keep it with `pg_dump`; any other command upgrades it" in refused.stderr
    assert list(file.parent.iterdir()) == []


# Bringing back


def test_the_store_becomes_what_it_was(path: str, file: Path) -> None:
    writing_something(path)
    before = everything(path)
    backup.keep(path, file)
    with closing(connect(path)) as store:
        salts = reading.scram_salt(store, "alice"), reading.scram_salt(store, "nobody")
        (key, *_) = [one["id"] for one in showing.show(store, "alice")["credentials"]]
        writing.revoke(store, "alice", key)
        writing.remove(store, "bob")
        writing.add(store, {"authid": "carol", "realm": "realm1", "role": "frontend"})
    done = run(path, "recover", str(file), "--yes")
    assert done.exit_code == 0
    after = everything(path)
    assert after.pop("identity") != before.pop("identity")
    assert after == before
    with closing(connect(path)) as store:
        assert (reading.scram_salt(store, "alice"), reading.scram_salt(store, "nobody")) == salts
    assert [line for line in done.stderr.splitlines() if "audit" not in line] == [
        "The store is what it was.",
        "Credentials that count again and didn't a moment ago (1):",
        f"  wampauth revoke alice --credential {key}",
    ]


def test_a_token_that_was_spent_since_then_counts_again_and_is_told(path: str, file: Path) -> None:
    """The key that it became is gone, whose id it had."""
    pubkey = SigningKey.generate().verify_key.encode().hex()
    with closing(connect(path)) as store:
        (token,) = enrolling.invite(store, [{"authid": "alice"}], ["once"], {})
        backup.keep(path, file)
        assert enrolling.enrol(store, "alice", "realm1", "once", pubkey)[1] == ""
    assert backup.bring_back(path, file) == [("alice", token)]


def test_it_asks_before(path: str, file: Path) -> None:
    backup.keep(path, file)
    with closing(connect(path)) as store:
        writing.revoke(store, "alice")
    before = everything(path)
    asked = run(path, "recover", str(file), input="n\n")
    assert asked.exit_code == 1
    assert "Forget what the store holds now" in asked.output
    assert everything(path) == before


@pytest.mark.parametrize("target", ["file", "server"])
def test_a_backup_goes_where_no_store_is(path: str, file: Path, tmp_path: Path, target: str, postgresql: Any) -> None:
    """Also into the other engine."""
    writing_something(path)
    backup.keep(path, file)
    url = postgresql.create() if target == "server" else str(tmp_path / "new.db")
    try:
        done = run(url, "recover", str(file), "--yes")
        assert done.exit_code == 0
        assert "The store is what it was.\n" in done.stderr
        assert "count again" not in done.stderr
        assert holds(url) == holds(path)
        again = file.with_name("again.db")
        backup.keep(url, again)
        assert holds(str(again)) == holds(str(file))
    finally:
        if target == "server":
            postgresql.drop(url)


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 1000])
def test_what_is_no_backup_changes_nothing(path: str, file: Path, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
    before = everything(path)
    refused = run(path, "recover", str(file), "--yes")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert str(file) in refused.stderr
    assert everything(path) == before


def test_a_later_programs_backup_changes_nothing(path: str, file: Path) -> None:
    backup.keep(path, file)
    with closing(connect(str(file))) as kept:
        kept.execute("UPDATE store SET version = 99")
        kept.settle()
    before = everything(path)
    refused = run(path, "recover", str(file), "--yes")
    assert f"{file} has version 99" in refused.stderr
    assert everything(path) == before


def test_who_fails_halfway_changes_nothing(path: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup.keep(path, file)
    with closing(connect(path)) as store:
        writing.remove(store, "alice")
    before = everything(path)
    real = engine.copy_rows

    def half(target: Connection, source: Connection, tables: list[str]) -> None:
        real(target, source, tables)
        raise OSError(errno.ENOSPC, "the disk has gone")

    monkeypatch.setattr(backup, "copy_rows", half)
    assert run(path, "recover", str(file), "--yes").stderr == "Error: the disk has gone\n"
    assert everything(path) == before


def test_what_an_operator_asked_of_nodes_is_not_asked_again(path: str, file: Path) -> None:
    ask = "INSERT INTO request (id, made, body) VALUES (?, store_now(), '{}')"
    with closing(connect(path)) as store, transaction(store):
        store.execute(ask, ("before",))
    backup.keep(path, file)
    with closing(connect(path)) as store:
        with transaction(store):
            store.execute("DELETE FROM request")
            store.execute(ask, ("now",))
        backup.bring_back(path, file)
        assert store.execute("SELECT id FROM request").fetchall() == [("now",)]


# While a node uses it


def test_who_watches_looks_at_everybody(path: str, file: Path, loop: Loop, known: Principals) -> None:
    """Even if as much is changed after the backup came back as had been before."""
    backup.keep(path, file)
    with closing(connect(path)) as store:
        writing.add(store, {"authid": "carol", "realm": "realm1", "role": "frontend"})
        added = writing.add_credential(store, "carol", {"kind": "ticket", "verifier": ticket_digest("new")})
        writing.revoke(store, "alice")
    point, _ = loop.ask(known.changes, None)
    assert set(loop.ask(known.by_ids, [added])) == {added}
    backup.bring_back(path, file)
    with closing(connect(path)) as store:
        writing.revoke(store, "alice")
        writing.revoke(store, "bob")
    assert loop.ask(known.changes, point)[1] is None
    assert loop.ask(known.by_ids, [added]) == {}
    assert loop.ask(known.by_ticket, by_ticket("new", "carol")) is None


def test_sessions_follow_a_store_that_came_back(make_bundle: MakeBundle, file: Path) -> None:
    """Who isn't in it leaves. Who was ended in between stays ended, also if its credential counts again and it doesn't
    care for GOODBYE: this node has an authorizer."""
    node = make_bundle("hardened.yaml", require_tls=False, require_channel_binding=False)
    where = str(node.store)
    tickets = {}
    for authid in "stays", "ended", "added":
        if authid == "added":
            assert run(where, "backup", str(file)).exit_code == 0
        assert run(where, "add", authid, "--realm", "realm1", "--role", "frontend").exit_code == 0
        tickets[authid] = run(where, "ticket", authid).stdout.strip()
    with RawClient(node.url) as stays, RawClient(node.url) as ended, RawClient(node.url) as added:
        for client, authid in (stays, "stays"), (ended, "ended"), (added, "added"):
            assert client.login_ticket(authid, tickets[authid])[0] == WELCOME
        assert run(where, "revoke", "ended", "--yes").exit_code == 0
        assert ended.receive()[::2] == [GOODBYE, "com.example.revoked"]
        assert run(where, "recover", str(file), "--yes").exit_code == 0
        assert added.receive()[::2] == [GOODBYE, "com.example.revoked"]
        with pytest.raises(ConnectionClosed):
            ended.request(CALL, {}, "com.example.add2", [2, 3])
        assert stays.request(SUBSCRIBE, {}, "com.example.topic1")[0] == SUBSCRIBED
    with RawClient(node.url) as again, RawClient(node.url) as gone:
        assert again.login_ticket("ended", tickets["ended"])[0] == WELCOME  # as was told
        assert gone.login_ticket("added", tickets["added"])[2] == "com.example.invalid_ticket"
