"""Is what was taken back gone within a second, whatever the client does, and does nobody else notice?

Against real nodes: one with static permissions, where the end is polite, and one with the fence. Clients here are raw:
they answer GOODBYE only if a test says so.
"""

import json
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from autobahn.wamp.types import CloseDetails, ComponentConfig
from conftest import HERE, Bundle, MakeBundle
from crossbar.personality import Personality
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred, succeed
from wamp import (
    ABORT,
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    ERROR,
    EVENT,
    GOODBYE,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    WELCOME,
    YIELD,
    Message,
    RawClient,
    pubkey,
    sign,
)
from websockets.exceptions import ConnectionClosed

import authorizer
import database
import registry
from node import NodeError
from principals import Credential, Point, ticket_digest

PROMISE = 1.0  # seconds in which who is revoked is out
SLACK = 1.0  # seconds that a busy machine may take on top
PATIENCE = 15.0  # seconds
REVOKED, EXPIRED = "com.example.revoked", "com.example.expired"
NOT_AUTHORIZED = "wamp.error.not_authorized"
UNSUBSCRIBE, UNREGISTER = 34, 66

ALL = {"call": True, "register": True, "publish": True, "subscribe": True}
# What the role "frontend" of the fenced node may do besides; "cache" shows that the router's cache isn't used.
MORE = [
    {"uri": "com.example.test.", "match": "prefix", "allow": ALL, "cache": True},
    {"uri": "wamp.session.add_testament", "match": "exact", "allow": {"call": True}},
]
# The same rules are the permissions of one role, and stand before the fence for another.
RULES: list[dict[str, Any]] = [
    {"uri": "com.example.add2", "match": "exact", "allow": {"call": True, "publish": True}},
    {"uri": "com.example.cached", "match": "exact", "allow": {"subscribe": True}, "cache": True},
    {"uri": "com.example.prefix.", "match": "prefix", "allow": ALL, "disclose": {"caller": True, "publisher": True}},
    {"uri": "com.example.prefix.secret", "match": "exact", "allow": {}},
    {"uri": "com.example.prefix.inner.", "match": "prefix", "allow": {"register": True}},
    {"uri": "com.example..wild", "match": "wildcard", "allow": {"subscribe": True, "publish": True}},
    {"uri": "com.starred.*", "allow": {"call": True, "register": True}},
    {"uri": "wamp.session.count", "match": "exact", "allow": {"call": True, "publish": True, "register": True}},
]
URIS = (
    *(rule["uri"].rstrip("*") for rule in RULES),
    "com.example.add",
    "com.example.add2.more",
    "com.example.prefix",
    "com.example.prefix.any.thing",
    "com.example.prefix.secret.more",
    "com.example.prefix.inner.thing",
    "com.example.any.wild",
    "com.example.any.wild.more",
    "com.example.any.any.wild",
    "com.starred",
    "com.starred.thing",
    "com.example.authorize",
    "wamp.session.list",
    "wamp.session.kill",
    "crossbar.thing",
    "com..",
    "a",
    "not a uri",
)
REMOTE = """
import json, sys
from autobahn.twisted.wamp import ApplicationRunner
from authorizer import Authorizer
url, realm, extra = sys.argv[1:]
ApplicationRunner(url, realm, json.loads(extra)).run(Authorizer, log_level="error")
"""


def spread(config: dict[str, Any]) -> None:
    """Give the hardened node what the tests need: more to do for its frontends, two roles with the same rules, and a
    realm whose authorizer isn't beside the router but comes in from outside, through a door of its own."""
    (worker,) = config["workers"]
    realm1 = worker["realms"][1]
    keeper = realm1["roles"][0]
    worker["realms"].append({"name": "remote", "roles": [keeper, {"name": "frontend", **ASKS}]})
    realm1["roles"] += [{"name": "static", "permissions": RULES}, {"name": "asking", **ASKS}]
    for component in worker["components"]:
        if component["realm"] == "realm1" and component["role"] == "authorizer":
            component["extra"]["roles"]["frontend"] += MORE
            component["extra"]["roles"]["asking"] = RULES
    inside = {"type": "unix", "path": "inside.sock"}
    auth = {"anonymous": {"type": "static", "role": "authorizer"}}
    worker["transports"].append({"type": "rawsocket", "endpoint": inside, "auth": auth})


ASKS = {"authorizer": "com.example.authorize"}


