"""Does the client show what the documents show, and does it end as it should when something is wrong?

The clients are processes of their own. They are all run before the first test looks at one, several at a time: the
slow ones wait for routers that never answer.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import CHOSEN, HERE, WRONG, Bundle, MakeBundle
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from nacl.signing import SigningKey
from websockets.sync.server import ServerConnection, serve

import client
from wampauth.store import connect, ticket_digest, writing
from wampauth.testing import WELCOME, free_port, pubkey

AT_ONCE = 4  # clients; most of them wait most of the time
PATIENCE = 60.0  # seconds in which any client must have ended, whatever the router does
PROVIDERS = {"ws": "dynamic", "ws-function": "function"}
MADE = "a-ticket-that-wampauth-could-have-made"
STAMP = re.compile(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ")
HURRY = "WebSocket closing handshake timeout"  # what the library says if the machine is too busy for its patience
TRIES = 3  # for a client that says so

TICKET = """\
Principal 'client1' using the ticket in MYTICKET
Client session connected. Starting WAMP-Ticket authentication on realm 'realm1' as principal 'client1' ..
WAMP-Ticket challenge received: Challenge(method=ticket, extra={})
Client session joined:
SessionDetails(realm=·realm1·,
               session=…,
               authid=·client1·,
               authrole=·frontend·,
               authmethod=·ticket·,
               authprovider=·PROVIDER·,
               authextra={…},
               serializer=·…·…)
call result: 5
registration failed (this is expected!) ApplicationError(…<wamp.error.not_authorized>…"com.example.mul2"…)
ok, event published to topic com.example.topic1
ok, event published to topic com.foobar.topic1
publication to topic com.example.topic2 failed (this is expected!) ApplicationError(…<wamp.error.not_authorized>…)
publication to topic com.foobar.topic2 failed (this is expected!) ApplicationError(…<wamp.error.not_authorized>…)
Client session left: CloseDetails(reason=<wamp.close.normal>, message='None')
Client session disconnected.
Main loop terminated.
"""

TICKET_REFUSED = """\
Principal 'client1' using the ticket in MYTICKET
Client session connected. Starting WAMP-Ticket authentication on realm 'realm1' as principal 'client1' ..
WAMP-Ticket challenge received: Challenge(method=ticket, extra={})
Client session left: CloseDetails(reason=<com.example.invalid_ticket>, \
message='could not authenticate session - invalid ticket for principal client1')
Client session disconnected.
Main loop terminated.
"""

CRYPTOSIGN = """\
Connecting to URL: requesting realm=None, authid=None
initializing component: ComponentConfig(realm=<None>, extra={…'key': 'FILE'…}, …)
client public key loaded: PUBKEY
connected to router
authentication challenge received: Challenge(method=cryptosign, extra={'challenge': '…', 'channel_binding': None})
session joined:
SessionDetails(realm=·devices·,
               session=…,
               authid=·client01@example.com·,
               authrole=·device·,
               authmethod=·cryptosign·,
               authprovider=·PROVIDER·,
               authextra={'foo': 23, …},
               serializer=·…·…)
********************************************************************************
OK, successfully authenticated with WAMP-cryptosign: \
realm="devices", authid="client01@example.com", authrole="device"
********************************************************************************
session closed: CloseDetails(reason=<wamp.close.normal>, message='None')
connection to router closed
Main loop terminated.
"""

CRYPTOSIGN_REFUSED = """\
Connecting to URL: requesting realm=None, authid=None
initializing component: ComponentConfig(realm=<None>, extra={…'key': 'FILE'…}, …)
client public key loaded: PUBKEY
connected to router
session closed: CloseDetails(reason=<com.example.no_such_user>, \
message='no principal with matching public key 0xPUBKEY')
connection to router closed
Main loop terminated.
"""


@dataclass
class Run:
    """A client that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> str:
        """What it printed, without the times."""
        return STAMP.sub("", self.out)

    @property
    def sentence(self) -> str:
        """The last thing that it said."""
        return self.err.strip().rpartition("\n")[2]


@dataclass
class Case:
    """A client to run, and what is to come of it."""

    args: str  # with the names of places and key files in braces
    code: int
    sentence: str = ""  # words that its last sentence must have; empty for a client that has nothing to complain of
    ticket: str | None = CHOSEN


