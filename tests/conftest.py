"""The lesson's node on a free port, with a store of its own, for as long as the tests run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from wampauth.testing import Node, free_port

ROOT = Path(__file__).parent.parent


@dataclass
class Lesson:
    """A running node, and what its clients know."""

    folder: Path
    port: int
    ticket: str  # of client1
    key: SigningKey  # of client01@example.com

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}/{path}"


Operator = Callable[..., str]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The node directory."""
    return tmp_path_factory.mktemp("lesson") / ".crossbar"


@pytest.fixture(scope="session")
def operator(folder: Path) -> Operator:
    """What an operator types: ``operator("ticket", "client1")`` returns what the command prints."""

    def run(*command: str) -> str:
        wampauth = [sys.executable, "-m", "wampauth", *command]
        return subprocess.run(wampauth, cwd=folder.parent, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    return run


@pytest.fixture(scope="session")
def lesson(folder: Path, operator: Operator) -> Iterator[Lesson]:
    """Let client1 and a device in, and boot the node."""
    folder.mkdir(mode=0o700)
    port, key = free_port(), SigningKey.generate()
    config = json.loads((ROOT / ".crossbar" / "config.json").read_text())
    (worker,) = config["workers"]
    worker["options"]["pythonpath"] = [str(ROOT)]
    worker["transports"][0]["endpoint"]["port"] = port
    worker["transports"][0]["paths"]["/"] = {"type": "json", "value": {}}
    (folder / "config.json").write_text(json.dumps(config))
    operator("add", "client1", "--realm", "realm1", "--role", "frontend")
    operator("add", "client01@example.com", "--realm", "devices", "--role", "device", "--extra", '{"foo": 23}')
    operator("key", "client01@example.com", bytes(key.verify_key).hex())
    ticket = operator("ticket", "client1")
    with (folder / "node.log").open("wb") as log, Node(folder, output=log):
        yield Lesson(folder, port, ticket, key)


@pytest.fixture
def client(lesson: Lesson) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``client.py`` with some arguments, and a ticket in MYTICKET."""

    def run(*args: str, ticket: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "client.py"), "--url", lesson.url("ws"), *args]
        environment = {**os.environ, "MYTICKET": ticket}
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)

    return run
