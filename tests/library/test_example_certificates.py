"""examples/certificates: a TLS client certificate says who it is. Which certificates get in, and which don't?"""

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from autobahn.wamp.exception import ApplicationError
from click.testing import CliRunner, Result
from conftest import HERE, certify, free_port, read_config, wampauth
from example_nodes import Example, falling, running
from nacl.signing import SigningKey
from passwords import WiredClient
from twisted.internet.defer import Deferred
from websockets.exceptions import WebSocketException
from wires import Way, Wire

from wampauth import Authenticator, Principal, SettingsError, TlsClaim, certificates, cli
from wampauth.check import check
from wampauth.names import Malformed
from wampauth.probe.turns import TurnTaking
from wampauth.store import connect, writing
from wampauth.testing import ABORT, GOODBYE, WELCOME, RawClient, login, pubkey

EXAMPLE = HERE / "examples" / "certificates"
NO_SUCH_USER = "com.example.no_such_user"
WIDE: dict[str, Any] = {"failures_at_once": 1_000_000, "refusal_delay": 0.05}
FINGERPRINT = "ab" * 32
TELLING = """
import json

from wampauth import Authenticator, Refused


class Checks:
    def __init__(self, settings):
        pass

    async def ticket(self, claim):
        return None

    async def tls(self, claim):
        raise Refused(json.dumps([claim.subject["cn"], claim.names, claim.not_before, claim.not_after]))


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession, Sessions = authenticator.component, authenticator.sessions
"""


class Shop:
    """Authorities, and what they sign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.devices, self.servers, self.others = trustme.CA(), trustme.CA(), trustme.CA()
        certify(folder, self.servers, "localhost", "127.0.0.1")
        self.devices.cert_pem.write_to_path(str(folder / "devices.pem"))
        self.servers.cert_pem.write_to_path(str(folder / "server-ca.pem"))

    def issue(self, name: str, authority: trustme.CA | None = None, **options: Any) -> Path:
        """A file with a private key and its certificate."""
        made = (authority or self.devices).issue_cert(f"{name}.example.com", common_name=name, **options)
        file = self.folder / f"{name}-{len(list(self.folder.iterdir()))}.pem"
        file.write_bytes(made.private_key_and_cert_chain_pem.bytes())
        return file

    def context(self, own: Path | None) -> ssl.SSLContext:
        """What a client trusts and shows."""
        context = ssl.create_default_context(cafile=self.folder / "server-ca.pem")
        context.sslsocket_class = TurnTaking
        if own:
            context.load_cert_chain(own)
        return context


class Node:
    """The example's node, and what is needed to try it."""

    def __init__(self, made: Example, shop: Shop) -> None:
        self.made, self.shop, self.people, self.raw = made, shop, free_port(), free_port()

    @property
    def url(self) -> str:
        return f"wss://localhost:{self.made.port}/ws"

    def wampauth(self, *args: str) -> Result:
        return wampauth(self.made.directory, *args)

    def pin(self, authid: str, file: Path, *options: str) -> str:
        """Let a device in by its certificate; the credential's id."""
        self.wampauth("add", authid, "--realm", "devices", "--role", "device")
        done = self.wampauth("cert", authid, str(file), *options)
        assert done.exit_code == 0, done.output
        return done.stderr.rstrip(".\n").rpartition(" ")[2]

    def client(self, own: Path | None, url: str | None = None) -> RawClient:
        return RawClient(url or self.url, ssl=self.shop.context(own))

    def login(self, own: Path | None, authid: str | None = None, realm: str | None = None, **extra: Any) -> list[Any]:
        """What the router says to this certificate."""
        with self.client(own) as client:
            return client.hello(realm, "tls", authid, extra)

    def reason(self) -> str:
        """Of the last refusal, by the audit."""
        return str([record["reason"] for record in self.made.audit if "reason" in record][-1])


@contextmanager
def example(folder: Path, path: Path = EXAMPLE, module: str = "authenticator", **guard: Any) -> Iterator[Node]:
    made = Example(folder / ".crossbar")
    (made.directory / "certs").mkdir(mode=0o700, parents=True)
    made.directory.chmod(0o700)
    node = Node(made, Shop(made.directory / "certs"))
    assert node.wampauth("add", "alice", "--realm", "realm1", "--role", "frontend", "--force").exit_code == 0
    config = read_config(EXAMPLE / ".crossbar" / "config.yaml")
    (worker,) = config["workers"]
    worker["options"]["pythonpath"] = [str(path)]
    for component in worker["components"]:
        component["classname"] = component["classname"].replace("authenticator.", f"{module}.")
    worker["components"][0]["extra"]["guard"].update(guard)
    for transport, port in zip(worker["transports"], (made.port, node.people), strict=True):
        transport["endpoint"]["port"] = port
    tls = worker["transports"][0]
    raw = {"type": "rawsocket", "serializers": ["json"], "auth": tls["paths"]["ws"]["auth"]}
    worker["transports"].append(
        {**raw, "endpoint": {**tls["endpoint"], "port": node.raw}, "options": {"max_message_size": 65536}}
    )
    with running(made, config):
        yield node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with example(tmp_path_factory.mktemp("tls"), **WIDE) as made:
        yield made


