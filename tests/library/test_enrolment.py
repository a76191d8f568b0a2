"""How does a device come to its key? One-time tokens: what they are good for, how often, and what is left of them."""

import csv
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE, Bundle, MakeBundle, wampauth
from nacl.signing import SigningKey
from stores import Loop
from twisted.internet.defer import Deferred

from wampauth import Principal, Refused, TicketClaim, enrolment
from wampauth import store as stores
from wampauth.store import OpenStore, connect, create, enrolling, moments, moving, showing, writing
from wampauth.testing import ABORT, GOODBYE, WELCOME, Message, RawClient, pubkey
from wampauth.testing.contract.enrols import enrolling as claim_of

pytest_plugins = ["postgres", "store_fixtures"]
TOKEN = "t" * 43
REFUSED = "could not authenticate session - invalid ticket for principal"
SMALL_ORDER = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"


# -- the operator


NEW = ("--realm", "devices", "--role", "device")


def test_a_token_is_printed_alone_and_kept_as_a_digest(tmp_path: Path) -> None:
    done = wampauth(tmp_path, "enrol", "sensor-1", *NEW)
    assert done.exit_code == 0
    (token,) = done.stdout.split()
    assert len(token) == 43
    assert token not in wampauth(tmp_path, "export").stdout
    (known,) = json.loads(wampauth(tmp_path, "show", "sensor-1", "--json").stdout)["credentials"]
    assert (known["kind"], known["state"]) == ("token", "active")
    left = moments.seconds(known["expires"]) or 0
    assert 3500 < left - time.time() < 3700


@pytest.mark.parametrize("as_json", [False, True])
def test_many_at_once(tmp_path: Path, as_json: bool) -> None:
    done = wampauth(
        tmp_path,
        "enrol",
        "--count",
        "100",
        "--prefix",
        "sensor-",
        *NEW,
        *(["--json"] if as_json else []),
        "--expires",
        "7d",
    )
    lines = done.stdout.splitlines()
    rows = [json.loads(line) for line in lines] if as_json else list(csv.DictReader(lines))
    assert [row["authid"] for row in rows] == [f"sensor-{number:03}" for number in range(1, 101)]
    assert len({row["token"] for row in rows}) == 100
    assert {tuple(row) for row in rows} == {("authid", "token", "expires")}
    known = [json.loads(line) for line in wampauth(tmp_path, "list", "--json").stdout.splitlines()]
    assert {(one["realm"], one["role"], one["credentials"]) for one in known} == {("devices", "device", 1)}
    more = wampauth(tmp_path, "enrol", "--count", "2", "--first", "101", "--prefix", "sensor-", *NEW)
    assert [line.split(",")[0] for line in more.stdout.splitlines()] == ["authid", "sensor-101", "sensor-102"]


def test_a_new_token_takes_the_place_of_one_that_was_not_spent(tmp_path: Path) -> None:
    first, second = (wampauth(tmp_path, "enrol", "sensor-1", *NEW).stdout.strip() for _ in range(2))
    assert first != second
    assert len(json.loads(wampauth(tmp_path, "show", "sensor-1", "--json").stdout)["credentials"]) == 1
    assert wampauth(tmp_path, "enrol", "sensor-1").exit_code == 0  # it is known by now


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("sensor-1",), "there is no principal sensor-1: --realm and --role make one"),
        (("alice", "--realm", "devices"), "alice has the realm realm1"),
        (("alice", "--role", "device"), "alice has the role frontend"),
        ((), "give either AUTHID, or --count and --prefix"),
        (("sensor-1", "--count", "3", "--prefix", "s"), "give either AUTHID, or --count and --prefix"),
        (("--count", "3"), "give either AUTHID, or --count and --prefix"),
        (("--count", "0", "--prefix", "s"), "Invalid value for '--count'"),
        (("sensor-1", *NEW, "--overlap", "soon"), "--overlap is a span"),
        (("sensor-1", *NEW, "--expires", "2001-01-01"), "the expiry is in the past"),
        (("a b", *NEW), "an authid is 1 to 128 printable characters"),
        (("--count", "2", "--prefix", "a b", *NEW), "an authid is 1 to 128 printable characters"),
        (("sensor-1", *NEW, "--extra", "[]"), "extra is a JSON object"),
    ],
)
def test_what_can_not_be_is_said_in_a_sentence(tmp_path: Path, args: tuple[str, ...], sentence: str) -> None:
    wampauth(tmp_path, "add", "alice", "--realm", "realm1", "--role", "frontend")
    before = wampauth(tmp_path, "export").stdout
    done = wampauth(tmp_path, "enrol", *args)
    assert done.exit_code != 0
    assert sentence in done.output
    assert isinstance(done.exception, SystemExit)
    assert wampauth(tmp_path, "export").stdout == before


