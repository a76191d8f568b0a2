"""What does a program do with a store that a later program has upgraded? Each command and each node refuses it; a node
that was running goes on for as long as it has the connections that it has (two nodes: test_store_postgresql.py).
"""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner
from conftest import MakeBundle
from stores import KEY, Loop, by_key, by_ticket
from test_store_schema import FIRST_RELEASE, everything, make, raw

from wampauth import cli
from wampauth import store as stores
from wampauth.store import StoreError, connect, create
from wampauth.store.schema import VERSION

pytest_plugins = ["postgres", "store_fixtures"]

COMMANDS = [
    ("add", "carol", "--realm", "realm1", "--role", "frontend"),
    ("list",),
    ("show", "alice"),
    ("set", "alice", "--role", "backend"),
    ("remove", "alice", "--yes"),
    ("ticket", "alice"),
    ("key", "alice", KEY),
    ("cert", "alice", "cert.pem"),
    ("password", "alice", "--from-env", "PASSWORD"),
    ("enrol", "alice"),
    ("rotate", "alice", "c2"),
    ("sessions",),
    ("why", "alice"),
    ("kick", "alice"),
    ("revoke", "alice", "--yes"),
    ("restore", "alice"),
    ("import", "people.jsonl"),
    ("export",),
    ("backup", "new.db"),
    ("recover", "backup.db", "--yes"),
]
NO_STORE = {"keygen", "log", "init", "check", "start", "probe"}  # the next test has `check` and `start`


@pytest.fixture
def ours(store_url: str) -> str:
    """A store with people, of each engine in turn."""
    make(store_url, FIRST_RELEASE)
    connect(store_url).close()
    return store_url


def later(where: str) -> None:
    """What a later program makes of a store."""
    with closing(raw(where)) as store:
        store.execute("ALTER TABLE principal ADD COLUMN later TEXT")
        store.execute(f"UPDATE store SET version = {VERSION + 1}")


def earlier(where: str) -> None:
    """As if that program had never been there: the backup is brought back."""
    with closing(raw(where)) as store:
        store.execute(f"UPDATE store SET version = {VERSION}")


LATER = f"has version {VERSION + 1}, and this program knows {VERSION}: a later wampauth upgraded it, install that one"


def test_each_command_refuses_a_later_programs_store(
    ours: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {command for command, *_ in COMMANDS} | NO_STORE == set(cli.main.commands)  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cert.pem").write_bytes(trustme.CA().issue_cert("device").cert_chain_pems[0].bytes())
    (tmp_path / "people.jsonl").write_text('{"authid": "carol", "realm": "realm1", "role": "frontend"}\n')
    create("backup.db")
    later(ours)
    before = everything(ours)
    for command in COMMANDS:
        done = CliRunner().invoke(cli.main, ["--store", ours, *command], env={"PASSWORD": "correct horse battery"})
        assert (done.exit_code, done.stdout) == (1, ""), command
        assert LATER in done.stderr and done.stderr.count("\n") == 1, command
    assert everything(ours) == before


def test_a_node_does_not_start_with_a_later_programs_store(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(start=False)
    later(str(bundle.store))
    done = CliRunner().invoke(cli.main, ["start", "--directory", str(bundle.directory)])  # which asks `check`
    assert done.exit_code == 1
    assert LATER in done.output


def answer(loop: Loop, *question: Any) -> Any:
    """None from a thread that had no connection yet."""
    try:
        return loop.ask(*question)
    except StoreError:
        return None


def test_a_node_that_runs_goes_on_with_the_connections_that_it_has(
    ours: str, loop: Loop, request: pytest.FixtureRequest
) -> None:
    """When a later program upgrades its store, and until they are replaced: then the store is away."""
    known = stores._principals(ours, loop.reactor)
    try:
        assert loop.ask(known.by_ticket, by_ticket()).credential == "c2"
        point, _ = loop.ask(known.changes, None)
        later(ours)
        assert any(answer(loop, known.by_key, by_key()) for _ in range(20))
        changes = [found for _ in range(20) if (found := answer(loop, known.changes, point))]
        assert changes and all(changed == set() for _, changed in changes)
        if "://" in ours:
            request.getfixturevalue("postgresql").disconnect(ours)
        else:
            for end in "", "-wal", "-shm":
                Path(ours + end).replace(ours + end + ".old")
                shutil.copy(ours + end + ".old", ours + end)
        for _ in range(3):
            with pytest.raises(StoreError, match=LATER):
                loop.ask(known.by_ticket, by_ticket())
        earlier(ours)
        assert loop.ask(known.by_ticket, by_ticket()).credential == "c2"
    finally:
        loop.ask(known.close)
