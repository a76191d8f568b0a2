"""Does the hardened node hold? TLS 1.3 only, keys bound to the connection, limits, and nothing to read for strangers.

Against real nodes: one as the bundle ships it, and one that doesn't insist on channel binding and has narrow limits.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import CHOSEN, HERE, WRONG, Bundle, MakeBundle, free_port, read_config, wait_for
from cryptography.x509 import DNSName, IPAddress, SubjectAlternativeName, load_pem_x509_certificate
from nacl.signing import SigningKey
from promql import scraped
from relay import Relay
from test_metrics import scrape
from websockets.exceptions import ConnectionClosed, InvalidStatus

from authenticator import Checks
from wampauth import Authenticator, SettingsError
from wampauth.connections.reading import LONGEST
from wampauth.probe.turns import trust
from wampauth.store import connect, writing
from wampauth.testing.wamp import (
    ABORT,
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    HELLO,
    RESULT,
    ROLES,
    WELCOME,
    Message,
    RawClient,
    pubkey,
    sign,
)

PATIENCE = 15.0  # seconds
AT_ONCE = 3  # processes
FEW = 4  # connections that the narrow node takes at its TLS transport
MAX_MESSAGE = 65536  # bytes
PORTER = SigningKey(b"p" * 32)  # somebody with a key who may call
BINDING = "tls-unique"


@pytest.fixture(scope="module")
def metrics() -> int:
    """A port for Prometheus."""
    return free_port()


@pytest.fixture(scope="module")
def hardened(make_bundle: MakeBundle, metrics: int) -> Bundle:
    """The node as it is shipped, but for a throttle that is wide open, and that Prometheus may ask it."""
    bundle = make_bundle("hardened.yaml", failures_at_once=1_000_000, refusal_delay=0.05, metrics=metrics)
    add_porter(bundle)
    return bundle


@pytest.fixture(scope="module")
def narrow(make_bundle: MakeBundle) -> Iterator[Bundle]:
    """A node that doesn't insist on channel binding, takes few connections, and loses patience soon."""
    bundle = make_bundle("hardened.yaml", start=False, require_channel_binding=False)
    bundle.edit_config(make_narrow)
    add_porter(bundle)
    node = bundle.start()
    yield bundle
    node.stop()


def make_narrow(config: dict[str, Any]) -> None:
    transport = config["workers"][0]["transports"][0]
    transport["max_connections"] = FEW
    transport.setdefault("options", {})["client_timeout"] = 1
    transport["paths"]["ws"]["options"] |= {"auto_ping_interval": 2000, "auto_ping_timeout": 1000}


def add_porter(bundle: Bundle) -> None:
    with closing(connect(str(bundle.store))) as store:
        writing.add(store, {"authid": "porter", "realm": "realm1", "role": "frontend"})
        writing.add_credential(store, "porter", {"kind": "key", "verifier": pubkey(PORTER)})


def at(bundle: Bundle) -> RawClient:
    """A client at the TLS transport."""
    return RawClient(bundle.tls_url, ssl=trust(bundle.ca))


def channel_id(client: RawClient) -> bytes:
    """What binds a signature to the client's TLS connection."""
    finished = client._connection.socket.get_channel_binding(BINDING)  # type: ignore[attr-defined]
    return hashlib.sha256(finished).digest()


def sign_bound(key: SigningKey, challenge: Message, channel: bytes) -> str:
    """The answer to a CHALLENGE with channel binding."""
    wanted = bytes.fromhex(challenge[2]["challenge"])
    return bytes(key.sign(bytes(a ^ b for a, b in zip(wanted, channel, strict=True)))).hex()


def login_bound(client: RawClient, key: SigningKey) -> Message:
    """WAMP-cryptosign as an honest client does it here."""
    answer = client.hello(None, "cryptosign", extra={"pubkey": pubkey(key), "channel_binding": BINDING})
    return client.authenticate(sign_bound(key, answer, channel_id(client))) if answer[0] == CHALLENGE else answer


