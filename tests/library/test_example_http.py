"""examples/http_checks.py: a user service decides. What if it says something else than yes or no, or nothing?"""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from example_nodes import REALM, ROLE, Example, example, falling, say, service

from wampauth.http import JsonService, Reply, ServiceError
from wampauth.settings import SettingsError
from wampauth.testing import ABORT, GOODBYE, WELCOME, RawClient

DEADLINE = 2.0  # seconds
WIDE = {"failures_at_once": 1_000_000, "refusal_delay": 0.05}
KNOWN = ("alice", "bob", "brief", "mallory")
TICKET = "open-sesame-8d1f"
PATIENCE = 15.0

INVALID, UNAVAILABLE = "com.example.invalid_ticket", "com.example.unavailable"
NO = (401, 403, 404)
NEITHER = (201, 204, 206, 301, 302, 307, 308, 400, 405, 408, 409, 418, 429, 500, 502, 503, 504)
WRONG_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no-json": b"<html>welcome</html>",
    "a-list": b'["alice"]',
    "a-string": b'"alice"',
    "true": b"true",
    "null": b"null",
    "not-utf8": b"\xff\xfe{}",
    "brackets": b"[" * 60_000,
    "no-role": json.dumps({"authid": "no-role", "realm": REALM}).encode(),
    "wrong-type": json.dumps({"authid": "wrong-type", "realm": REALM, "role": 7}).encode(),
    "trusted": json.dumps({"authid": "trusted", "realm": REALM, "role": "trusted"}).encode(),
    "wrong-extra": json.dumps({"authid": "wrong-extra", "realm": REALM, "role": ROLE, "extra": []}).encode(),
    "wrong-expires": json.dumps({"authid": "wrong-expires", "realm": REALM, "role": ROLE, "expires": "1h"}).encode(),
    "nan": b'{"authid": "nan", "realm": "%s", "role": "%s", "expires": NaN}' % (REALM.encode(), ROLE.encode()),
}


def yes(authid: str, **more: Any) -> bytes:
    return json.dumps({"authid": authid, "realm": REALM, "role": ROLE, **more}).encode()


@dataclass
class Users:
    """A user service that does what the authid says."""

    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # method and path, body, headers
    dripping: list[threading.Event] = field(default_factory=list)  # set when the other side has hung up

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        self.asked.append((f"{handler.command} {handler.path}", body.decode(), dict(handler.headers)))
        authid, ticket = (json.loads(body)[name] for name in ("authid", "ticket"))
        if authid.startswith("code-"):
            say(handler, int(authid[5:]), yes(authid), Location="/elsewhere", Retry_After="1")
        elif authid in WRONG_BODIES:
            say(handler, 200, WRONG_BODIES[authid])
        elif authid == "too-long":
            say(handler, 200, yes(authid, extra={"x": "y" * 70_000}))
        elif authid == "bomb":
            say(handler, 200, gzip.compress(b" " * 50_000_000 + yes(authid)), Content_Encoding="gzip")
        elif authid in ("drip", "silent"):
            self._drip(handler, authid)
        elif authid in KNOWN and ticket == TICKET:
            claimed = "alice" if authid == "mallory" else authid
            say(handler, 200, yes(claimed, **self._more(authid)), Set_Cookie=f"user={authid}")
        else:
            say(handler, 401)

    def _more(self, authid: str) -> dict[str, Any]:
        return {"expires": time.time() + 1} if authid == "brief" else {"extra": {"team": "blue"}, "expires": None}

    def _drip(self, handler: BaseHTTPRequestHandler, authid: str) -> None:
        """A beginning, and then a blank now and then, or nothing more, until the other side hangs up."""
        over = threading.Event()
        self.dripping.append(over)
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.connection.settimeout(0.1)
        while True:
            try:
                if authid == "drip":
                    handler.wfile.write(b" ")
                if handler.connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        over.set()
        handler.close_connection = True


@pytest.fixture(scope="module")
def users() -> Users:
    return Users()