def test_a_token_is_not_rotated(tmp_path: Path) -> None:
    wampauth(tmp_path, "enrol", "sensor-1", *NEW, "--label", "first")
    done = wampauth(tmp_path, "rotate", "sensor-1", "first")
    assert (done.exit_code, "`wampauth enrol sensor-1` gives another one" in done.output) == (1, True)


def test_a_token_moves_to_another_store_with_its_overlap(tmp_path: Path) -> None:
    wampauth(tmp_path, "enrol", "sensor-1", *NEW, "--overlap", "7d")
    exported = wampauth(tmp_path, "export").stdout
    assert json.loads(exported)["credentials"][0]["overlap"] == 7 * 86_400
    (tmp_path / "all.jsonl").write_text(exported)
    (other := tmp_path / "other").mkdir()
    assert wampauth(other, "import", str(tmp_path / "all.jsonl")).exit_code == 0
    assert wampauth(other, "export").stdout == exported


# -- the proof


def claim(key: SigningKey, **changes: Any) -> TicketClaim:
    return claim_of(key, TOKEN, authid="sensor-1", realm="devices", proven=changes)


def test_the_message_is_what_the_documentation_says() -> None:
    text = enrolment.message("com.example.", "devices", "sensor-1", "abc", "ff" * 32)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert text == f"com.example.enrol\ndevices\nsensor-1\n{digest}\n{'ff' * 32}".encode()


@pytest.mark.parametrize("part", ["prefix", "realm", "authid", "token", "pubkey"])
def test_a_proof_is_for_one_key_and_token(part: str) -> None:
    key = SigningKey.generate()
    assert enrolment.proven_key(claim(key)) == pubkey(key)
    with pytest.raises(Refused, match="without a proof that it is for this token"):
        enrolment.proven_key(claim(key, **{part: "other"}))


SHOWN: dict[str, Any] = {
    "no-object": "key",
    "a-list": [],
    "nothing": {},
    "no-proof": {"pubkey": "ab" * 32},
    "no-key": {"proof": "ab" * 64},
    "short-proof": {"pubkey": pubkey(SigningKey(bytes(32))), "proof": "ab"},
    "no-text": {"pubkey": 7, "proof": 7},
    "small-order": {"pubkey": SMALL_ORDER, "proof": "00" * 64},
    "zero": {"pubkey": "00" * 32, "proof": "00" * 64},
    "no-signature": {"pubkey": pubkey(SigningKey(bytes(32))), "proof": "00" * 64},
}


@pytest.mark.parametrize("shown", SHOWN)
def test_what_is_no_proof_is_refused(shown: str) -> None:
    with pytest.raises(Refused):
        enrolment.proven_key(
            TicketClaim(authid="sensor-1", ticket=TOKEN, realm="devices", authextra={"enrol": SHOWN[shown]})
        )


def test_a_store_that_registers_none_refuses() -> None:
    class Plain:
        def by_ticket(self, claim: TicketClaim) -> Any:
            return Principal("sensor-1", "devices", "device")

        by_key = by_ids = changes = by_ticket

    plain: Any = Plain()
    loop = Loop()
    try:
        with pytest.raises(Refused, match="registers none"):
            loop.ask(lambda: _deferred(OpenStore(plain).by_ticket(claim(SigningKey.generate()))))
    finally:
        loop.stop()


# -- the store


@pytest.fixture
def devices(store_url: str) -> str:
    """A store of each engine with sensor-1, who has an old key and a token."""
    create(store_url)
    with closing(connect(store_url)) as store:
        writing.add(store, {"authid": "sensor-1", "realm": "devices", "role": "device"})
        writing.add_credential(store, "sensor-1", {"kind": "key", "verifier": pubkey(SigningKey(b"o" * 32))})
    return store_url


def invite(where: str, **terms: Any) -> None:
    with closing(connect(where)) as store:
        enrolling.invite(store, [{"authid": "sensor-1"}], [TOKEN], terms)


