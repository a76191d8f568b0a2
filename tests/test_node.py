"""Does the node come up quiet, closed to the outside and complete, or else not at all?"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner
from conftest import CHOSEN, HERE, Bundle, MakeBundle
from nacl.signing import SigningKey
from wamp import ABORT, WELCOME, Message, RawClient

import database
import node
from node import Node, NodeError

Config = dict[str, Any]

BOOT = 90.0  # seconds in which a node must have come up or given up, also on a busy machine
AT_ONCE = 3  # boots
EXPECTED_LINE = re.compile(r"(\S+ \[Controller +\d+\] *)?(Received SIG(TERM|INT), shutting down\.)?")
STARTING = "Starting the node ..."
READY = "The node is ready. Ctrl-C stops it."
RUN_ELSEWHERE = "import node, pathlib, sys; node.HERE = pathlib.Path(sys.argv.pop(1)); node.main()"


def empty_bundle(folder: Path, **settings: Any) -> Bundle:
    """A node directory with a store that knows nobody. Cheap to make."""
    bundle = Bundle(folder / ".crossbar")
    bundle.directory.mkdir()
    bundle.write_config(settings)
    database.create(str(bundle.store))
    return bundle


def edit_config(bundle: Bundle, edit: Callable[[Config], object]) -> None:
    """Change the configuration of its worker."""
    file = bundle.directory / bundle.config
    config = json.loads(file.read_text())
    edit(config["workers"][0])
    file.write_text(json.dumps(config))


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- node.py


def run_node(bundle: Bundle, *args: str) -> "subprocess.Popen[str]":
    """``python node.py`` for this bundle, as the first process of a terminal."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN_ELSEWHERE, str(bundle.directory.parent), *args],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(line: str, process: "subprocess.Popen[str]") -> list[str]:
    """Read what it writes up to that line."""
    assert process.stdout is not None
    lines: list[str] = []
    while line not in lines:
        written = process.stdout.readline()
        assert written, lines
        lines.append(written.rstrip())
    return lines


def nothing_unexpected(lines: list[str]) -> bool:
    """Whether there is no warning, no traceback, and nothing else that a user would wonder about."""
    return all(EXPECTED_LINE.fullmatch(line) or line in (STARTING, READY) for line in lines)


