"""Does ``wampauth check --production`` find what is to be done before strangers may come, and nothing else?"""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner, Result
from conftest import CHOSEN, HERE, Bundle, Config, certify, read_config
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.pwhash import argon2id
from stores import KEY
from test_store_schema import FIRST_RELEASE, everything, make

from wampauth import cli, scram
from wampauth.check import machine
from wampauth.check.belonging import NO_WATCH
from wampauth.store import connect, create, reading, ticket_digest, writing

NOBODY = 65534
HOST = "node.acme.example"
CONFIG = "hardened.yaml"
REALM, TRANSPORT = "workers[0].realms", "workers[0].transports[0]"
GUARD, WS = "workers[0].components[0].extra.guard", f"{TRANSPORT}.paths.ws"
TLS_FILES = {"key": "certs/server.key", "certificate": "certs/server.pem"}
NEVER = "never-guessed-by-anybody"

Spoil = Callable[[Config], object]


def ready(folder: Path, config: str = CONFIG) -> Path:
    """A node directory that may face the internet: the hardened one, with all that README asks for done."""
    for name in "authenticator.py", "backend.py":
        (folder / name).write_text((HERE / name).read_text().replace("com.example.", "org.acme."))
    node = Bundle(folder / ".crossbar", config)
    node.directory.mkdir(mode=0o700)
    text = (HERE / ".crossbar" / config).read_text().replace("com.example.", "org.acme.")
    (node.directory / config).write_text(text)
    node.edit_config(done if config == CONFIG else spread)
    if config != CONFIG:
        node.make_admission_key()
        (node.directory / "sockets").mkdir(mode=0o700)
    certify(node.directory / "certs", trustme.CA(organization_name="Acme"), HOST)
    create(str(node.store))
    with closing(connect(str(node.store))) as store:
        writing.add(store, {"authid": "alice", "realm": "realm1", "role": "frontend"})
        ticket = {"kind": "ticket", "verifier": ticket_digest("x"), "expires": "2999-01-01"}
        writing.add_credential(store, "alice", ticket)
        writing.add_credential(store, "alice", {"kind": "key", "verifier": KEY})
    if os.geteuid() == 0:
        for file in (folder, *folder.rglob("*")):
            os.chown(file, NOBODY, NOBODY)
    folder.chmod(0o700)
    return node.directory


def done(config: Config) -> None:
    transports = config["workers"][0]["transports"]
    del transports[1]
    transports[0]["endpoint"]["interface"] = "0.0.0.0"
    for transport in transports:
        transport["max_connections"] = 100


def spread(config: Config) -> None:
    """The same of a scaled node: at its proxies, and with its authenticators."""
    for worker in config["workers"]:
        for transport in worker["transports"] if worker["type"] == "proxy" else ():
            transport["endpoint"] |= {"interface": "0.0.0.0", "tls": TLS_FILES}
            transport |= {"max_connections": 100, "options": {"client_timeout": 40}}
        for component in worker["components"] if worker["type"] == "container" else ():
            component["extra"]["guard"] |= {"require_tls": True, "require_channel_binding": True}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ready(tmp_path_factory.mktemp("project")).parent