REFUSED_TICKET = "Refused: com.example.invalid_ticket."
REFUSED_KEY = "Refused: com.example.no_such_user."
NO_KEY = "holds no private key of 32 raw bytes or OpenSSH Ed25519"

# The slowest come first.
CASES = {
    "router never answers HELLO": Case("client1 --url {mute}", 2, "answer"),
    "router never answers a call": Case("client1 --url {mute_after_welcome}", 1, "answer"),
    "port never answers": Case("client1 --url {deaf}", 2, "handshake timeout"),
    "dead router": Case("client1 --url {dead}", 2, "Connection refused. Is it running? Try `make crossbar`."),
    "dead router and an expectation": Case("client1 --url {dead} --expect com.example.invalid_ticket", 2, "refused"),
    "router hangs up": Case("client1 --url {hang_up}", 2, "No session with the router: "),
    "path that isn't there": Case("client1 --url {ws}-nowhere", 2, "404"),
    "path of a web page": Case("client1 --url {web}", 2, "200"),
    "realm that can't be": Case("client1 --url {ws} --realm 'no realm'", 2, "realm"),
    "TLS where there is none": Case("client1 --url {tls}", 2, "No session with the router: "),
    "URL of another sort": Case("client1 --url http://127.0.0.1", 2, "WebSocket URL"),
    "no URL": Case("client1 --url nonsense", 2, "WebSocket URL"),
    "port out of range": Case("client1 --url ws://127.0.0.1:99999/ws", 2, "Port out of range"),
    # with a ticket
    "good ticket": Case("client1 --url {ws}", 0),
    "good ticket, called as a function": Case("client1 --url {ws-function}", 0),
    "good ticket with debug": Case("client1 --url {ws} --debug", 0),
    "wrong ticket": Case("client1 --url {ws}", 1, REFUSED_TICKET, WRONG),
    "wrong ticket with debug": Case("client1 --url {ws} --debug", 1, REFUSED_TICKET, WRONG),
    "ticket that isn't UTF-8": Case("client1 --url {ws}", 2, "UTF-8", "\udcff\udcfe"),
    # with a key
    "good key": Case("--key {good} --url {ws}", 0),
    "good key, called as a function": Case("--key {good} --url {ws-function}", 0),
    "key with realm and authid": Case("--key {good} --url {ws} --realm devices --authid client01@example.com", 0),
    "unknown key": Case("--key {unknown} --url {ws}", 1, REFUSED_KEY),
    "OpenSSH key": Case("--key {openssh} --url {ws}", 0),
    "channel binding without TLS": Case(
        "--key {good} --url {ws} --channel-binding tls-unique", 1, "Refused: wamp.error.not_authorized."
    ),
    # with an expectation
    "right refusal expected": Case("client1 --url {ws} --expect com.example.invalid_ticket", 0, "", WRONG),
    "right refusal of a key expected": Case("--key {unknown} --url {ws} --expect com.example.no_such_user", 0),
    "other refusal expected": Case(
        "client1 --url {ws} --expect com.example.no_such_user",
        1,
        "Expected com.example.no_such_user, but the session ended with com.example.invalid_ticket.",
        WRONG,
    ),
    "needless expectation": Case(
        "client1 --url {ws} --expect com.example.invalid_ticket",
        1,
        "Expected com.example.invalid_ticket, but the session ended with wamp.close.normal.",
    ),
    "no refusal expected": Case("register --url {ws} --expect wamp.close.normal", 1, "Expected", MADE + "register"),
    # with a role whose permissions are others than the demo's
    "role that may register": Case("register --url {ws}", 1, "registration should have been denied", MADE + "register"),
    "role that may publish": Case(
        "publish --url {ws}", 1, "publication to topic com.foobar.topic2 should have been denied", MADE + "publish"
    ),
    "role that may nothing": Case("nothing --url {ws}", 1, "not authorized to call", MADE + "nothing"),
}
# These don't get as far as the router, and so needn't be processes.
HOPELESS = {
    "no ticket": Case("client1 --url {ws}", 2, 'environment: MYTICKET="..." python client.py AUTHID', None),
    "empty ticket": Case("client1 --url {ws}", 2, "The ticket comes from the environment", ""),
    "nobody": Case("--url {ws}", 2, "Say whom to log in as, or give a --key."),
    "missing key file": Case("--key {missing}", 1, "No such file or directory. `make keys` makes the demo's keys."),
    "folder as a key": Case("--key .", 1, "Is a directory"),
    "short key": Case("--key {short}", 1, "31"),
    "long key": Case("--key {long}", 1, "33"),
    "empty key": Case("--key {empty}", 1, NO_KEY),
    "key in hexadecimal": Case("--key {hex}", 1, NO_KEY),
    "encrypted key": Case("--key {encrypted}", 1, "passphrase"),
    "RSA key": Case("--key {rsa}", 1, "Ed25519"),
    "PEM key": Case("--key {pem}", 1, NO_KEY),
    "OpenSSH key cut short": Case("--key {cut}", 1, NO_KEY),
}
GOOD = [name for name, case in CASES.items() if case.code == 0 and "--debug" not in case.args]