@pytest.fixture(scope="module")
def fenced(make_bundle: MakeBundle) -> Iterator[Bundle]:
    """The hardened node, with more rules and, for these tests, a plain door."""
    settings = {"plain_from": ["unix", "loopback"], "failures_at_once": 1_000_000, "refusal_delay": 0.05}
    bundle = make_bundle("config-hardened.json", start=False, **settings)
    change(bundle, spread)
    node = bundle.start()
    yield bundle
    node.stop()


def change(bundle: Bundle, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the configuration that a node will start with."""
    file = bundle.directory / bundle.config
    config = json.loads(file.read_text())
    edit(config)
    file.write_text(json.dumps(config))


@pytest.fixture(params=["polite", "fence"])
def either(request: pytest.FixtureRequest) -> Bundle:
    """Both nodes in turn."""
    return request.getfixturevalue("bundle" if request.param == "polite" else "fenced")  # type: ignore[no-any-return]


@contextmanager
def opened(bundle: Bundle) -> Iterator[Any]:
    with closing(database.connect(str(bundle.store))) as store:
        yield store


@dataclass
class Person:
    """A principal of a test's own, with tickets or keys."""

    bundle: Bundle
    authid: str
    secrets: list[str | SigningKey]
    credentials: list[str]  # their ids

    def client(self, which: int = 0) -> RawClient:
        """A client that has logged in with one of the secrets."""
        client, secret = RawClient(self.bundle.url), self.secrets[which]
        answer = (
            client.login_ticket(self.authid, secret, None) if isinstance(secret, str) else client.login_key(secret)
        )
        assert answer[0] == WELCOME
        return client

    def revoke(self, which: int | None = 0) -> float:
        """Revoke one credential, or all that there is, without the command line. When it was done, on the wall clock."""
        with opened(self.bundle) as store:
            registry.revoke(store, self.authid, None if which is None else self.credentials[which])
        return time.time()

    @property
    def record(self) -> list[dict[str, Any]]:
        """What the audit says of this principal."""
        return [entry for entry in self.bundle.audit if entry.get("authid") == self.authid]


def somebody(
    bundle: Bundle, role: str = "frontend", realm: str = "realm1", keys: bool = False, number: int = 1, **terms: Any
) -> Person:
    """Add a principal with a number of tickets, or of keys."""
    person = Person(bundle, f"person-{secrets.token_hex(4)}", [], [])
    with opened(bundle) as store:
        registry.add(store, {"authid": person.authid, "realm": realm, "role": role})
        for _ in range(number):
            secret = SigningKey.generate() if keys else secrets.token_hex(16)
            kind = {"kind": "key", "verifier": pubkey(secret)} if isinstance(secret, SigningKey) else ticket(secret)
            person.secrets.append(secret)
            person.credentials.append(registry.add_credential(store, person.authid, {**kind, **terms}))
    return person


def ticket(secret: str) -> dict[str, str]:
    return {"kind": "ticket", "verifier": ticket_digest(secret)}


def goodbye(client: RawClient) -> tuple[str, float]:
    """Wait for GOODBYE. With which reason, and when it came, on the wall clock."""
    kind, details, reason = client.receive()
    assert (kind, details) == (GOODBYE, {"message": "the credential no longer counts"})
    return reason, time.time()


def wait_for(condition: Callable[[], Any], timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def add2(client: RawClient) -> Message:
    return client.request(CALL, {}, "com.example.add2", [2, 3])


def may_call(client: RawClient) -> bool:
    return add2(client)[0] == RESULT


def error(answer: Message) -> str:
    """The URI of a refused request; empty if it wasn't refused."""
    return answer[4] if answer[0] == ERROR else ""


# -- a polite client


@pytest.mark.parametrize("way", ["revoke the credential", "revoke the principal", "remove"])
def test_who_is_taken_out_is_told_so_within_a_second(either: Bundle, way: str) -> None:
    alice = somebody(either)
    commands = {
        "revoke the credential": ("revoke", alice.authid, "--credential", alice.credentials[0]),
        "revoke the principal": ("revoke", alice.authid, "--yes"),
        "remove": ("remove", alice.authid, "--yes"),
    }
    with alice.client() as client:
        assert may_call(client)
        said = either.manage(*commands[way]).stderr
        done = time.time()
        reason, heard = goodbye(client)
        assert reason == REVOKED
        assert heard - done < PROMISE + SLACK
        assert "ends live sessions within a second" in said


def test_a_second_is_a_second(fenced: Bundle) -> None:
    """The test above allows for a machine that is busy just then; here, most of several must keep the promise itself."""
    took = []
    for _ in range(5):
        alice = somebody(fenced)
        with alice.client() as client:
            done = alice.revoke()
            took.append(goodbye(client)[1] - done)
    assert statistics.median(took) < PROMISE


def test_who_runs_out_is_told_so_within_a_second(either: Bundle) -> None:
    expires = time.time() + 1.5
    alice = somebody(either, expires=registry.iso(expires))
    with alice.client() as client:
        assert may_call(client)
        reason, heard = goodbye(client)
    assert reason == EXPIRED
    assert -0.1 < heard - expires < PROMISE + SLACK


def test_the_successor_of_a_rotated_ticket_stays(either: Bundle) -> None:
    alice = somebody(either)
    new = either.manage("rotate", alice.authid, alice.credentials[0], "--overlap", "2s").stdout.strip()
    alice.secrets.append(new)
    with alice.client(0) as old, alice.client(1) as successor:
        assert goodbye(old)[0] == EXPIRED
        assert may_call(successor)


def test_of_two_keys_only_the_revoked_ones_session_ends(either: Bundle) -> None:
    alice = somebody(either, "device", "devices", keys=True, number=2)
    with alice.client(0) as one, alice.client(1) as other:
        alice.revoke(0)
        assert goodbye(one)[0] == REVOKED
        assert error(add2(other)) == NOT_AUTHORIZED  # a device may call nothing, and is answered like before


def test_all_sessions_of_a_credential_end(either: Bundle) -> None:
    alice = somebody(either)
    with alice.client() as one, alice.client() as other:
        alice.revoke()
        assert {goodbye(one)[0], goodbye(other)[0]} == {REVOKED}


def test_ten_others_notice_nothing(either: Bundle) -> None:
    """Among them one with the same authid and another ticket."""
    alice = somebody(either, number=2)
    with ExitStack() as stack:
        out = stack.enter_context(alice.client(0))
        others = [stack.enter_context(alice.client(1))]
        others += [stack.enter_context(somebody(either).client()) for _ in range(9)]
        for other in others:
            assert other.request(SUBSCRIBE, {}, "com.example.topic1")[0] == SUBSCRIBED
        alice.revoke(0)
        assert goodbye(out)[0] == REVOKED
        mark = secrets.token_hex(4)
        for other in others:
            other.send(PUBLISH, 1, {"exclude_me": False}, "com.example.topic1", [mark])
        for other in others:
            heard = [other.receive() for _ in others]
            assert [(message[0], message[4]) for message in heard] == [(EVENT, [mark])] * len(others)
            assert may_call(other)


def test_who_comes_back_is_refused(either: Bundle) -> None:
    alice = somebody(either)
    with alice.client() as client:
        alice.revoke()
        goodbye(client)
        client.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
        assert client.login_ticket(alice.authid, alice.secrets[0])[::2] == [ABORT, "com.example.invalid_ticket"]


def test_who_is_restored_may_come_back(either: Bundle) -> None:
    alice = somebody(either)
    with alice.client() as client:
        alice.revoke(None)
        assert goodbye(client)[0] == REVOKED
    either.manage("restore", alice.authid)
    with alice.client() as client:
        assert may_call(client)


# -- revoked on the way in


def test_a_key_that_is_revoked_between_challenge_and_join(either: Bundle) -> None:
    """The router asks nobody any more; the authorizer does."""
    alice = somebody(either, "device", "devices", keys=True)
    (key,) = alice.secrets
    assert isinstance(key, SigningKey)
    with RawClient(either.url) as client:
        challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(key)})
        assert challenge[0] == CHALLENGE
        alice.revoke()
        assert client.authenticate(sign(key, challenge))[0] == WELCOME
        joined = time.time()
        reason, heard = goodbye(client)
    assert reason == REVOKED
    assert heard - joined < PROMISE + SLACK


