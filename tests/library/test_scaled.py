"""Does a node of six processes keep the promises of one of one, and what is left of them when one of the six dies?

All tests but one share a node of ``scaled.yaml``. In its realm ``devices`` the role asks the authorizer, as it comes;
in ``realm1`` it has permissions. Its proxies have a second transport, with TLS.
"""

import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import CHOSEN, WRONG, Bundle, MakeBundle, read_config, wait_for
from nacl.signing import SigningKey
from websockets.exceptions import ConnectionClosed

from wampauth.probe.turns import trust
from wampauth.settings import SettingsError, require_private
from wampauth.store import connect, moments, ticket_digest, writing
from wampauth.store.engine import transaction
from wampauth.testing.node import START_TIMEOUT
from wampauth.testing.wamp import (
    ABORT,
    CALL,
    CHALLENGE,
    ERROR,
    GOODBYE,
    PUBLISH,
    PUBLISHED,
    SUBSCRIBE,
    SUBSCRIBED,
    WELCOME,
    Message,
    RawClient,
    pubkey,
    sign,
)

PROMISE = 1.0  # seconds in which who is revoked is out
SLACK = 1.0  # seconds that a busy machine may take on top
DEADLINE = 5.0  # seconds in which an attempt is answered
UNSUBSCRIBED = 35
AT_ONCE = 10  # failures that a pair may make at once, at each of the two authenticators
OURS = "127.0.0.1"
EXTRA = {"number": 23, "rate": 0.5, "whole": 2.0, "big": 2**53 + 1, "many": [1, {"a": None, "b": True}], "name": "Zoë"}
SOCKETS = {"realms.sock", "authentication.sock", "authenticators.sock"}
# What a login may be told while an authenticator goes down. It says nothing of the credential, and trying again helps.
TRY_AGAIN = ("wamp.error.canceled", "com.example.unavailable")


def spread(config: dict[str, Any], tls_port: int) -> None:
    """Give the role in ``realm1`` permissions, let devices publish, and give the proxies a second transport."""
    router, proxies = config["workers"][0], [worker for worker in config["workers"] if worker["type"] == "proxy"]
    realm1, devices = (one for one in router["components"] if one["classname"] == "authenticator.Sessions")
    assert [realm["name"] for realm in router["realms"]] == [realm1["realm"], devices["realm"]] == ["realm1", "devices"]
    rules = realm1["extra"].pop("roles")
    roles = router["realms"][0]["roles"]
    roles.remove({"name": "frontend", "authorizer": "com.example.authorize"})
    roles.append({"name": "frontend", "permissions": rules["frontend"]})
    allow = {"publish": True, "subscribe": True}
    devices["extra"]["roles"] = {"device": [{"uri": "com.example.news", "match": "exact", "allow": allow}]}
    tls = {"key": "certs/server.key", "certificate": "certs/server.pem"}
    for proxy in proxies:
        (plain,) = proxy["transports"]
        proxy["transports"].append({**plain, "endpoint": {**plain["endpoint"], "port": tls_port, "tls": tls}})


@pytest.fixture(scope="module")
def scaled(make_bundle: MakeBundle) -> Iterator[Bundle]:
    settings = {"refusal_delay": 0.05, "failures_at_once": AT_ONCE, "failures_per_second": 0.01}
    bundle = make_bundle("scaled.yaml", start=False, **settings)
    bundle.make_certificates()
    bundle.edit_config(partial(spread, tls_port=bundle.tls_port))
    node = bundle.start()
    wait_for(lambda: listeners(bundle) == ["proxy1", "proxy2"], START_TIMEOUT)
    yield bundle
    node.stop()


def workers(bundle: Bundle) -> dict[str, psutil.Process]:
    """The node's processes by the names that the configuration gives them."""
    controller = psutil.Process(json.loads((bundle.directory / "node.pid").read_text())["pid"])
    found = {}
    for child in controller.children():
        with suppress(psutil.NoSuchProcess):  # it dies just now
            found[" ".join(child.cmdline()).strip().removeprefix("crossbar-")] = child
    return found


