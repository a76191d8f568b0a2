"""A node whose clients prove passwords: WAMP-SCRAM by the store, WAMP-CRA by checks of an author's own; both wirings.

The proofs are made by Autobahn's own client code.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import trustme
from autobahn.wamp import auth
from autobahn.wamp.types import Challenge
from conftest import Config, Folder, certify, free_port, wampauth
from example_nodes import init, running
from wires import Way, Wire

from wampauth.testing import CHALLENGE, Message, RawClient

PASSWORD, SECRET = "correct horse battery staple", "s3cr3t-of-carol"
CHECKS = f"""
from wampauth import Authenticator, Principal, open_store


class Checks:
    def __init__(self, settings):
        self.store = open_store(settings["store"])

    async def ticket(self, claim):
        return await self.store.by_ticket(claim)

    async def cryptosign(self, claim):
        return await self.store.by_key(claim)

    async def scram(self, claim):
        return await self.store.by_scram(claim)

    async def wampcra(self, claim):
        if claim.authid == "broken":
            raise RuntimeError("no secret of " + {SECRET!r})
        return Principal("carol", "realm1", "frontend", secret={SECRET!r}) if claim.authid == "carol" else None

    async def tls(self, claim):
        return await self.store.by_certificate(claim)


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions
create_ticket = authenticator.function("ticket")
create_cryptosign = authenticator.function("cryptosign")
create_scram = authenticator.function("scram")
create_wampcra = authenticator.function("wampcra")
"""
METHODS = ("ticket", "scram", "wampcra")


class WiredClient(RawClient):
    """The same over RawSocket, or over what else a way leads."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self.session = wire, None

    def close(self) -> None:
        self._wire.socket.close()

    def send(self, *message: Any) -> None:
        self._wire.send(list(message))

    def receive(self, timeout: float = 15.0) -> Message:
        self._wire.socket.settimeout(timeout)
        return list(self._wire.receive())


class Scram:
    """One client's side of WAMP-SCRAM."""

    def __init__(self, authid: str, password: str) -> None:
        self._auth: Any = auth.AuthScram(authid=authid, password=password)
        self.extra: dict[str, Any] = self._auth.authextra

    def proof(self, challenge: Message) -> str:
        return str(self._auth.on_challenge(None, Challenge("scram", challenge[2])).decode())

    def trusts(self, welcome: Message) -> bool:
        """Whether the router has proven, too, that it knows what is kept of the password."""

        class Session:
            class log:
                info = error = staticmethod(lambda *_: None)

        return self._auth.on_welcome(Session, welcome[2]["authextra"]) is None


def cra_proof(secret: str, challenge: Message) -> str:
    made: Any = auth.AuthWampCra(authid="", secret=secret)
    return str(made.on_challenge(None, Challenge("wampcra", challenge[2])))


def login_scram(client: RawClient, authid: str, password: str) -> Message:
    scram = Scram(authid, password)
    answer = client.hello("realm1", "scram", authid, scram.extra)
    return client.authenticate(scram.proof(answer)) if answer[0] == CHALLENGE else answer


def login_cra(client: RawClient, authid: str, secret: str) -> Message:
    answer = client.hello("realm1", "wampcra", authid)
    return client.authenticate(cra_proof(secret, answer)) if answer[0] == CHALLENGE else answer


@dataclass
class PasswordNode(Folder):
    """The node's folder, and how to reach it."""

    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    raw_port: int = field(default_factory=free_port)
    addresses: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, wiring: str) -> str:
        return f"ws://127.0.0.1:{self.port}/{'ws' if wiring == 'dynamic' else 'ws-function'}"

    def client(self, wiring: str = "dynamic") -> RawClient:
        """Each comes from another address."""
        number = next(self.addresses)
        return RawClient(self.url(wiring), source_address=(f"127.1.{number >> 8}.{number & 255}", 0))

    def wired(self, name: str) -> RawClient:
        """A client that comes by ``wss``, ``rawsocket`` or ``unix``."""
        if name == "wss":
            context = ssl.create_default_context(cafile=self.directory / "certs" / "server-ca.pem")
            return RawClient(f"wss://localhost:{self.tls_port}/ws", ssl=context)
        address = ("127.0.0.1", self.raw_port) if name == "rawsocket" else self.directory / "sockets" / "raw.sock"
        return WiredClient(Way(name, address, websocket=False).open())

    def wampauth(self, *args: str, **options: Any) -> str:
        done = wampauth(self.directory, *args, **options)
        assert done.exit_code == 0, done.output
        return done.stdout


def _other_ways(made: PasswordNode, web: Config, dynamic: Config, function: Config) -> list[Config]:
    """Over TLS, and RawSocket over TCP and a Unix domain socket."""
    (made.directory / "sockets").mkdir(mode=0o700)
    authority = trustme.CA()
    certify(made.directory / "certs", authority, "localhost")
    authority.cert_pem.write_to_path(str(made.directory / "certs" / "server-ca.pem"))
    tcp = {"type": "tcp", "interface": "127.0.0.1"}
    tls = {"key": "certs/server.key", "certificate": "certs/server.pem"}
    raw = {"type": "rawsocket", "serializers": ["json"], "options": {"max_message_size": 65536}}
    return [
        {**web, "endpoint": {**tcp, "port": made.tls_port, "tls": tls}},
        {**raw, "endpoint": {**tcp, "port": made.raw_port}, "auth": {**function, "ticket": dynamic["ticket"]}},
        {**raw, "endpoint": {"type": "unix", "path": "sockets/raw.sock"}, "auth": dynamic},
    ]


@contextmanager
def password_node(folder: Path, **guard: Any) -> Iterator[PasswordNode]:
    """Run it."""
    made = PasswordNode(folder / ".crossbar")
    config = init(folder, made.port)
    (folder / "authenticator.py").write_text(CHECKS)
    (worker,) = config["workers"]
    worker["components"][0]["extra"]["guard"] = {"decoy": ["realm1", "frontend"], **guard}
    ws = worker["transports"][0]["paths"]["ws"]
    asked = {"type": "dynamic", "authenticator-realm": "realm-auth"}
    ws["auth"] = {name: {**asked, "authenticator": f"com.example.authenticate.{name}"} for name in METHODS}
    function = {name: {"type": "function", "create": f"authenticator.create_{name}"} for name in METHODS[1:]}
    worker["transports"][0]["paths"]["ws-function"] = {**ws, "auth": function}
    worker["transports"] += _other_ways(made, worker["transports"][0], ws["auth"], function)
    for authid in "alice", "bob":
        made.wampauth("add", authid, "--realm", "realm1", "--role", "frontend")
    made.wampauth("password", "alice", "--from-stdin", input=f"{PASSWORD}\n")
    with running(made, config):
        yield made
