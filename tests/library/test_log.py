"""Does an operator find in the audit who came, who didn't, and what operators did? ``wampauth log`` and the acts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import CHOSEN, Bundle, size_limit, wampauth
from nacl.signing import SigningKey
from test_history import line

from wampauth import acts, cli
from wampauth.audit import Audit
from wampauth.testing.wamp import RawClient

KEY = bytes(SigningKey.generate().verify_key).hex()


class Operator:
    """Somebody at a terminal, with a store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "principals.db"

    def run(self, *args: str, **options: Any) -> Result:
        return wampauth(self.folder, *args, **options)

    def done(self, *args: str, **options: Any) -> Result:
        done = self.run(*args, **options)
        assert done.exit_code == 0, done.output
        return done

    def acts(self) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in self.done("log", "--json").stdout.splitlines()]
        return [record for record in records if record["outcome"] == "acted"]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


# -- acts


def test_each_act_is_in_the_audit(operator: Operator, tmp_path: Path) -> None:
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    operator.done("ticket", "alice", "--label", "phone", "--from-stdin", input="secret123")
    made = operator.done("ticket", "alice", "--expires", "30d").stdout.strip()
    operator.done("key", "alice", KEY, "--label", "laptop")
    operator.done("rotate", "alice", "phone", "--from-env", "T", env={"T": "secret456"})
    operator.done("revoke", "alice", "--credential", "laptop")
    operator.done("revoke", "alice", "--yes")
    operator.done("restore", "alice")
    (tmp_path / "export").write_text(operator.done("export").stdout)
    operator.done("remove", "alice", "--yes")
    operator.done("import", str(tmp_path / "export"))
    did = operator.acts()
    assert [record["act"] for record in did] == [
        *("add", "ticket", "ticket", "key", "rotate", "revoke", "revoke", "restore", "export", "remove", "import")
    ]
    assert {record["operator"] for record in did} == {acts.operator()}
    assert {record.get("authid") for record in did[:8]} == {"alice"}
    assert did[0]["change"] == "role frontend" and did[0]["realm"] == "realm1"
    assert "label phone" in did[1]["change"] and "expires 2" in did[2]["change"] and KEY in did[3]["change"]
    assert did[5]["credential"] == did[3]["credential"]
    audit = (tmp_path / "audit.jsonl").read_text()
    assert not [secret for secret in ("secret123", "secret456", made, "argon2id") if secret in audit]


def test_what_was_refused_is_no_act(operator: Operator) -> None:
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    for command in ("revoke", "bob", "--yes"), ("ticket", "bob"), ("key", "alice", "nonsense"), ("restore", "alice"):
        assert operator.run(*command).exit_code == 1
    assert [record["act"] for record in operator.acts()] == ["add"]


def test_acts_go_where_the_nodes_configuration_says(operator: Operator, tmp_path: Path) -> None:
    extra = {"store": "principals.db", "guard": {"audit": "logs/mine.jsonl"}}
    component = {"classname": "authenticator.AuthenticatorSession", "realm": "realm-auth", "extra": extra}
    (tmp_path / "config.json").write_text(json.dumps({"workers": [{"components": [component]}]}))
    (tmp_path / "logs").mkdir()
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    assert (tmp_path / "logs" / "mine.jsonl").exists() and not (tmp_path / "audit.jsonl").exists()
    named = str(tmp_path / "named.jsonl")
    done = CliRunner().invoke(cli.main, ["--store", str(operator.store), "--audit", named, "revoke", "alice", "--yes"])
    assert done.exit_code == 0 and Path(named).exists()


@pytest.mark.parametrize("obstacle", ["a folder", "no folder", "no room"])
def test_an_act_is_done_even_if_it_can_not_be_recorded(operator: Operator, tmp_path: Path, obstacle: str) -> None:
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    audit = tmp_path / "other" / "audit.jsonl"
    if obstacle == "a folder":
        audit.mkdir(parents=True)
    elif obstacle == "no room":
        audit.parent.mkdir()
        audit.write_bytes(b"x" * 1_000_000)
    with size_limit(999_999):
        done = CliRunner().invoke(
            cli.main, ["--store", str(operator.store), "--audit", str(audit), "revoke", "alice", "--yes"]
        )
    assert done.exit_code == 0
    assert f"The audit has no line of this: {audit}" in done.stderr or "The audit has no line of this: F" in done.stderr
    assert json.loads(operator.done("show", "alice", "--json").stdout)["state"] == "revoked"


def test_what_is_not_there_yet_will_be_the_nodes(operator: Operator, tmp_path: Path) -> None:
    """Made by root as root's, it would keep a node of another user from starting."""
    if os.geteuid():
        pytest.skip("only root can give a file to another user")
    os.chown(tmp_path, 1234, 1235)
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    operator.done("backup", str(tmp_path.parent / f"{tmp_path.name}.db"))
    operator.store.unlink()
    operator.done("recover", str(tmp_path.parent / f"{tmp_path.name}.db"), "--yes")
    made = {file.name: file.stat() for file in tmp_path.iterdir()}
    assert {"audit.jsonl", operator.store.name, f"{operator.store.name}.reserve"} == made.keys()
    for found in made.values():
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 1235, 0o600)


