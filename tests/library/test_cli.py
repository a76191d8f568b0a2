"""Can an operator trust the command line: what it prints, what it refuses, and what it leaves behind?"""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import nacl.pwhash
import pytest
from click.testing import CliRunner, Result
from conftest import HERE, read_config
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from nacl.signing import SigningKey

import wampauth
from wampauth import cli
from wampauth.store import connect, moments, writing

COMMAND = [sys.executable, "-m", "wampauth"]
TICKET = re.compile(r"[A-Za-z0-9_-]{43}\n")  # 256 bits, alone


@dataclass
class Operator:
    """Somebody at a terminal, with a store."""

    path: Path

    def run(self, *args: str, input: str | bytes | IO[bytes] | None = None, **env: str) -> Result:
        """Run a command in this process."""
        result = CliRunner().invoke(cli.main, ["--store", str(self.path), *args], input=input, env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def done(self, *args: str, input: str | bytes | IO[bytes] | None = None, **env: str) -> Result:
        """Run a command that must succeed."""
        result = self.run(*args, input=input, **env)
        assert result.exit_code == 0, result.stderr
        return result

    def process(self, *args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a command as a process of its own."""
        command = [*COMMAND, "--store", str(self.path), *args]
        return subprocess.run(command, check=False, capture_output=True, timeout=60, **options)

    def shown(self, authid: str = "alice") -> Any:
        """A principal, as a program would ask for it."""
        return json.loads(self.done("show", authid, "--json").stdout)

    def credentials(self) -> list[Any]:
        return list(self.shown()["credentials"])

    def dump(self) -> list[str] | None:
        """All that the store holds; None if there is no store."""
        if not self.path.exists():
            return None
        with closing(connect(str(self.path))) as store:
            file: Any = store
            return list(file.iterdump())


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator with a store that has alice in it."""
    operator = Operator(tmp_path / "principals.db")
    operator.done("add", "alice", "--realm", "realm1", "--role", "frontend", "--extra", '{"foo": 23}')
    return operator


def fresh_key() -> str:
    return bytes(SigningKey.generate().verify_key).hex()


def openssh(private: Any) -> tuple[str, bytes]:
    """A key in OpenSSH's formats: the public line and the private file."""
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return public, private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def seconds_from_now(moment: str) -> float:
    assert moment.endswith("+00:00")  # ISO 8601 in UTC
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()


# What there is no room for


def test_moments_at_the_end_of_time(operator: Operator) -> None:
    """Some write "never" like that."""
    operator.done("ticket", "alice", "--expires", "9999-12-31T23:59:59.9999999Z")
    (known,) = operator.credentials()
    assert known["expires"].startswith("9999-12-31T23:59:59")
    operator.done("revoke", "alice", "--yes")


@pytest.mark.parametrize(
    ("encoding", "args"),
    [
        ("ascii", ["enrol", "--count", "2", "--prefix", "é-", "--realm", "realm1", "--role", "r"]),
        ("latin-1", ["list"]),
        ("latin-1", ["list", "--realm", "\udcfc"]),
    ],
)
def test_text_that_cannot_be_written(operator: Operator, encoding: str, args: list[str]) -> None:
    operator.done("add", "Ωmega", "--realm", "realm1", "--role", "frontend")
    before = operator.dump()
    command = [sys.executable, "-m", "wampauth", "--store", str(operator.path), *args]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (1, f"Error: {cli.UNWRITABLE}\n")
    assert operator.dump() == before


@pytest.mark.parametrize("args", [["ticket", "alice", "--from-stdin"], ["revoke", "alice"], ["import", "-"]])
def test_a_closed_standard_input(operator: Operator, args: list[str]) -> None:
    command = [sys.executable, "-m", "wampauth", "--store", str(operator.path), *args]
    done = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == ((0, "") if args[0] == "import" else (1, ""))


@pytest.mark.parametrize("args", [["revoke", "alice"], ["remove", "alice"]])
def test_a_question_is_not_part_of_the_answer(operator: Operator, args: list[str]) -> None:
    done = operator.run(*args, "--json", input="y\n")
    assert json.loads(done.stdout)["authid"] == "alice"
    assert "[y/N]" in done.stderr


def test_a_successor_does_not_lengthen_what_it_follows(operator: Operator) -> None:
    operator.done("ticket", "alice", "--expires", "2h", "--label", "old")
    (old,) = operator.credentials()
    done = operator.done("rotate", "alice", "old", "--overlap", "7d", "--label", "new")
    assert f"follows old, which runs out {old['expires']}, as it did before." in done.stderr


# Principals


def test_add_list_and_show(operator: Operator) -> None:
    operator.done("add", "bob@example.com", "--realm", "devices", "--role", "device")
    operator.done("ticket", "alice")
    listed = operator.done("list").stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["AUTHID", "REALM", "ROLE", "STATE", "CREDENTIALS"],
        ["alice", "realm1", "frontend", "active", "1"],
        ["bob@example.com", "devices", "device", "active", "0"],
    ]
    for column in "REALM", "ROLE", "STATE", "CREDENTIALS":  # they stand below their heads
        at = listed[0].index(column)
        assert all(line[at - 1] == " " != line[at] for line in listed[1:])
    records = [json.loads(line) for line in operator.done("list", "--json").stdout.splitlines()]
    assert [record["authid"] for record in records] == ["alice", "bob@example.com"]
    assert records[0] == {
        "authid": "alice",
        "realm": "realm1",
        "role": "frontend",
        "extra": {"foo": 23},
        "state": "active",
        "revoked": None,
        "max_sessions": None,
        "credentials": 1,
    }


def test_list_of_nothing(operator: Operator) -> None:
    operator.done("remove", "alice", "--yes")
    assert operator.done("list").stdout.split() == ["AUTHID", "REALM", "ROLE", "STATE", "CREDENTIALS"]
    assert operator.done("list", "--json").stdout == ""


def test_show_is_for_people_and_for_programs(operator: Operator) -> None:
    key = fresh_key()
    operator.done("key", "alice", key, "--label", "laptop", "--expires", "2999-12-31T12:00:00+02:00")
    operator.done("ticket", "alice", "--not-before", "2999-01-01")
    text = operator.done("show", "alice").stdout
    for part in "authid:   alice", 'extra:    {"foo": 23}', "state:    active", key, "2999-12-31T10:00:00", "not yet":
        assert part in text
    program = operator.shown()
    assert {c["kind"]: (c["state"], c["label"], c["not_before"], c["expires"]) for c in program["credentials"]} == {
        "key": ("active", "laptop", None, "2999-12-31T10:00:00.000+00:00"),
        "ticket": ("not yet", "", "2999-01-01T00:00:00.000+00:00", None),
    }
    digest = next(c["verifier"] for c in program["credentials"] if c["kind"] == "ticket")
    assert digest not in text  # of no use to people


def test_state_words(operator: Operator) -> None:
    for label in "active", "expired", "revoked":
        operator.done("key", "alice", fresh_key(), "--label", label)
    operator.done("key", "alice", fresh_key(), "--label", "not yet", "--not-before", "1d")
    by_label = {credential["label"]: credential["id"] for credential in operator.credentials()}
    operator.done("rotate", "alice", by_label["expired"], fresh_key(), "--overlap", "0s", "--label", "active")
    operator.done("revoke", "alice", "--credential", by_label["revoked"])
    assert [credential["state"] for credential in operator.credentials()] == [
        credential["label"] for credential in operator.credentials()
    ]
    assert operator.shown()["state"] == "active"
    operator.done("revoke", "alice", "--yes")
    assert {operator.shown()["state"], *(credential["state"] for credential in operator.credentials())} == {"revoked"}
    assert operator.done("list").stdout.splitlines()[1].split()[3] == "revoked"


# Tickets


def test_a_ticket_is_printed_once_and_alone(operator: Operator) -> None:
    made = operator.process("ticket", "alice", "--label", "for CI", "--expires", "30d")
    assert made.returncode == 0
    assert TICKET.fullmatch(made.stdout.decode())
    assert len(base64.urlsafe_b64decode(made.stdout.strip() + b"=")) == 32  # 256 bits
    assert made.stdout.strip() not in made.stderr
    (credential,) = operator.credentials()
    assert f"alice has the ticket {credential['id']}. This is the only time" in made.stderr.decode()
    assert (credential["kind"], credential["label"], credential["state"]) == ("ticket", "for CI", "active")
    assert abs(seconds_from_now(credential["expires"]) - 30 * 86400) < 60
    assert operator.done("ticket", "alice").stdout != made.stdout.decode()


@pytest.mark.parametrize("source", ["stdin", "env"])
def test_a_chosen_ticket_is_taken_and_not_printed(operator: Operator, source: str) -> None:
    if source == "stdin":
        taken = operator.done("ticket", "alice", "--from-stdin", input="my sécret 123\r\nanother line\n")
    else:
        taken = operator.done("ticket", "alice", "--from-env", "A_TICKET", A_TICKET="my sécret 123")
    assert taken.stdout == ""
    assert "sécret" not in taken.stderr
    (credential,) = operator.credentials()
    assert credential["kind"] == "chosen"
    assert credential["verifier"].startswith("$argon2id$v=19$m=65536,t=2,p=1$")
    assert nacl.pwhash.verify(credential["verifier"].encode(), "my sécret 123".encode())


def test_no_command_takes_a_ticket_as_an_argument(operator: Operator) -> None:
    for command in ("ticket", "alice", "secret123"), ("ticket", "alice", "--ticket", "secret123"):
        assert operator.run(*command).exit_code == 2
    assert operator.credentials() == []


# Keys


@pytest.fixture
def ssh_key() -> Iterator[tuple[str, str, bytes]]:
    """Hexadecimal, OpenSSH line and OpenSSH private file of one key."""
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    yield (raw, *openssh(private))


@pytest.mark.parametrize("form", ["hex", "HEX", "hex file", "line", "line with comment", "line file"])
def test_every_form_of_a_public_key(
    operator: Operator, tmp_path: Path, ssh_key: tuple[str, str, bytes], form: str
) -> None:
    pubkey, line, _ = ssh_key
    given = {"hex": pubkey, "HEX": pubkey.upper(), "line": line, "line with comment": f"{line} alice@laptop"}.get(form)
    if given is None:
        file = tmp_path / "key.pub"
        file.write_text(f"{pubkey}\n" if form == "hex file" else f"{line} alice@laptop\n")
        given = str(file)
    added = operator.done("key", "alice", given, "--label", form)
    assert added.stdout == ""
    (credential,) = operator.credentials()
    assert added.stderr == f"alice has the key {credential['id']}.\n"
    assert (credential["kind"], credential["verifier"], credential["label"]) == ("key", pubkey, form)


def test_keygen(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "device.key"
    made = operator.process("keygen", str(file))
    assert made.returncode == 0
    assert made.stderr == b""
    assert file.stat().st_mode & 0o777 == 0o600
    assert made.stdout.decode() == bytes(SigningKey(file.read_bytes()).verify_key).hex() + "\n"
    assert Path(f"{file}.pub").read_bytes() == made.stdout
    operator.done("key", "alice", f"{file}.pub")
    assert operator.credentials()[0]["verifier"] == made.stdout.decode().strip()


@pytest.mark.parametrize("name", ["device.key", "device.key.pub"])
def test_keygen_overwrites_neither_half(operator: Operator, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    refused = operator.run("keygen", str(tmp_path / "device.key"))
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert f"{name}: File exists" in refused.stderr
    assert (tmp_path / name).read_text() == "precious"
    assert sorted(file.name for file in tmp_path.glob("device*")) == [name]


def test_keygen_without_a_store(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "none.db")
    operator.done("keygen", str(tmp_path / "device.key"))
    assert not operator.path.exists()


# Rotating, withdrawing, forgetting


def test_rotate_a_ticket(operator: Operator) -> None:
    operator.done("ticket", "alice", "--label", "for CI")
    (old,) = operator.credentials()
    rotated = operator.done("rotate", "alice", old["id"])
    assert TICKET.fullmatch(rotated.stdout)
    by_id = {credential["id"]: credential for credential in operator.credentials()}
    (new,) = by_id.keys() - {old["id"]}
    assert f"{new} follows {old['id']}, which runs out in 7d." in rotated.stderr
    assert abs(seconds_from_now(by_id[old["id"]]["expires"]) - 7 * 86400) < 60
    assert (by_id[new]["kind"], by_id[new]["label"], by_id[new]["expires"]) == ("ticket", "for CI", None)
    same = operator.done("key", "alice", fresh_key(), "--label", "for CI").stderr
    assert " Another one is called 'for CI', too: say its id to `rotate` or `revoke` it." in same
    assert "Another one" not in operator.done("ticket", "alice", "--label", "laptop").stderr
    assert "Another one" not in operator.done("ticket", "alice").stderr


@pytest.mark.parametrize("name", ["id", "label"])
def test_rotate_a_key(operator: Operator, name: str) -> None:
    operator.done("key", "alice", fresh_key(), "--label", "laptop")
    (old,) = operator.credentials()
    before = operator.dump()
    without = operator.run("rotate", "alice", old[name])
    assert (without.exit_code, without.stdout) == (2, "")
    assert "the successor of a key is a public key" in without.stderr
    assert operator.dump() == before
    successor = fresh_key()
    rotated = operator.done("rotate", "alice", old[name], successor, "--overlap", "12h", "--label", "new laptop")
    assert rotated.stdout == ""
    shown = {credential["verifier"]: credential for credential in operator.credentials()}
    assert shown[successor]["label"] == "new laptop"
    assert abs(seconds_from_now(shown[old["verifier"]]["expires"]) - 12 * 3600) < 60


def test_rotate_a_chosen_ticket(operator: Operator) -> None:
    operator.done("ticket", "alice", "--from-stdin", input="first")
    (old,) = operator.credentials()
    before = operator.dump()
    without = operator.run("rotate", "alice", old["id"])
    assert (without.exit_code, without.stdout) == (2, "")
    assert "a chosen ticket is followed by a chosen one" in without.stderr
    assert operator.dump() == before
    assert operator.done("rotate", "alice", old["id"], "--from-env", "NEXT", NEXT="second").stdout == ""
    assert [credential["kind"] for credential in operator.credentials()] == ["chosen", "chosen"]


def test_rotate_keeps_the_kind(operator: Operator) -> None:
    operator.done("ticket", "alice")
    (old,) = operator.credentials()
    before = operator.dump()
    for more in ("--from-stdin",), (fresh_key(),):
        refused = operator.run("rotate", "alice", old["id"], *more, input="chosen")
        assert (refused.exit_code, refused.stdout) == (2, ""), more
    assert operator.dump() == before


def test_revoke_a_credential_and_restore_a_principal(operator: Operator) -> None:
    for label in "laptop", "phone":
        operator.done("key", "alice", fresh_key(), "--label", label)
    lost = next(credential["id"] for credential in operator.credentials() if credential["label"] == "phone")
    assert operator.done("revoke", "alice", "--credential", lost).stderr.startswith(f"{lost} is revoked.")
    operator.done("revoke", "alice", "--yes")
    assert operator.shown()["state"] == "revoked"
    assert abs(seconds_from_now(operator.shown()["revoked"])) < 60
    operator.done("restore", "alice")
    assert operator.shown()["state"] == "active"
    states = {credential["label"]: credential["state"] for credential in operator.credentials()}
    assert states == {"laptop": "active", "phone": "revoked"}


@pytest.mark.parametrize("command", ["remove", "revoke"])
@pytest.mark.parametrize(("answer", "said"), [("n\n", "Aborted!"), ("\n", "Aborted!"), ("", "in a script, say --yes")])
def test_everything_is_withdrawn_only_after_a_yes(operator: Operator, command: str, answer: str, said: str) -> None:
    operator.done("ticket", "alice")
    before = operator.dump()
    asked = operator.run(command, "alice", input=answer)
    assert asked.exit_code == 1
    assert said in asked.stderr
    assert "[y/N]" in asked.output
    assert operator.dump() == before
    assert operator.run(command, "alice", input="y\n").exit_code == 0
    assert operator.dump() != before


def test_remove(operator: Operator) -> None:
    operator.done("ticket", "alice")
    operator.done("remove", "alice", "--yes")
    assert operator.run("show", "alice").exit_code == 1
    assert operator.done("list", "--json").stdout == ""


# Export and import


def test_export_goes_in_again_as_it_came_out(operator: Operator, tmp_path: Path) -> None:
    operator.done("key", "alice", fresh_key(), "--label", "laptop", "--expires", "30d")
    ticket = operator.done("ticket", "alice").stdout.strip()
    operator.done("ticket", "alice", "--from-stdin", input="secret123")
    operator.done("add", "bob", "--realm", "devices", "--role", "device")
    operator.done("revoke", "bob", "--yes")
    exported = operator.done("export").stdout
    assert ticket not in exported
    assert "secret123" not in exported
    (tmp_path / "export.jsonl").write_text(exported)
    other = Operator(tmp_path / "other.db")
    assert other.done("import", str(tmp_path / "export.jsonl")).stderr == "2 principals were imported.\n"
    assert other.done("export").stdout == exported


def test_import_from_standard_input(operator: Operator) -> None:
    line = json.dumps({"authid": "bob", "realm": "realm1", "role": "frontend"}).encode()
    assert operator.process("import", "-", input=line).returncode == 0
    assert operator.shown("bob")["state"] == "active"


def test_import_keeps_nobody_from_writing_while_it_waits(operator: Operator, tmp_path: Path) -> None:
    """As for a line that is typed, or for another machine's password."""

    class Slow(io.BytesIO):
        def readlines(self, *_: Any) -> list[bytes]:
            with closing(connect(str(operator.path), busy=0.1)) as other:
                writing.revoke(other, "alice")
            return super().readlines()

        def __next__(self) -> bytes:
            return self.readlines()[0]

        def fileno(self) -> int:
            return empty.fileno()

    line = json.dumps({"authid": "bob", "realm": "realm1", "role": "frontend"}).encode()
    with (tmp_path / "empty").open("wb") as empty:
        operator.done("import", "-", input=Slow(line))
    assert [operator.shown(authid)["state"] for authid in ("alice", "bob")] == ["revoked", "active"]


def test_import_is_all_or_nothing(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"authid": "bob", "realm": "realm1", "role": "frontend"}\nnonsense\n')
    before = operator.dump()
    refused = operator.run("import", str(file))
    assert refused.exit_code == 1
    assert refused.stderr == "Error: line 2 isn't a principal as `export` writes it; nothing was imported\n"
    assert operator.dump() == before


def test_import_shows_its_progress_on_a_terminal(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    with file.open("w") as output:
        for number in range(500):
            print(json.dumps({"authid": f"d{number}", "realm": "devices", "role": "device"}), file=output)
    master, slave = os.openpty()
    with os.fdopen(slave, "wb") as terminal, os.fdopen(master, "rb") as screen:
        command = [*COMMAND, "--store", str(operator.path), "import", str(file)]
        with subprocess.Popen(command, stderr=terminal) as process:
            shown = ""
            while "100%" not in shown:  # or the test is ended from outside
                shown += os.read(screen.fileno(), 4096).decode(errors="replace")
        assert process.returncode == 0
    assert "Importing" in shown


# Refusals: one sentence, exit code 1, nothing on standard output, nothing changed

BOB = ("add", "bob", "--realm", "realm1")
P256, _ = openssh(ec.generate_private_key(ec.SECP256R1()))
RSA, _ = openssh(rsa.generate_private_key(65537, 1024))
SMALL_SSH = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "principal twice": (("add", "alice", "--realm", "realm1", "--role", "r"), "there is a principal alice already"),
    "role trusted": ((*BOB, "--role", "trusted"), "the role 'trusted' belongs to the router"),
    "role anonymous": ((*BOB, "--role", "anonymous"), "the role 'anonymous' belongs to the router"),
    "role empty": ((*BOB, "--role", ""), "a role is 1 to 128"),
    "realm": (("add", "bob", "--realm", "1", "--role", "r"), "a realm is 3 to 255"),
    "realm empty": (("add", "bob", "--realm", "", "--role", "r"), "a realm is 3 to 255"),
    "authid": (("add", "b b", "--realm", "realm1", "--role", "r"), "an authid is 1 to 128"),
    "authid empty": (("add", "", "--realm", "realm1", "--role", "r"), "an authid is 1 to 128"),
    "authid too long": (("add", "b" * 129, "--realm", "realm1", "--role", "r"), "an authid is 1 to 128"),
    "extra is no JSON": ((*BOB, "--role", "r", "--extra", "{"), "extra is a JSON object"),
    "extra is no object": ((*BOB, "--role", "r", "--extra", "[1]"), "extra is a JSON object"),
    "extra holds NaN": ((*BOB, "--role", "r", "--extra", '{"a": NaN}'), "extra is a JSON object"),
    "extra is nested deep": ((*BOB, "--role", "r", "--extra", "[" * 4000), "extra is a JSON object"),
    "extra has a surrogate": ((*BOB, "--role", "r", "--extra", r'{"a": "\ud800"}'), "extra "),
    "extra has a long number": ((*BOB, "--role", "r", "--extra", '{"a": 18446744073709551616}'), "extra "),
    "extra is reserved": ((*BOB, "--role", "r", "--extra", '{"x_cb_node": 1}'), "extra can't hold 'x_cb_node'"),
    "extra is too long": ((*BOB, "--role", "r", "--extra", json.dumps({"a": "x" * 4096})), "at most 4096"),
    "show nobody": (("show", "bob"), "there is no principal bob"),
    "remove nobody": (("remove", "bob", "--yes"), "there is no principal bob"),
    "revoke nobody": (("revoke", "bob", "--yes"), "there is no principal bob"),
    "revoke nothing": (("revoke", "alice", "--credential", "0" * 16), "alice has no credential"),
    "revoke no name": (("revoke", "alice", "--credential", ""), "alice has no credential"),
    "restore nobody": (("restore", "bob"), "there is no principal bob"),
    "restore the active": (("restore", "alice"), "alice isn't revoked"),
    "rotate nobody's": (("rotate", "bob", "0" * 16), "there is no principal bob"),
    "rotate nothing": (("rotate", "alice", "0" * 16), "alice has no credential"),
    "ticket for nobody": (("ticket", "bob"), "there is no principal bob"),
    "ticket from nowhere": (("ticket", "alice", "--from-stdin"), "standard input is empty"),
    "ticket unset": (("ticket", "alice", "--from-env", "NOT_SET"), "the variable NOT_SET isn't set"),
    "ticket past": (("ticket", "alice", "--expires", "2001-01-01"), "the expiry is in the past"),
    "ticket over at once": (("ticket", "alice", "--expires", "0s"), "the expiry is in the past"),
    "never valid": (("ticket", "alice", "--not-before", "2d", "--expires", "1d"), "run out before it begins"),
    "label": (("ticket", "alice", "--label", "a\nb"), "a label is at most 64 printable"),
    "key for nobody": (("key", "bob", fresh_key()), "there is no principal bob"),
    "key too short": (("key", "alice", fresh_key()[:-1]), "a public key is 64 hexadecimal digits"),
    "key of order 4": (("key", "alice", "00" * 32), "isn't a point of Ed25519"),
    "key of order 1": (("key", "alice", "01" + "00" * 31), "isn't a point of Ed25519"),
    "key off the curve": (("key", "alice", "02" + "00" * 31), "isn't a point of Ed25519"),
    "OpenSSH key of order 4": (("key", "alice", SMALL_SSH), "isn't a point of Ed25519"),
    "OpenSSH garbage": (("key", "alice", "ssh-ed25519 AAAA"), "this isn't an OpenSSH public key"),
    "OpenSSH RSA": (("key", "alice", RSA), "isn't of type ssh-ed25519"),
    "key expired": (("key", "alice", fresh_key(), "--expires", "2001-01-01"), "the expiry is in the past"),
    "key file missing": (("key", "alice", "/nowhere/key.pub"), "/nowhere/key.pub: No such file or directory"),
    "key file is a folder": (("key", "alice", "/"), "/: Is a directory"),
    "keygen in no folder": (("keygen", "/nowhere/key"), "/nowhere/key: No such file or directory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_one_sentence(operator: Operator, case: str) -> None:
    args, sentence = REFUSED[case]
    before = operator.dump()
    refused = operator.run(*args, input="")
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("Error: ")
    assert sentence in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "Traceback" not in refused.stderr
    assert operator.dump() == before


@pytest.mark.parametrize("kind", ["raw private", "OpenSSH private", "P-256", "two lines", "text", "empty", "huge"])
def test_a_file_that_holds_no_public_key(operator: Operator, tmp_path: Path, kind: str) -> None:
    ed25519, private = openssh(Ed25519PrivateKey.generate())
    content, sentence = {
        "raw private": (
            bytes(SigningKey.generate()),
            "this is a private key, which stays with its owner: give the public one",
        ),
        "OpenSSH private": (private, "this is a private key, which stays with its owner: give the public one"),
        "P-256": (P256.encode(), "isn't of type ssh-ed25519"),
        "two lines": (f"{ed25519}\n{ed25519}\n".encode(), "there are 2 lines: give the one that is meant"),
        "text": ("größe".encode(), "a public key is 64 hexadecimal digits"),
        "empty": (b"", "a public key is 64 hexadecimal digits"),
        "huge": (b"0" * 1_000_000, "a public key is 64 hexadecimal digits"),
    }[kind]
    file = tmp_path / "key"
    file.write_bytes(content)
    before = operator.dump()
    refused = operator.run("key", "alice", str(file))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert sentence in refused.stderr
    assert operator.dump() == before


def test_a_key_that_somebody_has(operator: Operator) -> None:
    key = fresh_key()
    operator.done("add", "bob", "--realm", "realm1", "--role", "frontend")
    operator.done("key", "bob", key)
    before = operator.dump()
    refused = operator.run("key", "alice", key.upper())
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: this key is registered already, for bob (`wampauth show bob`)\n",
    )
    assert operator.dump() == before


def test_a_third_chosen_ticket(operator: Operator) -> None:
    for ticket in "first", "second":
        operator.done("ticket", "alice", "--from-stdin", input=ticket)
    before = operator.dump()
    refused = operator.run("ticket", "alice", "--from-stdin", input="third")
    assert refused.exit_code == 1
    assert "alice has 2 chosen tickets already" in refused.stderr
    assert operator.dump() == before


def test_a_chosen_ticket_that_is_no_text(operator: Operator) -> None:
    before = operator.dump()
    for refused in (
        operator.run("ticket", "alice", "--from-stdin", input=b"secret\xff\n"),
        operator.run("ticket", "alice", "--from-env", "A_TICKET", A_TICKET="secret\udcff"),
        operator.run("ticket", "alice", "--from-stdin", input="secret" * 1000),
    ):
        assert refused.exit_code == 1
        assert refused.stderr == "Error: a ticket is 1 to 1024 characters of text\n"
    assert operator.dump() == before


USAGE: dict[str, tuple[str, ...]] = {
    "unknown command": ("adopt", "alice"),
    "no realm": ("add", "bob", "--role", "r"),
    "no role": ("add", "bob", "--realm", "realm1"),
    "no authid": ("show",),
    "unknown option": ("ticket", "alice", "--secret", "x"),
    "no time": ("ticket", "alice", "--expires", "soon"),
    "a time that isn't": ("ticket", "alice", "--expires", "2030-02-30"),
    "a time out of all time": ("ticket", "alice", "--expires", "9999-12-31T23:59:59-23:59"),
    "a time before all time": ("ticket", "alice", "--not-before", "0001-01-01T00:00:00+23:59"),
    "a span without unit": ("ticket", "alice", "--not-before", "30"),
    "a negative span": ("ticket", "alice", "--expires", "-1d"),
    "no span": ("rotate", "alice", "0" * 16, "--overlap", "a week"),
    "a missing file": ("import", "/nowhere/principals.jsonl"),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage(operator: Operator, case: str) -> None:
    before = operator.dump()
    wrong = operator.run(*USAGE[case])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Usage: ")
    assert operator.dump() == before


@pytest.mark.parametrize("command", ["", *sorted(cli.main.commands)])
def test_every_command_has_help(operator: Operator, command: str) -> None:
    shown = operator.done(*command.split(), "--help").stdout
    assert shown.startswith("Usage: ")
    assert all(len(line) <= 80 for line in shown.splitlines())


# The store that it works on


@pytest.mark.parametrize("command", ["list", "show x", "ticket x", "remove x --yes", "restore x", "export"])
def test_without_a_store(tmp_path: Path, command: str) -> None:
    operator = Operator(tmp_path / "none.db")
    refused = operator.run(*command.split())
    assert refused.exit_code == 1
    missing = f"there is no store at {operator.path}: `wampauth add` makes one, `wampauth recover` brings back a backup"
    assert refused.stderr == f"Error: {missing}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (
            {"tickets": {}},
            ", and none is named in config.json. Where checks of your own do without, `wampauth log` and",
        ),
        ({"store": "store.db"}, ". In config.json it is {folder}/store.db: say `--store {folder}/store.db`"),
        ({"store": "own_store:Store"}, ". In config.json it is own_store:Store, one of your own: `wampauth log` and"),
        ({"store": "postgresql://x:secret@db/p?password=secret"}, ": say `--store postgresql://db/p`"),
        ({"store": "postgresql://node@db/p?sslmode=require"}, ": say `--store postgresql://node@db/p`"),
        ({"store": "none.db"}, ": `wampauth add` makes one"),
    ],
)
def test_without_a_store_where_a_node_has_another_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    operator = Operator(tmp_path / "none.db")
    config = {"version": 2, "workers": [{"components": [{"extra": extra}]}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for command in ("list",), ("why", "x"), ("sessions",), ("revoke", "x", "--yes"), ("export",), ("backup", "x.db"):
        refused = operator.run(*command)
        assert refused.exit_code == 1
        assert refused.stderr.startswith(f"Error: there is no store at {operator.path}")
        assert sentence.format(folder=tmp_path.name) in refused.stderr
        assert "secret" not in refused.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]
    added = operator.done("add", "bob", "--realm", "realm1", "--role", "frontend", "--force").stderr
    assert (f"so no node asks this one ({operator.path})." in added) == (extra != {"store": "none.db"})
    operator = Operator(tmp_path / "none.db.new")
    added = operator.done("add", "bob", "--realm", "realm1", "--role", "frontend", "--force").stderr
    assert ("so no node asks this one" in added) == (extra != {"store": "none.db"})


@pytest.mark.parametrize("extra", [{"tickets": {}}, {"store": "own_store:Store"}, {"store": "postgresql://db/p"}])
def test_a_store_that_no_configuration_names_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    """Unless the operator names it, or moves it elsewhere. None is made, either."""
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / ".crossbar").mkdir()
    add, path = ("add", "bob", "--realm", "realm1", "--role", "frontend", "--force"), ".crossbar/principals.db"

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli.main, arguments)

    def configure(extra: dict[str, Any]) -> None:
        config = {"version": 2, "workers": [{"components": [{"extra": extra}]}]}
        (folder / "config.json").write_text(json.dumps(config))

    configure(extra)
    assert (run(*add).exit_code, (tmp_path / path).exists()) == (1, False)
    configure({"store": "principals.db"})
    assert run(*add).exit_code == run("list").exit_code == 0
    configure(extra)
    commands = (
        "list",
        "show bob",
        "why bob --realm r",
        "sessions",
        "ticket bob",
        "revoke bob --yes",
        "kick bob",
        "set bob --role r",
    )
    kept = run("backup", "monday.db")
    assert (kept.exit_code, f"Mind: no configuration names {path}, so no node asks it. " in kept.stderr) == (0, True)
    for command in (*map(str.split, commands), add, ("recover", "monday.db", "--yes")):
        refused = run(*command)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"Error: no configuration names {path}, so no node asks it. "), command
    failed = {"time": moments.iso(time.time()), "outcome": "refused", "method": "ticket", "claimed": "eve"}
    audit = json.dumps({**failed, "peer": "127.0.0.1", "reason": "no such credential"})
    (folder / "audit.jsonl").write_text(f"{audit}\n")
    last = run("why", "--last")
    assert "the ticket is wrong, or there is no such principal" in last.stdout
    assert last.stderr == f"No configuration names {path}: it isn't asked.\n"
    assert "bob" in run("--store", path, "list").stdout
    assert "bob" in run("export").stdout
    configure({"a name of its own": "principals.db"})
    assert "bob" in run("list").stdout