# -- TLS


def test_tls_1_3_is_spoken(hardened: Bundle) -> None:
    with at(hardened) as client:
        assert client._connection.socket.version() == "TLSv1.3"  # type: ignore[attr-defined]


def test_nothing_older_is_spoken(hardened: Bundle) -> None:
    context = trust(hardened.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        RawClient(hardened.tls_url, ssl=context)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_certificate_is_for_each_name_of_the_node(hardened: Bundle, host: str) -> None:
    with RawClient(f"wss://{host}:{hardened.tls_port}/ws", ssl=trust(hardened.ca)) as client:
        assert client.login_ticket("client1", CHOSEN)[0] == WELCOME


def test_make_certs(tmp_path: Path) -> None:
    """It makes a key and a certificate for three names, which nobody else on the machine can read, and keeps them."""
    if not Path(sys.prefix, "run").exists():
        pytest.skip("these tests don't run in the bundle's own .venv")
    for name in "Makefile", "requirements", "pyproject.toml":
        (tmp_path / name).symlink_to(HERE / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    make = ["make", "--no-print-directory", "--assume-old=.venv/run", "certs"]  # nothing is installed from here
    subprocess.run(make, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    folder = tmp_path / ".crossbar" / "certs"
    assert sorted(file.name for file in folder.iterdir()) == ["client.pem", "server.key", "server.pem"]
    assert {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()} == {"0o600"}
    assert folder.stat().st_mode & 0o777 == 0o700
    names = load_pem_x509_certificate((folder / "server.pem").read_bytes()).extensions
    names_of = names.get_extension_for_class(SubjectAlternativeName).value
    assert names_of.get_values_for_type(DNSName) == ["localhost"]
    assert [str(address) for address in names_of.get_values_for_type(IPAddress)] == ["127.0.0.1", "::1"]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with serving(context) as port, socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        client = ssl.create_default_context(cafile=folder / "client.pem")
        client.wrap_socket(connection, server_hostname="localhost").close()

    before = (folder / "server.key").read_bytes()
    subprocess.run(make, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    assert (folder / "server.key").read_bytes() == before


def test_certificates_are_not_committed() -> None:
    if not (HERE / ".git").exists() or not shutil.which("git"):
        pytest.skip("this isn't a working copy")
    files = [".crossbar/certs/server.key", ".crossbar/certs/server.pem", ".crossbar/certs/client.pem"]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=HERE, check=False, capture_output=True, text=True)
    assert ignored.stdout.split() == files


# -- what the authenticator insists on


def test_ticket_over_a_plain_connection(hardened: Bundle) -> None:
    with RawClient(hardened.url) as client:
        kind, details, uri = client.login_ticket("client1", CHOSEN)
    assert (kind, uri) == (ABORT, "com.example.tls_required")
    assert details["message"] == (
        "this transport needs TLS - connect with wss://, and replace a ticket that has been sent in clear"
    )


def test_a_plain_connection_does_not_tell_a_good_ticket_from_a_bad_one(hardened: Bundle) -> None:
    answers = []
    for authid, ticket in ("client1", CHOSEN), ("client1", WRONG), ("nobody", WRONG):
        with RawClient(hardened.url) as client:
            answers.append(client.login_ticket(authid, ticket))
    assert answers[0] == answers[1] == answers[2]


def test_key_over_a_plain_connection(hardened: Bundle) -> None:
    with RawClient(hardened.url) as client:
        assert client.login_key(hardened.device)[::2] == [ABORT, "com.example.tls_required"]


def test_key_that_claims_binding_over_a_plain_connection(hardened: Bundle) -> None:
    with RawClient(hardened.url) as client:
        extra = {"pubkey": pubkey(hardened.device), "channel_binding": BINDING}
        assert client.hello(None, "cryptosign", extra=extra)[0] == ABORT


def test_key_without_binding(hardened: Bundle) -> None:
    with at(hardened) as client:
        kind, details, uri = client.login_key(hardened.device)
    assert (kind, uri) == (ABORT, "com.example.channel_binding_required")
    assert details["message"] == (
        "this transport needs channel binding - set channel_binding to tls-unique, and sign the challenge with it"
    )


def test_ticket_over_tls(hardened: Bundle) -> None:
    with at(hardened) as client:
        assert client.login_ticket("client1", CHOSEN)[2]["authrole"] == "frontend"


def test_metrics(hardened: Bundle, metrics: int) -> None:
    """Each that is named in the handbook, read as Prometheus reads it; what is refused for want of TLS counts, too."""
    before = scraped(scrape(metrics))
    with RawClient(hardened.url) as client:
        client.login_ticket("client1", CHOSEN)
    with at(hardened) as client, at(hardened):
        assert client.login_ticket("client1", CHOSEN)[0] == WELCOME

        def both_are_seen() -> bool:
            found = scraped(scrape(metrics))
            sessions = found["wampauth_sessions"][frozenset({("realm", "realm1")})]
            return sessions >= 1 and found["wampauth_connections_unjoined"][frozenset()] >= 1

        wait_for(both_are_seen)
        after = scraped(scrape(metrics))
    for outcome in "accepted", "refused":
        labels = frozenset({("method", "ticket"), ("outcome", outcome)})
        assert after["wampauth_attempts_total"][labels] - before["wampauth_attempts_total"][labels] == 1
    page = (HERE / "docs/metrics.md").read_text()
    named = set(re.findall(r"^\| `(wampauth_\w+)`", page, re.MULTILINE))
    assert len(named) > 10
    missing = {name for name in named if not any(sample.startswith(name) for sample in after)}
    assert missing <= {"wampauth_sessions_ended_total"}  # which is there when one was ended


def test_key_with_binding(hardened: Bundle) -> None:
    with at(hardened) as client:
        assert login_bound(client, hardened.device)[2]["authid"] == "client01@example.com"


def test_key_that_promises_binding_and_does_not_bind(hardened: Bundle) -> None:
    with at(hardened) as client:
        challenge = client.hello(
            None, "cryptosign", extra={"pubkey": pubkey(hardened.device), "channel_binding": BINDING}
        )
        assert client.authenticate(sign(hardened.device, challenge))[::2] == [ABORT, "wamp.error.not_authorized"]


def test_key_bound_to_another_connection_of_the_same_client(hardened: Bundle) -> None:
    with at(hardened) as client, at(hardened) as other:
        challenge = client.hello(
            None, "cryptosign", extra={"pubkey": pubkey(hardened.device), "channel_binding": BINDING}
        )
        proof = sign_bound(hardened.device, challenge, channel_id(other))
        assert client.authenticate(proof)[::2] == [ABORT, "wamp.error.not_authorized"]


# -- a man in the middle


@contextmanager
def relay(bundle: Bundle, strip: bool = False) -> Iterator[Relay]:
    """One with a certificate that the client believes in."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(bundle.directory / "middle.pem"))
    with Relay(context, bundle.tls_url, trust(bundle.ca), strip) as running:
        yield running


def victim(bundle: Bundle, middle: Relay) -> RawClient:
    return RawClient(middle.url, close_timeout=1, ssl=trust(bundle.directory / "middle.pem"))


def test_without_binding_a_relay_gets_in(narrow: Bundle) -> None:
    """Which is why the hardened node requires it."""
    with relay(narrow) as middle, victim(narrow, middle) as client:
        assert client.login_key(PORTER, "realm1")[0] == WELCOME
        assert middle.verdict[0] == WELCOME
        assert middle.loot[0] == RESULT


def test_with_binding_a_relay_is_refused(hardened: Bundle) -> None:
    with relay(hardened) as middle, victim(hardened, middle) as client:
        assert login_bound(client, PORTER)[::2] == [ABORT, "wamp.error.not_authorized"]
        assert middle.verdict[0] == ABORT
        assert not middle.loot


def test_a_relay_that_takes_the_binding_out_is_refused(hardened: Bundle) -> None:
    with relay(hardened, strip=True) as middle, victim(hardened, middle) as client:
        assert login_bound(client, PORTER)[::2] == [ABORT, "com.example.channel_binding_required"]
        assert not middle.loot


def test_a_client_that_binds_is_safe_at_a_node_that_does_not_insist(narrow: Bundle) -> None:
    with relay(narrow, strip=True) as middle, victim(narrow, middle) as client:
        assert login_bound(client, PORTER)[::2] == [ABORT, "wamp.error.not_authorized"]
        assert not middle.loot


# -- client.py at this node


Case = tuple[list[str], str | None, int, str]  # options, ticket, exit code, part of the last line


@contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[int]:
    """A server that takes connections and says nothing beyond TLS, if that. Yields its port."""

    def take() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                stack.push(connection)
                if context:
                    connection.settimeout(PATIENCE)
                    stack.push(context.wrap_socket(connection, server_side=True))
            except ssl.SSLError:
                continue
            except OSError:
                return

    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(scope="module")
def cases(hardened: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """What to run client.py with, and how it should end."""
    folder = tmp_path_factory.mktemp("ca")
    authority = trustme.CA()
    stranger, garbage = folder / "stranger.pem", folder / "garbage.pem"
    authority.cert_pem.write_to_path(str(stranger))
    garbage.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    key = ["--key", str(hardened.device_key_file())]
    bad = ["--key", str(folder / "bad.key")]
    (folder / "bad.key").write_bytes(bytes(SigningKey.generate()))
    secure = ["--url", hardened.tls_url, "--ca", str(hardened.ca)]
    bind = ["--channel-binding", BINDING]
    lacks = "com.example.tls_required", "com.example.channel_binding_required"
    other_name = "certificate has run out, is for another name, or isn't from a trusted authority"
    with serving(context) as misnamed, serving(None) as mute:
        yield {
            "ticket": (["client1", *secure], CHOSEN, 0, ""),
            "wrong ticket": (["client1", *secure, "--expect", "com.example.invalid_ticket"], WRONG, 0, ""),
            "key": ([*key, *secure, *bind], None, 0, ""),
            "unknown key": ([*bad, *secure, *bind, "--expect", "com.example.no_such_user"], None, 0, ""),
            "ticket in clear": (["client1", "--url", hardened.url, "--expect", lacks[0]], CHOSEN, 0, ""),
            "key without binding": ([*key, *secure, "--expect", lacks[1]], None, 0, ""),
            "another authority": ([*key, *secure[:2], *bind, "--ca", str(stranger)], None, 2, other_name),
            "another name": (
                ["client1", "--url", f"wss://localhost:{misnamed}/ws", "--ca", str(stranger)],
                CHOSEN,
                2,
                other_name,
            ),
            "mute": (
                ["client1", "--url", f"wss://localhost:{mute}/ws", "--ca", str(hardened.ca)],
                CHOSEN,
                2,
                "No session with the router: ",
            ),
            "no such file": ([*key, *secure[:2], "--ca", str(folder / "none.pem")], None, 1, "No such file"),
            "no certificate": ([*key, *secure[:2], "--ca", str(garbage)], None, 1, "holds no certificate in PEM"),
            "authority without TLS": (
                [*key, "--url", hardened.url, "--ca", str(hardened.ca)],
                None,
                2,
                "--ca goes with a --url that begins with wss://",
            ),
        }


CASES = (
    "ticket",
    "wrong ticket",
    "key",
    "unknown key",
    "ticket in clear",
    "key without binding",
    "another authority",
    "another name",
    "mute",
    "no such file",
    "no certificate",
    "authority without TLS",
)


@pytest.fixture(scope="module")
def runs(cases: dict[str, Case], hardened: Bundle) -> dict[str, tuple[int, str, float]]:
    """Exit code, what was said on standard error, and seconds taken. They are run several at a time."""

    def run(case: Case) -> tuple[int, str, float]:
        options, ticket, _, _ = case
        environment = {name: value for name, value in os.environ.items() if name != "MYTICKET"}
        environment |= {"MYTICKET": ticket} if ticket else {}
        started = time.monotonic()
        ended = subprocess.run(
            [sys.executable, str(HERE / "client.py"), *options],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
        return ended.returncode, ended.stderr, time.monotonic() - started

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(cases, pool.map(run, cases.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_client_ends_with_an_exit_code_and_a_sentence(
    runs: dict[str, tuple[int, str, float]], cases: dict[str, Case], name: str
) -> None:
    code, error, _ = runs[name]
    assert (code, cases[name][3] in error) == (cases[name][2], True), error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", ["another authority", "another name", "mute"])
def test_client_does_not_hang_at_a_certificate_it_can_not_trust(
    runs: dict[str, tuple[int, str, float]], name: str
) -> None:
    assert runs[name][2] < PATIENCE


def test_all_cases_are_tested(cases: dict[str, Case]) -> None:
    assert tuple(cases) == CASES


# -- limits


def test_a_message_may_be_so_long_and_no_longer(hardened: Bundle) -> None:
    with at(hardened) as client:
        client.login_ticket("client1", CHOSEN)
        answer = client.request(CALL, {}, "com.example.add2", [1, 2], {"padding": "x" * (MAX_MESSAGE - 200)})
        assert answer[4] == "wamp.error.runtime_error"  # it reached the procedure, which takes no padding
        with pytest.raises(ConnectionClosed) as closed:
            client.request(CALL, {}, "com.example.add2", [1, 2], {"padding": "x" * MAX_MESSAGE})
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009  # "message too big"


def test_a_stranger_may_not_send_more_than_that_either(hardened: Bundle) -> None:
    with at(hardened) as client:
        client.send_raw("x" * (MAX_MESSAGE + 1))
        with pytest.raises(ConnectionClosed):
            client.receive()


def test_so_many_connections_and_no_more(narrow: Bundle) -> None:
    with ExitStack() as stack:
        for _ in range(FEW):
            client = stack.enter_context(at(narrow))
            assert client.login_ticket("client1", CHOSEN)[0] == WELCOME  # strangers would give way to newcomers
        with pytest.raises((OSError, EOFError)):
            RawClient(narrow.tls_url, ssl=trust(narrow.ca), open_timeout=PATIENCE)
        assert client.request(CALL, {}, "com.example.add2", [2, 3])[3:] == [[5]]  # those inside don't suffer
    wait_for(lambda: can_connect(narrow))


def can_connect(bundle: Bundle) -> bool:
    try:
        at(bundle).close()
    except (OSError, EOFError):
        return False
    return True


SILENCE = {
    "before the TLS handshake": (False, b""),
    "before the request": (True, b""),
    "amidst the request": (True, b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgr"),
}


@pytest.mark.parametrize("when", SILENCE)
def test_a_handshake_that_does_not_go_on_is_given_up(narrow: Bundle, when: str) -> None:
    tls, said = SILENCE[when]
    with socket.create_connection(("127.0.0.1", narrow.tls_port), timeout=PATIENCE) as plain:
        connection = trust(narrow.ca).wrap_socket(plain, server_hostname="localhost") if tls else plain
        connection.sendall(said)
        assert hung_up(connection)


def test_a_client_that_does_not_answer_pings_is_given_up(narrow: Bundle) -> None:
    with socket.create_connection(("127.0.0.1", narrow.tls_port), timeout=PATIENCE) as plain:
        connection = trust(narrow.ca).wrap_socket(plain, server_hostname="localhost")
        connection.sendall(upgrade("/ws"))
        assert connection.recv(12) == b"HTTP/1.1 101"
        assert hung_up(connection)


def test_a_client_that_answers_pings_is_not(narrow: Bundle) -> None:
    """Also if it takes its time: neither the timeout of the handshake nor the pings end a connection that lives."""
    with at(narrow) as client:
        assert client.hello("realm1", "ticket", "client1")[0] == CHALLENGE
        with pytest.raises(TimeoutError):
            client.receive(timeout=3.0)  # longer than both
        assert client.authenticate(CHOSEN)[0] == WELCOME


def hung_up(connection: socket.socket) -> bool:
    """Read to the end; a TimeoutError if there is none."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except ssl.SSLError as error:
        return "EOF" in str(error)
    return True


def upgrade(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
    ).encode()


def test_every_transport_of_the_hardened_node_has_limits() -> None:
    """What isn't shown above at each transport of the node by itself stands at least in its configuration."""
    (worker,) = read_config(HERE / ".crossbar" / "hardened.yaml")["workers"]
    for transport in worker["transports"]:
        assert transport["max_connections"] <= 12000
        for service in transport.get("paths", {}).values():
            assert service["type"] in ("json", "websocket")  # no nodeinfo, no static files, no uploads
        if transport["type"] == "rawsocket":
            assert transport["options"]["max_message_size"] == MAX_MESSAGE
            continue
        assert transport["options"]["client_timeout"] <= LONGEST + 10  # seconds: some wait for their turn
        options = transport["paths"]["ws"]["options"]
        assert options["max_message_size"] == options["max_frame_size"] == MAX_MESSAGE
        assert options["open_handshake_timeout"] <= 5000  # milliseconds, and so below
        assert (options["auto_ping_interval"], options["auto_ping_timeout"]) == (10_000, 5_000)
        assert options["allowed_origins"] != ["*"]
        assert options["enable_webstatus"] is options["show_server_version"] is False


# -- who is answered, and what


@pytest.mark.parametrize("tls", [True, False])
def test_a_page_from_elsewhere_is_refused(hardened: Bundle, tls: bool) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_from(hardened, tls, "https://mallory.example")
    assert refused.value.response.status_code == 400
    assert "origin" in refused.value.response.reason_phrase


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("origin", ["own", None])
def test_the_own_page_and_programs_are_not(hardened: Bundle, tls: bool, origin: str | None) -> None:
    port = hardened.tls_port if tls else hardened.port
    own = f"http{'s' if tls else ''}://localhost:{port}"
    with open_from(hardened, tls, own if origin else None) as client:
        assert client.login_ticket("client1", CHOSEN)[0] == (WELCOME if tls else ABORT)


def open_from(bundle: Bundle, tls: bool, origin: Any) -> RawClient:
    if tls:
        return RawClient(bundle.tls_url, ssl=trust(bundle.ca), origin=origin)
    return RawClient(bundle.url, origin=origin)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("path", ["/", "/ws", "/info", "/index.html", "/../certs/server.key", "/certs/server.key"])
def test_a_browser_finds_nothing_to_read(hardened: Bundle, tls: bool, path: str) -> None:
    answer = get(hardened, tls, path)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in (b"404", b"426")
    for word in b"PID", b"version", b"certs", b"client1", b"Traceback", b"KEY":
        assert word not in body
    assert len(body) < 300


def get(bundle: Bundle, tls: bool, path: str) -> bytes:
    port = bundle.tls_port if tls else bundle.port
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
        if tls:
            connection = stack.enter_context(trust(bundle.ca).wrap_socket(connection, server_hostname="localhost"))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer


# -- the transport on a Unix domain socket


class RawSocket:
    """WAMP in JSON over the raw-socket transport: four bytes to agree on that, then each message after its length."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(PATIENCE)
        self._connection.connect(str(path))
        self._connection.sendall(bytes([0x7F, 0xF1, 0, 0]))  # up to 16 MiB to us, JSON
        self.handshake = self._connection.recv(4)

    def ask(self, *message: Any) -> Message:
        """Send a message and return the next that comes."""
        data = json.dumps(message).encode()
        self._connection.sendall(len(data).to_bytes(4, "big") + data)
        return json.loads(self._read(int.from_bytes(self._read(4), "big")))  # type: ignore[no-any-return]

    def hello(self, realm: str | None, method: str, **details: Any) -> Message:
        return self.ask(HELLO, realm, {"roles": ROLES, "authmethods": [method], **details})

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def __enter__(self) -> "RawSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


@pytest.fixture
def raw(hardened: Bundle) -> Iterator[RawSocket]:
    with RawSocket(hardened.directory / "sockets" / "local.sock") as client:
        yield client


def test_ticket_over_the_unix_socket(raw: RawSocket) -> None:
    assert raw.hello("realm1", "ticket", authid="client1")[0] == CHALLENGE
    kind, _, details = raw.ask(AUTHENTICATE, CHOSEN, {})
    assert (kind, details["authid"], details["authprovider"]) == (WELCOME, "client1", "dynamic")
    assert raw.ask(CALL, 1, {}, "com.example.add2", [2, 3])[3] == [5]


def test_wrong_ticket_over_the_unix_socket(raw: RawSocket, hardened: Bundle) -> None:
    raw.hello("realm1", "ticket", authid="client1")
    assert raw.ask(AUTHENTICATE, WRONG, {})[::2] == [ABORT, "com.example.invalid_ticket"]
    assert hardened.audit[-1]["peer"] == "unix"


def test_key_over_the_unix_socket(raw: RawSocket, hardened: Bundle) -> None:
    challenge = raw.hello(None, "cryptosign", authextra={"pubkey": pubkey(hardened.device)})
    kind, _, details = raw.ask(AUTHENTICATE, sign(hardened.device, challenge), {})
    assert (kind, details["authid"]) == (WELCOME, "client01@example.com")


def test_binding_can_not_be_had_over_the_unix_socket(raw: RawSocket, hardened: Bundle) -> None:
    extra = {"pubkey": pubkey(hardened.device), "channel_binding": BINDING}
    assert raw.hello(None, "cryptosign", authextra=extra)[0] == ABORT


def test_messages_over_the_unix_socket_have_a_limit(raw: RawSocket) -> None:
    assert 2 ** (9 + (raw.handshake[1] >> 4)) == MAX_MESSAGE
    with pytest.raises((EOFError, ConnectionError)):
        raw.hello("realm1", "ticket", authid="x" * MAX_MESSAGE)


# -- what stops the node


@pytest.fixture
def settings(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The authenticator's settings, in the node directory."""
    bundle = make_bundle("hardened.yaml", start=False)
    monkeypatch.chdir(bundle.directory)
    components = read_config(bundle.directory / bundle.config)["workers"][0]["components"]
    (extra,) = (one["extra"] for one in components if one["classname"] == "authenticator.AuthenticatorSession")
    return {**extra, "store": str(bundle.store)}  # each path of its own: a process opens a store once


def check(extra: dict[str, Any]) -> None:
    """What the router asks the component before it starts it. A "no" stops the node, as test_sessions.py shows."""
    Authenticator(Checks, prefix="com.example.").component.check_config(None, extra)


def test_what_others_can_read_stops_the_node(settings: dict[str, Any]) -> None:
    for file in "certs/server.key", settings["store"]:
        Path(file).chmod(0o604)
        sentence = f"{file} can be read or written by others (mode 0604): `chmod 600 {file}`"
        with pytest.raises(SettingsError, match=re.escape(sentence)):
            check(settings)
        Path(file).chmod(0o600)
    check(settings)


def test_a_setting_that_does_not_exist_stops_the_node(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="unknown setting 'requiretls' under 'guard': use one of audit, "):
        check({**settings, "guard": {"requiretls": True}})