def test_a_ticket_that_is_revoked_between_challenge_and_join(either: Bundle) -> None:
    alice = somebody(either)
    with RawClient(either.url) as client:
        assert client.hello("realm1", "ticket", alice.authid)[0] == CHALLENGE
        alice.revoke()
        assert client.authenticate(alice.secrets[0])[::2] == [ABORT, "com.example.invalid_ticket"]


def test_an_old_signature_opens_nothing(fenced: Bundle) -> None:
    """After GOODBYE the router takes AUTHENTICATE again, on the challenge of before, and asks nobody."""
    alice = somebody(fenced, "frontend", keys=True)
    (key,) = alice.secrets
    assert isinstance(key, SigningKey)
    with RawClient(fenced.url) as client:
        challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(key)})
        assert client.authenticate(sign(key, challenge))[0] == WELCOME
        alice.revoke()
        goodbye(client)
        for _ in range(3):
            client.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
            client.send(AUTHENTICATE, sign(key, challenge), {})
            client.send(CALL, 1, {}, "com.example.add2", [2, 3])
            answers = [client.receive() for _ in range(3)]
            assert sorted(answer[0] for answer in answers) == [WELCOME, GOODBYE, ERROR]
            assert {error(answer) for answer in answers} == {"", NOT_AUTHORIZED}


