"""Does an operator see who is in, end sessions, and change what a principal is, while the nodes run? On one node, on
one for the internet, and on several with one PostgreSQL, of which one has proxies."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from conftest import MakeBundle, wait_for
from postgres import Server
from sites import OURS, Person, Site, ending

from wampauth.store import create
from wampauth.testing.wamp import CALL, WELCOME, RawClient

pytest_plugins = ["postgres", "sites"]

WAYS = [("revoke", False), ("revoke one", True), ("remove", True), ("rotate", False), ("role", False), ("extra", True)]
REVOKED, KICKED, TOO_MANY = "com.example.revoked", "com.example.kicked", "com.example.too_many_sessions"


def listed(site: Site, *args: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.wampauth("sessions", "--json", *args).stdout.splitlines()]


def here(site: Site, person: Person, *clients: RawClient) -> None:
    """Wait until the nodes know of these sessions."""
    expected = {client.session for client in clients}
    wait_for(lambda: {one["session"] for one in listed(site, "--authid", person.authid)} == expected)


# Who is in?


def test_who_is_in(site: Site) -> None:
    alice, bob = site.add(label="laptop", expires="2999-01-01"), site.add()
    clients = [site.login(alice, number) for number in range(2)]
    other = site.login(bob)
    here(site, alice, *clients)
    shown = {one["session"]: one for one in listed(site)}
    for client in clients:
        told = shown[client.session]
        assert told.pop("since")
        assert told == {
            "authid": alice.authid,
            "realm": "realm1",
            "role": "frontend",
            "session": client.session,
            "credential": alice.credential,
            "label": "laptop",
            "method": "ticket",
            "address": OURS,
            "tls": site.tls,
            "until": "2999-01-01T00:00:00.000+00:00",
        }
    assert shown[other.session]["until"] is None
    assert {one["session"] for one in listed(site, "--authid", bob.authid)} == {other.session}
    assert listed(site, "--realm", "devices") == []
    table = site.wampauth("sessions", "--authid", bob.authid).stdout.splitlines()
    assert table[0].split()[:4] == ["AUTHID", "REALM", "ROLE", "SESSION"]
    assert table[1].split()[:4] == [bob.authid, "realm1", "frontend", str(other.session)]


def test_who_has_left_is_not_in(site: Site) -> None:
    alice = site.add()
    staying, leaving = site.login(alice, 0), site.login(alice, 1)
    here(site, alice, staying, leaving)
    leaving.close()
    here(site, alice, staying)


# Who shall leave?


def test_kicked_at_all_nodes_and_may_come_back(site: Site) -> None:
    alice, bob = site.add(), site.add()
    clients, other = [site.login(alice, number) for number in range(2)], site.login(bob)
    here(site, alice, *clients)
    assert site.wampauth("kick", alice.authid).stderr == "2 live sessions were ended.\n"
    assert {ending(client) for client in clients} <= {KICKED, "lost"}
    wait_for(lambda: [r["reason"] for r in site.audit if r.get("authid") == alice.authid and r["outcome"] == "ended"])
    assert other.request(CALL, {}, "com.example.nothing")[4] != "wamp.error.no_such_session"
    back = site.login(alice)
    here(site, alice, back)


def test_who_ignores_goodbye_may_do_nothing_more(site: Site) -> None:
    """Where an authorizer is asked."""
    if not site.tls:
        pytest.skip("not on the node as simple as can be")
    alice = site.add()
    client = site.login(alice)
    here(site, alice, client)

    def called() -> Any:
        return client.request(CALL, {}, "com.example.add2", [2, 3])[-1]

    assert called() == [5]
    with ThreadPoolExecutor() as pool:
        kicking = pool.submit(site.wampauth, "kick", alice.authid)
        while (answer := called()) == [5]:
            pass
        assert "is not authorized to call" in answer[0]
        assert kicking.result().stderr == "1 live session was ended.\n"


def test_kicked_one_session(site: Site) -> None:
    alice = site.add()
    staying, leaving = site.login(alice, 0), site.login(alice, 1)
    here(site, alice, staying, leaving)
    said = json.loads(site.wampauth("kick", "--session", str(leaving.session), "--json").stdout)
    assert (said["session"], said["ended"], said["silent"]) == (leaving.session, 1, 0)
    assert ending(leaving) in (KICKED, "lost")
    here(site, alice, staying)
    assert (
        f": kick {alice.authid} session {leaving.session} (1 ended)"
        in site.wampauth("log", "--authid", alice.authid).stdout
    )
    assert site.wampauth("kick", "--session", str(leaving.session)).stderr == "0 live sessions were ended.\n"


@pytest.mark.parametrize("args", [[], ["alice", "--session", "5"]])
def test_kick_wants_one_of_both(site: Site, args: list[str]) -> None:
    refused = site.wampauth("kick", *args, check=False)
    assert refused.exit_code == 2
    assert "give either an AUTHID, or --session with an ID that `wampauth sessions` shows" in refused.stderr


# How many have left?


@pytest.mark.parametrize(
    ("way", "as_json"),
    [*WAYS, ("rotate", True)],
)
def test_how_many_sessions_ended(site: Site, way: str, as_json: bool) -> None:
    alice = site.add()
    clients = [site.login(alice, number) for number in range(2)]
    here(site, alice, *clients)
    commands: dict[str, tuple[str, ...]] = {
        "revoke": ("revoke", alice.authid, "--yes"),
        "revoke one": ("revoke", alice.authid, "--credential", alice.credential),
        "remove": ("remove", alice.authid, "--yes"),
        "rotate": ("rotate", alice.authid, alice.credential, "--overlap", "0s"),
        "role": ("set", alice.authid, "--role", "frontend2", "--force"),
        "extra": ("set", alice.authid, "--extra", '{"team": "blue"}'),
    }
    said = site.wampauth(*commands[way], *(["--json"] if as_json else []))
    if as_json:
        assert {"ended": 2, "silent": 0}.items() <= json.loads(said.stdout).items()
    assert ("2 live sessions were ended." in said.stderr) != as_json
    assert {ending(client) for client in clients} <= {REVOKED, "lost"}
    assert listed(site, "--authid", alice.authid) == []
    if way != "remove":
        assert "0 live sessions were ended." in site.wampauth("revoke", alice.authid, "--yes").stderr


def test_what_was_set_is_so_at_the_next_login(site: Site) -> None:
    alice = site.add()
    said = json.loads(site.wampauth("set", alice.authid, "--extra", '{"team": "blue"}', "--json").stdout)
    assert (said["extra"], said["role"], said["ended"]) == ({"team": "blue"}, "frontend", 0)
    answer = site.knock().login_ticket(alice.authid, alice.ticket)
    assert answer[2]["authextra"]["team"] == "blue"


# How many at a time?


def test_no_more_sessions_than_allowed(site: Site) -> None:
    """The newest is refused, or ended at once where the one who lets in doesn't know of the others."""
    alice = site.add()
    site.wampauth("set", alice.authid, "--max-sessions", "1")
    first = site.login(alice, 0)
    here(site, alice, first)
    second = site.knock(1)
    answer = second.login_ticket(alice.authid, alice.ticket)
    if site.is_split:
        assert answer[0] == WELCOME
        assert ending(second) in (TOO_MANY, "lost")
    else:
        assert answer[2] == "com.example.invalid_ticket"
        (said,) = [r["reason"] for r in site.audit if r.get("authid") == alice.authid and r["outcome"] == "refused"]
        assert said == "has 1 session already"
    here(site, alice, first)
    first.close()
    wait_for(lambda: listed(site, "--authid", alice.authid) == [])
    again = site.login(alice, 1)
    here(site, alice, again)