@pytest.fixture
def directory(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node directory that is ready, to be spoilt."""
    monkeypatch.setattr(machine, "FLAWS", {})
    project = tmp_path / "project"
    shutil.copytree(model, project)
    if os.geteuid() == 0:
        for file in (project, *project.rglob("*")):
            os.chown(file, NOBODY, NOBODY)
    return project / ".crossbar"


def look(directory: Path, *args: str) -> Result:
    command = ["check", "--production", "--config", CONFIG, "--directory", str(directory), *args]
    return CliRunner().invoke(cli.main, command)


def spoil(directory: Path, change: Spoil) -> None:
    config = read_config(directory / CONFIG)
    change(config)
    (directory / CONFIG).write_text(json.dumps(config))


def found(directory: Path) -> list[tuple[str, str, str]]:
    result = look(directory, "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == any(record["severity"] == "error" for record in records)
    return [
        (record["severity"], record["place"], record["text"].replace(str(directory), ".crossbar")) for record in records
    ]


def test_nothing_is_wrong_with_a_node_that_is_ready(directory: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in directory.rglob("*") if file.name != "__pycache__"}
    result = look(directory)
    assert (result.exit_code, result.stdout) == (0, f"{CONFIG}: nothing is wrong.\n")
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_what_we_ship_is_a_demo(tmp_path: Path) -> None:
    """And is said to be one, in sentences with a place; without ``--production`` nothing is wrong."""
    for name in "authenticator.py", "backend.py":
        shutil.copy(HERE / name, tmp_path)
    node = Bundle(tmp_path / ".crossbar", CONFIG)
    node.directory.mkdir(mode=0o700)
    shutil.copy(HERE / ".crossbar" / CONFIG, node.directory)
    node.add_principals()
    node.make_certificates()
    result = look(node.directory)
    assert result.exit_code == 1
    for sentence in (
        "workers[0].components[0].extra.store: the demo's client1 is in ",
        "workers[0].components[0].extra.store: the demo's client01@example.com is in ",
        f"logs in with '{CHOSEN}', which everybody can read",
        f"{TRANSPORT}.endpoint.tls.certificate: {node.directory}/certs/server.pem is for development",
        "workers[0].components[0]: warning: its prefix is 'com.example.': take your own domain's",
    ):
        assert sentence in result.stdout
    plain = CliRunner().invoke(cli.main, ["check", "--config", CONFIG, "--directory", str(node.directory)])
    assert (plain.exit_code, plain.stdout) == (0, f"{CONFIG}: nothing is wrong.\n")


def web(config: Config) -> Any:
    return config["workers"][0]["transports"][0]


def ws(config: Config) -> Any:
    return web(config)["paths"]["ws"]


def guard(config: Config) -> Any:
    return config["workers"][0]["components"][0]["extra"]["guard"]


def rules(*given: dict[str, Any]) -> Spoil:
    return lambda config: config["workers"][0]["realms"][1]["roles"][1].update(permissions=list(given))


MISSING = "missing: one client can keep or send too much"
BETWEEN = "who stands between client and node could use its signature"
OPENS = "takes in the router's own wamp.session.*: backend can see and end others' sessions"
CALL = {"allow": {"call": True, "register": True, "subscribe": True}}
FIRST = f"{REALM}[1].roles[1].permissions[0]"

CONFIGURED: dict[str, tuple[Spoil, tuple[str, str, str]]] = {
    "no TLS": (
        lambda c: web(c)["endpoint"].pop("tls"),
        ("error", f"{TRANSPORT}.endpoint", "it listens on 0.0.0.0 without TLS: tickets can be read on the way"),
    ),
    "loopback": (
        lambda c: web(c)["endpoint"].update(interface="127.0.0.1"),
        (
            "warning",
            "",
            "no transport can be reached from other machines: change an interface, unless a front is on this one",
        ),
    ),
    "no max_connections": (
        lambda c: web(c).pop("max_connections"),
        ("error", TRANSPORT, "max_connections is missing: strangers can take all file descriptors"),
    ),
    "no time-out": (
        lambda c: web(c).pop("options"),
        ("error", TRANSPORT, "options.client_timeout is missing: connections that say nothing stay"),
    ),
    "no sizes": (
        lambda c: ws(c)["options"].pop("max_message_size"),
        ("error", f"{WS}.options", f"max_message_size {MISSING}"),
    ),
    "no pings": (
        lambda c: (ws(c)["options"].pop("auto_ping_interval"), ws(c)["options"].pop("auto_ping_timeout")),
        (
            "error",
            f"{WS}.options",
            "auto_ping_interval, auto_ping_timeout missing: one client can keep or send too much",
        ),
    ),
    "all origins": (
        lambda c: ws(c)["options"].update(allowed_origins=["*"]),
        ("warning", f"{WS}.options", "allowed_origins are all: each page in a browser may connect"),
    ),
    "an endpoint of Twisted's": (
        lambda c: web(c).update(endpoint={"type": "twisted", "server_string": "tcp:8443"}),
        (
            "error",
            f"{TRANSPORT}.endpoint",
            "it listens as its server_string says, which isn't looked into: write it with the type tcp, or unix",
        ),
    ),
    "no way to log in": (lambda c: ws(c).update(auth={}), ("error", WS, "auth is missing: it lets in everybody")),
    "long polling": (
        lambda c: web(c)["paths"].update(lp={"type": "longpoll"}),
        ("error", f"{TRANSPORT}.paths.lp", "it can have no auth, and lets in everybody: leave it out"),
    ),
    "a bridge": (
        lambda c: web(c)["paths"].update(call={"type": "caller", "realm": "realm1", "role": "frontend"}),
        ("error", f"{TRANSPORT}.paths.call", "options.secret is missing: everybody acts here as frontend"),
    ),
    "MQTT": (
        lambda c: (web(c).pop("paths"), web(c).update(type="mqtt", options={"realm": "realm1"})),
        ("error", TRANSPORT, "auth is missing: it lets in everybody"),
    ),
    "several at a port": (
        lambda c: web(c).update(
            type="universal", rawsocket={"auth": {"anonymous": {"type": "static"}}}, websocket={"ws": {}}
        ),
        ("error", f"{TRANSPORT}.rawsocket.auth.anonymous", "it lets in everybody"),
    ),
    "several at a port, WebSocket": (
        lambda c: web(c).update(type="universal", websocket={"ws": {"options": ws(c)["options"]}}),
        ("error", f"{TRANSPORT}.websocket.ws", "auth is missing: it lets in everybody"),
    ),
    "no auth": (lambda c: ws(c).pop("auth"), ("error", WS, "auth is missing: it lets in everybody")),
    "anonymous": (
        lambda c: ws(c)["auth"].update(anonymous={"type": "static", "role": "frontend"}),
        ("error", f"{WS}.auth.anonymous", "it lets in everybody"),
    ),
    "cookie": (
        lambda c: ws(c)["auth"].update(cookie={"type": "static"}),
        ("error", f"{WS}.auth.cookie", "it asks nobody: who was revoked comes in again"),
    ),
    "static": (
        lambda c: ws(c)["auth"].update(ticket={"type": "static", "principals": {}}),
        ("warning", f"{WS}.auth.ticket", "who is written down here can't be revoked without a restart"),
    ),
    "what README says, written down": (
        lambda c: ws(c)["auth"].update(
            ticket={"type": "static", "principals": {"joe": {"ticket": CHOSEN, "role": "frontend"}}}
        ),
        (
            "error",
            f"{WS}.auth.ticket.principals.joe",
            f"'{CHOSEN}' is what it takes to log in here, which everybody can read",
        ),
    ),
    "somebody whom no rule holds, written down": (
        lambda c: ws(c)["auth"].update(ticket={"type": "static", "principals": {"joe": {"role": "trusted"}}}),
        (
            "error",
            f"{WS}.auth.ticket.principals.joe",
            "its role is trusted: who logs in here may do everything, without any rule",
        ),
    ),
    "all interfaces without TLS": (
        lambda c: (web(c)["endpoint"].pop("tls"), web(c)["endpoint"].update(interface="")),
        (
            "error",
            f"{TRANSPORT}.endpoint",
            "it listens on all interfaces, since none is named without TLS: tickets can be read on the way",
        ),
    ),
    "a front that ends TLS": (
        lambda c: guard(c).update(require_tls=False, trusted_proxies=["127.0.0.2"]),
        ("warning", GUARD, "require_tls isn't true: it is for those in trusted_proxies to insist on TLS"),
    ),
    "tickets without TLS": (
        lambda c: guard(c).pop("require_tls"),
        ("error", GUARD, "require_tls isn't true: tickets are taken without TLS, too"),
    ),
    "no channel binding": (
        lambda c: guard(c).update(require_channel_binding=False),
        (
            "warning",
            GUARD,
            "require_channel_binding isn't true: who stands between client and node could use its signature",
        ),
    ),
    "nobody looks at connections": (
        lambda c: c["workers"][0]["components"][1]["extra"].update(connections={"watch": False}),
        (
            "error",
            "workers[0].components[1].extra.connections",
            "watch is false: who hasn't joined keeps as many connections as he likes, and for ever",
        ),
    ),
    "nobody watches": (
        lambda c: c["workers"][0]["components"].pop(2),
        ("error", f"{REALM}[2].name", f"devices: {NO_WATCH}"),
    ),
    "prefix of nothing": (rules({"uri": "", "match": "prefix", **CALL}), ("error", FIRST, f"'' {OPENS}")),
    "prefix of a beginning": (rules({"uri": "wa", "match": "prefix", **CALL}), ("error", FIRST, f"'wa' {OPENS}")),
    "exact": (
        rules({"uri": "wamp.session.list", "match": "exact", **CALL}),
        ("error", FIRST, f"'wamp.session.list' {OPENS}"),
    ),
    "wildcard": (rules({"uri": "wamp..kill", "match": "wildcard", **CALL}), ("error", FIRST, f"'wamp..kill' {OPENS}")),
    "any three": (rules({"uri": "..", "match": "wildcard", **CALL}), ("error", FIRST, f"'..' {OPENS}")),
    "anything, with a star": (rules({"uri": "*", **CALL}), ("error", FIRST, f"'*' {OPENS}")),
    "a beginning, with a star": (rules({"uri": "wam*", **CALL}), ("error", FIRST, f"'wam*' {OPENS}")),
    "parts with stars": (rules({"uri": "*.session.*", **CALL}), ("error", FIRST, f"'*.session.*' {OPENS}")),
    "exact, with empty parts": (
        rules({"uri": "..kill", "match": "exact", **CALL}),
        ("error", FIRST, f"'..kill' {OPENS}"),
    ),
    "who has joined": (
        rules({"uri": ".session.on_join", "match": "wildcard", "allow": {"subscribe": True}}),
        ("error", FIRST, f"'.session.on_join' {OPENS}"),
    ),
    "subscribed to by its beginning": (
        rules({"uri": "wamp", "match": "exact", "allow": {"subscribe": True}}),
        ("error", FIRST, f"'wamp' {OPENS}"),
    ),
    "for the authorizer": (
        lambda c: c["workers"][0]["components"][1]["extra"].update(
            roles={"frontend": [{"uri": "", "match": "prefix", "allow": {"call": True}}]}
        ),
        (
            "error",
            "workers[0].components[1].extra.roles.frontend[0]",
            "'' takes in the router's own wamp.session.*: frontend can see and end others' sessions",
        ),
    ),
}


@pytest.mark.parametrize("case", CONFIGURED)
def test_each_thing_in_the_configuration(directory: Path, case: str) -> None:
    change, expected = CONFIGURED[case]
    spoil(directory, change)
    assert expected in found(directory)


@pytest.mark.parametrize(
    "rule",
    [
        {"uri": "", "match": "prefix", "allow": {"register": True, "publish": True}},
        {"uri": "", "match": "prefix"},
        {"uri": "org.acme.", "match": "prefix", **CALL},
        {"uri": "org.acme.*", **CALL},
        {"uri": "wamp", "allow": {"call": True}},
        {"uri": "..add", "match": "wildcard", **CALL},
        {"uri": "org..kill", "match": "wildcard", **CALL},
    ],
    ids=str,
)
def test_rules_that_leave_the_routers_own_alone(directory: Path, rule: dict[str, Any]) -> None:
    spoil(directory, rules(rule))
    assert [text for _, _, text in found(directory) if "takes in" in text] == []


# Files


@pytest.mark.parametrize(
    "name", ["principals.db", "certs/server.key", "audit.jsonl", "audit.jsonl.1", "key.priv", "sockets"]
)
def test_files_that_others_can_read(directory: Path, name: str) -> None:
    file = directory / name
    if name == "sockets":
        file.mkdir(exist_ok=True)
    elif not file.exists():
        file.touch()
    file.chmod(0o755 if file.is_dir() else 0o640)
    if os.geteuid() == 0:
        os.chown(file, NOBODY, NOBODY)
    mode, right = ("0755", "700") if file.is_dir() else ("0640", "600")
    sentence = f".crossbar/{name} can be read or written by others (mode {mode}): `chmod {right} .crossbar/{name}`"
    assert ("error", "", sentence) in found(directory)


@pytest.mark.parametrize("name", [CONFIG, "../authenticator.py"])
def test_files_that_others_can_write(directory: Path, name: str) -> None:
    file = (directory / name).resolve()
    file.chmod(0o646)
    ((severity, place, text),) = found(directory)
    assert (severity, place) == ("error", "")
    assert f"{file.name} can be written by others, who run the node then: `chmod go-w " in text


def test_folders_that_others_can_write(directory: Path) -> None:
    directory.chmod(0o777)
    assert ("error", "", ".crossbar can be written by others: who may put files there runs the node") in found(
        directory
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_node_of_root(directory: Path) -> None:
    os.chown(directory, 0, 0)
    assert ("error", "", ".crossbar belongs to root: run the node as a user of its own") in found(directory)


def test_packages_with_known_flaws(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FLAWS", {"h2": ("4.3.0", "CVE-1"), "idna": ("3.7", "CVE-2"), "gone": ("1", "CVE-3")})
    versions = {"h2": "4.10.0", "idna": "3.6rc1"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    assert found(directory) == [("warning", "", "idna 3.6rc1 has a known flaw, which 3.7 hasn't (CVE-2)")]


# Certificates


TLS = f"{TRANSPORT}.endpoint.tls"
FILE = ".crossbar/certs/server.pem"


def day(moment: datetime) -> str:
    return moment.date().isoformat()


@pytest.mark.parametrize(("days", "severity"), [(-2, "error"), (5, "warning"), (60, "")])
def test_a_certificates_end(directory: Path, days: int, severity: str) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    begin = end - timedelta(days=90)
    certify(directory / "certs", trustme.CA(organization_name="Acme"), HOST, not_before=begin, not_after=end)
    what = f"has run out on {day(end)}: no client will connect" if days < 0 else f"runs out on {day(end)}: renew it"
    expected = [(severity, f"{TLS}.certificate", f"{FILE} {what}")] if severity else []
    assert found(directory) == expected


def test_a_certificate_that_does_not_count_yet(directory: Path) -> None:
    begin = datetime.now(UTC) + timedelta(days=2)
    certify(
        directory / "certs",
        trustme.CA(organization_name="Acme"),
        HOST,
        not_before=begin,
        not_after=begin.replace(year=2999),
    )
    text = f"{FILE} counts from {day(begin)} on: no client will connect before"
    assert found(directory) == [("error", f"{TLS}.certificate", text)]


def test_certificates_in_one_file(directory: Path) -> None:
    """Behind the first one, whose key it is, are those that lead to an authority."""
    end = datetime.now(UTC) - timedelta(days=2)
    root = trustme.CA(organization_name="Acme")
    lower = root.create_child_ca()
    own = lower.issue_cert(HOST)
    own.private_key_pem.write_to_path(str(directory / "certs" / "server.key"))
    first, behind = (pem.bytes() for pem in own.cert_chain_pems)
    old = root.issue_cert("old.example", not_before=end - timedelta(days=90), not_after=end).cert_chain_pems[0].bytes()
    disordered = (
        "warning",
        f"{TLS}.certificate",
        f"{FILE} isn't in order: behind each certificate belongs the one that has signed it",
    )
    over = ("error", f"{TLS}.certificate", f"{FILE} has run out on {day(end)}: no client will connect")
    for content, expected in (
        ([first, behind], []),
        ([first, old], [over, disordered]),
        ([first, first, behind], [disordered]),
    ):
        (directory / "certs" / "server.pem").write_bytes(b"".join(content))
        assert [one for one in found(directory) if "development" not in one[2]] == expected


def test_a_certificate_without_the_one_that_has_signed_it(directory: Path) -> None:
    """Public authorities say where that is: browsers fetch it, and no other client does."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    place = x509.UniformResourceIdentifier("http://authority.example/lower.crt")
    told = x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, place)
    lower, own = (x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)]) for name in ("Lower", "Own"))

    def issue(subject: x509.Name, issuer: x509.Name) -> bytes:
        terms = key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=80)
        made = x509.CertificateBuilder(issuer, subject, *terms)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        made = made.add_extension(x509.AuthorityInformationAccess([told]), critical=False)
        return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)

    form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    (directory / "certs" / "server.key").write_bytes(key.private_bytes(*form))
    text = f"{FILE} lacks the certificate of who has signed it: put the whole chain there, or clients refuse it"
    (directory / "certs" / "server.pem").write_bytes(issue(own, lower))
    assert found(directory) == [("warning", f"{TLS}.certificate", text)]
    (directory / "certs" / "server.pem").write_bytes(issue(own, lower) + issue(lower, x509.Name([])))
    assert found(directory) == []