# -- a client that ignores GOODBYE


class Mallory:
    """Who holds on to all she can get before she is revoked, and stays."""

    def __init__(self, bundle: Bundle) -> None:
        self.person = somebody(bundle)
        self.client = self.person.client()
        self.name = f"com.example.test.{secrets.token_hex(4)}"

    def __enter__(self) -> "Mallory":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def settle(self) -> None:
        """Subscribe and register, in every way that there is."""
        name = self.name
        ways: tuple[tuple[str, str], ...] = (("exact", ".one"), ("prefix", ".many."), ("wildcard", "..any"))
        for match, end in ways:
            assert self.client.request(SUBSCRIBE, {"match": match}, name + end)[0] == SUBSCRIBED
            assert self.client.request(REGISTER, {"match": match}, name + end)[0] == REGISTERED

    @property
    def uris(self) -> list[str]:
        """What she would hear of, and be called by."""
        return [self.name + end for end in (".one", ".many.x", ".some.any")]

    def refuse_to_leave(self) -> None:
        """Be revoked, read GOODBYE, and wait until the promised time is over."""
        done = self.person.revoke()
        assert goodbye(self.client)[0] == REVOKED
        time.sleep(max(0.0, done + PROMISE - time.time()))

    def tries(self) -> list[str]:
        """What comes of calling, publishing, subscribing and registering: URIs of errors. All else that she hears is
        an error here; a closed connection is as good as being denied."""
        outcome = []
        for attempt in (
            (CALL, {}, "com.example.add2", [2, 3]),
            (PUBLISH, {"acknowledge": True}, "com.example.topic1", ["hello"]),
            (SUBSCRIBE, {}, "com.example.topic1"),
            (REGISTER, {}, self.name + ".new"),
            (CALL, {}, self.name + ".one"),
            (CALL, {}, "wamp.session.add_testament", ["com.example.topic1", ["boo"], {}]),
        ):
            try:
                self.client.send(attempt[0], 999, *attempt[1:])
                answer = self.client.receive()
            except ConnectionClosed:
                return ["closed"]
            assert answer[:3] == [ERROR, attempt[0], 999]
            outcome.append(answer[4])
        return outcome


def test_who_ignores_goodbye_does_nothing_more(fenced: Bundle) -> None:
    with Mallory(fenced) as mallory:
        assert set(mallory.tries_before()) == {True}
        mallory.refuse_to_leave()
        assert set(mallory.tries()) <= {NOT_AUTHORIZED, "closed"}


def test_who_ignores_goodbye_hears_nothing_more(fenced: Bundle) -> None:
    with Mallory(fenced) as mallory, somebody(fenced).client() as alice:
        mallory.settle()
        for uri in mallory.uris:  # that it would be heard
            alice.send(PUBLISH, 1, {}, uri)
            assert mallory.client.receive()[0] == EVENT
            alice.send(CALL, 1, {}, uri)
            kind, request, *_ = mallory.client.receive()
            assert kind == INVOCATION
            mallory.client.send(YIELD, request, {})
            assert alice.receive()[0] == RESULT
        mallory.refuse_to_leave()
        for uri in mallory.uris:
            assert alice.request(PUBLISH, {"acknowledge": True}, uri)[0] == PUBLISHED
            assert error(alice.request(CALL, {}, uri)) == "wamp.error.no_such_procedure"
        assert set(mallory.tries()) <= {NOT_AUTHORIZED, "closed"}  # no event or invocation came before these answers


