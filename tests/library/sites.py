"""Nodes as an operator may have them: one, one for the internet, several with one PostgreSQL, of which one has six
processes, and one of six with SQLite. A module that wants them has ``pytest_plugins = ["postgres", "sites"]``.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Bundle, MakeBundle

from wampauth import cli
from wampauth.probe.turns import trust
from wampauth.store import connect, create, ticket_digest, writing
from wampauth.testing.wamp import GOODBYE, WELCOME, Message, RawClient

OURS = "127.0.0.1"
AT_ONCE = 20  # failures that a pair may make


@dataclass
class Person:
    """A principal of a test's own, with a ticket."""

    authid: str
    ticket: str
    credential: str


@dataclass
class Site:
    """Nodes that share a store."""

    bundles: list[Bundle]
    where: str
    tls: bool = False
    clients: ExitStack = field(default_factory=ExitStack)

    @property
    def acts(self) -> Path:
        """Where an operator's acts are recorded."""
        return self.bundles[0].directory / "audit.jsonl"

    @property
    def is_split(self) -> bool:
        """Whether those who let in don't know of all sessions."""
        return self.is_several or self.bundles[0].config == "scaled.yaml"

    @property
    def is_several(self) -> bool:
        return len(self.bundles) > 1

    def wampauth(self, *args: str, check: bool = True, **environment: str) -> Result:
        """Do what ``wampauth`` does on this store."""
        place = ("--store", self.where, "--audit", str(self.acts))
        result = CliRunner().invoke(cli.main, [*place, *args], env=environment)
        assert not check or result.exit_code == 0, result.output
        return result

    def add(self, role: str = "frontend", **terms: Any) -> Person:
        """Somebody new."""
        person = Person(f"person-{secrets.token_hex(4)}", secrets.token_urlsafe(), "")
        with closing(connect(self.where)) as store:
            writing.add(store, {"authid": person.authid, "realm": "realm1", "role": role})
            verifier = {"kind": "ticket", "verifier": ticket_digest(person.ticket)}
            person.credential = writing.add_credential(store, person.authid, {**verifier, **terms})
        return person

    def knock(self, number: int = 0) -> RawClient:
        """A connection to one of the nodes."""
        bundle = self.bundles[number % len(self.bundles)]
        options = {"ssl": trust(bundle.ca)} if self.tls else {}
        return self.clients.enter_context(RawClient(bundle.tls_url if self.tls else bundle.url, **options))

    def login(self, person: Person, number: int = 0) -> RawClient:
        """A client that has joined."""
        client = self.knock(number)
        answer = client.login_ticket(person.authid, person.ticket)
        assert answer[0] == WELCOME, answer
        return client

    @property
    def audit(self) -> list[dict[str, Any]]:
        return [record for bundle in self.bundles for record in bundle.audit]


def ending(client: RawClient) -> str:
    """How a session ends: the reason in its GOODBYE, or, where a proxy keeps that to itself, that it is lost."""
    while True:
        try:
            message: Message = client.receive()
        except TimeoutError:
            return "it doesn't end"
        except Exception:
            return "lost"
        if message[0] == GOODBYE:
            return str(message[2])
        if message[0] == 3:  # what a proxy makes of it
            return "lost"


@pytest.fixture(scope="module", params=["plain", "hardened", "several", pytest.param("scaled", marks=pytest.mark.slow)])
def all_sites(request: pytest.FixtureRequest, make_bundle: MakeBundle) -> Iterator[Site]:
    """Each kind of node in turn."""
    settings = {"refusal_delay": 0.05, "failures_at_once": AT_ONCE, "failures_per_second": 0.01}
    names = {
        "scaled": ["scaled.yaml"],
        "plain": ["config.json"],
        "hardened": ["hardened.yaml"],
        "several": ["scaled.yaml", "config.json"],
    }
    bundles = [make_bundle(name, start=False, **settings) for name in names[request.param]]
    where, drop = str(bundles[0].store), None
    if request.param == "several":
        server = request.getfixturevalue("postgresql")
        where, drop = server.create(), server.drop
        create(where)
        for bundle in bundles:
            file = bundle.directory / bundle.config
            file.write_text(file.read_text().replace('"principals.db"', f'"{where}"'))
    with ThreadPoolExecutor() as pool:
        nodes = list(pool.map(Bundle.start, bundles))
    yield Site(bundles, where, tls=request.param == "hardened")
    for node in nodes:
        node.stop()
    if drop:
        drop(where)


@pytest.fixture
def site(all_sites: Site) -> Iterator[Site]:
    """The same, with the clients of one test."""
    with ExitStack() as clients:
        all_sites.clients = clients
        yield all_sites
