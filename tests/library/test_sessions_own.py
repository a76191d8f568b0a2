"""Do sessions end in a project of one's own: without a store, with two Authenticators in one realm, and next to
transports whose clients say of themselves what they like?

Against one real node, whose principals are no principals of the bundle's: a ticket is the number of seconds that it
counts for.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import read_audit

from wampauth.testing import (
    ERROR,
    GOODBYE,
    PUBLISH,
    PUBLISHED,
    WELCOME,
    Message,
    Node,
    RawClient,
    free_port,
)

SLACK = 2.0  # seconds; the promise is one
LONG = "3600"
PROJECT = """
import time
from wampauth import Authenticator, Principal

class Tokens:
    '''No store: like a token that a signature vouches for.'''

    def __init__(self, settings):
        self.role = settings["role"]

    def ticket(self, claim):
        return Principal(claim.authid, "realm1", self.role, {"half": 0.5}, expires=time.time() + float(claim.ticket))

acme, other = Authenticator(Tokens, prefix="org.acme."), Authenticator(Tokens, prefix="org.other.")
AcmeSession, AcmeSessions, create_ticket = acme.component, acme.sessions, acme.function("ticket")
OtherSession, OtherSessions = other.component, other.sessions
"""
ALL = {"call": True, "register": True, "publish": True, "subscribe": True}
RULES = [{"uri": "", "match": "prefix", "allow": ALL}]


def component(name: str, realm: str, **extra: Any) -> dict[str, Any]:
    role = "authenticator" if realm == "realm-auth" else "trusted"
    known = {"type": "class", "classname": f"project.{name}", "realm": realm, "role": role}
    return {**known, "extra": extra} if extra else known


def websocket(**auth: Any) -> dict[str, Any]:
    return {"type": "websocket", "auth": auth}


def dynamic(prefix: str) -> dict[str, Any]:
    return {"type": "dynamic", "authenticator": f"{prefix}authenticate.ticket", "authenticator-realm": "realm-auth"}


def configuration(folder: Path, port: int) -> dict[str, Any]:
    asks = {"authorizer": "org.acme.authorize"}
    realms = [
        {"name": "realm-auth", "roles": [{"name": "authenticator", "permissions": RULES}]},
        {"name": "realm1", "roles": [{"name": "asking", **asks}, {"name": "user", "permissions": RULES}]},
    ]
    acme = {"role": "asking", "guard": {"audit": "acme.jsonl", "trusted_proxies": ["127.0.0.1"]}}
    other = {"role": "user", "guard": {"audit": "other.jsonl"}}
    components = [
        component("AcmeSession", "realm-auth", **acme),
        component("OtherSession", "realm-auth", **other),
        component("AcmeSessions", "realm1", roles={"asking": RULES}),
        component("OtherSessions", "realm1"),
    ]
    alice = {"ticket": "secret", "role": "asking"}
    paths = {
        "/": {"type": "json", "value": {}},
        "acme": websocket(ticket=dynamic("org.acme.")),
        "function": websocket(ticket={"type": "function", "create": "project.create_ticket"}),
        "other": websocket(ticket=dynamic("org.other.")),
        "user": websocket(anonymous={"type": "static", "role": "user"}),
        "asking": websocket(anonymous={"type": "static", "role": "asking"}),
        "static": websocket(ticket={"type": "static", "principals": {"alice": alice, "bob": alice}}),
    }
    transport = {"type": "web", "endpoint": {"type": "tcp", "interface": "127.0.0.1", "port": port}, "paths": paths}
    options = {"pythonpath": [str(folder)]}
    worker = {"realms": realms, "components": components, "transports": [transport]}
    return {"version": 2, "workers": [{"type": "router", "options": options, **worker}]}


class Project:
    """The node, and how to come in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "project.py").write_text(PROJECT)
        (folder / "config.json").write_text(json.dumps(configuration(folder, self.port)))
        self.log_file = folder / "node.log"

    def client(self, path: str) -> RawClient:
        return RawClient(f"ws://127.0.0.1:{self.port}/{path}")

    def audit(self, name: str) -> list[dict[str, Any]]:
        return read_audit(self.folder.glob(f"{name}*.jsonl"))

    def ended(self, name: str, client: RawClient) -> list[Any]:
        """With which reasons the audit says that a client's session was ended."""
        records = self.audit(name)
        return [one["reason"] for one in records if (one["outcome"], one["session"]) == ("ended", client.session)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("project"))
    with project.log_file.open("wb") as log, Node(project.folder, output=log):
        yield project


def publish(client: RawClient) -> Message:
    return client.request(PUBLISH, {"acknowledge": True}, "org.acme.topic")


def ends(client: RawClient, expires: float) -> str:
    """Wait for GOODBYE, which must come when the time is up. Its reason."""
    kind, _, reason = client.receive()
    assert kind == GOODBYE
    assert -0.1 < time.time() - expires < SLACK
    return str(reason)