def listeners(bundle: Bundle) -> list[str]:
    """Who listens at the node's ports."""
    found = []
    for name, process in workers(bundle).items():
        with suppress(psutil.NoSuchProcess):
            ports = [one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
            found += [name] if {bundle.port, bundle.tls_port} <= {*ports} else []
    return sorted(found)


@dataclass
class Person:
    """A principal of a test's own: with a ticket for realm1, or with a key for devices."""

    bundle: Bundle
    key: SigningKey | None = None
    terms: dict[str, Any] = field(default_factory=dict)
    authid: str = field(default_factory=lambda: f"person-{secrets.token_hex(4)}")
    ticket: str = field(default_factory=secrets.token_urlsafe)

    def __post_init__(self) -> None:
        realm, role = ("devices", "device") if self.key else ("realm1", "frontend")
        kind = {"kind": "ticket", "verifier": ticket_digest(self.ticket)}
        if self.key:
            kind = {"kind": "key", "verifier": pubkey(self.key)}
        with self._store() as store:
            writing.add(store, {"authid": self.authid, "realm": realm, "role": role, "extra": EXTRA})
            writing.add_credential(store, self.authid, {**kind, **self.terms})

    @contextmanager
    def _store(self) -> Iterator[Any]:
        with closing(connect(str(self.bundle.store))) as store:
            yield store

    def revoke(self) -> float:
        """Revoke all that there is. When it was done."""
        with self._store() as store:
            writing.revoke(store, self.authid)
        return time.time()

    def rewrite(self, extra: dict[str, Any] = EXTRA, expires: float | None = None) -> float:
        """Write all anew, at one moment. When it was done."""
        with self._store() as store, transaction(store):
            store.execute("UPDATE principal SET extra = ? WHERE authid = ?", (json.dumps(extra), self.authid))
            store.execute("UPDATE credential SET expires = ? WHERE authid = ?", (expires, self.authid))
            store.execute(writing.ADD_CHANGE, (self.authid, None))
        return time.time()

    def login(self, client: RawClient) -> Message:
        return client.login_key(self.key) if self.key else client.login_ticket(self.authid, self.ticket)

    @property
    def record(self) -> list[dict[str, Any]]:
        """What the audit says of this principal."""
        return [entry for entry in self.bundle.audit if self.authid in (entry.get("authid"), entry.get("claimed"))]


@contextmanager
def knock(bundle: Bundle, address: str = OURS, tls: bool = False) -> Iterator[RawClient]:
    """A connection that comes from a loopback address of our choice."""
    options = {"ssl": trust(bundle.ca)} if tls else {}
    with RawClient(bundle.tls_url if tls else bundle.url, source_address=(address, 0), **options) as client:
        yield client


# Who gets in, and who doesn't


def test_good_ticket(scaled: Bundle) -> None:
    with knock(scaled) as client:
        kind, _, details = client.login_ticket("client1", CHOSEN)
        assert kind == WELCOME
        assert (details["realm"], details["authid"], details["authrole"]) == ("realm1", "client1", "frontend")
        assert client.request(CALL, {}, "com.example.add2", [2, 3])[3:] == [[5]]
        assert client.request(CALL, {}, "com.example.mul2", [2, 3])[4] == "wamp.error.not_authorized"


def test_good_key(scaled: Bundle) -> None:
    with knock(scaled) as client:
        kind, _, details = client.login_key(scaled.device)
    assert (kind, details["realm"], details["authid"]) == (WELCOME, "devices", "client01@example.com")
    assert (details["authrole"], details["authextra"]["foo"]) == ("device", 23)


def test_the_demos_client(scaled: Bundle) -> None:
    assert scaled.client("client1", ticket=CHOSEN).returncode == 0
    assert scaled.client("client1", "--expect", "com.example.invalid_ticket", ticket=WRONG).returncode == 0


def test_refused_like_on_one_core(scaled: Bundle) -> None:
    stranger = SigningKey.generate()
    with knock(scaled) as client:
        wrong = "could not authenticate session - invalid ticket for principal client1"
        assert client.login_ticket("client1", WRONG) == [ABORT, {"message": wrong}, "com.example.invalid_ticket"]
    with knock(scaled) as client:
        unknown = f"no principal with matching public key 0x{pubkey(stranger)}"
        assert client.login_key(stranger) == [ABORT, {"message": unknown}, "com.example.no_such_user"]
    with knock(scaled) as client:
        challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(scaled.device)})
        assert challenge[0] == CHALLENGE
        assert client.authenticate(sign(stranger, challenge))[::2] == [ABORT, "wamp.error.not_authorized"]