def test_what_is_published_without_asking_for_an_answer_is_heard_by_nobody(fenced: Bundle) -> None:
    with Mallory(fenced) as mallory, somebody(fenced).client() as alice:
        topic = mallory.name + ".topic"
        alice.request(SUBSCRIBE, {}, topic)
        mallory.client.send(PUBLISH, 1, {}, topic)
        assert alice.receive()[0] == EVENT
        mallory.refuse_to_leave()
        try:
            for request in range(3):
                mallory.client.send(PUBLISH, request + 1, {"retain": True}, topic)
            mallory.tries()
        except ConnectionClosed:
            pass
        assert may_call(alice)  # and no event came before this
        with somebody(fenced).client() as bob:
            bob.request(SUBSCRIBE, {"get_retained": True}, topic)
            assert may_call(bob)


@pytest.mark.parametrize("polite", [True, False])
def test_a_testament_of_who_was_ended_is_not_published(fenced: Bundle, polite: bool) -> None:
    with Mallory(fenced) as mallory, somebody(fenced).client() as alice:
        topic = mallory.name + ".topic"
        alice.request(SUBSCRIBE, {}, topic)
        assert not error(mallory.client.request(CALL, {}, "wamp.session.add_testament", [topic, ["boo"], {}]))
        mallory.person.revoke()
        goodbye(mallory.client)
        if polite:
            mallory.client.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
        else:
            mallory.client.close()
        wait_for(lambda: mallory.person.record[-1]["outcome"] == "left")
        assert may_call(alice)


def test_who_was_a_callee_answers_no_call_that_is_under_way(fenced: Bundle) -> None:
    with Mallory(fenced) as mallory, somebody(fenced).client() as alice:
        mallory.client.request(REGISTER, {}, mallory.name)
        alice.send(CALL, 1, {"receive_progress": True}, mallory.name)
        _, request, *_ = mallory.client.receive()
        mallory.refuse_to_leave()
        assert error(alice.receive()) == "wamp.error.canceled"
        with pytest.raises(ConnectionClosed):
            mallory.client.send(YIELD, request, {}, ["from beyond"])
            mallory.client.receive()


def test_who_was_a_caller_hears_no_more_of_a_call_that_is_under_way(fenced: Bundle) -> None:
    with Mallory(fenced) as mallory, somebody(fenced).client() as alice:
        alice.request(REGISTER, {}, mallory.name)
        mallory.client.send(CALL, 1, {"receive_progress": True}, mallory.name)
        _, request, *_ = alice.receive()
        mallory.refuse_to_leave()
        alice.send(YIELD, request, {"progress": True}, ["secret"])
        with pytest.raises(ConnectionClosed):
            mallory.client.receive()
        assert may_call(alice)


def test_who_stays_is_hung_up_on_and_who_leaves_is_not(fenced: Bundle) -> None:
    with Mallory(fenced) as mallory, Mallory(fenced) as alice:
        mallory.person.revoke()
        alice.person.revoke()
        goodbye(mallory.client)
        goodbye(alice.client)
        alice.client.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
        with pytest.raises(ConnectionClosed):
            mallory.client.receive()
        assert alice.client.login_ticket(alice.person.authid, alice.person.secrets[0])[0] == ABORT


# -- the fence decides as the router does


def outcome(client: RawClient, action: int, uri: str) -> tuple[int, str]:
    """The kind of the answer, and the URI if it is an error. What was granted is given back."""
    options = {"acknowledge": True} if action == PUBLISH else {}
    answer = client.request(action, options, uri)
    undo = {REGISTERED: UNREGISTER, SUBSCRIBED: UNSUBSCRIBE}.get(answer[0])
    if undo:
        client.request(undo, answer[2])
    return answer[0], error(answer)


@pytest.mark.parametrize("action", [CALL, PUBLISH, SUBSCRIBE, REGISTER])
def test_the_fence_decides_as_the_router_itself_would(fenced: Bundle, action: int) -> None:
    with somebody(fenced, "static").client() as static, somebody(fenced, "asking").client() as asking:
        expected = {uri: outcome(static, action, uri) for uri in URIS}
        assert {uri: outcome(asking, action, uri) for uri in URIS} == expected
    granted = [uri for uri, (kind, uri_) in expected.items() if uri_ != NOT_AUTHORIZED]
    assert 0 < len(granted) < len(URIS)  # the rules aren't all the same


