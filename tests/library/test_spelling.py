"""Do names and tickets mean the same, however a system writes their accents, and whatever ends the file they lie in?"""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import HERE, Bundle, wampauth
from stores import Loop, by_ticket

from wampauth import cli, names
from wampauth.checks import keep_to
from wampauth.claims import KeyClaim, Principal, Refused
from wampauth.store import Connection, chosen_verifier, enrolling, showing, ticket_digest, tickets, writing
from wampauth.store.principals import Principals
from wampauth.testing.wamp import ABORT, WELCOME, RawClient

pytest_plugins = ["postgres", "store_fixtures"]

COMPOSED = unicodedata.normalize("NFC", "josé-한글")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
SPELLINGS = {"composed": COMPOSED, "decomposed": DECOMPOSED}
CHOSEN = unicodedata.normalize("NFC", "café crème")
KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
both = pytest.mark.parametrize("typed", SPELLINGS)


def principal(authid: str) -> dict[str, Any]:
    return {"authid": authid, "realm": "realm1", "role": "frontend"}


def insert_as_before(store: Connection, authid: str) -> None:
    """Add a principal as an older program did, which kept a name as it was typed."""
    store.execute("BEGIN")
    store.execute(
        "INSERT INTO principal (authid, realm, role, extra) VALUES (?, 'realm1', 'frontend', '{}')", (authid,)
    )
    store.execute("COMMIT")


# -- authids


def test_an_authid_is_kept_composed() -> None:
    assert names.authid(DECOMPOSED) == COMPOSED


def test_how_long_an_authid_is_is_counted_when_it_is_composed() -> None:
    assert len(names.authid(unicodedata.normalize("NFD", "글" * names.MAX_AUTHID))) == names.MAX_AUTHID
    for longer in "글" * (names.MAX_AUTHID + 1), "a" + "\u0301\u0323" * 50_000:  # the last would take a second
        with pytest.raises(names.Malformed):
            names.authid(longer)


@both
def test_a_twin_can_not_be_added(store: Connection, typed: str) -> None:
    writing.add(store, principal(SPELLINGS[typed]))
    for twin in SPELLINGS.values():
        with pytest.raises(showing.Refused, match="there is a principal"):
            writing.add(store, principal(twin))


@both
def test_an_operator_may_type_either(store: Connection, typed: str) -> None:
    authid = SPELLINGS[typed]
    writing.add(store, principal(DECOMPOSED))
    made = writing.add_credential(store, authid, {"kind": "key", "verifier": KEY, "label": DECOMPOSED})
    following = {"kind": "key", "verifier": "0x" + "02" + KEY[2:], "label": "new"}
    assert showing.show(store, authid)["authid"] == COMPOSED
    assert showing.credential(store, authid, authid)["id"] == made
    with pytest.raises(names.Malformed):
        writing.rotate(store, authid, authid, following, 0)
    writing.change(store, authid, {"role": "backend"})
    assert showing.show(store, COMPOSED)["role"] == "backend"
    enrolling.invite(store, [{"authid": authid}], ["token"], {})
    writing.revoke(store, authid, authid)
    writing.revoke(store, authid)
    writing.restore(store, authid)
    writing.remove(store, authid)
    assert store.execute("SELECT DISTINCT authid FROM change").fetchall()[0][0] == COMPOSED


@both
@pytest.mark.parametrize("stored", SPELLINGS)
def test_a_store_with_either_goes_on_working(
    store: Connection, known: Principals, loop: Loop, stored: str, typed: str
) -> None:
    """Also one whose names an older program has written as they were typed."""
    insert_as_before(store, SPELLINGS[stored])
    writing.add_credential(store, SPELLINGS[typed], {"kind": "ticket", "verifier": ticket_digest("made")})
    enrolling.invite(store, [{"authid": SPELLINGS[typed]}], ["token"], {})
    found = loop.ask(known.by_ticket, by_ticket("made", names.authid(SPELLINGS[typed])))
    assert found.authid == SPELLINGS[stored]  # its sessions are known by that name
    writing.revoke(store, SPELLINGS[typed])
    assert showing.show(store, SPELLINGS[stored])["state"] == "revoked"