@pytest.mark.parametrize("method", ["anonymous", "anonymous-proxy", "cryptosign-proxy", "trusted", "wampcra"])
@pytest.mark.parametrize("realm", ["realm1", "realm-auth"])
def test_no_other_way_in(scaled: Bundle, method: str, realm: str) -> None:
    """Least of all the proxies' own, in which one only has to say who one is."""
    claim = {"proxy_realm": realm, "proxy_authid": "client1", "proxy_authrole": "frontend", "proxy_authextra": {}}
    with knock(scaled) as client:
        assert client.hello(realm, method, "client1", claim)[0] == ABORT


def test_sockets_are_for_their_owner_alone(scaled: Bundle) -> None:
    """Who may open them is believed to be a proxy or an authenticator."""
    folder = scaled.directory / "sockets"
    assert {file.name for file in folder.iterdir()} == SOCKETS
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("name", sorted(SOCKETS))
def test_another_user_cannot_open_a_socket(scaled: Bundle, name: str) -> None:
    path = scaled.directory / "sockets" / name
    # The tests' folder is closed to others as well: come in by the node directory's descriptor, as if it weren't.
    script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    scaled.directory.chmod(0o755)
    inside = os.open(scaled.directory, os.O_RDONLY)
    try:
        attempt = subprocess.run(
            ["python3", "-c", script, str(path.relative_to(scaled.directory))],
            check=False,
            capture_output=True,
            text=True,
            user="nobody",
            preexec_fn=lambda: os.fchdir(inside),
        )
    finally:
        os.close(inside)
    assert "PermissionError" in attempt.stderr


def test_open_sockets_are_noticed_at_the_start(scaled: Bundle, tmp_path: Path) -> None:
    containers = [one for one in read_config(scaled.directory / scaled.config)["workers"] if one["type"] == "container"]
    guards = [container["components"][0]["extra"]["guard"] for container in containers]
    assert [guard["private_files"] for guard in guards] == [["sockets"]] * 2
    tmp_path.chmod(0o750)
    with pytest.raises(SettingsError, match=rf"mode 0750\): `chmod 700 {tmp_path}`"):
        require_private(str(tmp_path))


# Work is shared


def test_both_proxies_and_both_authenticators_work(scaled: Bundle) -> None:
    alice = Person(scaled)
    proxies = set()
    for _ in range(20):
        with knock(scaled) as client:
            proxies.add(alice.login(client)[2]["authextra"]["x_cb_proxy_worker"])
    assert proxies == {"proxy1", "proxy2"}
    for number in 1, 2:
        assert alice.authid in (scaled.directory / f"audit{number}.jsonl").read_text()


def test_a_session_on_one_proxy_hears_one_on_the_other(scaled: Bundle) -> None:
    """They share the realm."""
    alice = Person(scaled)
    with ExitStack() as stack:
        by_proxy: dict[str, RawClient] = {}
        while len(by_proxy) < 2:
            client = stack.enter_context(knock(scaled))
            by_proxy[alice.login(client)[2]["authextra"]["x_cb_proxy_worker"]] = client
        one, other = by_proxy.values()
        assert one.request(SUBSCRIBE, {}, "com.example.topic1")[0] == SUBSCRIBED
        assert other.request(PUBLISH, {"acknowledge": True}, "com.example.topic1", ["hello"])[0] == PUBLISHED
        assert one.receive()[4:] == [["hello"]]


def test_a_proxy_draws_no_qr_codes(scaled: Bundle) -> None:
    """Two for each login took it some 25 ms, before ``tools/proxy/pyqrcode.py`` stood in for it; the rest takes 4."""
    alice = Person(scaled)
    proxies = [process for name, process in workers(scaled).items() if name.startswith("proxy")]
    before, logins = used(proxies), 20
    for _ in range(logins):
        with knock(scaled) as client:
            assert alice.login(client)[0] == WELCOME
    assert (used(proxies) - before) / logins < 0.014