def test_two_at_once_at_the_limit(site: Site) -> None:
    """Whoever lets them in knows of neither."""
    alice = site.add()
    site.wampauth("set", alice.authid, "--max-sessions", "1")
    clients = [site.knock(number) for number in range(2)]
    for client in clients:
        assert client.hello("realm1", "ticket", alice.authid)[2] == {}
    for client in clients:
        client.send(5, alice.ticket, {})
    answers = [client.receive() for client in clients]
    assert WELCOME in [answer[0] for answer in answers]
    wait_for(lambda: len(listed(site, "--authid", alice.authid)) == 1)


def test_fewer_than_there_are(site: Site) -> None:
    alice = site.add()
    clients = [site.login(alice, 0) for _ in range(3)]
    here(site, alice, *clients)
    assert "2 live sessions were ended." in site.wampauth("set", alice.authid, "--max-sessions", "1").stderr
    here(site, alice, clients[0])
    assert site.wampauth("set", alice.authid, "--max-sessions", "0", "--json").exit_code == 0
    more = site.login(alice, 0)
    here(site, alice, clients[0], more)


@pytest.mark.slow
@pytest.mark.parametrize("form", [["scaled.yaml"], ["config.json", "config.json"]])
def test_the_oldest_leaves_elsewhere(make_bundle: MakeBundle, postgresql: Server, form: list[str]) -> None:
    """At another proxy of the same node, and at another node of the same store, too."""
    bundles = [make_bundle(name, start=False, oldest_leaves=True) for name in form]
    where = postgresql.create() if len(bundles) > 1 else str(bundles[0].store)
    create(where)
    with ExitStack() as running:
        for bundle in bundles:
            file = bundle.directory / bundle.config
            file.write_text(file.read_text().replace('"principals.db"', f'"{where}"'))
            running.callback(bundle.start().stop)
        site = Site(bundles, where, clients=running)
        alice = site.add()
        site.wampauth("set", alice.authid, "--max-sessions", "1")
        old = site.login(alice, 0)
        for number in range(1, 4):
            here(site, alice, old)
            new = site.login(alice, number)
            assert ending(old) in (TOO_MANY, "lost")
            old = new