@pytest.fixture(scope="module")
def pump(node: Node) -> Path:
    """The certificate of a device that is let in."""
    file = node.shop.issue("pump")
    node.pin("pump", file)
    return file


def refused(answer: list[Any], file: Path) -> bool:
    message = f"no principal with matching certificate {certificates.load(file)[0]}"
    return answer == [ABORT, {"message": message}, NO_SUCH_USER]


# -- who gets in


@pytest.mark.parametrize(("authid", "realm"), [(None, None), ("pump", None), (None, "devices"), ("pump", "devices")])
def test_a_pinned_certificate(node: Node, pump: Path, authid: str | None, realm: str | None) -> None:
    kind, _, details = node.login(pump, authid, realm)
    assert kind == WELCOME
    assert (details["realm"], details["authid"], details["authrole"]) == ("devices", "pump", "device")
    assert (details["authmethod"], details["authprovider"]) == ("tls", "dynamic")
    assert details["authextra"]["expires"] == certificates.load(pump)[1]


def test_the_example_client(node: Node, pump: Path) -> None:
    def run(own: Path) -> tuple[int, str]:
        command = [sys.executable, str(EXAMPLE / "client.py"), str(own), "--url", node.url]
        command += ["--ca", str(node.shop.folder / "server-ca.pem")]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    assert run(pump) == (0, "devices pump device\n")
    assert run(node.shop.issue("pump")) == (1, f"refused: {NO_SUCH_USER}\n")
    assert run(node.shop.issue("pump", node.shop.others))[0] == 2


def test_its_session_ends_with_the_certificate(node: Node) -> None:
    """Also when the store lets its credential count for longer."""
    brief = node.shop.issue("brief", not_after=datetime.now(UTC) + timedelta(seconds=4))
    node.pin("brief", brief)
    with node.client(brief) as client, closing(connect(str(node.made.directory / "principals.db"))) as store:
        assert client.hello(None, "tls")[0] == WELCOME
        store.execute("UPDATE credential SET expires = NULL WHERE authid = 'brief'")
        writing.note(store, "brief", None)
        assert client.receive()[::2] == [GOODBYE, "com.example.expired"]


def test_its_session_ends_when_it_is_revoked(node: Node) -> None:
    lost = node.shop.issue("lost")
    credential = node.pin("lost", lost)
    with node.client(lost) as client:
        assert client.hello(None, "tls")[0] == WELCOME
        assert node.wampauth("revoke", "lost", "--credential", credential).exit_code == 0
        assert client.receive()[::2] == [GOODBYE, "com.example.revoked"]
    assert refused(node.login(lost), lost)
    assert node.reason() == "revoked"


def test_a_certificate_and_its_successor(node: Node) -> None:
    old, new = node.shop.issue("valve"), node.shop.issue("valve")
    credential = node.pin("valve", old)
    assert node.wampauth("rotate", "valve", credential, str(new), "--overlap", "7d").exit_code == 0
    assert [node.login(file)[0] for file in (old, new)] == [WELCOME, WELCOME]


def test_the_same_over_rawsocket(node: Node, pump: Path) -> None:
    for file, kind in (pump, WELCOME), (node.shop.issue("pump"), ABORT):
        address = ("localhost", node.raw)
        line = node.shop.context(file).wrap_socket(socket.create_connection(address), server_hostname="localhost")
        with WiredClient(Wire(Way("raw", address, websocket=False), line).shake_hands()) as client:
            answer = client.hello("devices", "tls", "pump", forged(pump))
        assert answer[0] == kind
    assert refused(answer, file)


def test_people_come_by_another_port(node: Node, pump: Path) -> None:
    """Where nobody is asked for a certificate, none says who it is."""
    ticket = node.wampauth("ticket", "alice").stdout.strip()
    url = f"wss://localhost:{node.people}/ws"
    with node.client(None, url) as client:
        assert client.login_ticket("alice", ticket)[0] == WELCOME
    with node.client(pump, url) as client:
        assert client.hello(None, "tls")[0] == ABORT
    with node.client(pump) as client:
        assert client.hello("realm1", "ticket", "alice")[0] == ABORT