@pytest.fixture(scope="module")
def node(users: Users, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("http")
    with (
        service(users) as address,
        example(folder, "http_checks", {"service": f"{address}/login"}, **WIDE, deadline=DEADLINE) as made,
    ):
        yield made


# -- yes and no


def test_a_yes(node: Example) -> None:
    kind, _, details = node.login("alice", TICKET)
    assert kind == WELCOME
    assert (details["realm"], details["authid"], details["authrole"]) == (REALM, "alice", ROLE)
    assert details["authextra"]["team"] == "blue"
    assert details["authextra"]["expires"] > time.time() + 3000  # the service has said nothing of it


def test_a_no(node: Example) -> None:
    message = "could not authenticate session - invalid ticket for principal alice"
    assert node.login("alice", "wrong") == [ABORT, {"message": message}, INVALID]
    assert node.reason("alice") == "the user service says 401"


@pytest.mark.parametrize("code", NO)
def test_codes_that_are_a_no(node: Example, code: int) -> None:
    assert node.login(f"code-{code}", TICKET)[2] == INVALID


def test_the_session_ends_when_the_service_says(node: Example) -> None:
    with RawClient(node.url) as client:
        assert client.login_ticket("brief", TICKET)[0] == WELCOME
        assert client.receive()[::2] == [GOODBYE, "com.example.expired"]


def test_somebody_elses_name_and_realm(node: Example) -> None:
    """The service vouches for alice, whoever asks: who claims to be mallory is none of them."""
    assert node.login("mallory", TICKET)[2] == INVALID
    assert node.login("alice", TICKET, "realm-auth")[2] == INVALID


# -- neither


@pytest.mark.parametrize("code", NEITHER)
def test_other_codes_are_neither(node: Example, code: int) -> None:
    """Not even with the body of a yes."""
    assert node.login(f"code-{code}", TICKET)[2] == UNAVAILABLE


def test_a_redirect_is_not_followed(node: Example, users: Users) -> None:
    node.login("code-307", TICKET)
    assert {asked for asked, _, _ in users.asked} == {"POST /login"}


@pytest.mark.parametrize("authid", [*WRONG_BODIES, "too-long", "bomb"])
def test_other_bodies_are_neither(node: Example, authid: str) -> None:
    assert node.login(authid, TICKET)[2] == UNAVAILABLE


@pytest.mark.parametrize("authid", ["drip", "silent"])
def test_a_body_that_never_ends(node: Example, users: Users, authid: str) -> None:
    """The client is told so at the deadline, and the connection to the service is closed."""
    assert node.login(authid, TICKET)[2] == UNAVAILABLE
    assert node.reason(authid) == f"no answer after {DEADLINE:g} seconds"
    assert users.dripping[-1].wait(PATIENCE)


def test_more_of_them_than_there_are_connections(node: Example, users: Users) -> None:
    """What hangs gives its place back: the service can be asked again."""
    before = len(users.dripping)
    with_all = [threading.Thread(target=node.login, args=("silent", TICKET)) for _ in range(25)]
    for one in with_all:
        one.start()
    for one in with_all:
        one.join()
    assert len(users.dripping) - before <= 20 + 5  # 20 at once
    assert all(over.wait(PATIENCE) for over in users.dripping)
    assert node.login("alice", TICKET)[0] == WELCOME


def test_a_service_that_is_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with example(tmp_path, "http_checks", {"service": f"http://127.0.0.1:{port}/"}) as node:
        assert node.login("alice", TICKET)[2] == UNAVAILABLE
        assert "ConnectionRefusedError" in node.reason("alice")


# -- secrets


def test_the_ticket_travels_in_the_body_only(node: Example, users: Users) -> None:
    for ticket in TICKET, "wr0ng-ticket-77":
        node.login("alice", ticket)
        asked, body, headers = users.asked[-1]
        assert ticket in body
        assert ticket not in asked + json.dumps(headers)
        assert ticket not in node.log + json.dumps(node.audit)


def test_one_users_cookie_is_not_sent_with_the_next(node: Example, users: Users) -> None:
    for authid in "alice", "bob":
        assert node.login(authid, TICKET)[0] == WELCOME
    assert "Cookie" not in users.asked[-1][2]


def test_what_is_said_is_in_no_repr() -> None:
    assert "sesame" not in repr(Reply(200, b"open-sesame"))
    with pytest.raises(ServiceError) as error:
        Reply(200, b"open-sesame").content()
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://users.example.com/", "ftp://127.0.0.1/", "users.example.com", "", "https://", "http://10.0.0.1/", 7]
)
def test_questions_do_not_travel_in_clear(url: Any) -> None:
    with pytest.raises(SettingsError, match="https://"):
        JsonService(url)


@pytest.mark.parametrize("url", ["https://users.example.com/login", "http://127.0.0.1:9/", "http://[::1]:9/"])
def test_but_within_this_machine(url: str) -> None:
    JsonService(url)


# -- the attacker that we ship


@pytest.mark.slow
def test_the_probe_holds(users: Users, tmp_path: Path) -> None:
    with service(users) as address, example(tmp_path, "http_checks", {"service": address}) as node:
        assert falling(node.url, "alice", TICKET) == set()