@pytest.mark.parametrize("path", ["acme", "function", "other"])
def test_without_a_store_a_session_ends_when_it_has_run_out(project: Project, path: str) -> None:
    with project.client(path) as client, project.client(path) as longer:
        assert longer.login_ticket("bob", LONG)[0] == WELCOME
        welcome = client.login_ticket("alice", "1.5")
        assert welcome[0] == WELCOME
        assert publish(client)[0] == publish(longer)[0] == PUBLISHED
        prefix = "org.other." if path == "other" else "org.acme."
        assert ends(client, welcome[2]["authextra"]["expires"]) == f"{prefix}expired"
        assert publish(longer)[0] == PUBLISHED
        name = prefix.split(".")[1]
        assert project.ended(name, client) == [f"{prefix}expired"]
        assert project.ended(name, longer) == []


@pytest.mark.parametrize(
    ("header", "value", "peer"),
    [
        ("X-Forwarded-For", "192.0.2.7", "192.0.2.7"),
        ("X-Forwarded-For", "198.51.100.1, 192.0.2.7:5000", "192.0.2.7"),
        ("Forwarded", 'for="[2001:db8::7]:5000";proto=https', "2001:db8::7"),
        ("X-Real-IP", "192.0.2.7", "192.0.2.7"),
        ("X-Forwarded-For", "nonsense", "unreadable behind 127.0.0.1"),
    ],
)
def test_behind_a_trusted_proxy_the_audit_follows_the_clients_own_address(
    project: Project, header: str, value: str, peer: str
) -> None:
    with RawClient(f"ws://127.0.0.1:{project.port}/acme", additional_headers={header: value}) as client:
        assert client.login_ticket("alice", "1")[0] == WELCOME
        assert client.receive()[0] == GOODBYE
        records = [record for record in project.audit("acme") if record.get("session") == client.session]
    assert [(one["outcome"], one["peer"]) for one in records] == [
        ("accepted", peer),
        ("joined", peer),
        ("ended", peer),
    ]


def test_two_authenticators_in_one_realm_keep_to_their_own(project: Project) -> None:
    with project.client("acme") as client, project.client("other") as other:
        welcome = client.login_ticket("alice", "1.5")
        assert welcome[0] == other.login_ticket("alice", "3.5")[0] == WELCOME
        assert ends(client, welcome[2]["authextra"]["expires"]) == "org.acme.expired"
        assert publish(other)[0] == PUBLISHED
        assert other.receive()[::2] == [GOODBYE, "org.other.expired"]
        for name, one, another in ("acme", client, other), ("other", other, client):
            sessions = [record.get("session") for record in project.audit(name)]
            assert one.session in sessions
            assert another.session not in sessions
    assert "'admission_key'" not in project.log_file.read_text()  # nothing is amiss


def test_what_strangers_say_in_their_authextra_counts_for_nothing(project: Project) -> None:
    """Neither what is made up, nor a copy of what another session has."""
    with project.client("acme") as client, project.client("user") as made_up, project.client("user") as copied:
        welcome = client.login_ticket("alice", "1.5")
        mark = welcome[2]["authextra"]
        forged = {"credential": "0123456789abcdef", "expires": 1, "wampauth": "0" * 64}
        assert made_up.hello("realm1", "anonymous", extra=forged)[0] == WELCOME
        assert copied.hello("realm1", "anonymous", "alice", extra=mark)[0] == WELCOME
        assert ends(client, mark["expires"]) == "org.acme.expired"
        for stranger in made_up, copied:
            assert publish(stranger)[0] == PUBLISHED  # and nobody has said GOODBYE before
            for name in "acme", "other":
                assert stranger.session not in [record.get("session") for record in project.audit(name)]
    told = [line for line in project.log_file.read_text().splitlines() if "'admission_key'" in line]
    assert len(told) == 2  # one for each Sessions, however many strangers there are


@pytest.mark.parametrize("path", ["asking", "static"])
def test_a_mark_opens_nothing_to_somebody_else(project: Project, path: str) -> None:
    """The authorizer knows only those whom the authenticator let in; also if another transport gives them the role."""
    with project.client("acme") as client, project.client(path) as stranger:
        mark = client.login_ticket("alice", LONG)[2]["authextra"]
        if path == "static":
            stranger.hello("realm1", "ticket", "bob", extra=mark)
            assert stranger.authenticate("secret")[0] == WELCOME
        else:
            assert stranger.hello("realm1", "anonymous", "alice", extra=mark)[0] == WELCOME
        answer = publish(stranger)
        assert (answer[0], answer[4]) == (ERROR, "wamp.error.not_authorized")
        assert publish(client)[0] == PUBLISHED


def test_a_copy_of_its_own_mark_does_not_outlive_it(project: Project) -> None:
    """Who comes in by another transport as the same authid, in the same role, is held to the same terms."""
    with project.client("acme") as client, project.client("static") as again:
        mark = client.login_ticket("alice", "1.5")[2]["authextra"]
        again.hello("realm1", "ticket", "alice", extra=mark)
        assert again.authenticate("secret")[0] == WELCOME
        assert ends(client, mark["expires"]) == "org.acme.expired"
        assert ends(again, mark["expires"]) == "org.acme.expired"
