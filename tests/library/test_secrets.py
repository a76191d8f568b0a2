"""Does a ticket or a private key turn up where it shouldn't? Many are used, then all that was written is searched."""

import base64
import functools
import json
import re
import secrets
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Bundle, MakeBundle, free_port
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.signing import SigningKey
from websockets.exceptions import ConnectionClosed

from wampauth.claims import Principal, TicketClaim
from wampauth.store import connect, moving
from wampauth.store.reading import Credential
from wampauth.store.tickets import chosen_verifier, ticket_digest
from wampauth.testing.node import Node
from wampauth.testing.wamp import ABORT, AUTHENTICATE, CHALLENGE, WELCOME, RawClient, pubkey

DOORS = ("ws", "ws-function")
MADE, CHOSEN = secrets.token_urlsafe(32), "chosen-" + secrets.token_urlsafe(16)
WRONG = [f"wrong-{number}-{secrets.token_urlsafe(16)}" for number in range(4)]
ODD = [
    start + secrets.token_urlsafe(16) for start in ("quo'te\"", "back\\slash", "täcket-", "tab\t", "new\nline", "{0}")
]
TOO_LONG = secrets.token_urlsafe(2000)
KEY, UNKNOWN_KEY = SigningKey.generate(), SigningKey.generate()
FRAGMENT = 10  # characters of a secret that may stand nowhere, either

# What the router itself logs at loglevel debug: each ticket, as it comes in. At info and above, it doesn't.
ROUTER = re.compile(r"crossbar\.router\.session\.RouterSession\] onAuthenticate: ")


