"""Does an operator find whom and what it looks for, and can it act when the disk is full?"""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import CHOSEN, HERE, Bundle
from nacl.signing import SigningKey
from sites import ending
from test_history import BEGIN, line
from test_log import Operator

from wampauth import acts, cli
from wampauth.store import connect, reserve
from wampauth.testing.wamp import WELCOME, RawClient

PROJECT = ("--prefix", "org.acme.", "--realm", "realm1", "--role", "r")
KEY = bytes(SigningKey.generate().verify_key).hex()


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator whose store has some principals in it."""
    return with_principals(tmp_path)


@pytest.fixture(scope="module")
def clumsy(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """One who mistypes everything, so that nothing is changed."""
    return with_principals(tmp_path_factory.mktemp("clumsy"))


def with_principals(folder: Path) -> Operator:
    operator = Operator(folder)
    for authid, realm, role in (
        ("alice", "realm1", "frontend"),
        ("bob", "realm1", "backend"),
        ("d1", "devices", "device"),
    ):
        operator.done("add", authid, "--realm", realm, "--role", role)
    operator.done("ticket", "alice", "--expires", "7d")
    operator.done("ticket", "bob", "--expires", "30d")
    operator.done("ticket", "d1")
    return operator


def listed(operator: Operator, *options: str) -> list[str]:
    return [json.loads(line)["authid"] for line in operator.done("list", "--json", *options).stdout.splitlines()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["alice", "bob", "d1"]),
        (["--realm", "realm1"], ["alice", "bob"]),
        (["--realm", "realm1", "--role", "backend"], ["bob"]),
        (["--role", "device"], ["d1"]),
        (["--realm", "realm2"], []),
        (["--realm", "realm1' OR '1'='1"], []),
        (["--expiring", "14d"], ["alice"]),
        (["--expiring", "31d"], ["alice", "bob"]),
        (["--expiring", "31d", "--role", "backend"], ["bob"]),
        (["--state", "active"], ["alice", "bob", "d1"]),
        (["--state", "revoked"], []),
    ],
)
def test_list_some(operator: Operator, options: list[str], expected: list[str]) -> None:
    assert listed(operator, *options) == expected


def test_who_is_revoked_has_nothing_that_expires(operator: Operator) -> None:
    operator.done("revoke", "alice", "--yes")
    assert listed(operator, "--state", "revoked") == ["alice"]
    assert listed(operator, "--state", "active", "--realm", "realm1") == ["bob"]
    assert listed(operator, "--expiring", "14d") == []
    operator.done("restore", "alice")
    operator.done("ticket", "alice", "--expires", "1d", "--label", "old")
    operator.done("revoke", "alice", "--credential", "old")
    shown = operator.done("list", "--expiring", "14d").stdout.splitlines()
    assert len(shown) == 2 and shown[0].split()[-1] == "EXPIRES" and shown[1].startswith("alice")
    record = json.loads(operator.done("list", "--expiring", "14d", "--json").stdout)
    ends = [
        credential["expires"]
        for credential in json.loads(operator.done("show", "alice", "--json").stdout)["credentials"]
    ]
    assert record["expires"] == max(ends)  # the one that still counts


@pytest.mark.parametrize("options", [["--expiring", "soon"], ["--state", "lost"]])
def test_what_makes_no_sense_is_told(operator: Operator, options: list[str]) -> None:
    assert operator.run("list", *options).exit_code == 2


# -- show


def test_show_has_the_last_login(operator: Operator, tmp_path: Path) -> None:
    known = {"authid": "alice", "method": "ticket", "peer": "192.0.2.1"}
    (tmp_path / "audit.jsonl.1").write_bytes(line(1, **known) + line(3, **{**known, "peer": "192.0.2.3"}))
    (tmp_path / "audit.jsonl.2").write_bytes(line(2, **{**known, "peer": "192.0.2.2"}))
    (tmp_path / "audit.attempts.jsonl").write_bytes(
        line(9, "challenged", **known) + line(9, "refused", claimed="alice")
    )
    done = operator.done("show", "alice")
    assert "last login: 2020-01-01T00:00:03.000+00:00 by ticket from 192.0.2.3" in done.stdout
    assert "live sessions: unknown. No node has this store open." in done.stdout
    shown = json.loads(operator.done("show", "alice", "--json").stdout)
    assert shown["last_login"]["peer"] == "192.0.2.3" and shown["sessions"] is None
    assert "last login: none in the audit" in operator.done("show", "bob").stdout


def written(folder: Path) -> None:
    """An audit: alice's script goes on with the wrong ticket, d1 is let in and doesn't join, as bob does."""
    alice: dict[str, Any] = {"authid": "alice", "method": "ticket", "peer": "192.0.2.1"}
    tried = [line(2 * n, "refused", **alice, reason="no such credential") for n in range(7)]
    late = [line(2 * n + 1, "throttled", **alice, reason="out of tokens") for n in range(6, 40)]
    (folder / "audit.attempts.jsonl").write_bytes(b"".join(tried + late))
    bob: dict[str, Any] = {"authid": "bob", "realm": "devices", "session": 1}
    d1: dict[str, Any] = {"authid": "d1", "realm": "devices", "method": "ticket", "peer": "192.0.2.4"}
    (folder / "audit.jsonl").write_bytes(
        line(1, **bob) + line(2, "joined", **bob) + line(5, **d1, session=2) + line(60, **d1, session=3)
    )


def test_refusals_that_are_alike_are_told_together(operator: Operator, tmp_path: Path) -> None:
    """Those who are throttled don't push out what they are throttled for."""
    written(tmp_path)
    first, last = operator.done("why", "alice", "--last").stdout.splitlines()
    since = "since 2020-01-01T00:00"
    assert first.endswith(f"alice from 192.0.2.1 was refused 7 times {since}:00.000+00:00: the ticket is wrong")
    assert last.startswith("2020-01-01T00:01:19.000+00:00  alice from 192.0.2.1 was throttled 34 times")
    said = [json.loads(one) for one in operator.done("why", "alice", "--last", "--json").stdout.splitlines()]
    assert [one["times"] for one in said] == [7, 34] and said[0]["since"] == "2020-01-01T00:00:00.000+00:00"


