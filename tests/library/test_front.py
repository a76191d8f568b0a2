"""Do the lines for a front, as the handbook has them, bound the connections of an address? A real HAProxy tells."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HERE

from wampauth.testing import free_port

LINES = re.findall(r"^      (stick-table .*|tcp-request .*)$", (HERE / "docs/strangers.md").read_text(), re.MULTILINE)
PER_ADDRESS = 100
PATIENCE = 20.0  # seconds


@pytest.fixture
def front(tmp_path: Path) -> Iterator[int]:
    """The port of a HAProxy with these lines, before a server that takes connections and says nothing."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not program:
        pytest.skip("HAProxy isn't installed: `sudo apt-get install haproxy` does it; its own service needn't run")
    port = free_port()
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        file = tmp_path / "haproxy.cfg"
        file.write_text(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
            f"frontend clients\n  bind 127.0.0.1:{port}\n  default_backend routers\n  " + "\n  ".join(LINES) + "\n"
            f"backend routers\n  server router 127.0.0.1:{server.getsockname()[1]}\n"
        )
        process = subprocess.Popen([program, "-db", "-f", str(file)], stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE
            while not _answers(port):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE)


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


def test_an_address_has_so_many_connections_and_another_gets_in(front: int) -> None:
    assert len(LINES) == 3
    many = [socket.create_connection(("127.0.0.1", front)) for _ in range(PER_ADDRESS + 30)]
    other = socket.create_connection(("127.0.0.1", front), source_address=("127.0.0.2", 0))
    for connection in (*many, other):
        connection.settimeout(0.02)
    assert sum(map(_is_open, many)) == PER_ADDRESS
    assert _is_open(other)
    for connection in (*many, other):
        connection.close()