def test_a_node_for_as_long_as_a_command_takes(tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path)
    probe = f"import socket; socket.create_connection(('127.0.0.1', {bundle.port})); print('open'); exit(3)"
    process = run_node(bundle, sys.executable, "-c", probe)
    output, _ = process.communicate(timeout=BOOT)
    assert process.returncode == 3
    assert not listens(bundle.port)
    lines = output.splitlines()
    lines.remove("open")
    assert nothing_unexpected(lines)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_node_until_it_is_stopped(tmp_path: Path, ending: signal.Signals) -> None:
    """Ctrl-C reaches the whole terminal; SIGTERM (from a service manager, or ``timeout``) only node.py itself."""
    bundle = empty_bundle(tmp_path)
    process = run_node(bundle)
    try:
        lines = until(READY, process)
        second = run_node(bundle)
        output, _ = second.communicate(timeout=BOOT)
        assert (second.returncode, output.count("\n")) == (1, 2)
        assert re.search(r"^Error: A node is running already \(process \d+\): stop it with Ctrl-C", output, re.M)
        os.kill(-process.pid if ending == signal.SIGINT else process.pid, ending)
        output, _ = process.communicate(timeout=BOOT)
        assert not listens(bundle.port)
        assert nothing_unexpected(lines + output.splitlines())
    finally:
        if listens(bundle.port):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_node_that_is_stopped_while_it_starts(tmp_path: Path) -> None:
    process = run_node(empty_bundle(tmp_path))
    until(STARTING, process)
    deadline = time.monotonic() + BOOT
    while not any("start" in child.cmdline() for child in psutil.Process(process.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    output, _ = process.communicate(timeout=BOOT)  # until the last of its processes has ended
    assert process.returncode == 128 + signal.SIGTERM
    assert nothing_unexpected(output.splitlines())


def test_a_node_that_runs_already(deaf: Bundle) -> None:
    with pytest.raises(NodeError, match=r"^A node is running already \(process \d+\): stop it"):
        Node(deaf.directory).start()


def test_another_program_on_the_port(tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path)
    with (
        socket.create_server(("127.0.0.1", bundle.port)),
        pytest.raises(NodeError, match=rf"^Another program uses port {bundle.port}: stop it, or change the port"),
    ):
        Node(bundle.directory).start()


def test_a_process_id_that_is_no_longer_ours(tmp_path: Path) -> None:
    """A node that was killed leaves its node.pid behind."""
    bundle = empty_bundle(tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    (bundle.directory / "node.pid").write_text(json.dumps({"pid": ended.pid}))
    with socket.create_server(("127.0.0.1", bundle.port)), pytest.raises(NodeError, match=r"^Another program"):
        Node(bundle.directory).start()


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_configuration_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    (tmp_path / ".crossbar").mkdir()
    if content is not None:
        (tmp_path / ".crossbar" / "own.json").write_text(content)
    monkeypatch.setattr(node, "HERE", tmp_path)
    result = CliRunner().invoke(node.main, ["--config", "own.json"])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert re.fullmatch(r"Starting the node \.\.\.\nError: .*own\.json.*\n", result.output)


def test_no_loglevel_at_which_the_router_writes_tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At debug, it does: ``onAuthenticate: secret123``."""
    monkeypatch.setattr(node, "HERE", tmp_path)
    result = CliRunner().invoke(node.main, ["--loglevel", "debug"])
    assert result.exit_code == 2
    assert "'debug' is not one of" in result.output


def test_a_command_that_cannot_be_run() -> None:
    with pytest.raises(node.NodeError, match=r"^nosuchcommand can't be run: No such file or directory$"):
        node._run(("nosuchcommand",))


# -- what must not come up


def role_of(name: str, worker: Config) -> Any:
    """The only role of that name in the configuration."""
    (role,) = (role for realm in worker["realms"] for role in realm["roles"] if role["name"] == name)
    return role


def forbid_registering(bundle: Bundle) -> None:
    edit_config(bundle, lambda worker: role_of("authenticator", worker).update(permissions=[]))


BROKEN: dict[str, tuple[Callable[[Bundle], object], str]] = {
    "authenticator may not register": (forbid_registering, "not authorized to register procedure"),
    "store is missing": (lambda bundle: bundle.store.unlink(), "there is no store at principals.db"),
}


def boot(folder: Path, spoil: Callable[[Bundle], object]) -> tuple[int | None, str, bool]:
    """Exit code, output and whether a door was opened after all, of a node in which something is spoilt."""
    bundle = empty_bundle(folder)
    spoil(bundle)
    with (folder / "log").open("wb") as log:
        command = [str(Path(sys.executable).with_name("crossbar")), "start", "--loglevel", "error"]
        command += ["--cbdir", str(bundle.directory)]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            code = process.wait(BOOT)
        except subprocess.TimeoutExpired:
            code = None
        opened = listens(bundle.port)
        if code is None or opened:
            os.killpg(process.pid, signal.SIGKILL)
    return code, (folder / "log").read_text(), opened


@pytest.fixture(scope="module")
def boots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int | None, str, bool]]:
    """What became of each of the broken nodes."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {
            name: pool.submit(boot, tmp_path_factory.mktemp("broken"), spoil) for name, (spoil, _) in BROKEN.items()
        }
    return {name: future.result() for name, future in running.items()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_node_that_must_not_come_up(boots: dict[str, tuple[int | None, str, bool]], name: str) -> None:
    code, output, opened = boots[name]
    assert (code, opened) == (1, False)
    assert BROKEN[name][1] in output


def test_a_configuration_that_the_node_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = empty_bundle(tmp_path)
    edit_config(bundle, lambda worker: worker.update(nosuch=1))
    with pytest.raises(NodeError, match=r"^The node didn't start: the lines above say why"):
        Node(bundle.directory).start()
    assert "encountered unknown attribute 'nosuch'" in capfd.readouterr().err


# -- an authenticator that doesn't answer, a store that is gone

DEAF = '''
from autobahn.twisted.wamp import ApplicationSession
from twisted.internet import reactor
from twisted.internet.defer import Deferred

import authenticator
from audit import open_audit
from guard import Guard
from settings import Settings


def deaf_door():
    """Checks that never answer, guarded like all others."""
    guard = Guard(reactor, Settings(deadline=0.5, refusal_delay=0.01), open_audit("audit.jsonl"))
    return {method: guard.wrap(method, lambda claim, origin: Deferred()) for method in ("ticket", "cryptosign")}


class Authenticator(authenticator.Authenticator):
    def __init__(self, config):
        super().__init__(config)
        self._door = deaf_door()


def create_ticket(config, controller):
    return deaf_door()["ticket"]


def create_cryptosign(config, controller):
    return deaf_door()["cryptosign"]
'''


@pytest.fixture(scope="module")
def deaf(make_bundle: MakeBundle) -> Iterator[Bundle]:
    """A node with the door "ws-whole" as in the bundle, and two doors whose checks never answer."""

    def make_deaf(worker: Config) -> None:
        paths = worker["transports"][0]["paths"]
        paths["ws-whole"] = json.loads(json.dumps(paths["ws-function"]))
        for method in paths["ws-function"]["auth"].values():
            method["create"] = method["create"].replace("authenticator.", "deaf.")
        for component in worker["components"]:
            component["classname"] = component["classname"].replace("authenticator.", "deaf.")
        worker["options"]["pythonpath"].append(str(bundle.directory))

    bundle = make_bundle(start=False, refusal_delay=0.01)
    edit_config(bundle, make_deaf)
    (bundle.directory / "deaf.py").write_text(DEAF)
    running = bundle.start()
    yield bundle
    running.stop()


def attempt(url: str, method: str, key: SigningKey) -> Message:
    """Try to log in; the router's last word."""
    with RawClient(url) as client:
        return client.login_ticket("client1", CHOSEN) if method == "ticket" else client.login_key(key)


def is_unavailable(answer: Message, bundle: Bundle) -> bool:
    """Whether that is all that a client is told, with a reference that the log and the audit have too."""
    kind, details, uri = answer
    assert (kind, uri, list(details)) == (ABORT, "com.example.unavailable", ["message"])
    text = r"authentication is unavailable - try again later \(reference ([0-9a-f]{8})\)"
    found = re.fullmatch(text, details["message"])
    assert found, details
    (record,) = (record for record in bundle.audit if record.get("reference") == found[1])
    logged = f"reference {found[1]}: {record['reason']}"
    deadline = time.monotonic() + 30
    while logged not in bundle.log and time.monotonic() < deadline:  # it takes the way through the node's controller
        time.sleep(0.05)
    return record["outcome"] == "unavailable" and logged in bundle.log


@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
@pytest.mark.parametrize("door", ["ws", "ws-function"])
def test_a_check_that_never_answers(deaf: Bundle, door: str, method: str) -> None:
    answer = attempt(f"ws://127.0.0.1:{deaf.port}/{door}", method, deaf.device)
    assert is_unavailable(answer, deaf)
    assert deaf.audit[-1]["reason"] == "no answer after 0.5 seconds"


@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
def test_a_store_that_is_gone_for_a_while(deaf: Bundle, method: str) -> None:
    url = f"ws://127.0.0.1:{deaf.port}/ws-whole"
    assert attempt(url, method, deaf.device)[0] == WELCOME
    away = deaf.store.rename(deaf.store.with_suffix(".away"))
    try:
        answer = attempt(url, method, deaf.device)
    finally:
        away.rename(deaf.store)
    assert is_unavailable(answer, deaf)
    assert attempt(url, method, deaf.device)[0] == WELCOME


# -- the configurations

CONFIGS = sorted((HERE / ".crossbar").glob("config*.json"))
LIMITS = {
    "allowed_origins",
    "max_message_size",
    "max_frame_size",
    "open_handshake_timeout",
    "close_handshake_timeout",
    "auto_ping_interval",
    "auto_ping_timeout",
}


def objects(value: Any) -> Iterator[Config]:
    """All JSON objects in a configuration, at any depth."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


@pytest.fixture(params=CONFIGS, ids=lambda file: file.name)
def config(request: pytest.FixtureRequest) -> Config:
    """Each configuration in turn."""
    return dict(json.loads(request.param.read_text()))


def transports(config: Config, internal: bool = False) -> list[Config]:
    """Where somebody may connect: clients, or with `internal` the node's own processes, at sockets in a folder that
    is closed to others."""
    found = [transport for worker in config["workers"] for transport in worker.get("transports", ())]
    return [one for one in found if one["endpoint"].get("path", "").startswith("sockets/") is internal]


def doors(config: Config) -> list[Config]:
    """What clients can come through: WebSocket paths, and raw sockets."""
    return [thing for thing in objects(transports(config)) if thing.get("type") in ("websocket", "rawsocket")]


def test_who_listens_only_to_this_machine(config: Config) -> None:
    endpoints = [transport["endpoint"] for transport in transports(config) + transports(config, internal=True)]
    assert endpoints
    for endpoint in endpoints:
        assert endpoint["type"] == "unix" or (endpoint["type"], endpoint.get("interface")) == ("tcp", "127.0.0.1")


def test_nobody_comes_in_anonymously(config: Config) -> None:
    assert doors(config)
    for door in doors(config):
        assert set(door["auth"]) == {"ticket", "cryptosign"}
    assert "anonymous" not in json.dumps(transports(config))


def test_the_nodes_own_sockets_are_closed_to_others(config: Config) -> None:
    """The authenticator sees to it that nobody else can open what it is told is private."""
    for transport in transports(config, internal=True):
        assert transport["endpoint"]["type"] == "unix"
        for component in objects(config):
            if component.get("classname") == "authenticator.Authenticator":
                assert "sockets" in component["extra"]["private_files"]


def test_every_login_is_asked_about(config: Config) -> None:
    """By a procedure in the authenticators' realm, or by a function: no credential lies in the configuration."""
    for door in doors(config):
        for name, method in door["auth"].items():
            if method["type"] == "dynamic":
                assert method["authenticator"] == f"com.example.authenticate.{name}"
                assert method["authenticator-realm"] == "realm-auth"
            else:
                assert (method["type"], method["create"]) == ("function", f"authenticator.create_{name}")


def test_limits_are_set(config: Config) -> None:
    for door in doors(config):
        assert 0 < door["options"]["max_message_size"] <= 1_000_000
        if door["type"] == "websocket":
            assert set(door["options"]) >= LIMITS
            assert "*" not in door["options"]["allowed_origins"]
            assert set(door["serializers"]) == {"json", "cbor", "msgpack"}
    for transport in transports(config):
        assert transport["type"] != "web" or 0 < transport["max_connections"] <= 100_000


def test_only_authenticators_are_in_their_realm(config: Config) -> None:
    """Where there are proxies, they ask; nobody else may do anything there."""
    (realm,) = (thing for thing in objects(config) if thing.get("name") == "realm-auth" and "roles" in thing)
    found = {
        role["name"]: [(rule["uri"], rule["match"], rule["allow"]) for rule in role["permissions"]]
        for role in realm["roles"]
    }
    expected = {"authenticator": [("com.example.authenticate.", "prefix", {"register": True})]}
    if any(worker["type"] == "proxy" for worker in config["workers"]):
        expected["proxy"] = [("com.example.authenticate.", "prefix", {"call": True})]
    assert found == expected


def test_no_role_may_everything(config: Config) -> None:
    """A rule for the prefix "" would also open the router's own procedures, which show and end others' sessions."""
    roles = [role for realm in objects(config) if "name" in realm for role in realm.get("roles", ())]
    assert {role["name"] for role in roles} <= {"authenticator", "authorizer", "backend", "frontend", "device", "proxy"}
    for rule in (thing for thing in objects(config) if "allow" in thing):
        assert rule["uri"]
        assert rule.get("match", "exact") == "exact" or rule["uri"].startswith("com.example.")


def test_the_demos_realms(config: Config) -> None:
    realms = [thing["name"] for thing in objects(config) if "roles" in thing and "name" in thing]
    assert sorted(realms) == ["devices", "realm-auth", "realm1"]


def test_both_ways_share_their_counts() -> None:
    """Settings that differed would make two doors of one, with twice the failures allowed."""
    (worker,) = json.loads((HERE / ".crossbar" / "config.json").read_text())["workers"]
    wired = [thing["extra"] for thing in worker["components"] if thing["classname"] == "authenticator.Authenticator"]
    wired += [thing["config"] for thing in objects(worker) if thing.get("type") == "function"]
    assert len(wired) == 3
    assert all(settings == wired[0] for settings in wired)