def enrol(where: str, key: SigningKey) -> str:
    """Why not; empty if it was registered."""
    with closing(connect(where)) as store:
        return enrolling.enrol(store, "sensor-1", "devices", TOKEN, pubkey(key))[1]


def test_of_two_nodes_at_once_one_registers_its_key(devices: str) -> None:
    for _ in range(5):
        invite(devices)
        keys = [SigningKey.generate() for _ in range(4)]
        ready = threading.Barrier(len(keys))

        def rival(key: SigningKey, ready: threading.Barrier = ready) -> str:
            ready.wait()
            return enrol(devices, key)

        with ThreadPoolExecutor(len(keys)) as threads:
            reasons = list(threads.map(rival, keys))
        assert sorted(reasons) == ["", *["no such token"] * 3]


def test_the_audit_will_know_why(devices: str) -> None:
    key, taken = SigningKey.generate(), SigningKey(b"o" * 32)
    invite(devices, not_before="2999-01-01")
    assert enrol(devices, key) == "not yet"
    invite(devices, label="token")
    assert enrol(devices, taken) == "the key is registered already"
    with closing(connect(devices)) as store:
        assert enrolling.enrol(store, "sensor-1", "realm1", TOKEN, pubkey(key))[1] == "claims another realm"
        writing.revoke(store, "sensor-1", "token")
    assert enrol(devices, key) == "revoked"
    invite(devices)
    with closing(connect(devices)) as store:
        store.execute("UPDATE credential SET expires = store_now() - 1 WHERE kind = 'token'")
    assert enrol(devices, key) == "expired"
    invite(devices)
    with closing(connect(devices)) as store:
        writing.revoke(store, "sensor-1")
    assert enrol(devices, key) == "revoked"


def test_the_old_key_counts_for_the_overlap(devices: str) -> None:
    invite(devices)
    assert enrol(devices, SigningKey(b"1" * 32)) == ""
    with closing(connect(devices)) as store:
        assert {one["expires"] for one in showing.show(store, "sensor-1")["credentials"]} == {None}
    invite(devices, overlap=60)
    assert enrol(devices, SigningKey(b"2" * 32)) == ""
    with closing(connect(devices)) as store:
        *old, new = showing.show(store, "sensor-1")["credentials"]
        ends = [(moments.seconds(one["expires"]) or 0) - showing.now(store) for one in old]
        assert [50 < left <= 60 for left in ends] == [True, True]
        assert (new["kind"], new["expires"], new["verifier"]) == ("key", None, pubkey(SigningKey(b"2" * 32)))
    invite(devices, overlap=3600)
    assert enrol(devices, SigningKey(b"3" * 32)) == ""
    with closing(connect(devices)) as store:
        assert showing.show(store, "sensor-1")["credentials"][0]["expires"] == old[0]["expires"], "it was put off"


def test_a_key_that_would_begin_after_the_overlap_never_counts(devices: str) -> None:
    """And doesn't keep the store from being imported."""
    later = {"kind": "key", "verifier": pubkey(SigningKey(b"4" * 32)), "not_before": "2999-01-01", "label": "later"}
    with closing(connect(devices)) as store:
        writing.add_credential(store, "sensor-1", later)
    invite(devices, overlap=60)
    assert enrol(devices, SigningKey.generate()) == ""
    with closing(connect(devices)) as store:
        assert showing.credential(store, "sensor-1", "later")["state"] == "revoked"
        lines = [json.dumps(one).encode() for one in moving.export(store)]
        for principal in showing.principals(store):
            writing.remove(store, principal["authid"])
        moving.load(store, lines)


def test_who_follows_the_changes_hears_of_the_overlap(devices: str, loop: Loop) -> None:
    known = stores._principals(devices, loop.reactor)
    point, _ = loop.ask(lambda: _deferred(known.changes(None)))
    invite(devices, overlap=60)
    assert enrol(devices, SigningKey.generate()) == ""
    assert loop.ask(lambda: _deferred(known.changes(point)))[1] == {"sensor-1"}
    loop.ask(known.close)


def _deferred(coroutine: Any) -> "Deferred[Any]":
    return Deferred.fromCoroutine(coroutine)


# -- a node


@pytest.fixture(scope="module")
def node(make_bundle: MakeBundle) -> Bundle:
    return make_bundle(failures_at_once=1_000_000, refusal_delay=0.05)