@pytest.mark.parametrize("store", [".crossbar/principals.db", "own_store:Store"])
def test_why_without_a_store_tells_what_the_audit_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """And whether the configuration has that realm and role."""
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / ".crossbar").mkdir()
    extra = {"store": store, "guard": {"audit": "mine.jsonl"}} if ":" in store else {"guard": {"audit": "mine.jsonl"}}
    realm = {"name": "office", "roles": [{"name": "member"}]}
    config = {"version": 2, "workers": [{"realms": [realm], "components": [{"extra": extra}]}]}
    (folder / "config.json").write_text(json.dumps(config))
    os.utime(folder / "config.json", (0, 0))
    now, one = time.time(), {"realm": "office", "method": "ticket", "peer": "127.0.0.1"}
    norole = {
        "time": moments.iso(now),
        "outcome": "accepted",
        "authid": "norole",
        **one,
        "role": "wizard",
        "session": 1,
    }
    cat = {"time": moments.iso(now), "outcome": "joined", "authid": "cat", **one, "role": "member", "session": 2}
    eve = {"time": moments.iso(now), "outcome": "refused", "claimed": "eve", **one, "reason": "no such credential"}
    fay = {**eve, "claimed": "fay", "reason": "revoked"}
    gone = {**cat, "authid": "gus", "session": 3}, {**cat, "outcome": "ended", "authid": "gus", "reason": "x.revoked"}
    old = {**gone[1], "authid": "hal", "reason": "x.expired"}  # who had joined long ago
    dora = {**eve, "claimed": "dora", "outcome": "throttled", "reason": "out of tokens"}
    ida = [{**one, "authid": "ida"} for one in reversed(gone)]
    records = (norole, cat, eve, fay, dora, *gone, old, *ida)
    (folder / "mine.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))

    def why(*arguments: str) -> Result:
        told = CliRunner().invoke(cli.main, [*(["--store", store] if ":" in store else []), "why", *arguments])
        assert told.exit_code == 1 or "--last" in arguments
        return told

    assert "`wampauth why norole` tells" in why("--last", "norole").stdout
    refused, lacking = why("norole").stdout.splitlines()
    assert refused.endswith(": the router has refused it, perhaps for want of the role wizard in office.")
    assert lacking == "office has no role wizard in config.json, but member."
    told = json.loads(why("norole", "--json").stdout)
    assert (told["gets_in"], told["reasons"][0]["reason"]) == (False, "not in the configuration")
    assert why("cat").stdout.startswith("cat got in, the last time at ")
    assert why("gus").stdout.splitlines()[1].endswith(": x.revoked.")
    assert json.loads(why("gus", "--json").stdout)["ended"]["reason"] == "x.revoked"
    assert why("hal").stdout.startswith("Its session was ended at ")
    assert "ended" not in why("ida").stdout  # who is back
    assert "the ticket is wrong, or there is no such principal" in why("eve").stdout
    assert "Only the audit was asked" in why("eve").stderr
    assert why("fay").stdout.endswith(": the ticket, or fay, was revoked.\n")
    assert " was throttled at 2" in why("dora").stdout
    assert why("bob").stderr.endswith(". The audit has no login of bob since yesterday\n")


def test_the_first_add_makes_the_store_for_its_owner_alone(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "principals.db")
    old = os.umask(0)
    try:
        operator.done("add", "alice", "--realm", "realm1", "--role", "frontend")
        with closing(connect(str(operator.path))) as store:
            writing.revoke(store, "alice")
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(old)
    files = "principals.db", "principals.db-wal", "principals.db-shm", "principals.db.reserve", "audit.jsonl"
    assert modes == dict.fromkeys(files, 0o600)
    assert {file.name for file in tmp_path.iterdir()} == {
        "principals.db",
        "principals.db.reserve",
        "audit.jsonl",
    }  # nothing else is left behind


def test_a_store_in_no_folder(tmp_path: Path) -> None:
    refused = Operator(tmp_path / "none" / "principals.db").run("add", "bob", "--realm", "realm1", "--role", "r")
    assert refused.exit_code == 1
    assert f"{tmp_path / 'none'}" in refused.stderr
    assert "`wampauth add` makes one" not in refused.stderr  # that is what was just tried


def test_the_default_is_the_nodes_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as one stands where the node directory is; the node's own paths begin in there."""
    (tmp_path / ".crossbar").mkdir()
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli.main, ["add", "bob", "--realm", "devices", "--role", "device"]).exit_code == 0
    config = read_config(HERE / ".crossbar" / "config.json")
    stores = [component["extra"]["store"] for component in config["workers"][0]["components"] if "extra" in component]
    assert [(tmp_path / ".crossbar" / store).exists() for store in stores] == [True]