def test_the_certificates_between_it_and_a_root(directory: Path) -> None:
    """A client trusts the first one by way of these."""
    end = datetime.now(UTC) - timedelta(days=2)
    certify(
        directory / "old",
        trustme.CA(organization_name="Acme"),
        HOST,
        not_before=end - timedelta(days=90),
        not_after=end,
    )
    spoil(directory, lambda c: web(c)["endpoint"]["tls"].update(chain_certificates=["old/server.pem", "gone.pem"]))
    for expected in (
        (
            "error",
            f"{TLS}.chain_certificates[0]",
            f".crossbar/old/server.pem has run out on {day(end)}: no client will connect",
        ),
        ("error", f"{TLS}.chain_certificates[1]", ".crossbar/gone.pem: No such file or directory"),
    ):
        assert expected in found(directory)


def test_a_certificate_for_development(directory: Path) -> None:
    certify(directory / "certs", trustme.CA(), HOST)
    text = f"{FILE} is for development, or signed by itself: no client trusts it"
    assert found(directory) == [("error", f"{TLS}.certificate", text)]


def test_the_key_of_another_certificate(directory: Path) -> None:
    certify(directory / "other", trustme.CA(organization_name="Acme"), HOST)
    shutil.copy(directory / "other" / "server.key", directory / "certs" / "server.key")
    assert found(directory) == [("error", f"{TLS}.key", f".crossbar/certs/server.key isn't the key of {FILE}")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("server.pem", f"{FILE} isn't a certificate in PEM"),
        ("server.key", ".crossbar/certs/server.key isn't a private key"),
    ],
)
def test_files_that_are_none(directory: Path, name: str, text: str) -> None:
    (directory / "certs" / name).write_text("hello")
    ((severity, _, told),) = found(directory)
    assert severity == "error"
    assert told.startswith(text)


