"""Does ``deploy/haproxy/haproxy.cfg`` keep what it promises? A real HAProxy before real nodes tells.

Keys stay bound to TLS that is passed on; an address has so many connections; the address that is forwarded is the
client's, whatever the client says.
"""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import HERE, WRONG, Bundle, MakeBundle
from test_hardened import PORTER, add_porter, login_bound

from wampauth.probe.turns import trust
from wampauth.testing import RawClient, free_port
from wampauth.testing.wamp import ABORT, CHALLENGE, WELCOME

FILE = HERE / "deploy/haproxy/haproxy.cfg"
LINES = re.compile(r"^ +(stick-table .*|tcp-request .*)$", re.MULTILINE)
PER_ADDRESS = 100
PATIENCE = 20.0  # seconds
FORGED = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
SOURCE = "127.0.0.4"  # a client's

StartFront = Callable[..., int]


@pytest.fixture
def start_front(tmp_path: Path) -> Iterator[StartFront]:
    """Start HAProxy with the file, but for ports and paths; the port of its front `name`."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not program:
        pytest.skip("HAProxy isn't installed: `sudo apt-get install haproxy` does it; its own service needn't run")
    with ExitStack() as stack:

        def start(name: str, **servers: int) -> int:
            ports = {"passthrough": free_port(), "terminating": free_port()}
            changes = {
                "  maxconn 14000\n  user haproxy\n  group haproxy\n": "  maxconn 500\n",
                "*:443\n": f"127.0.0.1:{ports['passthrough']}\n",
                "*:8444 ": f"127.0.0.1:{ports['terminating']} ",
                "127.0.0.1:8443": f"127.0.0.1:{servers.get('tls', 1)}",
                "127.0.0.1:8080": f"127.0.0.1:{servers.get('plain', 1)}",
                "/etc/haproxy/certs/wampauth.pem": str(certificate(tmp_path)),
            }
            text = FILE.read_text()
            for old, new in changes.items():
                assert text.count(old) == 1, old
                text = text.replace(old, new)
            (tmp_path / FILE.name).write_text(text)
            process = subprocess.Popen(
                [str(program), "-db", "-f", str(tmp_path / FILE.name)], stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.terminate)
            deadline = time.monotonic() + PATIENCE
            while not _answers(ports[name]):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            return ports[name]

        yield start


def certificate(folder: Path) -> Path:
    """A certificate and its key for localhost in one file, as HAProxy has them, beside its authority's, ``ca.pem``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "one.pem"))
    return folder / "one.pem"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.bind(("127.0.0.3", 0))  # it counts, too, for a moment
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def at(port: int, ca: Path, **options: Any) -> RawClient:
    """A client at a front, that says what only a front may say."""
    options = {"additional_headers": FORGED, "source_address": (SOURCE, 0), **options}
    return RawClient(f"wss://localhost:{port}/ws", ssl=trust(ca), **options)


def peers(bundle: Bundle) -> set[str]:
    return {record["peer"] for record in bundle.audit}


def test_the_handbook_has_the_same_lines() -> None:
    """For each front."""
    told = LINES.findall((HERE / "docs/strangers.md").read_text())
    assert len(told) == 3
    assert LINES.findall(FILE.read_text()) == told * 2


@pytest.mark.parametrize("name", ["passthrough", "terminating"])
def test_an_address_has_so_many_connections_and_another_gets_in(start_front: StartFront, name: str) -> None:
    """Before a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        port = start_front(name, tls=server.getsockname()[1], plain=server.getsockname()[1])
        many = [socket.create_connection(("127.0.0.1", port)) for _ in range(PER_ADDRESS + 30)]
        other = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        for connection in (*many, other):
            connection.settimeout(0.02)
        assert sum(map(_is_open, many)) == PER_ADDRESS
        assert _is_open(other)
        for connection in (*many, other):
            connection.close()


def test_keys_stay_bound_to_tls_that_is_passed_on(start_front: StartFront, make_bundle: MakeBundle) -> None:
    """With the node as it is shipped. What the client says of its address isn't believed."""
    bundle = make_bundle("hardened.yaml", trusted_proxies=["127.0.0.2"])
    add_porter(bundle)
    with at(start_front("passthrough", tls=bundle.tls_port), bundle.ca) as client:
        assert login_bound(client, PORTER)[0] == WELCOME
    assert peers(bundle) == {"127.0.0.1"}


@pytest.mark.parametrize("config", ["config.json", "scaled.yaml"])
def test_the_address_that_is_forwarded_is_the_clients(
    start_front: StartFront, make_bundle: MakeBundle, tmp_path: Path, config: str
) -> None:
    bundle = make_bundle(config, trusted_proxies=["127.0.0.2"])
    port = start_front("terminating", plain=bundle.port)
    with at(port, tmp_path / "ca.pem") as client:
        assert client.hello("realm1", "ticket", "client1")[0] == CHALLENGE
        assert client.authenticate(WRONG)[0] == ABORT
    assert peers(bundle) == {SOURCE}
    with RawClient(bundle.url, additional_headers=FORGED) as client:  # past the front: who isn't trusted isn't believed
        assert client.login_ticket("client1", WRONG)[0] == ABORT
    assert peers(bundle) == {SOURCE, "127.0.0.1"}


def test_a_front_that_ends_tls_is_refused_by_a_node_that_wants_tls(
    start_front: StartFront, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """So nobody takes hardened.yaml behind it and believes that keys are bound."""
    bundle = make_bundle("hardened.yaml", trusted_proxies=["127.0.0.2"])
    with at(start_front("terminating", plain=bundle.port), tmp_path / "ca.pem") as client:
        assert client.login_ticket("client1", WRONG)[2] == "com.example.tls_required"