def token_for(node: Bundle, authid: str, *options: str) -> str:
    return node.wampauth("enrol", authid, *NEW, *options).stdout.strip()


def shown(key: SigningKey, token: str, authid: str, proven: dict[str, str] | None = None) -> dict[str, Any]:
    return dict(claim_of(key, token, authid=authid, realm="devices", proven=proven or {}).authextra)


def try_token(
    node: Bundle, authid: str, token: str, extra: Any, realm: str | None = "devices", url: str | None = None
) -> Message:
    with RawClient(url or node.url) as client:
        client.hello(realm, "ticket", authid, extra)
        return client.authenticate(token)


WIRINGS = pytest.mark.parametrize("url", ["url", "function_url"])


@WIRINGS
def test_a_device_enrols_stays_and_comes_back_with_its_key(node: Bundle, url: str) -> None:
    authid, key = f"device-of-{url}", SigningKey.generate()
    token = token_for(node, authid)
    with RawClient(getattr(node, url)) as client:
        client.hello("devices", "ticket", authid, shown(key, token, authid))
        welcome = client.authenticate(token)
        assert welcome[0] == WELCOME
        assert [welcome[2][name] for name in ("realm", "authid", "authrole")] == ["devices", authid, "device"]
        credential = welcome[2]["authextra"]["credential"]
        with pytest.raises(TimeoutError):
            client.receive(timeout=1.2)  # Sessions has looked at it twice, and lets it stay
        with RawClient(getattr(node, url)) as again:
            assert again.login_key(key, "devices", authid)[2]["authextra"]["credential"] == credential
        node.wampauth("revoke", authid, "--credential", credential)
        assert client.receive()[0::2] == [GOODBYE, "com.example.revoked"]
    records = [one for one in node.audit if one.get("reason") == f"enrolled 0x{pubkey(key)}"]
    assert [(one["outcome"], one["method"], one["credential"]) for one in records] == [
        ("accepted", "ticket", credential)
    ]
    assert token not in node.log + json.dumps(node.audit)


@WIRINGS
def test_every_refusal_is_like_that_of_a_ticket(node: Bundle, url: str) -> None:
    authid, key, taken = f"refused-of-{url}", SigningKey.generate(), SigningKey.generate()
    token, others = token_for(node, authid), token_for(node, f"other-of-{url}")
    node.wampauth("add", f"taken-of-{url}", *NEW)
    node.wampauth("key", f"taken-of-{url}", pubkey(taken))
    attempts = {
        "no key": (token, None),
        "no proof": (token, {"enrol": {"pubkey": pubkey(key)}}),
        "small order": (token, {"enrol": SHOWN["small-order"]}),
        "nonsense": (token, {"enrol": ["x"]}),
        "another's proof": (token, {"enrol": shown(taken, token, authid)["enrol"] | {"pubkey": pubkey(key)}}),
        "taken": (token, shown(taken, token, authid)),
        "another's token": (others, shown(key, others, authid)),
        "an ordinary secret": ("secret123", shown(key, "secret123", authid)),
        **{f"for another {part}": (token, shown(key, token, authid, {part: "x"})) for part in ("realm", "authid")},
        "for another token": (token, shown(key, token, authid, {"token": others})),
        "for another authenticator": (token, shown(key, token, authid, {"prefix": "org.acme."})),
    }
    for name, (secret, extra) in attempts.items():
        answer = try_token(node, authid, secret, extra, url=getattr(node, url))
        assert answer == [ABORT, {"message": f"{REFUSED} {authid}"}, "com.example.invalid_ticket"], name
    for realm in "realm1", None:
        answer = try_token(node, authid, token, shown(key, token, authid), realm, getattr(node, url))
        assert answer[0] == ABORT, realm
    assert try_token(node, authid, token, shown(key, token, authid), url=getattr(node, url))[0] == WELCOME  # intact
    spent = try_token(node, authid, token, shown(SigningKey.generate(), token, authid), url=getattr(node, url))
    assert spent == [ABORT, {"message": f"{REFUSED} {authid}"}, "com.example.invalid_ticket"]