def environment(ticket: str | None) -> dict[str, str]:
    """That of a shell whose output goes through a pipe, with a ticket in MYTICKET."""
    hidden = ("MYTICKET", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept if ticket is None else {**kept, "MYTICKET": ticket}


def run_client(case: Case, places: dict[str, str]) -> Run:
    """Run client.py to its end."""
    command = [sys.executable, str(HERE / "client.py"), *shlex.split(case.args.format_map(places))]
    for _ in range(TRIES):
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment(case.ticket), timeout=PATIENCE
        )
        if HURRY not in done.stdout:
            break
    return Run(done.returncode, done.stdout, done.stderr)


def keys(folder: Path, device: SigningKey, ssh: Ed25519PrivateKey) -> dict[str, str]:
    """Private key files of all sorts, by name."""
    ed25519, rsa = Ed25519PrivateKey.generate(), generate_private_key(65537, 2048)

    def openssh(key: Any, encryption: KeySerializationEncryption) -> bytes:
        return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption))

    contents = {
        "good": bytes(device),
        "unknown": bytes(SigningKey.generate()),
        "short": bytes(31),
        "long": bytes(33),
        "empty": b"",
        "hex": bytes(device).hex().encode(),
        "openssh": openssh(ssh, NoEncryption()),
        "encrypted": openssh(ed25519, BestAvailableEncryption(b"passphrase")),
        "rsa": openssh(rsa, NoEncryption()),
        "pem": ed25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "cut": openssh(ed25519, NoEncryption())[:150],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in (*contents, "missing")}


@contextmanager
def useless_routers() -> Iterator[dict[str, str]]:
    """URLs at which there is no router, or none that does what a router does."""

    def mute(connection: ServerConnection) -> None:
        for _ in connection:
            pass

    def mute_after_welcome(connection: ServerConnection) -> None:
        connection.recv()
        details = {
            "realm": "realm1",
            "authid": "client1",
            "authrole": "frontend",
            "roles": {"broker": {}, "dealer": {}},
        }
        connection.send(json.dumps([WELCOME, 1, {**details, "authmethod": "ticket", "authprovider": "dynamic"}]))
        mute(connection)

    def hang_up(connection: ServerConnection) -> None:
        connection.recv()
        connection.socket.shutdown(socket.SHUT_RDWR)

    servers = {
        handler.__name__: serve(handler, "127.0.0.1", 0, subprotocols=["wamp.2.json"])  # type: ignore[list-item]
        for handler in (mute, mute_after_welcome, hang_up)
    }
    ports = {name: server.socket.getsockname()[1] for name, server in servers.items()}
    threads = [Thread(target=server.serve_forever, daemon=True) for server in servers.values()]
    for thread in threads:
        thread.start()
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # the kernel takes connections, and nobody reads them
        ports |= {"deaf": deaf.getsockname()[1], "dead": free_port()}
        yield {name: f"ws://127.0.0.1:{port}/ws" for name, port in ports.items()}
    for server in servers.values():
        server.shutdown()


OTHER_ROLES: dict[str, list[dict[str, Any]]] = {  # like the demo's frontend, but for one permission
    "register": [{"uri": "com.example.mul2", "allow": {"register": True}}],
    "publish": [{"uri": "com.foobar.topic2", "allow": {"publish": True}}],
    "nothing": [],
}