def test_who_was_throttled_is_told_so_when_that_is_over(operator: Operator, tmp_path: Path) -> None:
    """Also who was so by the failures of others: nothing else is known of him."""
    now = time.time() - BEGIN.timestamp()
    alice, bob = ({"claimed": name, "method": "ticket", "peer": "192.0.2.1"} for name in ("alice", "bob"))
    late = [line(now - n, "throttled", **one, reason="out of tokens") for n in (8, 7) for one in (alice, bob)]
    refused = line(now - 9, "refused", **alice, reason="no such credential")
    (tmp_path / "audit.attempts.jsonl").write_bytes(refused + b"".join(late))
    first, second, *_, last = operator.run("why", "alice").stdout.splitlines()
    assert first.endswith(": the ticket is wrong.")
    assert second.startswith("alice from 192.0.2.1 was throttled 2 times since 2")
    assert second.endswith(": there were too many failures before.") and last.startswith("Nothing keeps alice out now")
    said = json.loads(operator.run("why", "alice", "--json").stdout)
    assert [one["outcome"] for one in said["refused"]] == ["refused", "throttled"]
    assert operator.run("why", "bob").stdout.startswith("bob from 192.0.2.1 was throttled 2 times since 2")


def test_who_asks_for_a_realm_that_is_not_there_is_not_to_be_moved_to_it(operator: Operator, tmp_path: Path) -> None:
    asks = "The client asks for the realm {}, and alice belongs to realm1: it is to ask for that one"
    moved = f"{asks.format('raelm1')}, or `wampauth set alice --realm raelm1` moves alice."
    assert operator.run("why", "alice", "--realm", "raelm1").stdout.splitlines()[0] == moved
    shutil.copy(HERE / ".crossbar" / "config.json", tmp_path)
    for realm, wrong in {
        "raelm1": "There is no realm raelm1 in config.json, but devices, realm1.",
        "devices": "devices has no role frontend in config.json, but device.",
        "realm-auth": "realm-auth is the authenticators' own realm in config.json: nobody is let in there.",
    }.items():
        told = operator.run("why", "alice", "--realm", realm).stdout.splitlines()[0]
        assert told == f"{wrong} {asks.format(realm)}."


