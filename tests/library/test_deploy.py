"""Does the systemd unit of ``deploy/`` fit the node? (The front: test_front.py. logrotate: test_records.py. Alerts:
test_metrics.py.)

systemd reads it, and a real node runs under what it lays upon one: system calls, addresses, files.
"""

import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from confined import settings
from conftest import HERE, MakeBundle, read_config
from test_files import findings
from test_hardened import PORTER, add_porter, at, login_bound

from wampauth.testing.wamp import WELCOME

UNIT = HERE / "deploy/systemd/wampauth.service"
PROJECT, COMMAND = "/srv/wampauth", "/srv/wampauth/.venv/bin/wampauth"
MOST_EXPOSED = 20  # tenths, of 100; other versions of systemd count a little differently
PATIENCE = 90.0  # seconds
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
# The system is read-only, but for the node directory and a folder for temporary files: ProtectSystem=strict.
CLOSED = 'mount --bind "$1" "$1" && mount --bind "$2" "$2" && mount -o remount,bind,ro / && shift 2 && exec "$@"'
OPEN = 'shift 2 && exec "$@"'


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("systemd-analyze isn't installed: `sudo apt-get install systemd` does it; it needn't be in charge")
    return program


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a command that is there."""
    file = tmp_path / UNIT.name
    command = Path(sys.executable).with_name("wampauth")
    file.write_text(UNIT.read_text().replace(COMMAND, str(command)))
    return file


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What stands at NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listening.settimeout(0.2)
        yield listening


def test_systemd_reads_it(analyze: str, unit: Path) -> None:
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (0, [])


def test_little_is_left_open(analyze: str, unit: Path) -> None:
    command = [analyze, "security", "--no-pager", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_allows_as_many_files_as_the_configuration_needs(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("hardened.yaml", start=False)
    (most,) = map(int, settings(UNIT.read_text())["LimitNOFILE"])
    assert findings(bundle.directory, "hardened.yaml", most) == []
    transports = read_config(bundle.directory / "hardened.yaml")["workers"][0]["transports"]
    assert findings(bundle.directory, "hardened.yaml", sum(one["max_connections"] for one in transports))


def test_it_says_what_these_tests_take_for_granted() -> None:
    said = settings(UNIT.read_text())
    assert (said["Type"], said["NotifyAccess"]) == (["notify"], ["main"])
    assert said["WorkingDirectory"] == [PROJECT]
    assert said["ReadWritePaths"] == [f"{PROJECT}/.crossbar"]


def told(manager: socket.socket, node: "subprocess.Popen[bytes]") -> bytes:
    """What its main process says next, since no other is believed (NotifyAccess=main); nothing if it has ended."""
    deadline = time.monotonic() + PATIENCE
    while node.poll() is None and time.monotonic() < deadline:
        with suppress(TimeoutError):
            said, ((_, _, sender), *_), _, _ = manager.recvmsg(100, socket.CMSG_SPACE(CREDENTIALS.size))
            if CREDENTIALS.unpack(sender)[0] == node.pid:
                return said
    return b""


def can_close() -> bool:
    """Whether this process may mount: root may, in many containers."""
    tried = ["unshare", "-m", "sh", "-c", "mount -o remount,bind,ro /"]
    return bool(shutil.which("unshare")) and subprocess.run(tried, capture_output=True, check=False).returncode == 0


def test_a_node_runs_under_it(
    analyze: str, unit: Path, manager: socket.socket, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """It starts, tells so, lets a client in, and ends in order."""
    bundle = make_bundle("hardened.yaml", start=False)
    add_porter(bundle)
    program, *arguments = shlex.split(settings(unit.read_text())["ExecStart"][0])
    folder = tmp_path / "tmp"
    folder.mkdir()
    around = ["unshare", "-m"] if can_close() else []
    command = [
        *(*around, "sh", "-c", CLOSED if around else OPEN, "sh", str(bundle.directory), str(folder)),
        *(sys.executable, str(Path(__file__).with_name("confined.py")), str(unit)),
        *(sys.executable, program, *arguments, "--directory", str(bundle.directory)),
    ]
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "TMPDIR": str(folder)}
    log = tmp_path / "log"
    with log.open("w") as output:
        node = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        assert told(manager, node) == b"READY=1", log.read_text()
        with at(bundle) as client:
            assert login_bound(client, PORTER)[0] == WELCOME
        assert told(manager, node) == b"WATCHDOG=1"
        limits = Path(f"/proc/{node.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in limits and "Seccomp:\t2" in limits
    finally:
        node.terminate()
        code = node.wait(PATIENCE)
    assert str(code) == settings(UNIT.read_text())["SuccessExitStatus"][0]
    assert "rror" not in log.read_text()
    assert "joined" in {record["outcome"] for record in bundle.audit}