def test_twins_of_an_older_program_are_told_apart(store: Connection, known: Principals, loop: Loop) -> None:
    for authid in SPELLINGS.values():
        insert_as_before(store, authid)
        writing.add_credential(store, authid, {"kind": "ticket", "verifier": ticket_digest(f"of {len(authid)}")})
    for authid in SPELLINGS.values():
        assert showing.show(store, authid)["authid"] == authid
        assert loop.ask(known.by_ticket, by_ticket(f"of {len(authid)}", COMPOSED)).authid == authid


@both
def test_a_key_claims_either(typed: str) -> None:
    found = Principal(SPELLINGS[typed], "realm1", "frontend")
    for claimed in SPELLINGS.values():
        assert keep_to(KeyClaim(pubkey=KEY, authid=claimed), found) is found
    with pytest.raises(Refused):
        keep_to(KeyClaim(pubkey=KEY, authid="jose-한글"), found)


# -- tickets


@pytest.mark.parametrize("sent", [CHOSEN, unicodedata.normalize("NFD", CHOSEN), CHOSEN + "\n", CHOSEN + "\r\n"])
def test_a_chosen_ticket_is_known_in_every_form(sent: str) -> None:
    for stored in CHOSEN, unicodedata.normalize("NFD", CHOSEN), CHOSEN + "\n":
        assert tickets.find_chosen([chosen_verifier(stored)], sent) == 0


