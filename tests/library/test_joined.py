"""What can a joined client do that no rule gives it? Attacks, each in variants, on real nodes.

Where the role asks the authorizer they are denied. Where the router applies static rules they succeed, which is the
router's affair: those tests say what the handbook says (``docs/joined.md``), and notice if a newer router mends it.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from conftest import Bundle, MakeBundle

from wampauth.store import connect, ticket_digest, writing
from wampauth.testing import (
    CALL,
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
)

NOT_AUTHORIZED = "wamp.error.not_authorized"
ALL = {"call": True, "register": True, "publish": True, "subscribe": True}
DISCLOSE = {"caller": True, "publisher": True}
BOSS = [{"session": 1, "authid": "boss", "authrole": "admin"}]
COOKIE = {"name": "cbtid", "store": {"type": "memory"}}
UNSUBSCRIBE, CANCEL, UNREGISTER = 34, 49, 66
ANSWERS = {CALL: RESULT, PUBLISH: PUBLISHED, REGISTER: REGISTERED, SUBSCRIBE: SUBSCRIBED}
RULES: list[dict[str, Any]] = [  # of a role that asks, and of one with permissions
    {"uri": "com.example.one", "match": "exact", "allow": ALL, "disclose": DISCLOSE},
    {"uri": "com.example.many.", "match": "prefix", "allow": ALL, "disclose": DISCLOSE},
    {"uri": "com.example..wild", "match": "wildcard", "allow": ALL, "disclose": DISCLOSE},
]
STAFF = [{"uri": "com.example.", "match": "prefix", "allow": ALL}]


def spread(config: dict[str, Any]) -> None:
    """Let the two roles and the staff into ``realm1``, and let those who have a cookie come back with it."""
    (worker,) = config["workers"]
    realm1 = next(realm for realm in worker["realms"] if realm["name"] == "realm1")
    realm1["roles"] += [
        {"name": "asking", "authorizer": "com.example.authorize"},
        {"name": "static", "permissions": RULES},
        {"name": "staff", "permissions": STAFF},
    ]
    for component in worker["components"]:
        if component["classname"] == "authenticator.Sessions" and component["realm"] == "realm1":
            component["extra"]["roles"]["asking"] = RULES
    for transport in worker["transports"]:
        if transport["type"] == "web":
            transport["paths"]["ws"]["cookie"] = COOKIE
            transport["paths"]["ws"]["auth"]["cookie"] = {}


@pytest.fixture(scope="module")
def node(make_bundle: MakeBundle) -> Iterator[Bundle]:
    """The hardened node; TLS would make no difference here."""
    bundle = make_bundle("hardened.yaml", start=False, plain_from=["loopback"], refusal_delay=0.05)
    bundle.edit_config(spread)
    running = bundle.start()
    yield bundle
    running.stop()


class Person:
    """A principal with a ticket."""

    def __init__(self, node: Bundle, role: str) -> None:
        self.node, self.authid, self.secret = node, f"{role}-{secrets.token_hex(4)}", secrets.token_hex(16)
        with closing(connect(str(node.store))) as store:
            writing.add(store, {"authid": self.authid, "realm": "realm1", "role": role})
            digest = ticket_digest(self.secret)
            writing.add_credential(store, self.authid, {"kind": "ticket", "verifier": digest})

    def client(self, **options: Any) -> RawClient:
        client = RawClient(self.node.url, **options)
        assert client.login_ticket(self.authid, self.secret)[0] == WELCOME
        return client

    def revoke(self) -> None:
        with closing(connect(str(self.node.store))) as store:
            writing.revoke(store, self.authid)


def do(client: RawClient, kind: int, options: dict[str, Any], uri: str) -> str:
    """``allowed``, or the URI of the refusal."""
    answer = client.request(kind, {"acknowledge": True, **options} if kind == PUBLISH else options, uri)
    if answer[0] == ERROR:
        return "allowed" if answer[4] == "wamp.error.no_such_procedure" else str(answer[4])
    return "allowed" if answer[0] == ANSWERS[kind] else str(answer)


# -- more than the rule says, by a pattern

REACHING = [
    ("com.example.one", "prefix"),
    ("com.example.one.", "prefix"),
    ("com.example.on", "prefix"),
    ("com.example.", "prefix"),
    ("", "prefix"),
    ("com.example.one.", "wildcard"),
    ("com..one", "wildcard"),
    ("com.example.", "wildcard"),
    ("com.example.many", "prefix"),
    ("com..many.x", "wildcard"),
    ("com.example.x.wild", "prefix"),
    ("com.example..wild.", "wildcard"),
    ("com...wild", "wildcard"),
]
WITHIN = [
    ("com.example.many.", "prefix"),
    ("com.example.many.x", "prefix"),
    ("com.example.many..x", "wildcard"),
    ("com.example..wild", "wildcard"),
    ("com.example.one", "wildcard"),
]


@pytest.mark.parametrize("kind", [SUBSCRIBE, REGISTER])
def test_a_pattern_reaches_no_further_than_the_rules(node: Bundle, kind: int) -> None:
    with Person(node, "asking").client() as client:
        for uri, match in REACHING:
            answer = do(client, kind, {"match": match}, uri)
            assert answer in (NOT_AUTHORIZED, "wamp.error.invalid_uri"), (uri, match)  # the latter is the router's own
        for uri, match in WITHIN:
            assert do(client, kind, {"match": match, "invoke": "roundrobin"}, uri) == "allowed", (uri, match)


def test_what_only_others_may_publish_is_not_heard(node: Bundle) -> None:
    with Person(node, "asking").client() as ear, Person(node, "staff").client() as mouth:
        for uri, match in REACHING:
            do(ear, SUBSCRIBE, {"match": match}, uri)
        for uri in "com.example.one.salaries", "com.example.onerous", "com.example.manymore", "com.example.x.wild.y":
            assert do(mouth, PUBLISH, {}, uri) == "allowed"
        assert do(ear, SUBSCRIBE, {}, "com.example.one") == "allowed"  # no event came before this answer
        mouth.send(PUBLISH, 1, {}, "com.example.one", ["news"])
        assert ear.receive()[0] == EVENT


def test_a_call_to_somebody_else_is_not_caught(node: Bundle) -> None:
    with Person(node, "asking").client() as thief, Person(node, "staff").client() as caller:
        for uri, match in REACHING:
            do(thief, REGISTER, {"match": match}, uri)
        for uri in "com.example.one.secret", "com.example.manymore", "com.example.other":
            assert caller.request(CALL, {}, uri)[4] == "wamp.error.no_such_procedure"


def test_static_rules_ignore_the_pattern(node: Bundle) -> None:
    """What ours can't mend. No shipped configuration is open to it: test_permissions.py."""
    with Person(node, "static").client() as ear, Person(node, "staff").client() as mouth:
        assert do(ear, SUBSCRIBE, {"match": "prefix"}, "com.example.one") == "allowed"
        assert do(mouth, PUBLISH, {}, "com.example.one.salaries") == "allowed"
        assert ear.receive()[0] == EVENT


