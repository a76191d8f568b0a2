"""What if the store goes wrong: locked, full, damaged, gone, or its writer killed? Each fault is really caused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import CHOSEN, HERE, Bundle, MakeBundle, size_limit
from nacl.signing import SigningKey

from wampauth import cli
from wampauth.store import connect, create, principals, showing
from wampauth.testing.wamp import ABORT, AUTHENTICATE, CALL, CHALLENGE, RESULT, WELCOME, Message, RawClient, pubkey

PATIENCE = 20.0  # seconds
NOBODY = 65534
DEVICE = SigningKey(b"d" * 32)
CLIENT1 = ("client1", CHOSEN)


# The store, and operators in this process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a device in it."""
    path = tmp_path / "principals.db"
    add_device(path, "device", DEVICE)
    return path


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    with closing(connect(str(path))) as store:
        yield store


def run(path: Path, *args: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(cli.main, ["--database", str(path), *args])


def add_device(path: Path, authid: str, key: SigningKey) -> None:
    assert run(path, "add", authid, "--realm", "devices", "--role", "device").exit_code == 0
    assert run(path, "key", authid, pubkey(key)).exit_code == 0


def dump(path: Path) -> list[str]:
    """All that the store holds."""
    with opened(path) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []
        return list(store.iterdump())


def authids(path: Path) -> list[str]:
    with opened(path) as store:
        return [principal["authid"] for principal in showing.principals(store)]


def refused(result: Result, sentence: str) -> bool:
    """Whether a command was refused with one sentence that says so."""
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.output
    return sentence in result.stderr


ADD_BOB = ("add", "bob", "--realm", "realm1", "--role", "frontend")


# Other processes


@contextmanager
def other_process(script: str, *args: object, **options: Any) -> "Iterator[subprocess.Popen[str]]":
    """A second process with our modules at hand; it is killed at the end, if it is still there."""
    command = [sys.executable, "-c", script, *map(str, args)]
    with subprocess.Popen(
        command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    """The next line that a process writes; empty if it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


WRITE_LOCK = """
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("BEGIN IMMEDIATE")
store.execute("DELETE FROM principal")
print("locked", flush=True)
sys.stdin.readline()
store.execute("ROLLBACK")
"""
ALL_LOCKED = WRITE_LOCK.replace('"BEGIN', '"PRAGMA locking_mode = EXCLUSIVE"); store.execute("BEGIN')
# What SQLite locks while it recovers or restarts the log; this can be had although others have the store open.
LOG_LOCKED = """
import fcntl, sys
file = open(sys.argv[1] + "-shm", "r+b")
fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked(path: Path, script: str = WRITE_LOCK) -> "Iterator[subprocess.Popen[str]]":
    """A second process keeps the store locked."""
    with other_process(script, path) as holder:
        assert line(holder) == "locked"
        yield holder


def let_go(holder: "subprocess.Popen[str]") -> None:
    assert holder.stdin is not None
    holder.stdin.write("\n")
    holder.stdin.flush()


def test_how_the_store_is_opened(path: Path) -> None:
    with opened(path) as store:
        settings = {
            name: store.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 2000, "synchronous": 2}


# Locked


@pytest.mark.parametrize("script", [WRITE_LOCK, ALL_LOCKED], ids=["for writing", "altogether"])
def test_a_command_gives_up_on_a_store_that_stays_locked(path: Path, script: str) -> None:
    before = dump(path)
    with locked(path, script):
        assert refused(run(path, *ADD_BOB), "another process is keeping the store locked; try again")
    assert dump(path) == before


def test_a_command_waits_for_a_short_lock(path: Path) -> None:
    with locked(path) as holder:
        add = [sys.executable, "-m", "wampauth", "--database", str(path), *ADD_BOB]
        with subprocess.Popen(add) as waiting:
            let_go(holder)
            assert waiting.wait(PATIENCE) == 0
    assert authids(path) == ["bob", "device"]


def test_readers_do_not_wait_for_a_writer(path: Path) -> None:
    with locked(path):
        assert run(path, "list").exit_code == 0
        assert authids(path) == ["device"]


# Several at once

ADDER = """
import sys
from wampauth.store import connect, writing
store = connect(sys.argv[1], busy=30.0)
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    authid = f"{sys.argv[2]}-{number}"
    writing.add(store, {"authid": authid, "realm": "realm1", "role": "r"})
    writing.revoke(store, authid)
print("done", flush=True)
"""


def test_two_operators_at_once_lose_nothing(path: Path) -> None:
    with other_process(ADDER, path, "one") as one, other_process(ADDER, path, "two") as two:
        assert line(one) == line(two) == "ready"
        let_go(one)
        let_go(two)
        assert line(one) == line(two) == "done"
    assert set(authids(path)) == {"device", *(f"{who}-{number}" for who in ("one", "two") for number in range(60))}
    with opened(path) as store:
        assert [seq for (seq,) in store.execute("SELECT seq FROM change ORDER BY seq")] == list(range(1, 121))


def at_once(path: Path, *commands: tuple[str, ...]) -> list[int]:
    """Run commands at the same time; their exit codes."""
    manage = [sys.executable, "-m", "wampauth", "--database", str(path)]
    processes = [subprocess.Popen([*manage, *command], stderr=subprocess.DEVNULL) for command in commands]
    return [process.wait(PATIENCE) for process in processes]


def test_several_first_operators_make_one_store(tmp_path: Path) -> None:
    path, who = tmp_path / "principals.db", ["a", "b", "c"]
    assert at_once(path, *(("add", authid, "--realm", "realm1", "--role", "r") for authid in who)) == [0, 0, 0]
    assert authids(path) == who
    assert sorted(file.name for file in tmp_path.iterdir()) == ["audit.jsonl", "principals.db", "principals.db.reserve"]


def test_a_key_goes_to_one_of_two(path: Path) -> None:
    key = pubkey(SigningKey.generate())
    assert run(path, *ADD_BOB).exit_code == 0
    assert sorted(at_once(path, ("key", "bob", key), ("key", "device", key))) == [0, 1]
    assert sum(key in statement for statement in dump(path)) == 1


# Killed

WRITER = """
import sys
from wampauth.store import connect, writing
store = connect(sys.argv[1])
for number in range(1000):
    writing.add(store, {"authid": f"p{number}", "realm": "realm1", "role": "r"})
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 500])
def test_a_killed_writer_has_written_what_it_acknowledged(path: Path, after: int) -> None:
    with other_process(WRITER, path) as writer:
        acknowledged = [line(writer) for _ in range(after)]
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.stdout is not None
        acknowledged += writer.stdout.read().split()
        assert writer.wait(PATIENCE) == -signal.SIGKILL
    assert acknowledged == [str(number) for number in range(len(acknowledged))]
    assert len(acknowledged) < 1000  # it was in the middle
    assert dump(path)  # it opens, and is whole
    written = {"device", *(f"p{number}" for number in acknowledged)}
    assert set(authids(path)) - written <= {f"p{len(acknowledged)}"}  # written, but not yet acknowledged
    assert written <= set(authids(path))
    assert run(path, *ADD_BOB).exit_code == 0


IMPORTER = """
import json, sys
from wampauth.store import connect, moving
def lines():
    for number in range(20000):
        yield json.dumps({"authid": f"p{number}", "realm": "realm1", "role": "r"}).encode()
    print("nearly done", flush=True)
    sys.stdin.readline()
moving.load(connect(sys.argv[1]), lines())
"""


def test_of_a_killed_import_nothing_remains(path: Path) -> None:
    before = dump(path)
    with other_process(IMPORTER, path) as importer:
        assert line(importer) == "nearly done"
        os.kill(importer.pid, signal.SIGKILL)
        importer.wait(PATIENCE)
    assert dump(path) == before
    assert run(path, *ADD_BOB).exit_code == 0


# Full


def test_no_room_to_write(path: Path) -> None:
    for most in 0, 100, 4096, 10_000, 20_000:
        before = dump(path)
        with size_limit(most):
            result = run(path, *ADD_BOB)
        if result.exit_code == 0:  # there was room for so little
            assert authids(path) == ["bob", "device"]
            break
        assert refused(result, "nothing was changed")
        assert dump(path) == before
    else:
        assert run(path, *ADD_BOB).exit_code == 0
    assert most > 0


def test_no_room_to_import(path: Path, tmp_path: Path) -> None:
    before = dump(path)
    file = tmp_path / "many.jsonl"
    many = ({"authid": f"p{number}", "realm": "realm1", "role": "r"} for number in range(20_000))
    file.write_text("".join(json.dumps(principal) + "\n" for principal in many))
    with size_limit(500_000):
        assert refused(run(path, "import", str(file)), "nothing was changed")
    assert dump(path) == before
    assert run(path, "import", str(file)).exit_code == 0


def test_no_room_for_a_new_store_or_a_new_key(tmp_path: Path) -> None:
    with size_limit(20_000):
        assert refused(run(tmp_path / "principals.db", *ADD_BOB), "nothing was changed")
    with size_limit(0):
        assert run(tmp_path / "principals.db", "keygen", str(tmp_path / "device.key")).exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_disk_full(small_disk: Path) -> None:
    path, filler = small_disk / "principals.db", small_disk / "filler"
    assert run(path, *ADD_BOB).exit_code == 0
    (small_disk / "principals.db.reserve").unlink()
    with opened(path):  # as a node has it
        before = dump(path)
        with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        assert refused(run(path, "remove", "bob", "--yes"), "the disk is full, and nothing was changed")
        assert refused(run(small_disk / "new.db", *ADD_BOB), "nothing was changed")
        assert dump(path) == before
        filler.unlink()
        assert run(path, "remove", "bob", "--yes").exit_code == 0
    assert {file.name for file in small_disk.iterdir()} <= {"audit.jsonl", "principals.db", "principals.db.reserve"}


# Not ours to open or to write


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def with_version(statement: str) -> Callable[[Path], None]:
    """A store whose version is changed by an SQL statement."""

    def make(path: Path) -> None:
        create(str(path))
        with opened(path) as store:
            store.executescript(statement)

    return make


NOT_OURS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a later version": (with_version("UPDATE store SET version = 99"), "has version 99, and this program knows"),
    "no version": (with_version("DELETE FROM store"), "has version none"),
    "two versions": (with_version("INSERT INTO store VALUES (1)"), "and 1, which no program gives"),
    "another table": (with_version("DROP TABLE store; CREATE TABLE store (x)"), "is not a principals database"),
    "another database": (with_version("DROP TABLE store; CREATE TABLE x (y)"), "is not a principals database"),
    "empty": (Path.touch, "is not a principals database"),
    "text": (lambda path: path.write_text("hello " * 1000), "is not a principals database"),
    "short": (lambda path: path.write_text("hello"), "is not a principals database"),
    "a folder": (Path.mkdir, "can't be opened"),
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_what_is_not_ours_is_refused_and_not_touched(tmp_path: Path, case: str) -> None:
    make, sentence = NOT_OURS[case]
    folder = tmp_path / "here"
    folder.mkdir()
    path = folder / "principals.db"
    make(path)
    before = content(folder) if case != "a folder" else None
    for command in ADD_BOB, ("list",), ("ticket", "bob"), ("import", os.devnull):
        assert refused(run(path, *command), sentence)
    if before is not None:
        assert content(folder) == before


AS_NOBODY = f"""
import os, sys
from wampauth import cli
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
cli.main(sys.argv[1:])
"""


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A store in a folder, both of a user whom file modes can keep out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "principals.db")
        add_device(path, "device", DEVICE)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            os.chown(path, NOBODY, NOBODY)
        yield path
        path.parent.chmod(0o700)


@pytest.mark.parametrize(
    ("file_mode", "folder_mode"), [(0o400, 0o700), (0o400, 0o500), (0o600, 0o500), (0, 0o700), (0o600, 0)], ids=oct
)
def test_a_store_that_cannot_be_written(nobodys: Path, file_mode: int, folder_mode: int) -> None:
    before = dump(nobodys)
    for part, mode in (nobodys, file_mode), (nobodys.parent, folder_mode):
        part.chmod(mode)
    command = [sys.executable, "-c", AS_NOBODY, "--database", str(nobodys), *ADD_BOB]
    result = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True, timeout=60)
    nobodys.parent.chmod(0o700)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {nobodys}: ")
    assert "check the owner and mode" in result.stderr or "Permission denied" in result.stderr
    assert result.stderr.count("\n") == 1
    nobodys.chmod(0o600)
    assert dump(nobodys) == before


NODE_OF_NOBODY = f"""
import os, sys
from twisted.internet import reactor, threads
from wampauth import KeyClaim, StoreError, open_store
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
known = open_store(sys.argv[1])
def serve():
    for line in sys.stdin:
        try:
            found = threads.blockingCallFromThread(reactor, known.by_key, KeyClaim(pubkey=line.strip()))
            print(found and found.authid, flush=True)
        except StoreError as error:
            print("unavailable:", error, flush=True)
    reactor.callFromThread(reactor.stop)
reactor.callInThread(serve)
reactor.run()
"""


def take_file(path: Path) -> None:
    path.chmod(0)


def take_folder(path: Path) -> None:
    path.parent.chmod(0)


def take_ownership(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 0, 0)


@pytest.mark.parametrize("take", [take_file, take_folder, take_ownership])
def test_a_permission_that_is_lost_and_given_back(nobodys: Path, take: Callable[[Path], None]) -> None:
    with other_process(NODE_OF_NOBODY, nobodys) as node:

        def ask() -> str:
            assert node.stdin is not None
            node.stdin.write(pubkey(DEVICE) + "\n")
            node.stdin.flush()
            return line(node)

        assert ask() == "device"
        take(nobodys)
        assert ask().startswith("unavailable: ")
        assert ask().startswith("unavailable: ")
        nobodys.parent.chmod(0o700)
        nobodys.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(nobodys, NOBODY, NOBODY)
        assert ask() == "device"
        assert node.stdin is not None
        node.stdin.close()
        assert node.wait(PATIENCE) == 0


# A node that runs on


@pytest.fixture(scope="module")
def live(make_bundle: MakeBundle) -> Bundle:
    """A node whose store is mishandled; each test puts it back in order."""
    return make_bundle(failures_at_once=1_000_000, refusal_delay=0.05, deadline=3.0)


def joins(live: Bundle, key: SigningKey) -> bool:
    """Whether the key gets in; if not, then because it's nobody's."""
    with RawClient(live.url) as client:
        answer = client.login_key(key)
    assert answer[0] == WELCOME or answer[2] == "com.example.no_such_user", answer
    return bool(answer[0] == WELCOME)


def joins_with(live: Bundle, ticket: str) -> bool:
    with RawClient(live.url) as client:
        answer = client.login_ticket("client1", ticket)
    assert answer[0] == WELCOME or answer[2] == "com.example.invalid_ticket", answer
    return bool(answer[0] == WELCOME)


def both_methods(live: Bundle) -> list[Message]:
    """What good credentials of both kinds are answered, asked for at once."""
    with RawClient(live.url) as one, RawClient(live.url) as other, ThreadPoolExecutor() as pool:
        attempts = pool.submit(one.login_key, live.device), pool.submit(other.login_ticket, *CLIENT1)
        return [attempt.result() for attempt in attempts]


def unavailable(live: Bundle, answer: Message) -> bool:
    """Whether the client was told to try again later, and only the audit was told why."""
    assert (answer[0], answer[2]) == (ABORT, "com.example.unavailable"), answer
    text = str(answer[1]["message"])
    assert text.startswith("authentication is unavailable - try again later (reference ")
    assert str(live.directory) not in text
    (record,) = (record for record in live.audit if record.get("reference") in text.rstrip(")").split())
    return record["outcome"] == "unavailable" and bool(record["reason"])


@contextmanager
def deleted(store: Path) -> Iterator[None]:
    aside = store.with_name("aside")
    store.rename(aside)
    try:
        yield
    finally:
        aside.rename(store)


@contextmanager
def replaced(store: Path, by: bytes) -> Iterator[None]:
    """Another file of the name for a while."""
    with deleted(store):
        store.write_bytes(by)
        yield


@contextmanager
def overwritten(store: Path, by: bytes) -> Iterator[None]:
    """The same file with another content for a while."""
    content = store.read_bytes()
    store.write_bytes(by)
    try:
        yield
    finally:
        store.write_bytes(content)


FAULTS: dict[str, Callable[[Path], Any]] = {
    "deleted": deleted,
    "replaced by garbage": lambda store: replaced(store, os.urandom(100_000)),
    "replaced by nothing": lambda store: replaced(store, b""),
    "overwritten with garbage": lambda store: overwritten(store, os.urandom(100_000)),
    "cut short": lambda store: overwritten(store, b""),
    "locked": lambda store: locked(store, LOG_LOCKED),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_logins_are_unavailable_while_the_store_is_and_recover_by_themselves(live: Bundle, fault: str) -> None:
    late = SigningKey.generate()
    add_device(live.store, f"added-before-{fault.replace(' ', '-')}", late)
    assert joins(live, live.device)
    with FAULTS[fault](live.store):
        assert all(unavailable(live, answer) for answer in both_methods(live))
    assert joins(live, live.device)
    assert joins(live, late)  # nothing that was acknowledged is lost
    assert joins_with(live, CHOSEN)
    assert not joins(live, SigningKey.generate())


def test_a_backup_can_be_put_in_the_place_of_the_store(live: Bundle) -> None:
    def put_in_place(file: Path) -> None:
        shutil.copy(file, live.store.with_name("copied"))
        live.store.with_name("copied").rename(live.store)

    after = SigningKey.generate()
    backup = live.store.with_name("backup")
    assert joins(live, live.device)
    shutil.copy(live.store, backup)
    add_device(live.store, "added-after-the-backup", after)
    assert joins(live, after)
    put_in_place(backup)
    assert not joins(live, after)
    assert joins(live, live.device)
    assert "added-after-the-backup" not in "".join(dump(live.store))


def test_changes_hold_from_the_next_login_on(live: Bundle) -> None:
    def change(*args: str) -> None:
        assert run(live.store, *args).exit_code == 0

    first, second = SigningKey.generate(), SigningKey.generate()
    assert not joins(live, first)
    change("add", "newcomer", "--realm", "devices", "--role", "device")
    change("key", "newcomer", pubkey(first), "--label", "first")
    assert joins(live, first)
    change("rotate", "newcomer", "first", pubkey(second), "--overlap", "1h", "--label", "second")
    assert joins(live, first)
    assert joins(live, second)
    change("revoke", "newcomer", "--credential", "first")
    assert not joins(live, first)
    assert joins(live, second)
    change("revoke", "newcomer", "--yes")
    assert not joins(live, second)
    change("restore", "newcomer")
    assert joins(live, second)
    change("remove", "newcomer", "--yes")
    assert not joins(live, second)


def test_a_ticket_holds_from_the_next_login_on(live: Bundle) -> None:
    made = live.wampauth("ticket", "client1", "--label", "of mine").stdout.strip()
    assert joins_with(live, made)
    followed = live.wampauth("rotate", "client1", "of mine", "--overlap", "0s").stdout.strip()
    assert not joins_with(live, made)
    assert joins_with(live, followed)
    told = live.log + json.dumps(live.audit)
    assert made not in told
    assert followed not in told


def test_many_who_share_a_chosen_ticket_all_get_in(live: Bundle) -> None:
    """More than are hashed in a deadline; and when it is revoked, the next one is refused."""
    clients = [RawClient(live.url) for _ in range(200)]
    try:
        for client in clients:
            assert client.hello("realm1", "ticket", "client1")[0] == CHALLENGE
        for client in clients:
            client.send(AUTHENTICATE, CHOSEN, {})
        assert {client.receive()[0] for client in clients} == {WELCOME}
    finally:
        for client in clients:
            client.close()
    live.wampauth("revoke", "client1", "--yes")
    try:
        with RawClient(live.url) as client:
            answer = client.login_ticket("client1", CHOSEN)
        assert (answer[0], answer[2]) == (ABORT, "com.example.invalid_ticket")
    finally:
        live.wampauth("restore", "client1")
    assert joins_with(live, CHOSEN)


def test_what_cannot_be_hashed_in_time_is_told_to_come_back_and_stalls_nobody_else(live: Bundle) -> None:
    clients = [RawClient(live.url) for _ in range(100 + 50 * principals.HASHERS)]
    before = sum(record["outcome"] in ("refused", "throttled") for record in live.audit)
    with RawClient(live.url) as caller:
        assert caller.login_ticket("client1", CHOSEN)[0] == WELCOME
        try:
            for client in clients:
                assert client.hello("realm1", "ticket", "client1")[0] == CHALLENGE
            for client in clients:
                client.send(AUTHENTICATE, "wrong", {})
            assert caller.request(CALL, {}, "com.example.add2", [2, 3])[0] == RESULT
            assert joins(live, live.device)
            answered = sum(record["outcome"] in ("refused", "throttled") for record in live.audit) - before
            answers = [client.receive() for client in clients]
        finally:
            for client in clients:
                client.close()
    answer = answers[0]
    assert answered < len(clients)  # the others didn't wait for all of these
    assert {answer[2] for answer in answers} <= {
        "com.example.invalid_ticket",
        "com.example.too_many_attempts",
        "com.example.unavailable",  # what was being hashed at the deadline
    }
    reasons = [record.get("reason", "") for record in live.audit]
    assert any(reason.startswith("too many chosen tickets") for reason in reasons)
    deadline = time.monotonic() + 60
    while answer[0] != WELCOME:  # until what was waiting is worked off
        assert time.monotonic() < deadline
        with RawClient(live.url) as client:
            answer = client.login_ticket(*CLIENT1)