def test_who_was_let_in_and_did_not_join(operator: Operator, tmp_path: Path) -> None:
    """The router has refused it, say for want of a role: nothing says that it got in."""
    written(tmp_path)
    shown = operator.done("show", "d1").stdout
    assert "last login: none in the audit" in shown
    assert "let in, but didn't join: 2020-01-01T00:01:00.000+00:00 by ticket from 192.0.2.4" in shown
    assert json.loads(operator.done("show", "d1", "--json").stdout)["let_in"]["session"] == 3
    logged = operator.done("log", "--authid", "d1", "--outcome", "accepted").stdout.splitlines()
    assert len(logged) == 2 and all(one.endswith(": let in, but didn't join") for one in logged)
    assert "didn't join" not in operator.done("log", "--authid", "bob").stdout
    assert operator.done("show", "bob").stdout.count("2020-01-01T00:00:02") == 1
    (said,) = operator.done("why", "d1", "--last").stdout.splitlines()
    assert "let in, but didn't join 2 times since" in said and "Has devices its role?" in said


@pytest.mark.parametrize("method", ["cryptosign", "scram", "wampcra"])
def test_who_was_challenged_and_did_not_prove_it(operator: Operator, tmp_path: Path, method: str) -> None:
    """Nothing else says so: the router checks the proof, and tells nobody. Who has joined isn't told as refused."""
    one: dict[str, Any] = {"realm": "devices", "method": method, "peer": "192.0.2.1"}
    bob, d1 = {"authid": "bob", **one}, {"authid": "d1", **one}
    late = line(time.time() - BEGIN.timestamp(), "challenged", **d1, session=6)
    tried = tmp_path / "audit.attempts.jsonl"
    rotated = line(1, "challenged", **d1, session=1)  # longer ago than there is to know of who has joined
    known = line(70, "challenged", **bob, session=3) + line(300, "challenged", **bob, session=5)
    wrong = line(90, "challenged", **d1, session=4) + line(95, "challenged", **d1, session=4)
    tried.write_bytes(rotated + line(61, "challenged", **bob, session=2) + known[: len(known) // 2] + wrong)
    (tmp_path / "audit.jsonl").write_bytes(
        line(60, "acted", act="key") + line(62, "joined", **bob, session=2) + line(79, "joined", **bob, session=7)
    )
    tried.write_bytes(tried.read_bytes() + known[len(known) // 2 :] + late)
    with (tmp_path / "audit.jsonl").open("ab") as more:
        more.write(line(301, "ended", authid="bob", realm="devices", session=5, reason="com.example.replayed"))
    secret = "private key" if method == "cryptosign" else "password"
    (said,) = operator.done("why", "--last").stdout.splitlines()
    assert "d1 from 192.0.2.1 was challenged 2 times since 2020-01-01T00:01:30" in said
    assert said.endswith(f": no right proof followed. The client has another {secret}, or has hung up")
    (record,) = (json.loads(one) for one in operator.done("why", "--last", "d1", "--json").stdout.splitlines())
    assert (record["joined"], record["reason"], record["times"]) == (False, "no right proof followed", 2)
    assert operator.done("log").stdout.count(": no right proof followed\n") == 2


@pytest.mark.parametrize(("realm", "role"), [("realm1", "frontendd"), ("raelm1", "frontend")])
@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
def test_who_has_no_place_is_told_of_at_once(
    operator: Operator, tmp_path: Path, method: str, realm: str, role: str
) -> None:
    """Nobody needs to wait until it might have joined: the router can't let it."""
    shutil.copy(HERE / ".crossbar" / "config.json", tmp_path)
    os.utime(tmp_path / "config.json", (0, 0))
    now = time.time() - BEGIN.timestamp()
    one = {"authid": "alice", "method": method, "peer": "192.0.2.1"}
    outcome, file = ("accepted", "audit.jsonl") if method == "ticket" else ("challenged", "audit.attempts.jsonl")
    lost = line(now, outcome, **one, realm=realm, role=role, session=1)
    fine = line(now, outcome, **{**one, "authid": "bob"}, realm="realm1", role="frontend", session=2)
    (tmp_path / file).write_bytes(lost + fine)
    (said,) = operator.done("why", "--last").stdout.splitlines()
    assert f"alice from 192.0.2.1 was let in, but didn't join: the router has refused it. Has {realm} the role" in said
    os.utime(tmp_path / "config.json")  # it is another one than then: nothing is certain
    assert "No refusal is in the audit" in operator.done("why", "--last").stdout


def test_refusals_that_have_no_names_are_told_of(operator: Operator, tmp_path: Path) -> None:
    """Whoever misses somebody behind an address from which many are refused."""
    now = time.time() - BEGIN.timestamp()
    file = tmp_path / "audit.attempts.jsonl"
    full = [line(now - 10 + n / 10, "refused", claimed="bob", peer="192.0.2.1") for n in range(10)]
    file.write_bytes(b"".join(full[:9]))
    assert operator.done("why", "--last", "cat").stderr == ""
    file.write_bytes(b"".join(full))
    first = "10 refusals came from 192.0.2.1 within a minute."
    here = f"{first} Until it is over, more of them are only counted, without names."
    for args in ("cat",), ():
        assert operator.done("why", "--last", *args).stderr == f"{here}\n"
    file.write_bytes(b"".join(full) + line(now, "refused", peer="192.0.2.1", count=2))
    counted = "In the last ten minutes, 2 more were counted, without names: `wampauth why --last` shows from where.\n"
    assert operator.done("why", "--last", "cat").stderr == counted
    assert "2 more attempts from 192.0.2.1 were refused" in operator.done("why", "--last").stdout
    file.write_bytes(b"".join(line(now - 70, "refused", claimed="bob", peer="192.0.2.1") for _ in range(10)))
    assert operator.done("why", "--last", "cat").stderr == ""


def test_what_changes_nothing_says_so(operator: Operator) -> None:
    operator.done("set", "alice", "--max-sessions", "2", "--role", "backend")
    assert "max_sessions: 2" in operator.done("show", "alice").stdout.splitlines()
    assert "alice was so already." in operator.done("set", "alice", "--role", "backend").stderr
    operator.done("revoke", "alice", "--yes")
    again = operator.done("revoke", "alice", "--yes").stderr
    assert again.startswith("alice is revoked already, since 2") and f" by {acts.operator()}." in again
    changes = [one.get("change") for one in operator.acts()[-4:]]
    assert changes == [
        "max_sessions any -> 2, role frontend -> backend",
        *("was so already", None, "was so already"),
    ]


def test_show_has_live_sessions(bundle: Bundle) -> None:
    bundle.wampauth("add", "shown", "--realm", "realm1", "--role", "frontend")
    bundle.wampauth("ticket", "shown", "--from-env", "T", T=CHOSEN)
    assert "live sessions: none." in bundle.wampauth("show", "shown").stdout
    with RawClient(bundle.url) as client:
        assert client.login_ticket("shown", CHOSEN)[0] == WELCOME
        shown = json.loads(bundle.wampauth("show", "shown", "--json").stdout)
        assert [session["session"] for session in shown["sessions"]] == [client.session]
        assert shown["last_login"]["session"] == client.session
        text = bundle.wampauth("show", "shown").stdout
        assert f"{client.session}" in text and "last login: " in text


# -- a disk that is full


def fill(folder: Path) -> None:
    """Leave no room."""
    with (folder / "filler").open("ab") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), b"x" * 512)


@pytest.mark.parametrize(
    "command",
    [("revoke", "alice", "--yes"), ("remove", "alice", "--yes"), ("set", "alice", "--role", "none", "--force")],
)
def test_somebody_can_be_put_out_when_the_disk_is_full(small_disk: Path, command: tuple[str, ...]) -> None:
    """Again and again, as long as what was given up isn't taken by others."""
    operator = Operator(small_disk)
    for number in range(20):
        operator.done("add", f"a{number}" if number else "alice", "--realm", "realm1", "--role", "frontend")
    fill(small_disk)
    refused = operator.run("add", "bob", "--realm", "realm1", "--role", "frontend")
    assert refused.exit_code == 1 and "disk is full" in refused.stderr
    done = operator.run(*command)
    assert done.exit_code == 0, done.stderr
    state = operator.run("show", "alice", "--json")
    changed = state.exit_code == 1 or json.loads(state.stdout)["state"] == "revoked" or '"role": "none"' in state.stdout
    assert changed
    for number in range(1, 20):
        operator.done("revoke", f"a{number}", "--yes")
    assert {record["state"] for record in map(json.loads, operator.done("list", "--json").stdout.splitlines())} - {
        "active"
    }


def test_without_a_reserve_the_sentence_says_what_to_do(small_disk: Path) -> None:
    operator = Operator(small_disk)
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    (small_disk / "principals.db.reserve").unlink()
    fill(small_disk)
    refused = operator.run("revoke", "alice", "--yes")
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "make room beside the store" in refused.stderr or "see `df`" in refused.stderr


def test_the_reserve_comes_back_when_there_is_room(small_disk: Path) -> None:
    operator = Operator(small_disk)
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    kept = small_disk / "principals.db.reserve"
    assert kept.stat().st_size == reserve.SIZES[0]
    fill(small_disk)
    operator.done("revoke", "alice", "--yes")
    assert not kept.exists() or kept.stat().st_size < reserve.SIZES[0]
    (small_disk / "filler").unlink()
    kept.unlink(missing_ok=True)
    operator.done("restore", "alice")
    assert kept.stat().st_size == reserve.SIZES[0]


def test_the_reserve_is_not_given_up_while_there_is_room(operator: Operator, tmp_path: Path) -> None:
    before = (tmp_path / "principals.db.reserve").stat().st_ino
    operator.done("revoke", "alice", "--yes")
    assert (tmp_path / "principals.db.reserve").stat().st_ino == before


@pytest.mark.parametrize(
    ("command", "is_done"),
    [
        *[(("why", "alice"), True), (("show", "alice"), True), (("list",), True), (("log",), True)],
        *[
            (("kick", "alice"), False),
            (("sessions",), False),
            (("ticket", "alice"), False),
            (("restore", "bob"), False),
        ],
        *[(("key", "alice", KEY), False), (("enrol", "alice"), False), (("rotate", "alice", "one"), False)],
        *[(("add", "carol", "--realm", "realm1", "--role", "r"), False), (("import", "{}/export"), False)],
        *[(("backup", "{}/copy"), False), (("keygen", "{}/key"), False), (("init", "{}/p", *PROJECT), False)],
    ],
)
def test_a_full_disk_is_told_in_one_sentence(small_disk: Path, command: tuple[str, ...], is_done: bool) -> None:
    """By what writes, and not by what reads; even if there is no reserve any more."""
    operator = Operator(small_disk)
    for authid in "alice", "bob":
        operator.done("add", authid, "--realm", "realm1", "--role", "frontend")
    operator.done("ticket", "alice", "--label", "one")
    operator.done("revoke", "bob", "--yes")
    (small_disk / "export").write_text(json.dumps({"authid": "dave", "realm": "realm1", "role": "r"}))
    (small_disk / "principals.db.reserve").unlink()
    with closing(connect(str(operator.store))):  # as a node has it
        fill(small_disk)
        said = operator.run(*(word.format(small_disk) for word in command))
    assert (said.exit_code == 0) == is_done, said.output
    assert said.exception is None or isinstance(said.exception, SystemExit)
    if not is_done:
        assert said.stderr.count("\n") <= 2
        assert any(text in said.stderr for text in ("full", "No space left", "see `df`", "No node has")), said.stderr


@pytest.mark.slow
def test_kick_at_a_node_whose_disk_is_full(small_disk: Path) -> None:
    """It hears of it, and answers, as long as there is a reserve."""
    bundle = Bundle(small_disk)
    bundle.write_config({})
    bundle.add_principals()
    bundle.wampauth("restore", "client1", check=False)  # the reserve is kept from the first command on
    node = bundle.start()
    try:
        with RawClient(bundle.url) as client:
            assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
            fill(small_disk)
            said = bundle.wampauth("kick", "client1", check=False)
            assert (said.exit_code, said.stderr.splitlines()[-1]) == (0, "1 live session was ended.")
            assert ending(client) == "com.example.kicked"
    finally:
        node.stop()


# -- help


def test_help_groups_the_commands_by_task() -> None:
    shown = CliRunner().invoke(cli.main, ["--help"]).stdout
    headings = [line.rstrip(":") for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[1:] == list(cli.GROUPS)
    grouped = [command.name for commands in cli.GROUPS.values() for command in commands]
    assert sorted(str(name) for name in grouped) == sorted(cli.main.commands)
    for name in grouped:
        assert f"\n  {name} " in shown


@pytest.mark.parametrize(("words", "offered"), [("wampauth rev", "revoke"), ("wampauth list --exp", "--expiring")])
def test_completion_by_the_documented_command(words: str, offered: str) -> None:
    """Click's own; docs/operating.md has the line for the shell."""
    program = "import sys; from wampauth.cli import main; sys.argv[0] = 'wampauth'; main(prog_name='wampauth')"
    environment = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}

    def run(instruction: str) -> str:
        command = [sys.executable, "-c", program]
        asked = {**environment, "_WAMPAUTH_COMPLETE": instruction}
        return subprocess.run(command, env=asked, capture_output=True, text=True, check=False, timeout=60).stdout

    assert "complete -o nosort -F _wampauth_completion wampauth" in run("bash_source")
    assert offered in run("bash_complete")
    assert "_WAMPAUTH_COMPLETE=bash_source wampauth" in (HERE / "docs/operating.md").read_text()


def test_version() -> None:
    import wampauth

    assert (
        CliRunner().invoke(cli.main, ["--version"], prog_name="wampauth").stdout == f"wampauth {wampauth.__version__}\n"
    )


def test_each_command_answers_programs(operator: Operator, tmp_path: Path) -> None:
    """With ``--json``: one object on standard output, and no sentence beside it; a secret only where one is made."""
    key, backup = str(tmp_path / "own.key"), str(tmp_path / "copy.db")

    def asked(*command: str, **options: Any) -> dict[str, Any]:
        done = operator.done(*command, "--json", **options)
        (line,) = done.stdout.splitlines()
        assert "is " not in done.stderr and "has the" not in done.stderr
        return dict(json.loads(line))

    assert asked("add", "carol", "--realm", "realm1", "--role", "r") == {
        "authid": "carol",
        "realm": "realm1",
        "role": "r",
    }
    made = asked("ticket", "carol", "--label", "one")
    assert len(made["ticket"]) == 43 and made["kind"] == "ticket" and len(made["credential"]) == 16
    assert "ticket" not in asked("ticket", "carol", "--from-stdin", input="secret123")
    pubkey = asked("keygen", key)["pubkey"]
    assert asked("key", "carol", f"{key}.pub")["pubkey"] == pubkey
    rotated = asked("rotate", "carol", "one")
    assert rotated["follows"] == "one" and len(rotated["ticket"]) == 43
    at_once = asked("rotate", "carol", made["credential"].upper(), "--overlap", "0s")
    assert (at_once["ended"], at_once["nodes"], at_once["silent"]) == (0, 0, 0)
    project = tmp_path / "project"
    assert str(project / "authenticator.py") in asked("init", str(project), *PROJECT)["written"]
    assert asked("password", "carol", "--from-env", "P", env={"P": "secret"})["kind"] == "scram"
    assert asked("set", "carol", "--role", "other")["role"] == "other"
    assert asked("revoke", "carol", "--yes")["nodes"] == 0
    assert asked("restore", "carol") == {"authid": "carol", "state": "active"}
    (tmp_path / "exported").write_text(operator.done("export").stdout)
    assert asked("backup", backup) == {"file": backup}
    assert asked("remove", "carol", "--yes")["authid"] == "carol"
    assert asked("recover", backup, "--yes")["again"]
    other = Operator(tmp_path / "other")
    other.folder.mkdir()
    assert json.loads(other.done("import", str(tmp_path / "exported"), "--json").stdout) == {"imported": 4}


def test_each_command_offers_it() -> None:
    """But `export`, which writes JSON anyway, and `start`, whose COMMAND runs when the node is ready."""
    without = {
        name
        for name, command in cli.main.commands.items()
        if not any("--json" in option.opts for option in command.params)
    }
    assert without == {"export", "start"}


NAMING = [  # all that take an authid
    *(["show"], ["why"], ["kick"], ["set", "--role", "r"], ["restore"], ["revoke", "--yes"]),
    *(["ticket"], ["password"], ["enrol"], ["remove", "--yes"]),
    *(["add", "--realm", "realm1", "--role", "r"], ["sessions", "--authid"]),
]
WRONG: list[tuple[tuple[str, ...], str]] = [
    (("show", "nobody"), "`wampauth list`"),
    (("add", "alice", "--realm", "realm1", "--role", "r"), "`wampauth set alice`"),
    (("restore", "alice"), "`wampauth show alice`"),
    (("revoke", "alice", "--credential", "x"), "`wampauth show alice`"),
    (("ticket", "alice", "--expires", "2001-01-01"), "--expires 30d"),
    (("ticket", "alice", "--from-env", "NOT_SET"), "export it first"),
    (("ticket", "alice", "--from-stdin"), "pipe the secret in"),
    (("key", "alice", "nonsense" * 8), "64 hexadecimal digits"),
    (("--store", "/nowhere/p.db", "list"), "`wampauth add` makes one"),
    (("lisst",), "--help"),
    (("list", "--relm", "x"), "--realm"),
    (("add",), "--help"),
    (("key", "alice", "0x12"), "64 hexadecimal digits"),
    (("key", "alice", "missing.pub"), "64 hexadecimal digits"),
    (("why", "alice", "--key", "0x12"), "64 hexadecimal digits"),
    (("why",), "Give an AUTHID, or --last"),
    (("why", "nobody"), "`wampauth list`"),
    (("why", "alice", "--ticket-env", "NOT_SET"), "export it first"),
    (("cert", "alice", "/"), "Is a directory"),
    (("keygen", "/"), "Is a directory"),
    (("rotate", "alice", "x"), "`wampauth show alice`"),
    (("rotate", "alice", "x", "--overlap", "soon"), "7d, 12h or 0s"),
    (("enrol",), "--count and --prefix"),
    (("enrol", "new"), "--realm and --role"),
    (("password", "nobody", "--from-env", "X"), "`wampauth list`"),
    *((words, "in a script, say --yes") for words in (("password", "alice"), ("revoke", "alice"), ("remove", "alice"))),
    (("set", "alice"), "--max-sessions"),
    (("set", "nobody", "--role", "r"), "`wampauth list`"),
    (("set", "alice", "--max-sessions", "many"), "--help"),
    (("kick",), "`wampauth sessions`"),
    (("kick", "alice"), "No node has this store open"),
    (("sessions", "--realm", "realm1"), "No node has this store open"),
    (("remove", "nobody", "--yes"), "`wampauth list`"),
    (("log", "--since", "soon"), "a span like 1h"),
    (("log", "--outcome", "won"), "refused"),
    (("list", "--expiring", "soon"), "14d or 12h"),
    (("import", "missing"), "--help"),
    (("import", "/"), "--help"),
    (("backup", "/nowhere/copy"), "/nowhere"),
    (("recover", "missing", "--yes"), "`wampauth backup`"),
    (("check", "--directory", "/nowhere"), "`wampauth init`"),
    (("start", "--directory", "/nowhere"), "`wampauth init`"),
    (("init",), "--help"),
    (("probe",), "--help"),
    *[((*words, "b b"), "an authid is 1 to 128") for words in NAMING],
]


@pytest.mark.parametrize(("command", "advice"), WRONG)
def test_an_error_says_what_to_type_next(clumsy: Operator, command: tuple[str, ...], advice: str) -> None:
    refused = clumsy.run(*command, input="")
    assert isinstance(refused.exception, SystemExit) and refused.exit_code in (1, 2)
    assert advice in refused.output