def used(processes: list[psutil.Process]) -> float:
    """Seconds of CPU that these processes have had."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


# The client's own address


def test_the_audit_has_the_clients_own_address(scaled: Bundle) -> None:
    alice = Person(scaled)
    with knock(scaled, "127.0.0.2") as client:
        alice.login(client)
    with knock(scaled, "127.0.0.3") as client:
        client.login_ticket(alice.authid, WRONG)
    wait_for(lambda: len(alice.record) == 4)
    assert [(entry["outcome"], entry["peer"]) for entry in alice.record] == [
        ("accepted", "127.0.0.2"),
        ("joined", "127.0.0.2"),
        ("left", "127.0.0.2"),
        ("refused", "127.0.0.3"),
    ]


def test_who_guesses_runs_dry_himself(scaled: Bundle) -> None:
    """At both authenticators, which count apart: after twice as many failures as one would take."""
    alice = Person(scaled)

    def guess(_: int) -> str:
        with knock(scaled, "127.0.0.4") as client:
            return str(client.login_ticket(alice.authid, WRONG)[2])

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(guess, range(3 * AT_ONCE)))
    assert answers == {"com.example.invalid_ticket": 2 * AT_ONCE, "com.example.too_many_attempts": AT_ONCE}
    with knock(scaled, "127.0.0.5") as client:
        assert alice.login(client)[0] == WELCOME


# Taking it back


def hears(client: RawClient, topic: str) -> None:
    assert client.request(SUBSCRIBE, {}, topic)[0] == SUBSCRIBED


def is_ended(client: RawClient, since: float, reason: str = "com.example.revoked") -> None:
    """Through a proxy as on one core, the client is told why. Where there is an authorizer, the subscriptions are taken
    away first."""
    message = client.receive()
    while message[0] == UNSUBSCRIBED:
        message = client.receive()
    assert (message[0], message[2]) == (GOODBYE, reason)
    assert time.time() - since < PROMISE + SLACK


def is_deaf_and_dumb(client: RawClient, topic: str, news: Callable[[], Any]) -> None:
    """No call is answered, no event comes through, and the connection is closed, whatever the client does."""
    with suppress(ConnectionClosed):
        client.send(CALL, 1, {}, "com.example.add2", [2, 3])
        client.send(PUBLISH, 2, {"acknowledge": True}, topic, ["spam"])
    news()
    with pytest.raises(ConnectionClosed):
        client.receive()


@pytest.fixture(params=["realm1", "devices"])
def alice(request: pytest.FixtureRequest, scaled: Bundle) -> Person:
    """Without an authorizer and with one."""
    return Person(scaled, SigningKey.generate() if request.param == "devices" else None)


def test_revoked_is_out_within_a_second(scaled: Bundle, alice: Person) -> None:
    """An impolite client, too, which goes on as if it hadn't heard."""
    topic = "com.example.news" if alice.key else "com.example.topic1"
    other = Person(scaled, SigningKey.generate() if alice.key else None)
    with knock(scaled) as client, knock(scaled) as bystander:
        assert alice.login(client)[0] == other.login(bystander)[0] == WELCOME
        hears(client, topic)
        hears(bystander, topic)
        is_ended(client, alice.revoke())

        def news() -> None:
            with knock(scaled) as third:
                assert other.login(third)[0] == WELCOME
                assert third.request(PUBLISH, {"acknowledge": True}, topic, ["news"])[0] == PUBLISHED

        is_deaf_and_dumb(client, topic, news)
        assert bystander.receive()[4:] == [["news"]]  # and no spam before it
    with knock(scaled) as client:
        assert alice.login(client)[0] == ABORT
    assert ("ended", "com.example.revoked") in [(entry["outcome"], entry.get("reason")) for entry in alice.record]


def test_run_out_is_out_within_a_second(scaled: Bundle) -> None:
    expires = time.time() + 1.5
    alice = Person(scaled, terms={"expires": moments.iso(expires)})
    with knock(scaled) as client:
        assert alice.login(client)[0] == WELCOME
        is_ended(client, expires, "com.example.expired")
    assert ("ended", "com.example.expired") in [(entry["outcome"], entry.get("reason")) for entry in alice.record]


def test_who_is_another_by_now_is_ended(scaled: Bundle, alice: Person) -> None:
    """What travels through two serializers is still known, and compared."""
    bystander = Person(scaled, SigningKey.generate() if alice.key else None)
    with knock(scaled) as client, knock(scaled) as other:
        assert alice.login(client)[0] == bystander.login(other)[0] == WELCOME
        bystander.rewrite()
        is_ended(client, alice.rewrite(extra={**EXTRA, "number": 24}))
        assert "ended" not in [entry["outcome"] for entry in bystander.record]


def test_an_expiry_that_is_brought_forward_counts(scaled: Bundle, alice: Person) -> None:
    with knock(scaled) as client:
        assert alice.login(client)[0] == WELCOME
        expires = time.time() + 1.5
        alice.rewrite(expires=expires)
        is_ended(client, expires, "com.example.expired")
    assert ("ended", "com.example.expired") in [(entry["outcome"], entry.get("reason")) for entry in alice.record]


