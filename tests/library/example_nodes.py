"""Nodes that run one of the files in examples/: what ``wampauth init`` writes, with that file as its authenticator."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from conftest import HERE, Config, Folder, free_port, read_config

from wampauth import cli
from wampauth.probe.catalogue import ROWS
from wampauth.probe.report import FALLS
from wampauth.testing import Node, RawClient

REALM, ROLE = "realm1", "frontend"
STATIC = {"deep-nesting", "after-goodbye", "prefix-topic", "forward-for"}  # what any node with static rules falls to


@dataclass
class Example(Folder):
    """A node whose authenticator is one of the examples."""

    port: int = field(default_factory=free_port)
    addresses: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def reason(self, authid: str) -> str:
        """Why the last attempt in this name was refused, by the audit."""
        refusals = (record for record in self.audit if "reason" in record and record.get("claimed") == authid)
        return str([record["reason"] for record in refusals][-1])

    def login(self, authid: str, ticket: str, realm: str | None = REALM) -> list[Any]:
        """What the router says in the end to somebody with a ticket. Each comes from another address, so that the audit
        has each."""
        number = next(self.addresses)
        source = f"127.1.{number >> 8}.{number & 255}"
        with RawClient(self.url, source_address=(source, 0)) as client:
            return client.login_ticket(authid, ticket, realm)


def init(folder: Path, port: int) -> Config:
    """Begin a project there, as ``wampauth init`` does; the configuration of its node."""
    options = ("--prefix", "com.example.", "--realm", REALM, "--role", ROLE, "--port", str(port))
    assert CliRunner().invoke(cli.main, ["init", str(folder), *options]).exit_code == 0
    return read_config(folder / ".crossbar" / "config.yaml")


@contextmanager
def example(folder: Path, module: str, extra: dict[str, Any], **guard: Any) -> Iterator[Example]:
    """Run examples/`module`.py, which has a check for tickets, with these settings for its checks and for the guard."""
    made = Example(folder / ".crossbar")
    config = init(folder, made.port)
    (worker,) = config["workers"]
    worker["options"]["pythonpath"] = [str(HERE / "examples")]
    for component in worker["components"]:
        component["classname"] = component["classname"].replace("authenticator.", f"{module}.")
    worker["components"][0]["extra"] = {**extra, "guard": guard}
    del worker["transports"][0]["paths"]["ws"]["auth"]["cryptosign"]
    with running(made, config):
        yield made


@contextmanager
def running(made: Folder, config: Config) -> Iterator[None]:
    """Run a node with this configuration."""
    (made.directory / "config.yaml").write_text(json.dumps(config))
    with (made.directory / "node.log").open("ab") as log, Node(made.directory, output=log):
        yield


Handle = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def service(handle: Handle) -> Iterator[str]:
    """An HTTP service on loopback that answers each request with `handle`; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            handle(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def say(handler: BaseHTTPRequestHandler, code: int, body: bytes = b"", **headers: str) -> None:
    """A whole answer."""
    handler.send_response(code)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def falling(url: str, authid: str, ticket: str | None, *more: str, realm: str = REALM) -> set[str]:
    """The rows of the attacker that we ship to which this node falls, but for what isn't the authenticator's business.
    It takes a minute."""
    command = ["probe", url, "--realm", realm, "--authid", authid, "--json", *more]
    command += ["--ticket-env", "MYTICKET"] if ticket else []
    done = CliRunner().invoke(cli.main, command, env={"MYTICKET": ticket})
    verdicts = {row["name"]: row["verdict"] for row in json.loads(done.stdout)["rows"]}
    assert set(verdicts) == set(ROWS)
    return {name for name, verdict in verdicts.items() if verdict == FALLS} - STATIC