# -- who doesn't


def self_signed(node: Node) -> Path:
    own = trustme.CA()
    file = node.shop.folder / "self-signed.pem"
    file.write_bytes(own.private_key_pem.bytes() + own.cert_pem.bytes())
    return file


def no_connection(node: Node, file: Path | None) -> None:
    """The TLS handshake fails: with TLS 1.3, the client learns of it when it reads for the first time."""
    with pytest.raises((OSError, WebSocketException)), node.client(file) as client:
        client.hello(None, "tls")


def test_no_certificate(node: Node) -> None:
    no_connection(node, None)


def test_a_certificate_that_nobody_has_signed(node: Node) -> None:
    no_connection(node, self_signed(node))


def test_another_authoritys(node: Node) -> None:
    no_connection(node, node.shop.issue("pump", node.shop.others))


def test_that_of_the_servers_authority(node: Node) -> None:
    """Who signs for servers doesn't sign for devices."""
    no_connection(node, node.shop.issue("pump", node.shop.servers))


def test_one_that_has_run_out(node: Node) -> None:
    old = node.shop.issue("old", not_after=datetime.now(UTC) - timedelta(minutes=1))
    done = node.wampauth("cert", "pump", str(old))
    assert (done.exit_code, done.stderr) == (1, f"Error: the certificate in {old} has run out\n")
    no_connection(node, old)


def test_one_that_is_not_pinned(node: Node, pump: Path) -> None:
    """The same names, by the same authority: it isn't the one that was let in."""
    other = node.shop.issue("pump")
    assert refused(node.login(other), other)
    assert refused(node.login(other, "pump", "devices"), other)
    assert node.reason() == "no such credential"


@pytest.mark.parametrize(
    ("authid", "realm"), [("alice", None), (None, "realm1"), ("pump", "realm-auth"), ("valve", None)]
)
def test_a_claim_to_be_somebody_else(node: Node, pump: Path, authid: str | None, realm: str | None) -> None:
    assert refused(node.login(pump, authid, realm), pump)


def forged(file: Path) -> dict[str, Any]:
    """What the router would say of a certificate."""
    shown: dict[str, Any] = {
        "sha256": certificates.load(file)[0],
        "not_before": "20200101000000Z",
        "not_after": "20990101000000Z",
    }
    shown |= {"subject": {"cn": "pump"}}
    return {"peer_cert": shown, "client_cert": shown}


def test_details_that_are_made_up(node: Node, pump: Path) -> None:
    """What a client says of a certificate of its own isn't what the router says of it."""
    mine = node.shop.issue("mallory")
    made = forged(pump)
    for extra in {"transport": made}, made, {"transport": {**made, "is_secure": True}}, {"authmethod": "tls", **made}:
        assert refused(node.login(mine, **extra), mine)
    with node.client(mine) as client:
        assert refused(client.hello("devices", "tls", "pump", made, transport=made, authrole="device", **made), mine)


def test_a_certificate_is_not_a_key(node: Node, pump: Path) -> None:
    """What is pinned as one counts only as one: a public key may have the same digits."""
    fingerprint = certificates.load(node.shop.issue("twice"))[0]
    key = SigningKey.generate()
    node.wampauth("add", "key-only", "--realm", "devices", "--role", "device")
    node.wampauth("key", "key-only", pubkey(key))
    with node.client(pump) as client:
        assert client.hello(None, "cryptosign", extra={"pubkey": fingerprint})[0] == ABORT


