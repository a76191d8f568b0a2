"""What do the tests have in common? A real node, on a free port of the loopback interface, with a store of its own; the
command line; and how they wait, and fill a disk."""

import functools
import json
import os
import re
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme
import yaml
from click.testing import CliRunner, Result
from hypothesis import settings
from nacl.signing import SigningKey
from twisted.logger import formatEvent, globalLogPublisher

from wampauth import cli
from wampauth.audit import Audit, open_audit
from wampauth.store import chosen_verifier, connect, create, moving
from wampauth.testing import Node
from wampauth.testing import free_port as free_port

SLOW = re.compile("client|faults|hardened|hostile|node|outsider|postgresql|readme|scaled|secrets|sessions|web")
chosen_once = functools.cache(chosen_verifier)
HERE = Path(__file__).parents[2]
CHOSEN, WRONG = "secret123", "wrongpassword"
Config = dict[str, Any]
T = TypeVar("T")

with suppress(ImportError):
    import py_ecc  # type: ignore[import-untyped]  # noqa: F401
sys.setrecursionlimit(1_000)  # as in our processes: py_ecc, which Autobahn brings, raises it beyond what a stack holds

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("fuzz", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take long come first, so that no core waits for one of them in the end."""
    items.sort(key=lambda item: not SLOW.search(item.path.stem))


@dataclass
class Folder:
    """Where a node lies, and what it has written there so far."""

    directory: Path

    @property
    def log(self) -> str:
        return (self.directory / "node.log").read_text()

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The audit records of all who write them, in order."""
        return read_audit(self.directory.glob("audit*.jsonl"))


@dataclass
class Bundle(Folder):
    """A copy of the bundle's node, and the demo's principals in its store."""

    config: str = "config.json"
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    device: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def function_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws-function"

    @property
    def tls_url(self) -> str:
        return f"wss://localhost:{self.tls_port}/ws"

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signed the hardened node's."""
        return self.directory / "certs" / "client.pem"

    @property
    def store(self) -> Path:
        return self.directory / "principals.db"

    def start(self) -> Node:
        """Boot the node and wait until it is ready. Its log goes to a file."""
        with (self.directory / "node.log").open("ab") as log:
            node = Node(self.directory, self.config, output=log)
            node.start()
        return node

    def wampauth(self, *args: str, check: bool = True, **environment: str) -> Result:
        """Do what ``wampauth`` does on this store."""
        result = wampauth(self.directory, *args, env=environment)
        assert not check or result.exit_code == 0, result.output
        return result

    def client(self, *args: str, ticket: str | None = None, url: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run client.py against this node."""
        environment = {**os.environ, **({"MYTICKET": ticket} if ticket else {})}
        command = [sys.executable, str(HERE / "client.py"), "--url", url or self.url, *args]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)

    def write_config(self, changes: dict[str, Any]) -> None:
        """Copy the configuration with other ports and absolute paths, and with settings of the guard on top.

        The copy is JSON whatever its name, without the shorthand of YAML: JSON is YAML, too.
        """
        config = read_config(HERE / ".crossbar" / self.config)
        for worker in config["workers"]:
            paths = worker["options"].get("pythonpath", ())
            worker["options"]["pythonpath"] = [str((HERE / ".crossbar" / path).resolve()) for path in paths]
            for component in worker.get("components", ()):
                extra = component.setdefault("extra", {})
                if "guard" in extra or component["classname"].endswith(".AuthenticatorSession"):
                    extra.setdefault("guard", {}).update(changes)
            for transport in worker.get("transports", ()):
                if transport["endpoint"]["type"] == "tcp":
                    transport["endpoint"]["port"] = self.tls_port if "tls" in transport["endpoint"] else self.port
                for service in transport.get("paths", {}).values():
                    if service["type"] == "static":
                        service["directory"] = str((HERE / ".crossbar" / service["directory"]).resolve())
        text = json.dumps(config).replace(":8080", f":{self.port}").replace(":8443", f":{self.tls_port}")
        (self.directory / self.config).write_text(text)
        if "admission_key" in text:
            self.make_admission_key()

    def edit_config(self, edit: Callable[[Config], object]) -> None:
        """Change the written configuration."""
        file = self.directory / self.config
        config = read_config(file)
        edit(config)
        file.write_text(json.dumps(config))

    def make_admission_key(self) -> None:
        """The key that authenticators and ``Sessions`` share, as the Makefile makes it."""
        file = self.directory / "admission.key"
        file.touch(0o600)
        file.write_bytes(secrets.token_bytes(32))

    def make_certificates(self) -> None:
        """A development CA and a server certificate, as `make certs` makes them."""
        authority = trustme.CA()
        certify(self.directory / "certs", authority, "localhost", "127.0.0.1", "::1")
        authority.cert_pem.write_to_path(str(self.ca))

    def add_principals(self) -> None:
        """The demo's principals, as the Makefile adds them."""
        demo: tuple[tuple[Any, ...], ...] = (
            ("client1", "realm1", "frontend", {}, "chosen", chosen_once(CHOSEN)),
            ("client01@example.com", "devices", "device", {"foo": 23}, "key", bytes(self.device.verify_key).hex()),
        )
        create(str(self.store))
        with closing(connect(str(self.store))) as store:
            moving.load(store, [_line(*principal) for principal in demo])

    def device_key_file(self) -> Path:
        """The device's private key, as a file for client.py."""
        file = self.directory / "device.key"
        file.write_bytes(bytes(self.device))
        return file


def _line(authid: str, realm: str, role: str, extra: dict[str, Any], kind: str, verifier: str) -> bytes:
    """A principal with one credential, as ``wampauth export`` writes it."""
    credentials = [{"kind": kind, "verifier": verifier}]
    principal = {"authid": authid, "realm": realm, "role": role, "extra": extra, "credentials": credentials}
    return json.dumps(principal).encode()


def certify(folder: Path, authority: trustme.CA, *names: str, **terms: Any) -> None:
    """Put a certificate of a server, and its key, into a folder."""
    folder.mkdir(mode=0o700, exist_ok=True)
    certificate = authority.issue_cert(*names, **terms)
    certificate.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    (folder / "server.key").chmod(0o600)


def wampauth(folder: Path, *args: str, **options: Any) -> Result:
    """Do what ``wampauth`` does on the store there; test_cli.py and README.md run it as a process of its own."""
    return CliRunner().invoke(cli.main, ["--store", str(folder / "principals.db"), *args], **options)


def whole_lines(text: str) -> list[str]:
    """The lines in what is being written meanwhile: of the last one, there may be only a part yet."""
    return text[: text.rfind("\n") + 1].splitlines()


def read_audit(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The records in these files, in order of time."""
    lines = [line for file in files for line in whole_lines(file.read_text())]
    return sorted(map(json.loads, lines), key=lambda record: str(record["time"]))


def read_config(file: Path) -> Config:
    """A node's configuration, in JSON or YAML, with no part that is the same object as another."""
    return json.loads(json.dumps(yaml.safe_load(file.read_text())))  # type: ignore[no-any-return]


MakeBundle = Callable[..., Bundle]


AUDITS: list[Audit] = []  # that a test has made


@pytest.fixture(autouse=True)
def audits_are_closed() -> Iterator[None]:
    """A process keeps its own for good, but in one with all tests, each has another: select(), and whoever uses it,
    can't do with more than 1,024 open files. What a test raises keeps what was about then."""
    yield
    open_audit.cache_clear()
    for audit in AUDITS:
        audit._proven.close()
        audit._attempts.close()
    AUDITS.clear()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, but for its name, which isn't the test's: so it leaves room for the name of a socket."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeBundle]:
    """Boot a node of its own for a test: ``make_bundle(**settings)``, with settings of the guard. All are stopped at
    the end of the run."""
    nodes: list[Node] = []

    def make(config: str = "config.json", start: bool = True, **settings: Any) -> Bundle:
        bundle = Bundle(tmp_path_factory.mktemp("node"), config)
        bundle.write_config(settings)
        bundle.add_principals()
        if config == "hardened.yaml":
            bundle.make_certificates()
        if start:
            nodes.append(bundle.start())
        return bundle

    yield make
    for node in nodes:
        node.stop()


@pytest.fixture(scope="session")
def bundle(make_bundle: MakeBundle) -> Bundle:
    """One node for all tests that leave it as it was. Its throttle is wide open: they all come from one address."""
    return make_bundle(failures_at_once=1_000_000, refusal_delay=0.05)


def wait_for(condition: Callable[[], T], timeout: float = 30.0) -> T:
    """What it says, once that is true; it is asked again and again for `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What this process has logged, at any level."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    (folder := tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root and CAP_SYS_ADMIN")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def size_limit(most: int) -> Iterator[None]:
    """No file that this process writes may grow beyond that many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
