"""A test of an authenticator of your own, to copy. It needs node.py and tests/wamp.py beside it, and pytest."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from wamp import ABORT, WELCOME, RawClient

from node import Node

AUTHENTICATOR = """
from autobahn.wamp.exception import ApplicationError

TICKETS = {"bob": "builder"}


def create(config, controller):
    def authenticate(realm, authid, details):
        if TICKETS.get(authid) != details["ticket"]:
            raise ApplicationError("com.example.invalid_ticket", "no")
        return {"realm": "realm1", "authid": authid, "role": "frontend", "extra": {}}

    return authenticate
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Boot a node with the authenticator, and say where it listens."""
    folder: Path = tmp_path_factory.mktemp("node")
    (folder / "own.py").write_text(AUTHENTICATOR)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    door = {"type": "websocket", "auth": {"ticket": {"type": "function", "create": "own.create"}}}
    transport = {
        "type": "web",
        "endpoint": {"type": "tcp", "interface": "127.0.0.1", "port": port},
        "paths": {"/": {"type": "json", "value": {}}, "ws": door},
    }
    worker = {
        "type": "router",
        "options": {"pythonpath": [str(folder)]},
        "realms": [{"name": "realm1", "roles": [{"name": "frontend", "permissions": []}]}],
        "transports": [transport],
    }
    (folder / "config.json").write_text(json.dumps({"version": 2, "workers": [worker]}))
    with Node(folder):
        yield f"ws://127.0.0.1:{port}/ws"


def test_bob_gets_in(url: str) -> None:
    with RawClient(url) as client:
        assert client.login_ticket("bob", "builder")[0] == WELCOME


def test_mallory_does_not(url: str) -> None:
    with RawClient(url) as client:
        assert client.login_ticket("mallory", "builder") == [ABORT, {"message": "no"}, "com.example.invalid_ticket"]