@pytest.mark.parametrize("login", [None, 0])
def test_who_acts(monkeypatch: pytest.MonkeyPatch, login: int | None) -> None:
    """Only root can say for whom sudo was called: from everybody else it would be a forgery."""
    monkeypatch.setattr(acts, "_logged_in", lambda: None if login is None else "carol")
    monkeypatch.setenv("SUDO_USER", "bob")
    monkeypatch.setenv("LOGNAME", "mallory")
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert acts.operator() == ("bob (as root)" if login is None else "carol (as root)")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert acts.operator() == ("54321" if login is None else "carol (as 54321)")


def test_refusals_can_not_push_an_act_out(operator: Operator, tmp_path: Path) -> None:
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
    audit = Audit(str(tmp_path / "audit.jsonl"))
    audit._attempts._rotate = audit._proven._rotate = 10_000  # bytes
    for number in range(2000):
        audit.record("refused", peer=f"192.0.2.{number % 250}", claimed="x" * 200)
        audit.summarise()
    assert not (tmp_path / "audit.jsonl.1").exists() and (tmp_path / "audit.attempts.jsonl.10").exists()
    assert [record["act"] for record in operator.acts()] == ["add"]


# -- reading


@pytest.fixture
def written(operator: Operator, tmp_path: Path) -> Operator:
    """An audit with all kinds of lines, one of which is broken."""
    base = {"method": "ticket", "peer": "192.0.2.1"}
    (tmp_path / "audit.jsonl").write_bytes(
        line(10, "accepted", authid="alice", realm="realm1", **base)
        + line(11, "joined", authid="alice", realm="realm1", session=7, peer="192.0.2.1")
        + b"broken\n"
        + line(40, "acted", act="revoke", operator="bob (as root)", authid="alice")
        + line(41, "ended", authid="alice", realm="realm1", reason="com.example.revoked", session=7)
    )
    (tmp_path / "audit.attempts.jsonl").write_bytes(
        line(20, "refused", claimed="jose\u0301", reason="no such credential", **base)
        + line(60, "refused", count=12, peer="192.0.2.1")
        + line(61, "unavailable", claimed="carol\x1b[31m", reason="OSError", reference="0badcafe", **base)
    )
    return operator


def test_the_log_for_people(written: Operator) -> None:
    done = written.done("log")
    assert done.stdout.splitlines() == [
        "2020-01-01 00:00:10Z  accepted    alice in realm1 by ticket from 192.0.2.1",
        "2020-01-01 00:00:11Z  joined      alice in realm1 from 192.0.2.1 as session 7",
        "2020-01-01 00:00:20Z  refused     jose\u0301 by ticket from 192.0.2.1 : no such credential",
        "2020-01-01 00:00:40Z  acted       bob (as root): revoke alice",
        "2020-01-01 00:00:41Z  ended       alice in realm1 as session 7 : com.example.revoked",
        "2020-01-01 00:01:00Z  refused     12 more from 192.0.2.1",
        "2020-01-01 00:01:01Z  unavailable carol?[31m by ticket from 192.0.2.1 with the reference 0badcafe : OSError",
    ]
    assert done.stderr == "Lines that can't be read were passed over: 1.\n"


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        (["--authid", "alice"], ["accepted", "joined", "acted", "ended"]),
        (["--authid", "josé"], ["refused"]),
        (["--authid", "nobody"], []),
        (["--outcome", "ended", "--outcome", "joined"], ["joined", "ended"]),
        (["--since", "2020-01-01T00:00:41Z"], ["ended", "refused", "unavailable"]),
        (["--since", "2020-01-01 00:00:41", "--authid", "alice"], ["ended"]),
        (["--since", "1h"], []),
    ],
)
def test_what_is_wanted(written: Operator, options: list[str], outcomes: list[str]) -> None:
    records = [json.loads(line) for line in written.done("log", "--json", *options).stdout.splitlines()]
    assert [record["outcome"] for record in records] == outcomes
    assert len(written.done("log", *options).stdout.splitlines()) == len(outcomes)


@pytest.mark.parametrize("options", [["--since", "soon"], ["--since", "1y"], ["--outcome", "won"]])
def test_what_makes_no_sense_is_told(written: Operator, options: list[str]) -> None:
    refused = written.run("log", *options)
    assert refused.exit_code == 2 and "Error: Invalid value for" in refused.stderr