def test_the_old_name_of_the_option(operator: Operator) -> None:
    listed = CliRunner().invoke(cli.main, ["--database", str(operator.path), "list"])
    assert listed.stdout == operator.done("list").stdout != ""


# The command itself


def test_the_version() -> None:
    done = subprocess.run([*COMMAND, "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"wampauth {wampauth.__version__}\n"


def test_installed_under_its_name() -> None:
    installed = Path(sys.executable).with_name("wampauth")
    shown = [subprocess.run([*command, "-h"], check=True, capture_output=True) for command in ([installed], COMMAND)]
    assert shown[0].stdout == shown[1].stdout


def test_output_into_a_closed_pipe_is_no_error_of_ours(operator: Operator, tmp_path: Path) -> None:
    with (tmp_path / "many.jsonl").open("w") as output:
        for number in range(5000):
            print(json.dumps({"authid": f"d{number}", "realm": "devices", "role": "device"}), file=output)
    operator.done("import", str(tmp_path / "many.jsonl"))
    for command in "list", "export":
        with subprocess.Popen(
            [*COMMAND, "--store", str(operator.path), command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""


# A leak of the store gives no ticket away


def test_no_ticket_in_the_store(operator: Operator, tmp_path: Path) -> None:
    secrets = [operator.done("ticket", "alice").stdout.strip().encode()]
    (made,) = operator.credentials()
    secrets.append(operator.done("rotate", "alice", made["id"]).stdout.strip().encode())
    for ticket in "swordfish-1", "swordfish-2":
        operator.done("ticket", "alice", "--from-stdin", input=ticket)
        secrets.append(ticket.encode())
    private = tmp_path / "mine.key"
    operator.done("keygen", str(private))
    operator.done("key", "alice", f"{private}.pub")
    raw = [base64.urlsafe_b64decode(secret + b"=") for secret in secrets[:2]]
    forms = [*secrets, *raw, private.read_bytes(), *(form.hex().encode() for form in [*raw, private.read_bytes()])]
    with closing(connect(str(operator.path))) as store:
        writing.revoke(store, "alice")  # so that there is a log to look through
        leaked = b"".join(file.read_bytes() for file in tmp_path.glob("principals.db*"))
    assert made["verifier"].encode() in leaked  # what it should hold is there to be found
    assert [form for form in forms if form in leaked] == []


# Realms and roles that the configurations beside the store have


@pytest.fixture
def beside(operator: Operator) -> Operator:
    """An operator whose store lies beside two configurations, and what isn't one."""
    folder = operator.path.parent
    for name in "config.json", "scaled.yaml":
        shutil.copy(HERE / ".crossbar" / name, folder)
    config = read_config(folder / "scaled.yaml")
    config["workers"][0]["realms"].append({"name": "annex", "roles": [{"name": "guest"}]})
    (folder / "scaled.yaml").write_text(json.dumps(config))
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text('{"workers": 7}')
    return operator


@pytest.mark.parametrize(
    ("realm", "role", "sentence"),
    [
        (
            "reaml1",
            "frontend",
            "there is no realm reaml1 in config.json, scaled.yaml, but annex, devices, realm1 (--force: ",
        ),
        ("devices", "frontend", "devices has no role frontend in config.json, scaled.yaml, but device (--force: "),
        ("annex", "frontend", "annex has no role frontend in config.json, scaled.yaml, but guest (--force: "),
    ],
)
def test_add_refuses_what_no_configuration_has(beside: Operator, realm: str, role: str, sentence: str) -> None:
    before = beside.dump()
    refused = beside.run("add", "bob", "--realm", realm, "--role", role)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert sentence in refused.stderr
    file = beside.path.with_name("bob.jsonl")
    file.write_text(json.dumps({"authid": "bob", "realm": realm, "role": role}))
    refused = beside.run("import", str(file))
    assert refused.exit_code == 1
    assert f"line 1: {sentence}" in refused.stderr
    assert beside.dump() == before
    beside.done("import", str(file), "--force")
    beside.done("remove", "bob", "--yes")
    beside.done("add", "bob", "--realm", realm, "--role", role, "--force")
    assert (beside.shown("bob")["realm"], beside.shown("bob")["role"]) == (realm, role)


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_nobody_is_added_to_the_authenticators_own_realm(beside: Operator, force: tuple[str, ...]) -> None:
    before = beside.dump()
    file = beside.path.with_name("bob.jsonl")
    file.write_text(json.dumps({"authid": "bob", "realm": "realm-auth", "role": "authenticator"}))
    for refused in (
        beside.run("add", "bob", "--realm", "realm-auth", "--role", "authenticator", *force),
        beside.run("import", str(file), *force),
    ):
        assert refused.exit_code == 1
        assert "realm-auth is the authenticators' own realm in config.json, scaled.yaml" in refused.stderr
    assert beside.dump() == before


def test_add_tells_where_nobody_watches(beside: Operator) -> None:
    added = "{} joins {} as {}, once it has a ticket or a key.\n"
    said = beside.done("add", "bob", "--realm", "devices", "--role", "device").stderr
    assert said == added.format("bob", "devices", "device")
    said = beside.done("add", "carol", "--realm", "annex", "--role", "guest").stderr
    assert said.startswith(added.format("carol", "annex", "guest"))
    assert "No `Sessions` watches annex: who is revoked stays in it until it leaves" in said
