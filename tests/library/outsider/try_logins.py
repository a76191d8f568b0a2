"""Who gets in at ACME, and who has to go? Against a real node, with nothing but what ``wampauth`` offers."""

import hashlib
import itertools
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guests import sign_pass
from nacl.signing import SigningKey

from wampauth.testing import (
    ABORT,
    CHALLENGE,
    ERROR,
    GOODBYE,
    SUBSCRIBE,
    SUBSCRIBED,
    WELCOME,
    Message,
    Node,
    RawClient,
    free_port,
    pubkey,
    sign,
)

FOLDER = Path("node")
WIRINGS = {"dynamic": "ws", "function": "ws-function"}
PASS_KEY = secrets.token_bytes(32)
AWAY, BACK = "the store is away", "the store is back"  # in the log
WIRE: list[str] = []  # all that the node has sent us


ADDRESSES = itertools.count(100)


class Client(RawClient):
    """Keeps what it is sent."""

    def receive(self, timeout: float = 15.0) -> Message:
        message = super().receive(timeout)
        WIRE.append(json.dumps(message))
        return message


class Staff:
    """The file in which ``own_store.py`` looks."""

    def __init__(self) -> None:
        self.file = FOLDER / "principals.json"
        self.write([])

    def add(self, authid: str, credential: str, **verifier: str) -> None:
        known = {"id": credential, "authid": authid, "realm": "office", "role": "member", "extra": {"desk": 23}}
        self.write([*self.read(), known | verifier])

    def add_ticket(self, authid: str) -> str:
        """Returns the ticket."""
        ticket = secrets.token_hex(32)
        self.add(authid, f"ticket-of-{authid}", ticket=hashlib.sha256(ticket.encode()).hexdigest())
        return ticket

    def add_key(self, authid: str) -> SigningKey:
        key = SigningKey.generate()
        self.add(authid, f"key-of-{authid}", pubkey=pubkey(key))
        return key

    def remove(self, credential: str) -> None:
        self.write([known for known in self.read() if known["id"] != credential])

    def read(self) -> list[dict[str, Any]]:
        return json.loads(self.file.read_text())  # type: ignore[no-any-return]

    def write(self, principals: list[dict[str, Any]]) -> None:
        """All at once: the node may read at any time."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(principals))
        new.rename(self.file)


def new_pass(authid: str, seconds: float) -> str:
    """A visitor's ticket, good for that many seconds from now."""
    return sign_pass(PASS_KEY, authid, str(int(time.time() + seconds)))


@pytest.fixture(scope="module")
def staff() -> Staff:
    return Staff()


@pytest.fixture(scope="module")
def contractor() -> SigningKey:
    key = SigningKey.generate()
    (FOLDER / "contractors.json").write_text(json.dumps({pubkey(key): "plumber"}))
    return key


@pytest.fixture(scope="module", autouse=True)
def node(staff: Staff, contractor: SigningKey) -> Iterator[Node]:
    for port in "STAFF_PORT", "GUESTS_PORT":
        os.environ[port] = str(free_port())
    (FOLDER / "suspended.json").write_text('["mallory"]')
    (FOLDER / "pass.key").touch(0o600)
    (FOLDER / "pass.key").write_bytes(PASS_KEY)
    with (FOLDER / "node.log").open("wb") as log, Node(FOLDER, output=log, loglevel="info") as running:
        yield running


def log() -> str:
    return (FOLDER / "node.log").read_text()


def audit(name: str) -> list[dict[str, Any]]:
    """The records there; of the last line, there may be only a part yet."""
    text = (FOLDER / name).read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def fresh_address() -> tuple[str, int]:
    """To come from where nobody was refused: the audit counts the refusals of an address that has had many."""
    return f"127.0.0.{next(ADDRESSES)}", 0