@pytest.fixture(scope="module")
def ssh() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def bundle(make_bundle: MakeBundle, ssh: Ed25519PrivateKey) -> Iterator[Bundle]:
    """A node that knows some more roles than the demo's, and a principal for each; and one with an SSH key."""
    bundle = make_bundle(start=False, failures_at_once=1_000_000, refusal_delay=0.05)
    file = bundle.directory / bundle.config
    config = json.loads(file.read_text())
    roles = next(realm["roles"] for realm in config["workers"][0]["realms"] if realm["name"] == "realm1")
    rules = next(role["permissions"] for role in roles if role["name"] == "frontend")
    roles += ({"name": name, "permissions": own and [*rules, *own]} for name, own in OTHER_ROLES.items())
    file.write_text(json.dumps(config))
    with closing(connect(str(bundle.store))) as store:
        for name in OTHER_ROLES:
            writing.add(store, {"authid": name, "realm": "realm1", "role": name})
            writing.add_credential(store, name, {"kind": "ticket", "verifier": ticket_digest(MADE + name)})
        writing.add(store, {"authid": "ssh", "realm": "devices", "role": "device"})
    bundle.wampauth("key", "ssh", ssh.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())
    node = bundle.start()
    yield bundle
    node.stop()


@pytest.fixture(scope="module")
def places(
    bundle: Bundle, ssh: Ed25519PrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """URLs and key files by name."""
    own = {
        "ws": bundle.url,
        "ws-function": bundle.function_url,
        "web": bundle.url.removesuffix("ws"),
        "tls": bundle.url.replace("ws:", "wss:", 1),
    }
    with useless_routers() as useless:
        yield own | useless | keys(tmp_path_factory.mktemp("keys"), bundle.device, ssh)


@pytest.fixture(scope="module")
def runs(places: dict[str, str]) -> dict[str, Run]:
    """All clients, by the name of the case."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: dict[str, Future[Run]] = {name: pool.submit(run_client, case, places) for name, case in CASES.items()}
    return {name: future.result() for name, future in running.items()}


def pattern(transcript: str, **values: str) -> str:
    """A regular expression for a transcript in which … stands for anything, · for a quote of either sort, and a name in
    capitals for its value."""
    for name, value in values.items():
        transcript = transcript.replace(name, value)
    return re.escape(transcript).replace("…", ".*").replace("·", "['\"]")


@pytest.mark.parametrize("name", CASES)
def test_exit_code_and_sentence(runs: dict[str, Run], name: str) -> None:
    run, case = runs[name], CASES[name]
    assert (run.code, case.sentence in run.sentence) == (case.code, True), run.err or run.out
    assert bool(run.sentence) is bool(case.sentence)


@pytest.mark.parametrize("name", HOPELESS)
def test_what_needs_no_router_to_go_wrong(places: dict[str, str], name: str) -> None:
    case = HOPELESS[name]
    result = CliRunner().invoke(client.main, shlex.split(case.args.format_map(places)), env={"MYTICKET": case.ticket})
    assert result.exit_code == case.code
    assert isinstance(result.exception, SystemExit)
    assert case.sentence in result.output.strip().rpartition("\n")[2]


@pytest.mark.parametrize("name", CASES)
def test_no_more_than_a_sentence(runs: dict[str, Run], name: str) -> None:
    """Neither a traceback nor the names of the library's inner parts."""
    run = runs[name]
    assert len(run.err.splitlines()) <= (4 if run.err.startswith("Usage:") else 1)
    for noise in "Traceback (most", "Unhandled", "Deferred", "Warning", 'File "':
        assert noise not in run.out + run.err


def test_ctrl_c(places: dict[str, str]) -> None:
    """Also where the router keeps the client waiting. What was said until then has been printed."""
    command = [sys.executable, str(HERE / "client.py"), "client1", "--url", places["mute"]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(CHOSEN)
    ) as client:
        assert client.stdout is not None
        while "Client session connected" not in (line := client.stdout.readline()):
            assert line
        client.send_signal(signal.SIGINT)
        rest, _ = client.communicate(timeout=PATIENCE)
    assert client.returncode != 0
    assert "Unhandled" not in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize("name", CASES)
def test_no_ticket_is_printed(runs: dict[str, Run], name: str) -> None:
    ticket = CASES[name].ticket
    assert not ticket or ticket not in runs[name].out + runs[name].err


def test_no_ticket_is_written_by_the_node(runs: dict[str, Run], bundle: Bundle) -> None:
    written = bundle.log + json.dumps(bundle.audit)
    assert CHOSEN not in written
    assert WRONG not in written


def test_debug_shows_what_the_library_does(runs: dict[str, Run]) -> None:
    """Else there would be no ticket to look for."""
    assert len(runs["good ticket with debug"].out) > 3 * len(runs["good ticket"].out)


@pytest.mark.parametrize(
    ("name", "provider"), [("good ticket", "dynamic"), ("good ticket, called as a function", "function")]
)
def test_transcript_of_a_ticket(runs: dict[str, Run], name: str, provider: str) -> None:
    assert re.fullmatch(pattern(TICKET, PROVIDER=provider), runs[name].lines)


@pytest.mark.parametrize("name", ["wrong ticket", "right refusal expected"])
def test_transcript_of_a_wrong_ticket(runs: dict[str, Run], name: str) -> None:
    assert runs[name].lines == TICKET_REFUSED


@pytest.mark.parametrize(("name", "path"), [("good key", "ws"), ("good key, called as a function", "ws-function")])
def test_transcript_of_a_key(
    runs: dict[str, Run], places: dict[str, str], bundle: Bundle, name: str, path: str
) -> None:
    values = {"URL": places[path], "FILE": places["good"], "PUBKEY": pubkey(bundle.device), "PROVIDER": PROVIDERS[path]}
    assert re.fullmatch(pattern(CRYPTOSIGN, **values), runs[name].lines)


@pytest.mark.parametrize("name", ["unknown key", "right refusal of a key expected"])
def test_transcript_of_an_unknown_key(runs: dict[str, Run], places: dict[str, str], name: str) -> None:
    shown = pubkey(SigningKey(Path(places["unknown"]).read_bytes()))
    values = {"URL": places["ws"], "FILE": places["unknown"], "PUBKEY": shown}
    assert re.fullmatch(pattern(CRYPTOSIGN_REFUSED, **values), runs[name].lines)


@pytest.mark.parametrize("name", GOOD)
def test_each_line_after_the_first_has_a_time(runs: dict[str, Run], name: str) -> None:
    """As in the documents, where the ticket client's first line is from before the log begins."""
    lines = runs[name].out.splitlines()
    assert len(lines) >= 6
    assert all(STAMP.match(line) for line in lines[1:])


# -- examples/stay.py


def stay(*args: str, ticket: str | None = CHOSEN) -> "subprocess.Popen[str]":
    command = [sys.executable, str(HERE / "examples" / "stay.py"), *args]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(ticket)
    )