def test_in_the_lesson_nobody_publishes_below_a_topic(bundle: Bundle) -> None:
    """Its rules are static and exact: a prefix subscription is allowed, and there is nothing more to hear."""
    with bundle_client(bundle) as client:
        assert do(client, SUBSCRIBE, {"match": "prefix"}, "com.example.topic1") == "allowed"
        for uri in "com.example.topic1.salaries", "com.example.topic12":
            assert do(client, PUBLISH, {}, uri) == NOT_AUTHORIZED


def bundle_client(bundle: Bundle) -> RawClient:
    return Person(bundle, "frontend").client()


# -- as somebody else


@pytest.mark.parametrize("kind", [CALL, PUBLISH, REGISTER, SUBSCRIBE])
@pytest.mark.parametrize("uri", ["com.example.one", "com.example.many.x", "com.example.x.wild"])
def test_nobody_speaks_for_somebody_else(node: Bundle, kind: int, uri: str) -> None:
    with Person(node, "asking").client() as client:
        assert do(client, kind, {"forward_for": BOSS}, uri) == NOT_AUTHORIZED
        assert do(client, kind, {"forward_for": BOSS * 2}, uri) == NOT_AUTHORIZED
        assert do(client, kind, {"forward_for": []}, uri) == "allowed"


@pytest.mark.parametrize("option", [{"caller": 1}, {"caller_authid": "boss"}, {"caller_authrole": "admin"}])
def test_no_call_names_its_caller(node: Bundle, option: dict[str, Any]) -> None:
    with Person(node, "asking").client() as client:
        assert do(client, CALL, option, "com.example.one") == NOT_AUTHORIZED