def test_a_file_that_is_none(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "some.pem"
    for content in b"", b"\0" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n":
        file.write_bytes(content)
        done = node.wampauth("cert", "pump", str(file))
        assert (done.exit_code, done.stderr) == (1, f"Error: {file} holds no certificate in PEM or DER\n")
    assert node.wampauth("cert", "pump", str(tmp_path / "missing.pem")).exit_code == 1
    taken = node.wampauth("cert", "alice", str(node.shop.folder / "devices.pem"))
    again = node.wampauth("cert", "alice", str(node.shop.folder / "devices.pem"))
    assert (taken.exit_code, again.exit_code) == (0, 1)
    assert again.stderr.startswith("Error: this cert is registered already, for alice")


def test_guesses_are_counted(tmp_path: Path) -> None:
    """A certificate that isn't pinned has ten attempts, however often its client connects."""
    with example(tmp_path, refusal_delay=0.05) as node:
        mine = node.shop.issue("mallory")
        uris = [node.login(mine)[2] for _ in range(11)]
        while uris[-1] == NO_SUCH_USER and len(uris) < 40:  # on a slow machine tokens come back in between
            uris.append(node.login(mine)[2])
    assert uris[:10] == [NO_SUCH_USER] * 10
    assert uris[-1] == "com.example.too_many_attempts"


def test_the_private_key_is_nowhere(node: Node, pump: Path) -> None:
    node.login(pump)
    secret = pump.read_text().splitlines()[1]
    assert secret not in node.made.log + json.dumps(node.made.audit)


def test_its_configuration_is_right(node: Node) -> None:
    assert check(node.made.directory, "config.yaml") == []


# -- the attacker that we ship


@pytest.mark.slow
def test_the_probe_holds(tmp_path: Path) -> None:
    with example(tmp_path) as node:
        pump, ca = node.shop.issue("pump"), str(node.shop.folder / "server-ca.pem")
        node.pin("pump", pump)
        ticket = node.wampauth("ticket", "alice").stdout.strip()
        people = f"wss://localhost:{node.people}/ws"
        assert falling(node.url, "pump", None, "--ca", ca, "--cert", str(pump), realm="devices") == set()
        assert falling(people, "alice", ticket, "--ca", ca) == set()


def test_the_probe_needs_a_whole_certificate(node: Node, pump: Path) -> None:
    ca = str(node.shop.folder / "server-ca.pem")
    for wrong in ca, str(node.shop.folder / "missing.pem"):
        command = ["probe", node.url, "--realm", "devices", "--authid", "pump", "--ca", ca, "--cert", wrong]
        done = CliRunner().invoke(cli.main, command)
        assert done.exit_code == 2
        assert f"Invalid value for --cert: {wrong}" in done.output


# -- checks of an author's own


def test_what_the_router_says_of_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "telling.py").write_text(TELLING)
    with example(tmp_path, tmp_path, "telling") as node:
        mine = node.shop.issue("pump")
        assert refused(node.login(mine, transport={"peer_cert": {"subject": {"cn": "admin"}}}), mine)
        told = json.loads(node.reason())
    name, names, begins, ends = told
    assert (name, names, ends) == ("pump", ["DNS:pump.example.com"], certificates.load(mine)[1])
    assert begins < time.time() < ends


class Checks:
    """Takes whatever the authority calls a pump, as somebody might."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.seen: list[TlsClaim] = settings["seen"]

    async def tls(self, claim: TlsClaim) -> Principal | None:
        self.seen.append(claim)
        is_pump = "DNS:pump.example.com" in claim.names
        return Principal(claim.subject["cn"], "devices", "device") if is_pump else None


def outcome(deferred: "Deferred[Principal]") -> Any:
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results[0]


def test_what_a_check_gets() -> None:
    seen: list[TlsClaim] = []
    now = float(int(time.time()))
    claim = TlsClaim(
        fingerprint=FINGERPRINT,
        subject={"cn": "pump", "o": "acme"},
        names=("DNS:pump.example.com", "IP Address:10.0.0.7"),
        not_before=now - 60,
        not_after=now + 60,
    )
    principal = outcome(login(Checks, {"seen": seen}, claim))
    assert (principal.authid, principal.expires) == ("pump", now + 60)  # the check has said nothing of an end
    (got,) = seen
    for name in "fingerprint", "subject", "names", "not_before", "not_after":
        assert getattr(got, name) == getattr(claim, name)


def test_who_is_none() -> None:
    error = outcome(login(Checks, {"seen": []}, TlsClaim(fingerprint=FINGERPRINT, subject={"cn": "pump"})))
    assert isinstance(error, ApplicationError)
    assert error.error == NO_SUCH_USER


def test_a_certificate_that_has_run_out_in_the_meantime() -> None:
    """The handshake may have been long ago."""
    claim = TlsClaim(
        fingerprint=FINGERPRINT,
        subject={"cn": "pump"},
        names=("DNS:pump.example.com",),
        not_after=time.time() - 60,
    )
    assert outcome(login(Checks, {"seen": []}, claim)).error == NO_SUCH_USER


@pytest.mark.parametrize(
    "told",
    [None, {}, [], "certificate", {"sha256": None}, {"sha256": "AB"}, {"sha256": "zz" * 32}, {"sha256": FINGERPRINT}],
)
def test_details_without_a_whole_certificate(told: Any) -> None:
    with pytest.raises(Malformed):
        certificates.shown({"peer_cert": told})
    with pytest.raises(Malformed):
        certificates.shown(told)


def test_there_is_no_function_for_it() -> None:
    with pytest.raises(SettingsError, match=r'no transports of type "function" for the method tls: .* "dynamic"'):
        Authenticator(Checks, prefix="com.example.").function("tls")