def openssh(key: SigningKey) -> str:
    """The private key as ssh-keygen would write it."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(key))
    return private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


@functools.cache
def forms() -> dict[str, str]:
    """All strings that would give a secret away, and what each is: parts of it, as it is and encoded."""
    found: dict[str, str] = {}
    for ticket in (MADE, CHOSEN, *WRONG, *ODD, TOO_LONG):
        raw = ticket.encode()
        for form in (ticket, repr(ticket)[1:-1], json.dumps(ticket)[1:-1], repr(raw)[2:-1], raw.hex(), *in_base64(raw)):
            for start in (*range(0, 30, FRAGMENT), len(form) - FRAGMENT):
                found[form[max(start, 0) :][:FRAGMENT]] = f"part of the ticket {ticket[:40]!r}"
    found[ticket_digest(CHOSEN)] = "what could be guessed at without limit"
    for key in (KEY, UNKNOWN_KEY):
        raw = bytes(key)
        for form in (raw.hex(), raw.hex().upper(), repr(raw)[2:-1], *in_base64(raw), *openssh(key).splitlines()[3:5]):
            found[form[: 2 * FRAGMENT]] = f"part of the private key of {pubkey(key)}"
    return found


def in_base64(raw: bytes) -> tuple[str, str]:
    return base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")


def leaks(text: str) -> list[str]:
    """Which secrets stand in a text, and where."""
    return [f"{what}: {text[max(0, text.find(form) - 60) :][:160]!r}" for form, what in forms().items() if form in text]


@dataclass
class Run:
    """A node that has seen many secrets, and what the clients printed."""

    bundle: Bundle
    printed: str


def attempt(url: str, ticket: str, authid: str = "alice") -> Any:
    """Log in; the last message or, if the router hangs up, None."""
    with RawClient(url) as client:
        try:
            return client.login_ticket(authid, ticket)[0]
        except ConnectionClosed:
            return None


def use_secrets(bundle: Bundle, doors: Iterable[str]) -> None:
    """Right, wrong and odd credentials at each door, in the right and in wrong places, and with the store away."""
    for door in doors:
        url = f"ws://127.0.0.1:{bundle.port}/{door}"
        assert attempt(url, MADE) == attempt(url, CHOSEN) == WELCOME
        assert {attempt(url, ticket) for ticket in (*WRONG, *ODD, TOO_LONG)} == {ABORT}
        assert attempt(url, MADE, "bob") == attempt(url, CHOSEN, "nobody") == ABORT
        for key, outcome in (KEY, WELCOME), (UNKNOWN_KEY, ABORT):
            with RawClient(url) as client:
                assert client.login_key(key)[0] == outcome
        with RawClient(url) as client:  # a ticket where a signature belongs
            assert client.hello(None, "cryptosign", extra={"pubkey": pubkey(KEY)})[0] == CHALLENGE
            assert client.authenticate(MADE)[0] == ABORT
        with RawClient(url) as client:  # a ticket before HELLO
            assert client.authenticate(MADE)[0] == ABORT
        for odd in (
            [AUTHENTICATE, MADE],
            [AUTHENTICATE, MADE, 5],
            [AUTHENTICATE, [MADE], {}],
            [AUTHENTICATE, {MADE: 1}, {}],
        ):
            with RawClient(url) as client, pytest.raises(ConnectionClosed):
                assert client.hello("realm1", "ticket", "alice")[0] == CHALLENGE
                client.send(*odd)
                client.receive()
        with RawClient(url) as client, pytest.raises(ConnectionClosed):
            client.send_raw(f'[5, "{MADE}", ')
            client.receive()
        with RawClient(url) as client, pytest.raises(ConnectionClosed):  # once more after joining
            assert client.login_ticket("alice", MADE)[0] == WELCOME
            client.authenticate(MADE)
        away = bundle.store.with_suffix(".away")
        bundle.store.rename(away)
        try:
            assert attempt(url, MADE) == attempt(url, CHOSEN) == ABORT
        finally:
            away.rename(bundle.store)
    assert {record["outcome"] for record in bundle.audit} >= {
        "accepted",
        "challenged",
        "refused",
        "malformed",
        "unavailable",
    }


def run_clients(bundle: Bundle, folder: Path) -> str:
    """What client.py prints with right and wrong credentials, and with --debug; and manage.py, told a ticket."""
    raw, ssh, unknown = folder / "raw.key", folder / "ssh.key", folder / "unknown.key"
    raw.write_bytes(bytes(KEY))
    ssh.write_text(openssh(KEY))
    unknown.write_bytes(bytes(UNKNOWN_KEY))
    nowhere = f"ws://127.0.0.1:{free_port()}/ws"
    runs: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("alice", "--debug"), {"ticket": MADE}),
        (("alice", "--debug"), {"ticket": CHOSEN, "url": bundle.function_url}),
        (("alice", "--debug"), {"ticket": WRONG[0]}),
        (("alice", "--debug"), {"ticket": ODD[0], "url": nowhere}),
        (("--key", str(raw), "--debug"), {}),
        (("--key", str(ssh), "--debug"), {"url": bundle.function_url}),
        (("--key", str(unknown), "--debug"), {}),
        (("--key", str(raw), "--debug"), {"url": nowhere}),
    ]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda run: bundle.client(*run[0], **run[1]), runs))
    assert [result.returncode for result in results] == [0, 0, 1, 2, 0, 0, 1, 2]
    bundle.wampauth("add", "told", "--realm", "realm1", "--role", "frontend")
    told = []
    for ticket in CHOSEN, TOO_LONG:
        told.append(bundle.wampauth("ticket", "told", "--from-env", "MYTICKET", check=False, MYTICKET=ticket))
    told.append(bundle.wampauth("key", "told", str(raw), check=False))
    assert [result.exit_code for result in told] == [0, 1, 1]
    printed = [(result.stdout, result.stderr) for result in results] + [(one.stdout, one.stderr) for one in told]
    return "".join(out + err for out, err in printed)


@pytest.fixture(scope="module")
def runs(make_bundle: MakeBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """Two nodes, at the default level and at debug, after all that."""
    bundles = {
        level: make_bundle(start=False, failures_at_once=10_000, refusal_delay=0.01) for level in ("error", "debug")
    }
    nodes = {}
    for level, bundle in bundles.items():
        with closing(connect(str(bundle.store))) as store:
            moving.load(store, [json.dumps(principal).encode() for principal in principals()])
        nodes[level] = Node(bundle.directory, output=(bundle.directory / "node.log").open("wb"), loglevel=level)
    with ThreadPoolExecutor() as pool:
        list(pool.map(Node.start, nodes.values()))
        list(pool.map(use_secrets, bundles.values(), (DOORS, ["ws"])))
    printed = run_clients(bundles["error"], tmp_path_factory.mktemp("keys"))
    yield {level: Run(bundle, printed) for level, bundle in bundles.items()}
    for node in nodes.values():
        node.stop()


def principals() -> Iterator[dict[str, Any]]:
    tickets = [("ticket", ticket_digest(MADE)), ("chosen", chosen_verifier(CHOSEN))]
    for authid, realm, role, credentials in (
        ("alice", "realm1", "frontend", tickets),
        ("bob", "realm1", "frontend", []),
        ("device", "devices", "device", [("key", pubkey(KEY))]),
    ):
        described = [{"kind": kind, "verifier": verifier} for kind, verifier in credentials]
        yield {"authid": authid, "realm": realm, "role": role, "credentials": described}


def test_a_leak_would_be_found() -> None:
    for ticket in (MADE, CHOSEN, *WRONG, *ODD, TOO_LONG):
        assert leaks(f"... {ticket} ...")
        assert leaks(f"... {ticket!r} ...")
        assert leaks(json.dumps({"ticket": ticket}))
        assert leaks(ticket.encode().hex())
        assert leaks(f"it starts with {ticket[:20]}")
        assert leaks(f"it ends with {ticket[-20:]}")
    for key in (KEY, UNKNOWN_KEY):
        assert leaks(bytes(key).hex())
        assert leaks(base64.b64encode(bytes(key)).decode())
        assert leaks(openssh(key))
        assert not leaks(pubkey(key))
    assert not leaks("com.example.invalid_ticket")


def test_the_log_at_the_default_level_has_no_secret(runs: dict[str, Run]) -> None:
    log = runs["error"].bundle.log
    assert "authentication unavailable" in log
    assert leaks(log) == []


@pytest.mark.parametrize("level", ["error", "debug"])
def test_the_audit_has_no_secret(runs: dict[str, Run], level: str) -> None:
    audit = "".join(file.read_text() for file in runs[level].bundle.directory.glob("audit*.jsonl"))
    assert '"unavailable"' in audit
    assert leaks(audit) == []


def test_what_clients_and_commands_print_has_no_secret_not_even_with_debug(runs: dict[str, Run]) -> None:
    printed = runs["error"].printed
    for expected in (
        "com.example.invalid_ticket",
        "com.example.no_such_user",
        "WAMP-Ticket challenge",
        "Is it running?",
    ):
        assert expected in printed
    assert leaks(printed) == []


def test_at_debug_only_the_router_logs_tickets_and_nobody_logs_keys(runs: dict[str, Run]) -> None:
    """So a node that real clients use isn't run at debug: README.md says so. What our code logs there is clean."""
    entries = re.split(r"^(?=\d{4}-\d\d-\d\dT)", runs["debug"].bundle.log, flags=re.MULTILINE)
    assert [entry for entry in entries if "reports.Reports]" in entry]  # our code is heard, too
    leaking = [entry for entry in entries if leaks(entry)]
    assert leaking, "the router has become better than README.md says"
    assert [entry for entry in leaking if not ROUTER.search(entry)] == []
    assert [entry for entry in leaking if "private key" in str(leaks(entry))] == []


@pytest.mark.parametrize("level", ["error", "debug"])
def test_no_file_of_the_node_has_a_ticket_or_a_private_key(runs: dict[str, Run], level: str) -> None:
    """Of a ticket the store keeps a digest, of a key the public half."""
    folder = runs[level].bundle.directory
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "node.log"]
    assert folder / "principals.db" in files
    digest = ticket_digest(CHOSEN)
    for file in files:
        assert leaks(file.read_bytes().decode("latin-1").replace(digest, "")) == [], file.name


def test_what_holds_a_secret_does_not_show_it() -> None:
    claim = TicketClaim(authid="alice", ticket=MADE, realm="realm1", authextra={"token": MADE})
    credential = Credential(Principal("alice", "realm1", "frontend"), "chosen", CHOSEN, "active")
    for holder in (claim, credential):
        assert leaks(f"{holder} {holder!r}") == []
    try:
        raise ValueError(claim)
    except ValueError:
        assert leaks(traceback.format_exc()) == []