@pytest.mark.parametrize("role", ["asking", "static"])
def test_who_calls_is_disclosed_truly_or_not(node: Bundle, role: str) -> None:
    """Behind the authorizer always truly; with static rules the client has the last word."""
    person = Person(node, role)
    with person.client() as caller, Person(node, "staff").client() as callee:
        assert do(callee, REGISTER, {"force_reregister": True}, "com.example.one") == "allowed"
        caller.send(CALL, 1, {"forward_for": BOSS}, "com.example.one")
        if role == "asking":
            assert caller.receive()[4] == NOT_AUTHORIZED
            caller.send(CALL, 2, {}, "com.example.one")
        kind, request, _, details = callee.receive()[:4]
        assert kind == INVOCATION
        assert details["caller_authid"] == (person.authid if role == "asking" else "boss")
        callee.send(YIELD, request, {})
        assert caller.receive()[0] == RESULT


def test_nobody_throws_another_out_of_a_registration(node: Bundle) -> None:
    with Person(node, "staff").client() as callee, Person(node, "asking").client() as thief:
        assert do(callee, REGISTER, {"force_reregister": True}, "com.example.many.mine") == "allowed"
        assert do(thief, REGISTER, {"force_reregister": True}, "com.example.many.mine") == NOT_AUTHORIZED
        thief.send(CALL, 1, {}, "com.example.many.mine")
        assert callee.receive()[0] == INVOCATION


def test_what_is_somebody_elses_is_not_touched(node: Bundle) -> None:
    """Nobody is asked about these; the router itself looks whose it is."""
    with ExitStack() as stack:
        callee, caller, mallory = (stack.enter_context(Person(node, "asking").client()) for _ in range(3))
        _, _, registration = callee.request(REGISTER, {}, "com.example.many.hers")
        _, _, subscription = callee.request(SUBSCRIBE, {}, "com.example.many.hers")
        caller.send(CALL, 1, {}, "com.example.many.hers")
        _, invocation, *_ = callee.receive()
        assert mallory.request(UNREGISTER, registration)[0] == ERROR
        assert mallory.request(UNSUBSCRIBE, subscription)[0] == ERROR
        mallory.send(CANCEL, 1, {"mode": "kill"})
        mallory.send(YIELD, invocation, {}, ["forged"])
        callee.send(YIELD, invocation, {}, ["hers"])
        kind, _, _, (result,) = caller.receive()
        assert (kind, result) == (RESULT, "hers")


def test_a_callee_may_say_that_somebody_else_has_answered(node: Bundle) -> None:
    """What ours can't decide: the authorizer isn't asked about YIELD. So nobody should rely on who answers."""
    with Person(node, "asking").client() as callee, Person(node, "asking").client() as caller:
        assert do(callee, REGISTER, {}, "com.example.many.it") == "allowed"
        caller.send(CALL, 1, {}, "com.example.many.it")
        _, invocation, *_ = callee.receive()
        callee.send(YIELD, invocation, {"forward_for": BOSS})
        kind, _, details = caller.receive()[:3]
        assert kind == RESULT
        assert details.get("callee_authid") == "boss"