def test_a_certificate_that_is_not_there(directory: Path) -> None:
    (directory / "certs" / "server.pem").unlink()
    assert ("error", f"{TLS}.certificate", f"{FILE}: No such file or directory") in found(directory)


# Who is in the store

STORE = "workers[0].components[0].extra.store"


def test_people_who_should_not_be_there(directory: Path) -> None:
    with closing(connect(str(directory / "principals.db"))) as store:
        for authid, ticket in ("client1", NEVER), ("bob", CHOSEN), ("gone", CHOSEN):
            writing.add(store, {"authid": authid, "realm": "realm1", "role": "frontend"})
            verifier = argon2id.str(ticket.encode(), argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN).decode()
            writing.add_credential(store, authid, {"kind": "chosen", "verifier": verifier})
        writing.set_password(store, "alice", scram.derive(CHOSEN, reading.scram_salt(store, "alice")), {})
        writing.revoke(store, "gone")
        writing.add_credential(store, "bob", {"kind": "ticket", "verifier": ticket_digest("y")})
    name = ".crossbar/principals.db"
    assert found(directory) == [
        ("error", STORE, f"the demo's client1 is in {name}: `wampauth remove client1`"),
        ("error", STORE, f"alice in {name} logs in with '{CHOSEN}', which everybody can read"),
        ("error", STORE, f"bob in {name} logs in with '{CHOSEN}', which everybody can read"),
        ("warning", STORE, f"3 tickets and passwords in {name} were chosen by people, who choose what can be guessed"),
        ("warning", STORE, f"1 tickets in {name} never run out: make them with --expires"),
    ]


def test_a_store_that_is_not_there(directory: Path) -> None:
    (directory / "principals.db").unlink()
    ((severity, _, text),) = found(directory)
    missing = "there is no store at principals.db: `wampauth add` makes one, `wampauth recover` brings back a backup"
    assert (severity, text) == ("error", missing)


def test_an_older_store_is_told_of_and_stays_older(directory: Path) -> None:
    file = directory / "principals.db"
    file.unlink()
    make(str(file), FIRST_RELEASE)
    if os.geteuid() == 0:
        os.chown(file, NOBODY, NOBODY)
    before = everything(str(file))
    told = [text for _, place, text in found(directory) if place == STORE]
    assert any(
        ".crossbar/principals.db has version 1: `wampauth backup` it, the start upgrades it" in text for text in told
    )
    assert everything(str(file)) == before