@pytest.fixture(params=WIRINGS)
def path(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it is run at both transports of an authenticator."""
    return WIRINGS[request.param]


@pytest.fixture
def at_staff(path: str) -> str:
    return f"ws://127.0.0.1:{os.environ['STAFF_PORT']}/{path}"


@pytest.fixture
def at_guests(path: str) -> str:
    return f"ws://127.0.0.1:{os.environ['GUESTS_PORT']}/{path}"


def joined(answer: Message, wiring: str) -> tuple[str, str, str]:
    """As whom a client has joined."""
    assert answer[0] == WELCOME, answer
    details = answer[2]
    assert details["authprovider"] == {path: name for name, path in WIRINGS.items()}[wiring]
    return details["realm"], details["authid"], details["authrole"]


def refused(answer: Message) -> str:
    """The reason that a client was told."""
    assert answer[0] == ABORT, answer
    return str(answer[2])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, log()
        time.sleep(0.05)


def farewell(client: RawClient) -> str:
    """The reason for which a session ends."""
    message = client.receive()
    assert message[0] == GOODBYE, message
    return str(message[2])


# -- the staff: an own store, coroutines


def test_staff_with_a_ticket(at_staff: str, path: str, staff: Staff) -> None:
    ticket = staff.add_ticket(f"alice.{path}")
    with Client(at_staff) as client:
        answer = client.login_ticket(f"alice.{path}", ticket, "office")
    assert joined(answer, path) == ("office", f"alice.{path}", "member")
    assert answer[2]["authextra"]["desk"] == 23


def test_staff_with_a_key(at_staff: str, path: str, staff: Staff) -> None:
    key = staff.add_key(f"bob.{path}")
    with Client(at_staff) as client:
        assert joined(client.login_key(key), path) == ("office", f"bob.{path}", "member")


def test_staff_with_something_wrong(at_staff: str, path: str, staff: Staff) -> None:
    ticket, key = staff.add_ticket(f"carol.{path}"), staff.add_key(f"carol.{path}")
    for authid, shown, realm in (
        (f"carol.{path}", "wrong", "office"),
        (f"carol.{path}", ticket, "lobby"),
        ("nobody", ticket, "office"),
    ):
        with Client(at_staff) as client:
            answer = client.login_ticket(authid, shown, realm)
        text = f"could not authenticate session - invalid ticket for principal {authid}"
        assert answer == [ABORT, {"message": text}, "org.acme.invalid_ticket"]
    for shown_key, realm in (SigningKey.generate(), "office"), (key, "lobby"):
        with Client(at_staff) as client:
            assert refused(client.login_key(shown_key, realm)) == "org.acme.no_such_user"
    with Client(at_staff) as client:
        challenge = client.hello("office", "cryptosign", extra={"pubkey": pubkey(key)})
        assert challenge[0] == CHALLENGE
        assert refused(client.authenticate(sign(SigningKey.generate(), challenge))) == "wamp.error.not_authorized"


def test_what_no_client_library_would_say(at_staff: str) -> None:
    with Client(at_staff) as client:
        assert refused(client.login_ticket("alice", "x" * 2000, "office")) == "org.acme.malformed"


def test_staff_who_is_suspended(at_staff: str, path: str, staff: Staff) -> None:
    """``start`` has read who that is. The client isn't told why it was refused, and the audit is."""
    before = len(audit("staff.attempts.jsonl"))
    with Client(at_staff, source_address=fresh_address()) as client:
        assert refused(client.login_ticket("mallory", staff.add_ticket("mallory"))) == "org.acme.invalid_ticket"
    (record,) = audit("staff.attempts.jsonl")[before:]
    assert (record["outcome"], record["reason"], record["credential"]) == ("refused", "suspended", "ticket-of-mallory")
    staff.remove("ticket-of-mallory")


def test_staff_whose_credential_is_withdrawn(at_staff: str, path: str, staff: Staff) -> None:
    gone, stays = staff.add_ticket(f"dave.{path}"), staff.add_key(f"erin.{path}")
    with Client(at_staff) as dave, Client(at_staff) as erin:
        joined(dave.login_ticket(f"dave.{path}", gone, "office"), path)
        joined(erin.login_key(stays), path)
        staff.remove(f"ticket-of-dave.{path}")
        assert farewell(dave) == "org.acme.revoked"
        assert erin.request(SUBSCRIBE, {}, "org.acme.news")[0] == SUBSCRIBED
    with Client(at_staff) as dave:
        assert refused(dave.login_ticket(f"dave.{path}", gone, "office")) == "org.acme.invalid_ticket"


def test_staff_whose_role_changes(at_staff: str, path: str, staff: Staff) -> None:
    key = staff.add_key(f"frank.{path}")
    with Client(at_staff) as frank:
        joined(frank.login_key(key), path)
        staff.write(
            [known | ({"role": "contractor"} if known.get("pubkey") == pubkey(key) else {}) for known in staff.read()]
        )
        assert farewell(frank) == "org.acme.revoked"


def test_what_the_staff_may_do(at_staff: str, path: str, staff: Staff) -> None:
    """The role asks ``org.acme.authorize``, which knows the rules in the configuration."""
    with Client(at_staff) as client:
        joined(client.login_key(staff.add_key(f"grace.{path}")), path)
        assert client.request(SUBSCRIBE, {}, "org.acme.news")[0] == SUBSCRIBED
        denied = client.request(SUBSCRIBE, {}, "org.acme.canteen")
    assert (denied[0], denied[4]) == (ERROR, "wamp.error.not_authorized")


def test_a_store_that_is_away(at_staff: str, path: str, staff: Staff) -> None:
    """Who wants to come in has to wait. Who is in stays, and may do something again when the store is back."""
    ticket, faults, recoveries = staff.add_ticket(f"heidi.{path}"), log().count(AWAY), log().count(BACK)
    with Client(at_staff) as heidi, Client(at_staff) as client:
        joined(heidi.login_ticket(f"heidi.{path}", ticket, "office"), path)
        away = staff.file.rename(FOLDER / "away.json")
        assert refused(client.login_ticket(f"heidi.{path}", ticket, "office")) == "org.acme.unavailable"
        wait_until(lambda: log().count(AWAY) > faults)
        away.rename(staff.file)
        wait_until(lambda: log().count(BACK) > recoveries)
        assert heidi.request(SUBSCRIBE, {}, "org.acme.news")[0] == SUBSCRIBED


# -- the guests: no store, plain answers and Deferreds, and an end


def test_guests_until_their_time_is_up(at_guests: str, path: str, contractor: SigningKey) -> None:
    with Client(at_guests) as visitor, Client(at_guests) as plumber:
        welcome = visitor.login_ticket("visitor", new_pass("visitor", 5), "lobby")
        assert joined(welcome, path) == ("lobby", "visitor", "visitor")
        assert farewell(visitor) == "org.acme.guests.expired"
        assert time.time() >= welcome[2]["authextra"]["expires"]

        welcome = plumber.login_key(contractor)
        assert joined(welcome, path) == ("office", "plumber", "contractor")
        assert welcome[2]["authextra"]["badge"] == "yellow"
        assert plumber.request(SUBSCRIBE, {}, "org.acme.canteen")[0] == SUBSCRIBED
        assert farewell(plumber) == "org.acme.guests.expired"
        assert time.time() >= welcome[2]["authextra"]["expires"]


def test_guests_with_something_wrong(at_guests: str, path: str, contractor: SigningKey) -> None:
    somebody = f"somebody.{path}"
    for authid, ticket in (somebody, new_pass("somebody-else", 60)), (f"late.{path}", new_pass(f"late.{path}", -1)):
        with Client(at_guests, source_address=fresh_address()) as client:
            assert refused(client.login_ticket(authid, ticket, "lobby")) == "org.acme.guests.invalid_ticket"
    assert audit("guests.attempts.jsonl")[-1]["reason"] == "expired"
    for key, realm in (SigningKey.generate(), None), (contractor, "lobby"):
        with Client(at_guests) as client:
            assert refused(client.login_key(key, realm)) == "org.acme.guests.no_such_user"


def test_the_staff_is_nobody_among_the_guests(at_guests: str, path: str, staff: Staff) -> None:
    with Client(at_guests) as client:
        assert refused(client.login_key(staff.add_key(f"ivan.{path}"))) == "org.acme.guests.no_such_user"
    with Client(at_guests) as client:
        ticket = staff.add_ticket(f"ivan.{path}")
        assert refused(client.login_ticket(f"ivan.{path}", ticket, "office")) == "org.acme.guests.invalid_ticket"


# -- one Authenticator, one configuration


def test_guests_have_two_attempts_wherever_they_try() -> None:
    """The staff has more, with the same client at the same address."""
    answers: dict[str, list[str]] = {"STAFF_PORT": [], "GUESTS_PORT": []}
    for port, given in answers.items():
        for wiring in "ws", "ws-function", "ws":
            with Client(f"ws://127.0.0.1:{os.environ[port]}/{wiring}") as client:
                given.append(refused(client.login_ticket("judy", "wrong", None)))
    guests, members = answers["GUESTS_PORT"], answers["STAFF_PORT"]
    assert guests == ["org.acme.guests.invalid_ticket"] * 2 + ["org.acme.guests.too_many_attempts"]
    assert members == ["org.acme.invalid_ticket"] * 3


def test_each_has_an_audit_of_its_own() -> None:
    reasons = {name: {record.get("reason") for record in audit(name)} for name in ("staff.jsonl", "guests.jsonl")}
    assert "org.acme.revoked" in reasons["staff.jsonl"]
    assert "org.acme.guests.expired" in reasons["guests.jsonl"]
    assert not {"org.acme.guests.expired", "out of tokens"} & reasons["staff.jsonl"]
    assert not {"org.acme.revoked", "suspended"} & reasons["guests.jsonl"]


# -- the end


def test_stop_and_what_was_said_in_all(node: Node) -> None:
    assert not (FOLDER / "stopped").exists()
    node.stop()
    assert (FOLDER / "stopped").read_text() == "the staff's checks have stopped"
    for sign_of_trouble in "Traceback (most recent call last)", "left alone":  # whose mark nobody knows
        assert sign_of_trouble not in log()
    assert len(WIRE) > 50
    for said in *WIRE, log(), (FOLDER / "staff.jsonl").read_text(), (FOLDER / "guests.jsonl").read_text():
        assert "com.example" not in said