def test_what_is_retained_is_bounded(node: Bundle) -> None:
    with Person(node, "asking").client() as client:
        assert do(client, PUBLISH, {"retain": True}, "com.example.one") == "allowed"
        assert do(client, PUBLISH, {"retain": True, "eligible": [1]}, "com.example.one") == NOT_AUTHORIZED
        for uri in "com.example.many.x", "com.example.x.wild":
            assert do(client, PUBLISH, {"retain": True}, uri) == NOT_AUTHORIZED


# -- back with a cookie


def cookie(client: RawClient) -> dict[str, str]:
    """The header with which a browser would come back."""
    response = client._connection.response
    assert response
    return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


def come_back(node: Bundle, header: dict[str, str]) -> tuple[RawClient, Message]:
    client = RawClient(node.url, additional_headers=header)
    return client, client.hello("realm1", "cookie")


@pytest.mark.parametrize("role", ["asking", "static"])
def test_a_cookie_brings_back_who_may_come(node: Bundle, role: str) -> None:
    person = Person(node, role)
    with person.client() as client:
        header = cookie(client)
        again, welcome = come_back(node, header)
        with again:
            assert welcome[0] == WELCOME
            assert welcome[2]["authid"] == person.authid
            assert welcome[2]["authprovider"] == "cookie"
            assert do(again, PUBLISH, {}, "com.example.one") == "allowed"


@pytest.mark.parametrize("kind", [CALL, PUBLISH, REGISTER, SUBSCRIBE])
def test_a_revoked_cookie_does_nothing_behind_the_authorizer(node: Bundle, kind: int) -> None:
    """The router asks no authenticator about it. But our mark came back with it, and the credential is looked up
    before the first action is answered."""
    person = Person(node, "asking")
    with person.client() as client:
        header = cookie(client)
        person.revoke()
        again, welcome = come_back(node, header)
        with again:
            assert welcome[0] == WELCOME
            again.send(kind, 1, {"acknowledge": True} if kind == PUBLISH else {}, "com.example.one")
            heard = [again.receive()]
            if heard[0][0] == GOODBYE:  # a tick came first
                assert heard[0][2] == "com.example.revoked"
            else:
                assert (heard[0][0], heard[0][4]) == (ERROR, NOT_AUTHORIZED)


def test_a_revoked_cookie_is_ended_within_a_tick_elsewhere(node: Bundle) -> None:
    person = Person(node, "static")
    with person.client() as client:
        header = cookie(client)
        person.revoke()
        again, welcome = come_back(node, header)
        with again:
            assert welcome[0] == WELCOME
            assert again.receive(2.0)[::2] == [GOODBYE, "com.example.revoked"]


# -- much at once


def frame(message: str) -> bytes:
    """A short text frame, masked with zeros: all of them in one write arrive together."""
    return bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message.encode()


@pytest.mark.parametrize("kind", [CALL, PUBLISH, SUBSCRIBE])
def test_who_sends_much_at_once_is_alone_with_it(node: Bundle, kind: int) -> None:
    """1,100 questions before its credential was looked up. Others, also new ones, are answered as ever."""
    mallory, alice = Person(node, "asking"), Person(node, "asking")
    with ExitStack() as stack:
        old = stack.enter_context(alice.client())
        assert do(old, PUBLISH, {}, "com.example.one") == "allowed"
        client = stack.enter_context(RawClient(node.url))
        assert client.login_ticket(mallory.authid, mallory.secret)[0] == WELCOME
        options = {"acknowledge": True} if kind == PUBLISH else {}
        messages = [json.dumps([kind, number, options, "com.example.one"]) for number in range(1, 1_101)]
        client._connection.socket.sendall(b"".join(map(frame, messages)))
        new = stack.enter_context(alice.client())
        for _ in range(20):
            for other in old, new:
                assert do(other, PUBLISH, {}, "com.example.one") == "allowed"
        answers = [client.receive() for _ in range(1_100)]
        assert {answer[4] for answer in answers if answer[0] == ERROR} <= {
            NOT_AUTHORIZED,
            "wamp.error.no_such_procedure",
        }
        assert do(client, PUBLISH, {}, "com.example.one") == "allowed"
    assert "the store is away" not in node.log