@pytest.mark.parametrize("form", [unicodedata.normalize("NFD", CHOSEN), CHOSEN + "\n", CHOSEN + "\r\n"])
def test_a_verifier_of_an_older_program_goes_on_working(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """It was made of the ticket just as it was typed."""
    with monkeypatch.context() as older:
        older.setattr(tickets, "meant", lambda ticket: ticket)
        verifier = chosen_verifier(form)
    assert tickets.find_chosen([verifier], form) == 0


def test_a_no_takes_as_long_whoever_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """How often Argon2id is asked depends on the ticket that is shown, and on nothing that a stranger would like to
    know."""
    asked: list[str] = []

    def verify(verifier: str, _: str) -> bool:
        asked.append(verifier)
        return False

    monkeypatch.setattr(tickets, "verify_chosen", verify)
    for sent, expected in ("plain", 2), ("café", 2), ("cafe\u0301", 4), ("plain\n", 4):
        for verifiers in [], ["one"], ["one", "two"]:
            asked.clear()
            assert tickets.find_chosen(verifiers, sent) is None
            assert len(asked) == expected


def test_only_one_line_end_is_left_out() -> None:
    ends = {"x\n": "x", "x\r\n": "x", "x\r": "x", "x\n\n": "x\n", " x ": " x ", "\nx": "\nx", "x": "x", "\n": ""}
    assert {text: names.without_line_end(text) for text in ends} == ends


def test_what_is_longer_than_a_ticket_of_ours_is_left_as_it_is() -> None:
    """A JWT isn't ours, and to compose 16,384 accents would take a while."""
    assert tickets.meant("x" * 1024 + "\n") == "x" * 1024 + "\n"


# -- at a node: both wirings, and whichever way a ticket was read


@pytest.fixture(scope="module")
def jose(bundle: Bundle) -> Bundle:
    """A node that knows somebody with accents in name and ticket."""
    done = bundle.wampauth("add", DECOMPOSED, "--realm", "realm1", "--role", "frontend")
    assert done.exit_code == 0
    bundle.wampauth("ticket", DECOMPOSED, "--from-env", "T", T=unicodedata.normalize("NFD", CHOSEN) + "\n")
    return bundle


@both
@pytest.mark.parametrize("path", ["ws", "ws-function"])
def test_a_login_in_any_spelling(jose: Bundle, path: str, typed: str) -> None:
    for ticket in CHOSEN, unicodedata.normalize("NFD", CHOSEN), CHOSEN + "\r\n":
        with RawClient(f"ws://127.0.0.1:{jose.port}/{path}") as client:
            kind, _, details = client.login_ticket(SPELLINGS[typed], ticket)
        assert (kind, details["authid"]) == (WELCOME, COMPOSED)
    with RawClient(f"ws://127.0.0.1:{jose.port}/{path}") as client:
        assert client.login_ticket(SPELLINGS[typed], "cafe creme")[0] == ABORT


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("way", ["env", "stdin"])
def test_a_secret_file_opens_for_whom_it_was_made(jose: Bundle, way: str, end: str) -> None:
    authid = f"file-{way}-{len(end)}"
    jose.wampauth("add", authid, "--realm", "realm1", "--role", "frontend")
    arguments = ["--from-stdin"] if way == "stdin" else ["--from-env", "T"]
    command = ["--store", str(jose.store), "ticket", authid, *arguments]
    done = CliRunner().invoke(cli.main, command, input="s3cret" + end, env={"T": "s3cret" + end})
    assert done.exit_code == 0, done.stderr
    for sent in "s3cret", "s3cret\n", "s3cret\r\n":
        with RawClient(jose.url) as client:
            assert client.login_ticket(authid, sent)[0] == WELCOME


@pytest.mark.parametrize("program", ["client.py", "examples/stay.py"])
def test_our_clients_leave_the_line_end_of_a_file_out(jose: Bundle, program: str) -> None:
    more = ["--seconds", "0"] if "stay" in program else []
    command = [sys.executable, str(HERE / program), DECOMPOSED, "--url", jose.url, *more]
    environment = {**os.environ, "MYTICKET": CHOSEN + "\r\n"}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "joined" in done.stdout, done.stderr
    assert json.dumps(CHOSEN) not in done.stdout


@pytest.mark.parametrize("pasted", [f" {COMPOSED}", f"{DECOMPOSED}\r\n", f"\t{COMPOSED}\n"])
def test_a_name_is_pasted_into_a_command(tmp_path: Path, pasted: str) -> None:
    """Wherever it is typed, it means the same; and of whom something is told, the same is told."""

    def done(*args: str, **options: Any) -> str:
        result = wampauth(tmp_path, *args, **options)
        assert result.exit_code == 0, result.output
        return result.stdout

    done("add", pasted, "--realm", "realm1", "--role", "frontend")
    done("ticket", pasted, "--label", "one")
    done("key", pasted, f" 0x{KEY.upper()}\r\n", "--label", "laptop")
    done("rotate", pasted, "one", "--overlap", "0s")
    done("set", pasted, "--max-sessions", "2")
    done("enrol", pasted)
    done("why", pasted, "--key", f"0X{KEY.upper()}")
    done("why", "--last", pasted)
    done("revoke", pasted, "--yes")
    done("restore", pasted)
    assert json.loads(done("show", pasted, "--json"))["authid"] == COMPOSED
    acts = [json.loads(line) for line in done("log", "--authid", pasted, "--json").splitlines()]
    assert [one["act"] for one in acts] == ["add", "ticket", "key", "rotate", "set", "enrol", "revoke", "restore"]
    assert {names.authid(one["authid"]) for one in acts} == {COMPOSED}
    done("remove", pasted, "--yes")


def test_an_empty_secret_file(tmp_path: Path) -> None:
    wampauth(tmp_path, "add", "alice", "--realm", "realm1", "--role", "r")
    for end in "\n", "\r\n":
        refused = wampauth(tmp_path, "ticket", "alice", "--from-env", "T", env={"T": end})
        assert refused.exit_code == 1 and "T isn't set" in refused.stderr