def test_a_session_may_act_as_soon_as_it_is_welcome(fenced: Bundle) -> None:
    alice = somebody(fenced)
    for _ in range(10):
        with RawClient(fenced.url) as client:
            client.hello("realm1", "ticket", alice.authid)
            client.send(AUTHENTICATE, alice.secrets[0], {})
            client.send(CALL, 1, {}, "com.example.add2", [2, 3])  # the router drops it if it comes too early
            assert client.receive()[0] == WELCOME
            assert may_call(client)


# -- for the record


def test_the_audit_follows_a_session(either: Bundle) -> None:
    alice = somebody(either)
    with alice.client() as client:
        alice.revoke()
        goodbye(client)
        client.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
        wait_for(lambda: len(alice.record) == 4)
        accepted, joined, ended, left = alice.record
    assert [entry["outcome"] for entry in alice.record] == ["accepted", "joined", "ended", "left"]
    assert (joined["method"], ended["reason"]) == ("ticket", REVOKED)
    for entry in accepted, joined, ended, left:
        assert entry["session"] == client.session
        assert (entry["credential"], entry["realm"]) == (alice.credentials[0], "realm1")
        assert entry["peer"] == "127.0.0.1"


def test_a_key_that_was_never_proven_is_challenged_and_does_not_join(either: Bundle) -> None:
    alice = somebody(either, "device", "devices", keys=True)
    (key,) = alice.secrets
    assert isinstance(key, SigningKey)
    with RawClient(either.url) as client:
        challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(key)})
        assert client.authenticate(sign(SigningKey.generate(), challenge))[0] == ABORT
    with alice.client():
        wait_for(lambda: alice.record[-1]["outcome"] == "joined")
    challenges, joins = (
        {entry["session"] for entry in alice.record if entry["outcome"] == kind} for kind in ("challenged", "joined")
    )
    assert (len(challenges), len(joins)) == (2, 1)
    assert joins < challenges


def test_who_has_left_is_not_ended_later(fenced: Bundle) -> None:
    """Also not if the router asked about the session once more, when it published its testament."""
    alice = somebody(fenced)
    with alice.client() as client:
        client.request(CALL, {}, "wamp.session.add_testament", ["com.example.topic1", ["boo"], {}])
        client.send(GOODBYE, {}, "wamp.close.normal")
        wait_for(lambda: alice.record[-1]["outcome"] == "left")
    with somebody(fenced).client() as other:
        assert may_call(other)
    with Mallory(fenced) as mallory:
        alice.revoke()
        mallory.person.revoke()
        goodbye(mallory.client)  # so that the authorizer has seen both
    assert [entry["outcome"] for entry in alice.record] == ["accepted", "joined", "left"]


# -- when something is away


@contextmanager
def moved_away(bundle: Bundle) -> Iterator[None]:
    """The store's file is elsewhere for a while; the engine's other files stay."""
    elsewhere = bundle.store.with_suffix(".elsewhere")
    bundle.store.rename(elsewhere)
    yield
    elsewhere.rename(bundle.store)


@contextmanager
def locked(bundle: Bundle) -> Iterator[None]:
    """Somebody holds every lock that a reader could take, and doesn't let go: the store neither answers nor fails."""
    program = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'r+b') as file:\n"
        "    fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)\n"  # WAL_WRITE_LOCK to the last WAL_READ_LOCK
        "    print(flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, f"{bundle.store}-shm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        yield
        holder.stdin.close()


@pytest.mark.parametrize("trouble", [moved_away, locked])
def test_while_the_store_is_away_the_fence_is_closed_and_nobody_is_ended(
    fenced: Bundle, trouble: Callable[[Bundle], Any]
) -> None:
    realms = 2  # with an authorizer in this node
    with somebody(fenced).client() as alice, somebody(fenced).client() as bob:
        before = fenced.log
        with trouble(fenced):
            wait_for(lambda: not may_call(alice), timeout=5.0)
            assert error(add2(bob)) == NOT_AUTHORIZED
            wait_for(lambda: lines_since(before).count("the store is away") == realms)
            time.sleep(2 * authorizer.TICK)
        wait_for(lambda: may_call(alice))
        wait_for(lambda: may_call(bob))
        wait_for(lambda: lines_since(before).count("the store is back") == realms)
        assert lines_since(before).count("the store is away") == realms  # once each, not at each tick


def lines_since(before: str) -> Any:
    raise NotImplementedError