TOKENS = """
import time
from wampauth import Authenticator, Principal

class Checks:
    def __init__(self, settings):
        pass

    def ticket(self, claim):
        return Principal(claim.authid, "realm1", "frontend", expires=time.time() + float(claim.ticket))

authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession, Sessions = authenticator.component, authenticator.sessions
"""


def without_a_store(config: dict[str, Any], folder: Path) -> None:
    """One proxy and one authenticator will do, and there is another authenticator.py."""
    config["workers"] = [worker for worker in config["workers"] if worker["id"] not in ("authenticator2", "proxy2")]
    for worker in config["workers"]:
        if "pythonpath" in worker["options"]:
            worker["options"]["pythonpath"].insert(0, str(folder))
        for component in worker.get("components", ()):
            component["extra"].pop("store", None)
            component["classname"] = component["classname"].replace("authenticator.", "tokens.")


def test_run_out_without_a_store(make_bundle: MakeBundle) -> None:
    """What ``Sessions`` knows, it has from the mark."""
    bundle = make_bundle("scaled.yaml", start=False)
    (bundle.directory / "tokens.py").write_text(TOKENS)
    bundle.edit_config(partial(without_a_store, folder=bundle.directory))
    node = bundle.start()
    try:
        with knock(bundle) as client, knock(bundle) as other:
            assert other.login_ticket("bob", "3600")[0] == WELCOME
            assert client.login_ticket("alice", "1.5")[0] == WELCOME
            expires = time.time() + 1.5
            is_ended(client, expires, "com.example.expired")
            assert time.time() > expires - 0.1
            assert other.request(CALL, {}, "com.example.add2", [2, 3])[3:] == [[5]]
    finally:
        node.stop()
    assert ("ended", "com.example.expired") in [(entry["outcome"], entry.get("reason")) for entry in bundle.audit]


def test_a_signature_may_be_bound_to_the_tls_channel_of_a_proxy(scaled: Bundle) -> None:
    options = ("--ca", str(scaled.ca), "--channel-binding", "tls-unique")
    login = scaled.client("--key", str(scaled.device_key_file()), *options, url=scaled.tls_url)
    assert login.returncode == 0


def test_the_authorizer_is_asked_through_a_proxy(scaled: Bundle) -> None:
    alice = Person(scaled, SigningKey.generate())
    with knock(scaled) as client:
        alice.login(client)
        assert client.request(PUBLISH, {"acknowledge": True}, "com.example.news", ["x"])[0] == PUBLISHED
        for kind, uri in (PUBLISH, "com.example.other"), (CALL, "com.example.add2"):
            answer = client.request(kind, {"acknowledge": True}, uri)
            assert (answer[0], answer[4]) == (ERROR, "wamp.error.not_authorized")


@pytest.mark.parametrize(
    ("kind", "options", "uri"),
    [
        (SUBSCRIBE, {"match": "prefix"}, "com.example.news"),
        (SUBSCRIBE, {"match": "wildcard"}, "com..news"),
        (SUBSCRIBE, {"forward_for": [{"session": 1, "authid": "boss", "authrole": "admin"}]}, "com.example.news"),
        (PUBLISH, {"forward_for": [{"session": 1, "authid": "boss", "authrole": "admin"}]}, "com.example.news"),
        (PUBLISH, {"retain": True, "eligible": [1]}, "com.example.news"),
    ],
)
def test_what_no_rule_gives_is_denied_through_a_proxy_too(
    scaled: Bundle, kind: int, options: dict[str, Any], uri: str
) -> None:
    alice = Person(scaled, SigningKey.generate())
    with knock(scaled) as client:
        alice.login(client)
        answer = client.request(kind, {"acknowledge": True, **options} if kind == PUBLISH else options, uri)
        assert (answer[0], answer[4]) == (ERROR, "wamp.error.not_authorized")


# When one dies. These come last, in this order: there are fewer processes after them.


KINDS = ("good ticket", "bad ticket", "good key", "bad signature")