@pytest.mark.parametrize(("expect", "code"), [((), 1), (("--expect", "com.example.revoked"), 0)])
def test_stay_until_it_is_revoked(bundle: Bundle, expect: tuple[str, ...], code: int) -> None:
    bundle.wampauth("add", "guest", "--realm", "realm1", "--role", "frontend")
    ticket = bundle.wampauth("ticket", "guest").stdout.strip()
    try:
        with stay("guest", "--url", bundle.url, *expect, ticket=ticket) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "joined: realm=realm1 authid=guest authrole=frontend\n"
            bundle.wampauth("revoke", "guest", "--yes")
            assert client.stdout.read() == "ended: com.example.revoked\n"
        assert client.returncode == code
    finally:
        bundle.wampauth("remove", "guest", "--yes")


STAYS: dict[str, tuple[str, int, str]] = {
    "its time is up": ("--key {good} --url {ws} --seconds 0.01", 0, "ended: wamp.close.normal"),
    "refused": ("--key {unknown} --url {ws}", 1, "ended: com.example.no_such_user"),
    "dead router": ("--key {good} --url {dead}", 2, "No session with the router: Connection was refused"),
    "no key": ("--key {missing}", 1, "holds no private key of 32 raw bytes"),
    "nobody": ("", 2, "Say who you are"),
}


@pytest.mark.parametrize("case", STAYS)
def test_how_a_stay_ends(places: dict[str, str], case: str) -> None:
    args, code, text = STAYS[case]
    with stay(*shlex.split(args.format_map(places))) as client:
        output, _ = client.communicate(timeout=PATIENCE)
    assert client.returncode == code
    assert text in output
    assert "Traceback" not in output
