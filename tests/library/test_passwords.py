"""Passwords that are never sent: what is kept of them, what a stranger gets to see, and how often he may guess."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from autobahn.wamp.auth import derive_scram_credential
from conftest import wait_for, wampauth
from example_nodes import falling
from nacl.signing import SigningKey
from passwords import (
    PASSWORD,
    SECRET,
    PasswordNode,
    Scram,
    cra_proof,
    login_cra,
    login_scram,
    password_node,
)
from test_guard import Attempt, Check, Guarded
from test_readme import text_of

from wampauth import Principal, Refused, ScramClaim, SettingsError, names, scram
from wampauth.claims import CraClaim, ScramVerifier
from wampauth.probe import passwords
from wampauth.probe.answers import Answer
from wampauth.probe.guessing import on_challenge
from wampauth.probe.report import HOLDS
from wampauth.probe.run import greet, play
from wampauth.probe.target import Target, resolve
from wampauth.settings import Settings
from wampauth.store import connect, create, reading
from wampauth.testing import ABORT, CHALLENGE, GOODBYE, WELCOME, RawClient, login
from wampauth.testing.contract.enrols import enrolling

NONCE = "bm9uY2U="
KEPT = ScramVerifier(salt="ab" * 16, iterations=3, memory=65_536, stored_key="cd" * 32, server_key="ef" * 32)
ALICE = Principal("alice", "realm1", "frontend", credential="0123456789abcdef", scram=KEPT, secret="s3cr3t")
DECOY = {"decoy": ("realm1", "frontend")}
BY_NAME = pytest.mark.parametrize("method", ["scram", "wampcra"])
WIRINGS = pytest.mark.parametrize("wiring", ["dynamic", "function"])


# -- what is kept


def test_what_is_kept_is_what_autobahn_makes_of_the_password() -> None:
    made = derive_scram_credential("alice", PASSWORD, salt=bytes(range(16)))
    ours = scram.derive(PASSWORD, made["salt"], made["iterations"], made["memory"])
    assert (ours.stored_key, ours.server_key) == (made["stored-key"], made["server-key"])


def test_it_is_read_as_it_was_written() -> None:
    assert scram.read(scram.written(KEPT)) == KEPT
    for wrong in "", "argon2id-13", scram.written(KEPT)[:-1], scram.written(replace(KEPT, memory=999_999)), None, 5:
        with pytest.raises(names.Malformed):
            scram.read(wrong)


def test_no_repr_shows_it() -> None:
    shown = repr((ALICE, KEPT))
    assert not [secret for secret in (KEPT.stored_key, KEPT.server_key, "s3cr3t") if secret in shown]


def test_the_salt_of_a_name_outlives_the_process(tmp_path: Path) -> None:
    where, salts = str(tmp_path / "principals.db"), set()
    create(where)
    for _ in range(2):
        store = connect(where)
        salts.add(reading.scram_salt(store, "alice"))
        store.close()
    assert len(salts) == 1
    create(other := str(tmp_path / "other.db"))
    assert reading.scram_salt(connect(other), "alice") not in salts


# -- the guard


def tried(folder: Path, method: str, outcome: Any, **claim: Any) -> tuple[Guarded, Attempt]:
    guard = Guarded(folder, failures_at_once=1_000_000, **DECOY)
    attempt = guard.attempt(Check(outcome), method, authextra={"nonce": NONCE}, **claim)
    guard.clock.advance(0.25)
    return guard, attempt


NOES: dict[str, Any] = {
    "unknown": None,
    "refused": Refused("locked"),
    "revoked": Refused("revoked", decoy=KEPT),
    "realm": replace(ALICE, realm="realm2"),
    "expired": replace(ALICE, expires=1.0),
}


@BY_NAME
@pytest.mark.parametrize("no", NOES)
def test_a_no_is_a_challenge_like_any_other(tmp_path: Path, method: str, no: str) -> None:
    _, yes = tried(tmp_path, method, ALICE)
    guard, refused = tried(tmp_path, method, NOES[no])
    assert yes.answer is not None and refused.answer is not None
    assert refused.after == yes.after == 0.25
    assert refused.answer.keys() == yes.answer.keys()
    for name in refused.answer.keys() - {"extra"}:
        assert type(refused.answer[name]) is type(yes.answer[name])
        assert name == "secret" or len(str(refused.answer[name])) == len(str(yes.answer[name]))
    assert [refused.answer[name] for name in ("realm", "authid", "role")] == ["realm1", "alice", "frontend"]
    assert guard.audit[-1]["outcome"] == "refused"


@pytest.mark.parametrize("no", ["revoked", "realm", "expired"])
def test_who_is_known_keeps_the_salt_and_loses_the_keys(tmp_path: Path, no: str) -> None:
    _, refused = tried(tmp_path, "scram", NOES[no])
    assert refused.answer is not None
    assert refused.answer["salt"] == KEPT.salt
    assert refused.answer["stored-key"] != KEPT.stored_key
    assert refused.answer["server-key"] != KEPT.server_key


def test_nobody_can_meet_a_challenge_twice_made_up(tmp_path: Path) -> None:
    (_, one), (_, other) = tried(tmp_path, "scram", None), tried(tmp_path, "scram", None)
    assert one.answer is not None and other.answer is not None
    assert one.answer["salt"] == other.answer["salt"]
    assert one.answer["stored-key"] != other.answer["stored-key"]


@BY_NAME
def test_a_fault_of_ours_is_no_no(tmp_path: Path, method: str) -> None:
    for fault in RuntimeError("away"), replace(ALICE, scram=None, secret=None), replace(ALICE, role=""):
        _, attempt = tried(tmp_path, method, fault)
        assert attempt.uri == "com.example.unavailable"


def test_an_answer_the_router_could_not_use_is_our_fault(tmp_path: Path) -> None:
    for wrong in (
        replace(KEPT, salt="ab"),
        replace(KEPT, iterations=0),
        replace(KEPT, memory=2**30),
        replace(KEPT, stored_key=KEPT.stored_key[:-1]),
    ):
        for given in replace(ALICE, scram=wrong), Refused("revoked", decoy=wrong):
            guard, attempt = tried(tmp_path, "scram", given)
            assert attempt.uri == "com.example.unavailable"
            assert guard.audit[-1]["outcome"] == "unavailable"


def test_what_no_client_library_would_say_is_malformed(tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [{"authid": authid} for authid in ("größe", None, 7)]
    wrong += [{"authextra": extra} for extra in ({}, {"nonce": 7}, {"nonce": "A" * 1000})]
    for claim in wrong:
        guard = Guarded(tmp_path, failures_at_once=1_000_000, **DECOY)
        attempt = guard.attempt(check := Check(ALICE), "scram", **{"authextra": {"nonce": NONCE}, **claim})
        guard.clock.advance(0.25)
        assert attempt.uri == "com.example.malformed"
        assert check.asked == []


@BY_NAME
def test_each_challenge_costs_and_who_is_known_pays_the_same(tmp_path: Path, method: str) -> None:
    """Three are under way until their sessions have joined, which they never do; the fourth waits for its turn, in
    vain, and when it is over that they could have, there were three failures."""
    told = []
    for outcome in ALICE, None:
        guard = Guarded(tmp_path, failures_at_once=3, failures_per_second=0.001, **DECOY)
        attempts = [guard.attempt(Check(outcome), method, authextra={"nonce": NONCE}) for _ in range(4)]
        for _ in range(60):
            guard.clock.advance(0.25)
        attempts.append(guard.attempt(Check(outcome), method, authextra={"nonce": NONCE}))
        guard.clock.advance(0.25)
        told.append([(attempt.uri, attempt.after) for attempt in attempts])
    assert told[0] == told[1]
    assert [uri for uri, _ in told[0][:3]] == [None] * 3
    assert None not in [uri for uri, _ in told[0][3:]]
    assert told[0][4][0] == "com.example.too_many_attempts"


@BY_NAME
def test_who_has_joined_has_not_failed(tmp_path: Path, method: str) -> None:
    guard = Guarded(tmp_path, failures_at_once=3, address_factor=1, failures_per_second=0.001, **DECOY)
    for number in range(1, 11):
        attempt = guard.attempt(Check(ALICE), method, authextra={"nonce": NONCE})
        guard.clock.advance(0.25)
        assert attempt.uri is None
        guard.admissions.challenged.joined(number)


@pytest.mark.parametrize("method", ["scram", "wampcra"])
def test_nobody_can_be_challenged_without_a_place_for_strangers(method: str) -> None:
    claim = ScramClaim(authid="alice", authextra={"nonce": NONCE}) if method == "scram" else CraClaim(authid="alice")
    checks = type("Checks", (), {"__init__": lambda *_: None, method: lambda *_: ALICE})
    with pytest.raises(SettingsError, match="'decoy' under 'guard' is missing"):
        login(checks, {}, claim)
    found: list[Any] = []
    login(checks, {"guard": {"decoy": ["realm1", "frontend"]}}, claim).addBoth(found.append)
    assert found[0].authid == "alice"


def test_the_place_is_a_realm_and_a_role() -> None:
    for wrong in [], ["realm1"], ["realm1", "trusted"], ["r", "frontend"], ["realm1", "frontend", "more"]:
        with pytest.raises(SettingsError, match="'decoy' must be a realm and a role"):
            Settings.from_config({"decoy": wrong})


# -- the operator


def test_a_password_is_asked_for_twice(tmp_path: Path) -> None:
    wampauth(tmp_path, "add", "alice", "--realm", "realm1", "--role", "frontend")
    done = wampauth(tmp_path, "password", "alice", input=f"{PASSWORD}\n{PASSWORD}\n")
    assert done.exit_code == 0
    assert PASSWORD not in done.output
    assert wampauth(tmp_path, "password", "alice", input=f"{PASSWORD}\nother\n").exit_code == 1
    for way in ({"input": f"{PASSWORD}\n"}, "--from-stdin"), ({"env": {"PW": PASSWORD}}, "--from-env", "PW"):
        assert wampauth(tmp_path, "password", "alice", *way[1:], **way[0]).exit_code == 0
    (known,) = json.loads(wampauth(tmp_path, "show", "alice", "--json").stdout)["credentials"]
    assert known["kind"] == "scram"
    kept = scram.read(known["verifier"])
    assert kept == scram.derive(PASSWORD, kept.salt)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("password", "nobody", "--from-stdin"), "there is no principal nobody"),
        (("password", "größe", "--from-stdin"), "for WAMP-SCRAM an authid is of ASCII characters"),
        (("password", "alice", "--from-env", "NOT_SET"), "the variable NOT_SET isn't set"),
    ],
)
def test_what_can_not_be_is_said_in_a_sentence(tmp_path: Path, args: tuple[str, ...], sentence: str) -> None:
    wampauth(tmp_path, "add", "alice", "--realm", "realm1", "--role", "frontend")
    done = wampauth(tmp_path, *args, input=f"{PASSWORD}\n")
    assert done.exit_code == 1
    assert sentence in done.output
    assert isinstance(done.exception, SystemExit)


def test_a_password_is_not_rotated(tmp_path: Path) -> None:
    wampauth(tmp_path, "add", "alice", "--realm", "realm1", "--role", "frontend")
    wampauth(tmp_path, "password", "alice", "--from-stdin", "--label", "hers", input=f"{PASSWORD}\n")
    done = wampauth(tmp_path, "rotate", "alice", "hers")
    assert (done.exit_code, "`wampauth password alice` gives another one" in done.output) == (1, True)


def test_it_moves_to_another_store(tmp_path: Path) -> None:
    wampauth(tmp_path, "add", "alice", "--realm", "realm1", "--role", "frontend")
    wampauth(tmp_path, "password", "alice", "--from-stdin", input=f"{PASSWORD}\n")
    exported = wampauth(tmp_path, "export").stdout
    (tmp_path / "all.jsonl").write_text(exported)
    (other := tmp_path / "other").mkdir()
    assert wampauth(other, "import", str(tmp_path / "all.jsonl")).exit_code == 0
    assert wampauth(other, "export").stdout == exported


# -- a node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PasswordNode]:
    with password_node(tmp_path_factory.mktemp("passwords") / "project", refusal_delay=0.05) as made:
        yield made


@WIRINGS
def test_who_knows_the_password_joins_and_stays(node: PasswordNode, wiring: str) -> None:
    with node.client(wiring) as client:
        proof = Scram("alice", PASSWORD)
        welcome = client.authenticate(proof.proof(client.hello("realm1", "scram", "alice", proof.extra)))
        assert welcome[0] == WELCOME
        assert [welcome[2][name] for name in ("realm", "authid", "authrole")] == ["realm1", "alice", "frontend"]
        assert proof.trusts(welcome), "the router hasn't proven that it knows the password"
        with pytest.raises(TimeoutError):
            client.receive(timeout=1.2)  # Sessions has looked at it twice, and lets it stay


@WIRINGS
def test_who_knows_the_secret_joins(node: PasswordNode, wiring: str) -> None:
    with node.client(wiring) as client:
        assert login_cra(client, "carol", SECRET)[0] == WELCOME


@WIRINGS
@pytest.mark.parametrize("realm", ["realm1", None, "elsewhere"])
def test_a_wrong_password_and_a_wrong_name_are_told_the_same(
    node: PasswordNode, wiring: str, realm: str | None
) -> None:
    seen: dict[str, list[Any]] = {"alice": [], "bob": [], "nobody": []}  # bob has no password
    for authid, answers in seen.items():
        for _ in range(2):
            with node.client(wiring) as client:
                proof = Scram(authid, "guess")
                challenge = client.hello(realm, "scram", authid, proof.extra)
                assert challenge[0] == CHALLENGE
                nonce, salt = challenge[2].pop("nonce"), challenge[2]["salt"]
                answers.append((challenge[2] | {"salt": len(salt)}, len(nonce), salt))
                answers.append(client.authenticate("A" * 44))
    first, denied, again, _ = seen["alice"]
    assert first == again, "a second look tells"
    for answers in seen.values():
        assert [answers[1], answers[3]] == [denied, denied]
        assert answers[0] == answers[2]
        assert answers[0][:2] == first[:2]
    assert len({answers[0][2] for answers in seen.values()}) == 3


@WIRINGS
def test_a_wrong_secret_and_a_wrong_name_are_told_the_same(node: PasswordNode, wiring: str) -> None:
    seen: list[Any] = []
    for authid in "carol", "nobody":
        with node.client(wiring) as client:
            challenge = client.hello("realm1", "wampcra", authid)
            said = json.loads(challenge[2]["challenge"])
            assert (said.pop("authid"), challenge[2].keys()) == (authid, {"challenge"})
            seen.append(({name: said[name] for name in ("authrole", "authmethod", "authprovider")}, said.keys()))
            seen.append(client.authenticate(cra_proof("guess", challenge)))
    assert seen[:2] == seen[2:]


@WIRINGS
@pytest.mark.parametrize("method", ["scram", "wampcra"])
def test_a_challenge_takes_one_proof(node: PasswordNode, wiring: str, method: str) -> None:
    """By itself the router takes as many as are sent: thousands a second, of which no authenticator hears."""
    with node.client(wiring) as client:
        if method == "scram":
            right = Scram("alice", PASSWORD)
            proof = right.proof(client.hello("realm1", "scram", "alice", right.extra))
        else:
            proof = cra_proof(SECRET, client.hello("realm1", "wampcra", "carol"))
        assert client.authenticate("A" * 44)[0] == ABORT
        assert [client.authenticate(proof)[0] for _ in range(3)] == [ABORT] * 3


@WIRINGS
@pytest.mark.parametrize("proof", ["", "A", "AAAA", "ÄÖÜ", "=" * 44, "A" * 20_000])
@pytest.mark.parametrize("method", ["scram", "wampcra"])
def test_whatever_is_sent_as_proof_is_answered(node: PasswordNode, wiring: str, proof: str, method: str) -> None:
    with node.client(wiring) as client:
        client.hello("realm1", method, "carol", {"nonce": NONCE})
        answer = client.authenticate(proof)
        assert (answer[0], answer[2]) == (ABORT, "wamp.error.not_authorized")
        assert "internal error" not in str(answer)


@WIRINGS
def test_a_proof_is_good_for_its_challenge_alone(node: PasswordNode, wiring: str) -> None:
    with node.client(wiring) as client:
        first = Scram("alice", PASSWORD)
        old = first.proof(client.hello("realm1", "scram", "alice", first.extra))
        client.hello("realm1", "scram", "alice", first.extra)  # with the same nonce of the client's
        assert client.authenticate(old)[0] == ABORT
    with node.client(wiring) as client:
        old = cra_proof(SECRET, client.hello("realm1", "wampcra", "carol"))
        client.hello("realm1", "wampcra", "carol")
        assert client.authenticate(old)[0] == ABORT


@pytest.mark.parametrize("name", ["wss", "rawsocket", "unix"])
def test_whatever_way_a_client_comes(node: PasswordNode, name: str) -> None:
    """Passwords, secrets and one-time tokens: good and bad ones, and two proofs for one challenge."""
    for try_it, authid, right in (login_scram, "alice", PASSWORD), (login_cra, "carol", SECRET):
        told = []
        for claimed in authid, "nobody":
            with node.wired(name) as client:
                told.append(try_it(client, claimed, "guess"))
                assert client.authenticate("A" * 44)[0] == ABORT
        assert told[0][0] == ABORT
        assert told[0] == told[1]
        with node.wired(name) as client:
            assert try_it(client, authid, right)[0] == WELCOME
    device, key = f"by-{name}", SigningKey.generate()
    token = node.wampauth("enrol", device, "--realm", "realm1", "--role", "frontend").strip()
    for shown, kind in (SigningKey.generate(), ABORT), (key, WELCOME), (SigningKey.generate(), ABORT):
        proven = {"token": "another"} if kind == ABORT and shown != key else {}
        claim = enrolling(shown, token, authid=device, realm="realm1", proven=proven)
        with node.wired(name) as client:
            client.hello("realm1", "ticket", device, dict(claim.authextra))
            assert client.authenticate(token)[0] == kind


def test_a_client_without_argon2_is_told_what_to_install(node: PasswordNode) -> None:
    """The client of docs/passwords.md, with Autobahn alone."""
    (login_py,) = re.findall(r"<!-- file: login.py -->\n```python\n(.*?)```", text_of("docs/passwords.md"), re.S)
    program = "import sys\nsys.modules['argon2'] = None\n" + login_py.replace(":8080", f":{node.port}")
    environment = {**os.environ, "PASSWORD": PASSWORD}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    print(done)
    assert done.returncode == 1
    assert "install autobahn['scram']" in done.stderr + done.stdout
    assert 'pip install "autobahn[twisted,scram]"' in text_of("docs/passwords.md")


@WIRINGS
def test_guessing_is_throttled(node: PasswordNode, wiring: str) -> None:
    """Ten at once and one a second. What is more waits for its turn, or is refused."""
    begun, checked = time.monotonic(), 0
    for _ in range(16):
        with RawClient(node.url(wiring), source_address=(f"127.3.0.{1 + (wiring == 'dynamic')}", 0)) as client:
            answer = login_cra(client, "alice", "guess")[2]
        assert answer in ("wamp.error.not_authorized", "com.example.too_many_attempts")
        checked += answer == "wamp.error.not_authorized"
    assert 10 <= checked <= 11 + time.monotonic() - begun


def test_another_password_ends_the_sessions_of_the_old_one(node: PasswordNode) -> None:
    node.wampauth("password", "bob", "--from-stdin", input="first one\n")
    with node.client() as client:
        assert login_scram(client, "bob", "first one")[0] == WELCOME
        node.wampauth("password", "bob", "--from-stdin", input="second one\n")
        assert client.receive()[0::2] == [GOODBYE, "com.example.revoked"]
    for password, answer in ("first one", ABORT), ("second one", WELCOME):
        with node.client() as client:
            assert login_scram(client, "bob", password)[0] == answer


def test_no_secret_is_written_anywhere(node: PasswordNode) -> None:
    with node.client() as client:
        login_scram(client, "alice", "my-wrong-password-1")
    with node.client() as client:
        login_cra(client, "carol", "my-wrong-secret-1")
    with node.client() as client:
        expected = cra_proof(SECRET, client.hello("realm1", "wampcra", "carol"))
        client.authenticate("A" * 44)
    (kept,) = json.loads(node.wampauth("show", "alice", "--json"))["credentials"]
    verifier = scram.read(kept["verifier"])
    with node.client() as client:
        assert client.hello("realm1", "wampcra", "broken")[2] == "com.example.unavailable"  # its exception quotes one
    written = node.log + json.dumps(node.audit)
    for secret in (PASSWORD, SECRET, "my-wrong", expected, verifier.stored_key, verifier.server_key):
        assert secret not in written


def test_the_audit_tells_what_the_client_is_not_told(node: PasswordNode) -> None:
    with node.client() as client:
        login_scram(client, "nobody-at-all", "x")
    found, *_ = wait_for(lambda: [one for one in node.audit if one.get("claimed") == "nobody-at-all"])
    assert [found[name] for name in ("outcome", "reason", "method")] == ["refused", "no such password", "scram"]


@pytest.mark.slow
def test_the_attacker_that_we_ship_finds_nothing(tmp_path: Path) -> None:
    """Each takes a minute: with passwords, in both wirings, and with a one-time token. What any node with static rules
    falls to, ``test_probe.py`` knows."""
    with password_node(tmp_path / "p") as node:  # short, as the name of a socket has to be
        ticket = node.wampauth("ticket", "alice").strip()
        node.wampauth("enrol", "device", "--realm", "realm1", "--role", "frontend")
        for wiring, authid, known in (
            ("dynamic", "alice", ticket),
            ("function", "carol", None),
            ("dynamic", "device", None),
        ):
            assert falling(node.url(wiring), authid, known) == set(), wiring


def test_the_probe_sees_no_difference(node: PasswordNode) -> None:
    for wiring in "dynamic", "function":
        for method, authid in ("scram", "alice"), ("wampcra", "carol"):
            target = Target(resolve(node.url(wiring)), "realm1", authid)
            assert method in passwords.offered(target)
            names = authid, "nobody-here"
            assert passwords.seen(target, method, *names)[0] == passwords.seen(target, method, *names[::-1])[0]
        target = Target(resolve(node.url(wiring)), "realm1", "alice")
        greet(target)
        found = play("known-answer", target)
        assert (found.verdict, "scram" in found.came, "wampcra" in found.came) == (HOLDS, True, True)
        for method in "scram", "wampcra":
            one = on_challenge(target, method)
            assert (one.verdict, "no pending authentication, after 1 guesses" in one.came) == (HOLDS, True)


@pytest.mark.parametrize(
    "changed", [{"salt": "c2hvcnQ="}, {"memory": 8}, {"iterations": 4}, {"more": 1}, {"salt": None}, {"kdf": "pbkdf2"}]
)
def test_the_probe_sees_each_difference(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
    """A stand-in for a router that treats strangers otherwise, by form or when they come again."""
    kept = {"kdf": "argon2id-13", "salt": "c2FsdHNhbHRzYWx0c2E=", "iterations": 3, "memory": 65536}

    class Client:
        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None: ...

        def hello(self, method: str, authid: str, extra: Any) -> Answer:
            salt = {"salt": "c2FsdHNhbHR" + os.urandom(4).hex() + "="} if changed == {"salt": None} else changed
            shown = {**kept, "nonce": os.urandom(8).hex(), **(salt if authid != "alice" else {})}
            return Answer("CHALLENGE", message=[CHALLENGE, method, shown])

        def authenticate(self, proof: str) -> Answer:
            return Answer("ABORT", "wamp.error.not_authorized")

    target = Target(resolve("ws://127.0.0.1:1/"), "realm1", "alice")
    monkeypatch.setattr(target, "connect", lambda *_: Client())
    names = "alice", "nobody"
    assert passwords.seen(target, "scram", *names)[0] == passwords.seen(target, "scram", *names)[0]
    assert passwords.seen(target, "scram", *names)[0] != passwords.seen(target, "scram", *names[::-1])[0]