@dataclass
class Load:
    """Logins all the time, from four addresses: with a good ticket, a bad one, a good key and a bad signature."""

    bundle: Bundle
    answers: list[tuple[str, str, float]] = field(default_factory=list)  # kind, outcome, seconds
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        ticket, key = Person(self.bundle), Person(self.bundle, SigningKey.generate())
        assert key.key
        kinds: dict[str, Callable[[RawClient], Message]] = {
            "good ticket": ticket.login,
            "bad ticket": lambda client: client.login_ticket(ticket.authid, WRONG),
            "good key": key.login,
            "bad signature": lambda client: forge(client, key.key),
        }
        assert tuple(kinds) == KINDS
        self._threads = [threading.Thread(target=self._run, args=(kind, login)) for kind, login in kinds.items()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kind: str, login: Callable[[RawClient], Message]) -> None:
        number = 0
        while not self.stop.wait(0.02):
            number += 1
            started = time.monotonic()
            try:
                with knock(self.bundle, f"127.0.{number // 250 + 1}.{number % 250 + 1}") as client:
                    answer = login(client)
                outcome = "WELCOME" if answer[0] == WELCOME else str(answer[2])
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            self.answers.append((kind, outcome, time.monotonic() - started))

    def goes_on(self, times: int = 5) -> None:
        """Wait until each kind has been answered that many times more."""
        before = self.counts()
        wait_for(lambda: all(self.counts()[kind] >= before[kind] + times for kind in KINDS))

    def counts(self) -> Counter[str]:
        return Counter(kind for kind, *_ in self.answers)

    def outcomes(self, *kinds: str) -> Counter[str]:
        return Counter(outcome for kind, outcome, _ in self.answers if kind in kinds)


def forge(client: RawClient, key: SigningKey | None) -> Message:
    """A good public key, and a signature with another."""
    assert key
    challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(key)})
    return client.authenticate(sign(SigningKey.generate(), challenge)) if challenge[0] == CHALLENGE else challenge


def nobody_was_wronged(load: Load) -> None:
    """No bad login got in, no good one was told that it is bad, and each was answered in time."""
    good, bad = load.outcomes("good ticket", "good key"), load.outcomes("bad ticket", "bad signature")
    assert set(good) <= {"WELCOME", *TRY_AGAIN}
    assert set(bad) <= {"com.example.invalid_ticket", "wamp.error.not_authorized", *TRY_AGAIN}
    assert max(seconds for *_, seconds in load.answers) < DEADLINE


def test_a_frozen_authenticator_is_given_up_and_taken_back(scaled: Bundle) -> None:
    """The router asks whether it is there once a second, and waits two seconds for the answer."""
    frozen = workers(scaled)["authenticator1"]
    with Load(scaled) as load:
        load.goes_on()
        frozen.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: load.outcomes(*load.counts())["wamp.error.canceled"])
            load.goes_on()
        finally:
            frozen.send_signal(signal.SIGCONT)
        audit = scaled.directory / "audit1.jsonl"
        size = audit.stat().st_size
        wait_for(lambda: audit.stat().st_size > size + 1000)
    nobody_was_wronged(load)


def test_of_two_authenticators_one_may_be_killed(scaled: Bundle) -> None:
    with Load(scaled) as load:
        load.goes_on()
        workers(scaled)["authenticator1"].kill()
        load.goes_on()
        settled = len(load.answers)
        load.goes_on()
    nobody_was_wronged(load)
    assert {outcome for kind, outcome, _ in load.answers[settled:] if kind.startswith("good")} == {"WELCOME"}
    assert set(workers(scaled)) == {"router", "authentication", "authenticator2", "proxy1", "proxy2"}


def test_of_two_proxies_one_may_be_killed(scaled: Bundle) -> None:
    """Its sessions are lost; the other takes all that knock."""
    alice = Person(scaled)
    workers(scaled)["proxy1"].kill()
    wait_for(lambda: listeners(scaled) == ["proxy2"])
    for _ in range(5):
        with knock(scaled) as client:
            assert alice.login(client)[0] == WELCOME


def test_without_authenticators_nobody_gets_in(scaled: Bundle) -> None:
    logins: list[Callable[[RawClient], Message]] = [
        lambda client: client.login_ticket("client1", CHOSEN),
        lambda client: client.login_key(scaled.device),
    ]
    workers(scaled)["authenticator2"].kill()
    for login in logins:
        answers: list[str] = []
        while "com.example.unavailable" not in answers:
            with knock(scaled) as client:
                kind, _, uri = login(client)
            assert kind == ABORT
            answers.append(uri)
        assert set(answers) <= {*TRY_AGAIN}