def test_two_at_once_with_one_token(node: Bundle) -> None:
    token, keys = token_for(node, "rivals"), [SigningKey.generate() for _ in range(6)]

    def rival(key: SigningKey) -> int:
        return int(try_token(node, "rivals", token, shown(key, token, "rivals"))[0])

    with ThreadPoolExecutor(len(keys)) as threads:
        answers = list(threads.map(rival, keys))
    assert sorted(answers) == [WELCOME, *[ABORT] * 5]
    (known,) = json.loads(node.wampauth("show", "rivals", "--json").stdout)["credentials"]
    assert known["verifier"] == pubkey(keys[answers.index(WELCOME)])


# -- the device's side


@contextmanager
def cutting_line(port: int) -> Iterator[int]:
    """A line to the router that is cut when it answers AUTHENTICATE; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(client,), daemon=True).start()

    def carry(client: socket.socket) -> None:
        router, is_cut = socket.create_connection(("127.0.0.1", port)), threading.Event()

        def back() -> None:
            while data := router.recv(65_536):
                if is_cut.is_set():
                    break  # the router has answered: it is done there
                client.sendall(data)
            for line in client, router:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=back, daemon=True).start()
        seen = 0
        try:
            while data := client.recv(65_536):
                seen += 1
                if seen == 3:  # the handshake, HELLO, and AUTHENTICATE
                    is_cut.set()
                router.sendall(data)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def device(port: int, folder: Path, authid: str, token: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(HERE / "examples" / "enrol.py"), authid, str(folder / "device.key"), *options]
    environment = {**os.environ, "MYTOKEN": token}
    return subprocess.run(
        [*command, "--url", f"ws://127.0.0.1:{port}/ws"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def test_the_example_enrols_once_and_then_needs_no_token(node: Bundle, tmp_path: Path) -> None:
    token = token_for(node, "example")
    first = device(node.port, tmp_path, "example", token)
    assert (first.returncode, first.stdout) == (
        0,
        "enrolled and joined: realm=devices authid=example authrole=device\n",
    ), first.stderr
    key = tmp_path / "device.key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)
    assert [file.name for file in tmp_path.iterdir()] == ["device.key"]
    again = device(node.port, tmp_path, "example", token)
    assert (again.returncode, again.stdout) == (0, "joined: realm=devices authid=example authrole=device\n")
    (other := tmp_path / "other").mkdir()
    spent = device(node.port, other, "example", token)
    assert (spent.returncode, spent.stderr.strip()) == (1, "refused: com.example.invalid_ticket")
    assert device(node.port, other, "example", "").returncode == 1
    assert device(1, other, "example", token).returncode == 2


def lose_the_answer(node: Bundle, folder: Path) -> str:
    """Enrol a device, whose key lies there, and which hears nothing of it; its token."""
    token, key = token_for(node, "lost"), SigningKey.generate()
    (folder / "device.key").write_bytes(bytes(key))
    with cutting_line(node.port) as port, RawClient(f"ws://127.0.0.1:{port}/ws") as client:
        client.hello("devices", "ticket", "lost", shown(key, token, "lost"))
        with pytest.raises(Exception, match="close"):
            client.authenticate(token)
    (known,) = json.loads(node.wampauth("show", "lost", "--json").stdout)["credentials"]
    assert (known["kind"], known["verifier"]) == ("key", pubkey(key))
    return token


def test_a_device_whose_answer_was_lost_finds_its_key_registered(node: Bundle, tmp_path: Path) -> None:
    token = lose_the_answer(node, tmp_path)
    again = device(node.port, tmp_path, "lost", token)
    assert (again.returncode, again.stdout) == (0, "joined: realm=devices authid=lost authrole=device\n")


def test_a_new_key_for_an_old_device(node: Bundle, tmp_path: Path) -> None:
    token = token_for(node, "old")
    assert device(node.port, tmp_path, "old", token).returncode == 0
    old = SigningKey((tmp_path / "device.key").read_bytes())
    (tmp_path / "device.key").unlink()
    done = device(node.port, tmp_path, "old", token_for(node, "old", "--overlap", "2s"))
    assert done.stdout.startswith("enrolled and joined"), done.stderr
    with RawClient(node.url) as client:
        welcome = client.login_key(old, "devices", "old")
        assert welcome[0] == WELCOME
        assert client.receive()[0::2] == [GOODBYE, "com.example.expired"]
    with RawClient(node.url) as client:
        assert client.login_key(old, "devices", "old")[0] == ABORT
    assert device(node.port, tmp_path, "old", "").returncode == 0
