"""Logins at a real node, by both methods and in both wirings, with a client that says whatever the test wants."""

import pytest
from nacl.signing import SigningKey

from tests.conftest import Lesson
from wampauth.testing import ABORT, CALL, CHALLENGE, RESULT, WELCOME, RawClient, pubkey, sign

WIRINGS = {"ws": "dynamic", "ws-function": "function"}  # by the path of the transport


@pytest.fixture(params=WIRINGS)
def url(request: pytest.FixtureRequest, lesson: Lesson) -> str:
    """Each test is run with both."""
    return lesson.url(request.param)


def test_a_ticket_joins_and_may_call(url: str, lesson: Lesson) -> None:
    with RawClient(url) as client:
        kind, _, details = client.login_ticket("client1", lesson.ticket)
        assert kind == WELCOME
        assert (details["realm"], details["authid"], details["authrole"]) == ("realm1", "client1", "frontend")
        assert details["authprovider"] == WIRINGS[url.rpartition("/")[2]]
        answer = client.request(CALL, {}, "com.example.add2", [2, 3])
        assert (answer[0], answer[3]) == (RESULT, [5])


@pytest.mark.parametrize(
    ("authid", "ticket"), [("client1", "wrong"), ("nobody", None), ("client01@example.com", None)], ids=str
)
def test_a_wrong_ticket_and_an_unknown_authid_look_alike(url: str, lesson: Lesson, authid: str, ticket: str) -> None:
    with RawClient(url) as client:
        assert client.login_ticket(authid, ticket or lesson.ticket) == [
            ABORT,
            {"message": f"could not authenticate session - invalid ticket for principal {authid}"},
            "com.example.invalid_ticket",
        ]


def test_a_key_joins_where_it_belongs(url: str, lesson: Lesson) -> None:
    with RawClient(url) as client:
        kind, _, details = client.login_key(lesson.key)
    assert kind == WELCOME
    assert (details["realm"], details["authid"], details["authrole"]) == ("devices", "client01@example.com", "device")
    assert details["authextra"]["foo"] == 23


@pytest.mark.parametrize(("realm", "authid"), [("realm1", None), (None, "client1")])
def test_a_key_is_nobody_elses(url: str, lesson: Lesson, realm: str | None, authid: str | None) -> None:
    with RawClient(url) as client:
        assert client.login_key(lesson.key, realm, authid)[::2] == [ABORT, "com.example.no_such_user"]


def test_a_key_that_nobody_knows(url: str) -> None:
    with RawClient(url) as client:
        assert client.login_key(SigningKey.generate())[::2] == [ABORT, "com.example.no_such_user"]


def test_a_known_key_with_somebody_elses_signature(url: str, lesson: Lesson) -> None:
    with RawClient(url) as client:
        challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(lesson.key)})
        assert challenge[0] == CHALLENGE
        forged = client.authenticate(sign(SigningKey.generate(), challenge))
    assert forged[::2] == [ABORT, "wamp.error.not_authorized"]