def test_no_audit_yet(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(operator.folder)  # where there is no other node whose audit could be meant
    refused = operator.run("log")
    assert refused.exit_code == 1
    assert "there is no audit at" in refused.stderr and "`wampauth log --audit FILE`" in refused.stderr
    assert operator.run("why", "--last").stderr == refused.stderr.replace(" log ", " why --last ")


CLAIMED = {"method": "cryptosign", "claimed": KEY, "peer": "192.0.2.1"}
HAS = {"authid": "alice", "realm": "realm1", "role": "frontend"}


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({**HAS, "claimed_realm": "raelm1"}, "the realm raelm1 instead of realm1"),
        ({**HAS, "claimed_authid": "bob"}, "the authid bob instead of alice"),
        ({**HAS, "claimed_role": "admin"}, "the role admin instead of frontend"),
        ({"claimed_realm": "raelm1", "claimed_role": "admin"}, "the realm raelm1 and the role admin"),
        ({"claimed_authid": "bob, from 192.0.2.9"}, 'the authid "bob, from 192.0.2.9"'),
        ({"claimed_authid": "\x1b[31m\n\ud800{who}"}, 'the authid "\\u001b[31m\\n\\ud800{who}"'),
    ],
)
def test_what_was_claimed_and_what_is_so(operator: Operator, tmp_path: Path, record: dict[str, str], told: str) -> None:
    refused = line(10, "refused", reason="KeyError: {'a'}", **CLAIMED, **record)
    (tmp_path / "audit.attempts.jsonl").write_bytes(refused)
    who = record.get("authid", KEY)
    place = f" in {record['realm']}" if "realm" in record else ""
    logged = f"{who} claiming {told}{place} by cryptosign from 192.0.2.1 : KeyError: {{'a'}}"
    assert operator.done("log").stdout.split(maxsplit=3)[3] == f"{logged}\n"
    why = f"{who} from 192.0.2.1, claiming {told}, was refused: KeyError: {{'a'}}"
    assert operator.done("why", "--last").stdout.partition("  ")[2] == f"{why}\n"
    if named := record.get("claimed_authid"):
        assert operator.done("log", "--authid", named).stdout


def test_another_node_near_here_has_a_newer_audit(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a stage of the lesson. It is found by its node directory, before the command and behind it."""
    monkeypatch.chdir(tmp_path)
    node = tmp_path / "stages" / "2" / ".crossbar"
    node.mkdir(parents=True)
    config = {"workers": [{"components": [{"extra": {"guard": {"audit": "mine.jsonl"}}}]}]}
    (node / "config.json").write_text(json.dumps(config))
    (node / "mine.attempts.jsonl").write_bytes(line(10, "refused", claimed="carol", reason="revoked"))
    for command in (["log"], ["why", "--last"]):
        said = f"`wampauth {' '.join(command)} --audit stages/2/.crossbar`"
        assert said in operator.run(*command).stderr
        for there in ([*command, "--audit", "stages/2/.crossbar"], ["--audit", str(node), *command]):
            found = operator.done(*there)
            assert "carol" in found.stdout and not found.stderr
    (tmp_path / "audit.attempts.jsonl").write_bytes(line(10, "refused", claimed="alice", reason="revoked"))
    os.utime(tmp_path / "audit.attempts.jsonl", (10, 10))
    older = operator.done("why", "--last")
    assert "alice" in older.stdout and "stages/2/.crossbar is newer" in older.stderr
    os.utime(node / "mine.attempts.jsonl", (5, 5))
    assert operator.done("why", "--last").stderr == ""


def test_follow(written: Operator, tmp_path: Path) -> None:
    """Through a rotation, until Ctrl-C."""
    command = [sys.executable, "-m", "wampauth", "--store", str(written.store), "log", "--follow", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    try:
        before = [json.loads(process.stdout.readline())["outcome"] for _ in range(7)]
        assert before[0] == "accepted" and before[-1] == "unavailable"
        audit = tmp_path / "audit.jsonl"
        for second in range(3):
            with audit.open("ab") as file:
                file.write(line(100 + second, "joined", authid="alice"))
            assert json.loads(process.stdout.readline())["outcome"] == "joined"
            audit.rename(tmp_path / f"audit.jsonl.{3 - second}")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()


def test_acts_stand_in_line_with_logins(bundle: Bundle) -> None:
    """While a node runs, which goes on writing the same file."""
    begun = time.time()
    bundle.wampauth("add", "logged", "--realm", "realm1", "--role", "frontend")
    bundle.wampauth("ticket", "logged", "--from-env", "T", T=CHOSEN)
    with RawClient(bundle.url) as client:
        client.login_ticket("logged", CHOSEN)
        bundle.wampauth("revoke", "logged", "--yes")
        client.receive()  # GOODBYE
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun))
    done = bundle.wampauth("log", "--authid", "logged", "--since", since, "--json")
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record.get("act", record["outcome"]) for record in read][:5] == [
        *("add", "ticket", "accepted", "joined", "revoke")
    ]
    assert read[5]["outcome"] == "ended"
