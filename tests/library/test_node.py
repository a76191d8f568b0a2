"""Does the node come up quiet, closed to the outside and complete, or else not at all?"""

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner
from conftest import CHOSEN, Bundle, Config, MakeBundle, wait_for
from nacl.signing import SigningKey

from wampauth import cli
from wampauth.cli.start import _run as run_command
from wampauth.store import create
from wampauth.testing import ABORT, WELCOME, Message, Node, NodeError, RawClient, free_port, node
from wampauth.testing.node import require_not_running
from wampauth.testing.transports import Transport, read
from wampauth.worker import FOLDER

BOOT = 90.0  # seconds in which a node must have come up or given up, also on a busy machine
AT_ONCE = 3  # boots
EXPECTED_LINE = re.compile(r"(\S+ \[Controller +\d+\] *)?(Received SIG(TERM|INT), shutting down\.)?")
STARTING = "Starting the node ..."
READY = "The node is ready. Ctrl-C stops it."


def empty_bundle(folder: Path, **settings: Any) -> Bundle:
    """A node directory with a store that knows nobody. Cheap to make."""
    bundle = Bundle(folder / ".crossbar")
    bundle.directory.mkdir()
    bundle.write_config(settings)
    create(str(bundle.store))
    return bundle


def edit_worker(bundle: Bundle, edit: Callable[[Config], object]) -> None:
    """Change the configuration of its first worker."""
    bundle.edit_config(lambda config: edit(config["workers"][0]))


def listening_at(folder: Path, *transports: Config) -> Bundle:
    """A node directory like the above, with the WebSockets of the demo at other transports."""

    def edit(worker: Config) -> None:
        (web,) = worker["transports"]
        defaults: Config = {
            "web": {"paths": web["paths"]},
            "websocket": {"auth": web["paths"]["ws"]["auth"]},
            "rawsocket": {"auth": web["paths"]["ws"]["auth"]},
        }
        worker["transports"] = [{**defaults[transport["type"]], **transport} for transport in transports]

    bundle = empty_bundle(folder)
    edit_worker(bundle, edit)
    return bundle


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def write_pid(bundle: Bundle, pid: int) -> Path:
    """What a node leaves behind that was killed."""
    file = bundle.directory / "node.pid"
    file.write_text(json.dumps({"pid": pid}))
    return file


# -- wampauth start


def start_node(bundle: Bundle, *args: str, **options: Any) -> "subprocess.Popen[str]":
    """``wampauth start`` for this bundle, in a session of its own, which has no terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "wampauth", "start", *args],
        cwd=bundle.directory.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
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
    process = start_node(bundle, sys.executable, "-c", probe)
    output, _ = process.communicate(timeout=BOOT)
    assert process.returncode == 3
    assert not listens(bundle.port)
    lines = output.splitlines()
    lines.remove("open")
    assert nothing_unexpected(lines)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_node_until_it_is_stopped(tmp_path: Path, ending: signal.Signals) -> None:
    """SIGTERM goes to all processes at once, as ``timeout`` and systemd send it by themselves; the others only to the
    start command. (Ctrl-C and a terminal that is closed: below.)"""
    bundle = empty_bundle(tmp_path)
    process = start_node(bundle)
    try:
        lines = until(READY, process)
        second = start_node(bundle)
        output, _ = second.communicate(timeout=BOOT)
        assert (second.returncode, output.count("\n")) == (1, 2)
        assert re.search(
            r"^Error: A node is running already \(process (\d+)\): "
            r"stop it with `kill \1`, or `kill -9 \1` if it hangs\.$",
            output,
            re.M,
        )
        os.kill(-process.pid if ending == signal.SIGTERM else process.pid, ending)
        output, _ = process.communicate(timeout=BOOT)
        assert not listens(bundle.port)
        assert nothing_unexpected(lines + output.splitlines())
    finally:
        if listens(bundle.port):
            os.killpg(process.pid, signal.SIGKILL)


def test_the_advice_works(tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path)
    process = start_node(bundle)
    until(READY, process)
    with pytest.raises(NodeError) as error:
        Node(bundle.directory).start()
    found = re.search(r"`kill (\d+)`", str(error.value))
    assert found
    os.kill(int(found[1]), signal.SIGTERM)
    process.communicate(timeout=BOOT)
    assert not listens(bundle.port)


def test_the_start_command_is_killed(tmp_path: Path) -> None:
    """The node ends, too, with all its processes, and the next one starts."""
    bundle = empty_bundle(tmp_path)
    process = start_node(bundle)
    until(READY, process)
    (controller,) = psutil.Process(process.pid).children()
    family = [controller, *controller.children(recursive=True)]
    process.kill()
    process.wait()
    gone, left = psutil.wait_procs(family, BOOT)
    assert (len(gone), left) == (len(family), [])
    with Node(bundle.directory):
        assert listens(bundle.port)


@pytest.mark.parametrize("hanging", ["controller", "worker"])
def test_no_zombie_controller(tmp_path: Path, hanging: str) -> None:
    """One of its processes hangs when the start command is killed, so that the node can't end in order: the next start
    tells how to end it, and then comes up."""
    bundle = empty_bundle(tmp_path)
    process = start_node(bundle)
    until(READY, process)
    (controller,) = psutil.Process(process.pid).children()
    family = [controller, *controller.children(recursive=True)]
    family[hanging == "worker"].suspend()
    process.kill()
    process.wait()
    with pytest.raises(NodeError) as error:
        Node(bundle.directory).start()
    advice = re.search(r"`kill -9 (\d+)` if it hangs", str(error.value))
    assert advice
    os.kill(int(advice[1]), signal.SIGKILL)
    assert psutil.wait_procs(family, BOOT)[1] == []
    with Node(bundle.directory):
        assert listens(bundle.port)


@pytest.mark.parametrize("hangs", [False, True])
def test_the_controller_is_killed(tmp_path: Path, hangs: bool) -> None:
    """The start command ends, and says so by its exit code. The workers end, too, also one that hangs."""
    bundle = empty_bundle(tmp_path)
    process = start_node(bundle)
    until(READY, process)
    (controller,) = psutil.Process(process.pid).children()
    workers = controller.children(recursive=True)
    if hangs:
        workers[0].suspend()
    controller.kill()
    process.communicate(timeout=BOOT)
    assert process.returncode not in (0, None)
    assert psutil.wait_procs(workers, BOOT)[1] == []
    with Node(bundle.directory):
        assert listens(bundle.port)


def test_a_controller_that_nobody_has_waited_for(tmp_path: Path) -> None:
    """It is dead, and still a process: the next start takes it for what it is."""
    bundle = empty_bundle(tmp_path)
    first = Node(bundle.directory)
    first.start()
    pid = json.loads((bundle.directory / "node.pid").read_text())["pid"]
    workers = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(workers, BOOT)
    assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    with Node(bundle.directory):
        assert listens(bundle.port)
    first.stop()


@pytest.fixture
def terminal() -> Iterator[Callable[[Bundle], tuple[int, int]]]:
    """Run ``wampauth start`` in a terminal of its own; its process id, and the terminal's other end."""
    started: list[int] = []

    def start(bundle: Bundle) -> tuple[int, int]:
        pid, other_end = pty.fork()
        if pid == 0:
            os.chdir(bundle.directory.parent)
            os.execv(sys.executable, [sys.executable, "-m", "wampauth", "start"])
        started.append(pid)
        written = b""
        while READY.encode() not in written:
            written += os.read(other_end, 1000)
        return pid, other_end

    yield start
    for pid in started:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def test_in_a_terminal_the_advice_is_ctrl_c(tmp_path: Path, terminal: Callable[[Bundle], tuple[int, int]]) -> None:
    bundle = empty_bundle(tmp_path)
    pid, other_end = terminal(bundle)
    with pytest.raises(NodeError, match=r"\(process \d+\): stop it with Ctrl-C in its terminal, or"):
        Node(bundle.directory).start()
    os.write(other_end, b"\x03")
    os.waitpid(pid, 0)
    assert not listens(bundle.port)
    os.close(other_end)


def test_the_terminal_is_closed(tmp_path: Path, terminal: Callable[[Bundle], tuple[int, int]]) -> None:
    bundle = empty_bundle(tmp_path)
    pid, other_end = terminal(bundle)
    family = psutil.Process(pid).children(recursive=True)
    os.close(other_end)
    os.waitpid(pid, 0)
    _, left = psutil.wait_procs(family, BOOT)
    assert left == []
    with Node(bundle.directory):  # whatever node.pid says now
        assert listens(bundle.port)


def is_router(process: psutil.Process) -> bool:
    """Whether that is Crossbar.io, and not a check of the configuration that may have ended by now."""
    try:
        return "start" in process.cmdline()
    except psutil.Error:
        return False


def test_a_node_that_is_stopped_while_it_starts(tmp_path: Path) -> None:
    process = start_node(empty_bundle(tmp_path))
    until(STARTING, process)
    wait_for(lambda: any(map(is_router, psutil.Process(process.pid).children())), BOOT)
    process.terminate()
    output, _ = process.communicate(timeout=BOOT)  # until the last of its processes has ended
    assert process.returncode == 128 + signal.SIGTERM
    assert nothing_unexpected(output.splitlines())


@pytest.mark.parametrize("name", ["own.json", "own.yaml"])
@pytest.mark.parametrize("content", [None, "{", "{}", "[]", "workers: [", '{"workers": [{"transports": [{}]}]}'])
def test_a_configuration_that_is_none(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    result = CliRunner().invoke(cli.main, ["start", "--directory", str(tmp_path), "--config", name])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert re.fullmatch(rf"Starting the node \.\.\.\nError: .*{name}.*\.\n", result.output)


def test_no_configuration_at_all(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.main, ["start", "--directory", str(tmp_path)])
    assert result.exit_code == 1
    sentence = f"Error: There is no config.yaml or config.json in {tmp_path}: `wampauth init` writes one.\n"
    assert result.output.endswith(sentence)


def test_no_loglevel_at_which_the_router_writes_tickets() -> None:
    """At debug, it does: ``onAuthenticate: secret123``."""
    result = CliRunner().invoke(cli.main, ["start", "--loglevel", "debug"])
    assert result.exit_code == 2
    assert "'debug' is not one of" in result.output


def test_a_command_that_cannot_be_run() -> None:
    with pytest.raises(NodeError, match=r"^nosuchcommand can't be run: No such file or directory$"):
        run_command(("nosuchcommand",))


def test_options_of_the_command_are_its_own(tmp_path: Path) -> None:
    show = "import sys; print(sys.argv[1:])"
    process = start_node(empty_bundle(tmp_path), sys.executable, "-c", show, "--config", "a", "--loglevel", "b", "-h")
    output, _ = process.communicate(timeout=BOOT)
    assert "['--config', 'a', '--loglevel', 'b', '-h']" in output


# -- an address that is taken, and a node.pid that says who has it


def test_a_node_that_runs_already(deaf: Bundle) -> None:
    with pytest.raises(NodeError, match=r"^A node is running already \(process \d+\): stop it"):
        Node(deaf.directory).start()


def test_a_node_that_is_started_twice_at_once(deaf: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither has found another one. Crossbar.io ends the second, and says why where nobody reads it."""
    looks = iter([lambda _: None, node.require_not_running])
    monkeypatch.setattr(node, "require_not_running", lambda directory: next(looks)(directory))
    monkeypatch.setattr(Transport, "require_free", lambda *_: None)
    ended = subprocess.Popen(["false"])
    ended.wait()
    monkeypatch.setattr(Node, "_launch", lambda *_: ended)
    with pytest.raises(NodeError, match=r"^A node is running already \(process \d+\): stop it"):
        Node(deaf.directory).start()


def test_another_program_on_the_port(tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path)
    with (
        socket.create_server(("127.0.0.1", bundle.port)),
        pytest.raises(NodeError, match=rf"^Another program uses port {bundle.port}: stop it, or change the port"),
    ):
        Node(bundle.directory).start()


def test_another_program_at_the_unix_socket(tmp_path: Path) -> None:
    bundle = listening_at(tmp_path, {"type": "rawsocket", "endpoint": {"type": "unix", "path": "own/raw.sock"}})
    (bundle.directory / "own").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(bundle.directory / "own" / "raw.sock"))
        other.listen()
        with pytest.raises(NodeError, match=r"^Another program uses path \S+/raw\.sock: stop it, or change the path"):
            Node(bundle.directory).start()


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    endpoint = {"type": "tcp", "interface": "192.0.2.1", "port": free_port()}  # RFC 5737: nobody's
    bundle = listening_at(tmp_path, {"type": "web", "endpoint": endpoint})
    with pytest.raises(NodeError, match=rf"^The node can't listen at 192\.0\.2\.1, port {endpoint['port']}: Cannot"):
        Node(bundle.directory).start()


def test_a_process_id_of_nobody(tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    write_pid(bundle, ended.pid)
    with socket.create_server(("127.0.0.1", bundle.port)), pytest.raises(NodeError, match=r"^Another program"):
        Node(bundle.directory).start()


@pytest.mark.parametrize("title", ["sleep", "crossbar-demo.py"])
def test_a_process_id_of_somebody_else(tmp_path: Path, title: str) -> None:
    """Ids come back, after a reboot or in a container. Crossbar.io wouldn't start because of the second one."""
    bundle = empty_bundle(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()", title], stdin=subprocess.PIPE) as somebody:
        write_pid(bundle, somebody.pid)
        with Node(bundle.directory):
            assert listens(bundle.port)
        somebody.communicate(b"\n")


def test_a_process_id_of_another_node(tmp_path: Path, deaf: Bundle) -> None:
    bundle = empty_bundle(tmp_path)
    write_pid(bundle, json.loads((deaf.directory / "node.pid").read_text())["pid"])
    with Node(bundle.directory):
        assert listens(bundle.port)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x"}', '{"pid": 0}', '{"pid": -1}', '{"pid": null}'])
def test_a_node_pid_that_says_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "node.pid"
    file.write_text(content)
    require_not_running(tmp_path)
    assert not file.exists()


FROM_A_THREAD = """
import sys, threading
from pathlib import Path
from wampauth.testing import Node
node = Node(Path(sys.argv[1]))
thread = threading.Thread(target=node.start)
thread.start()
thread.join()
print(node._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_program_is_killed_that_started_a_node_in_a_thread(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FROM_A_THREAD, str(empty_bundle(tmp_path).directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        controller = psutil.Process(int(program.stdout.readline()))
        program.kill()
    assert psutil.wait_procs([controller], BOOT)[1] == []


def test_a_thread_that_ends_takes_no_node_along(tmp_path: Path) -> None:
    """To the kernel, it is the thread that is the parent."""
    node = Node(empty_bundle(tmp_path).directory)
    thread = Thread(target=node.start)
    thread.start()
    thread.join()
    try:
        assert node._process is not None
        with pytest.raises(subprocess.TimeoutExpired):
            node._process.wait(1)
    finally:
        node.stop()


# -- where it listens


def serves(url: str, **options: Any) -> bool:
    """Whether the demo's checks are asked there."""
    with RawClient(url, **options) as client:
        return client.login_ticket("nobody", "no ticket")[2] == "com.example.invalid_ticket"


ELSEWHERE: list[tuple[str, Config]] = [
    ("127.0.0.2", {"interface": "127.0.0.2"}),
    ("127.0.0.3", {"interface": "127.0.0.3", "shared": True}),
    ("::1", {"interface": "::1", "version": 6}),
    ("::1", {"interface": "::1"}),
    ("127.0.0.1", {"interface": "localhost"}),
]


def test_other_addresses(tmp_path: Path) -> None:
    """What a foreign program at 127.0.0.1 answers to the same question is none of our business."""
    endpoints = [{"type": "tcp", "port": free_port(), **endpoint} for _, endpoint in ELSEWHERE]
    bundle = listening_at(tmp_path, *({"type": "web", "endpoint": endpoint} for endpoint in endpoints))
    with ExitStack() as stack:
        for (host, _), endpoint in zip(ELSEWHERE, endpoints, strict=True):
            if host != "127.0.0.1":
                stack.enter_context(socket.create_server(("127.0.0.1", endpoint["port"])))
        stack.enter_context(Node(bundle.directory))
        for (host, _), endpoint in zip(ELSEWHERE, endpoints, strict=True):
            name = f"[{host}]" if ":" in host else host
            assert serves(f"ws://{name}:{endpoint['port']}/ws")


def test_a_foreign_node_does_not_pass_for_ours(tmp_path: Path, deaf: Bundle) -> None:
    endpoint = {"type": "tcp", "interface": "127.0.0.2", "port": deaf.port}
    bundle = listening_at(tmp_path, {"type": "web", "endpoint": endpoint})
    (transport,) = {way.address for way in read(bundle.directory, bundle.config)}
    assert transport == ("127.0.0.2", deaf.port)
    bundle.store.unlink()  # so that ours can't start
    with (tmp_path / "log").open("wb") as log, pytest.raises(NodeError, match=r"^The node didn't start"):
        Node(bundle.directory, output=log).start()
    assert listens(deaf.port)


def test_all_interfaces(tmp_path: Path) -> None:
    """Looked at only: it would listen to the outside, too."""
    port = free_port()
    bundle = listening_at(tmp_path, {"type": "rawsocket", "endpoint": {"type": "tcp", "port": port}})
    (transport,) = read(bundle.directory, bundle.config)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(NodeError, match=r"^Another program"):
        transport.require_free("config.json")
    with socket.create_server(("127.0.0.1", port)) as server, ThreadPoolExecutor() as pool:
        asked = pool.submit(transport.answers)
        server.accept()[0].sendall(b"\x7f")
        assert asked.result()


def test_a_port_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = {"type": "tcp", "interface": "127.0.0.1", "port": "$DEMO_PORT"}
    bundle = listening_at(tmp_path, {"type": "web", "endpoint": endpoint})
    with pytest.raises(NodeError, match=r"the port is \$DEMO_PORT, and that variable holds no number"):
        Node(bundle.directory).start()
    monkeypatch.setenv("DEMO_PORT", str(port := free_port()))
    with Node(bundle.directory):
        assert serves(f"ws://127.0.0.1:{port}/ws")


def test_every_kind_of_transport(tmp_path: Path) -> None:
    """When the node is ready, all of them are."""
    tcp, unix = {"type": "tcp", "interface": "127.0.0.1"}, {"type": "unix"}
    websocket, raw, cbor = free_port(), free_port(), free_port()
    bundle = listening_at(
        tmp_path,
        {"type": "websocket", "endpoint": {**tcp, "port": websocket}},
        {"type": "rawsocket", "endpoint": {**tcp, "port": raw}},
        {"type": "rawsocket", "endpoint": {**tcp, "port": cbor}, "serializers": ["cbor"]},
        {"type": "websocket", "endpoint": {**unix, "path": "own/ws.sock"}},
        {"type": "websocket", "endpoint": {**unix, "path": "own/cbor.sock"}, "serializers": ["cbor"]},
        {"type": "rawsocket", "endpoint": {**unix, "path": "own/raw.sock"}},
        {"type": "web", "endpoint": {**unix, "path": "own/web.sock"}},
    )
    log = tmp_path / "log"
    with log.open("wb") as output, Node(bundle.directory, output=output):
        transports = read(bundle.directory, bundle.config)
        assert len(transports) == 8  # a web transport has two WebSockets
        assert all(transport.answers() for transport in transports)
        assert serves(f"ws://127.0.0.1:{websocket}")
        for name in "ws", "web":
            path = str(bundle.directory / "own" / f"{name}.sock")
            assert serves("ws://localhost/ws", unix=True, path=path)
        for port in raw, cbor:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(bytes((0x7F, 0xF3, 0, 0)))  # RawSocket with CBOR
                assert client.recv(4)[:2] == bytes((0x7F, 0xF3))
    assert [line for line in log.read_text().splitlines() if not EXPECTED_LINE.fullmatch(line)] == []
    assert stat.S_IMODE((bundle.directory / "own").stat().st_mode) == 0o700


def test_yaml_goes_before_json(tmp_path: Path) -> None:
    """As with Crossbar.io. With an anchor, a merge, and a comment."""
    bundle = empty_bundle(tmp_path)
    (worker,) = json.loads((bundle.directory / "config.json").read_text())["workers"]
    (web,) = worker.pop("transports")
    endpoint, port = web.pop("endpoint"), free_port()
    (bundle.directory / "config.yaml").write_text(
        "version: 2  # of the format\nworkers:\n"
        f"- {json.dumps(worker)[:-1]}, transports: [\n"
        f"  &web {json.dumps(web)[:-1]}, endpoint: {json.dumps({**endpoint, 'port': port})}}},\n"
        f"  {{<<: *web, endpoint: {json.dumps({**endpoint, 'port': free_port()})}}}]}}\n"
    )
    with Node(bundle.directory):
        assert serves(f"ws://127.0.0.1:{port}/ws")
        assert not listens(bundle.port)


def test_where_a_configuration_leaves_open_where_it_listens(tmp_path: Path) -> None:
    endpoint = {"type": "tcp", "interface": "127.0.0.1", "portrange": [20000, 20009]}
    bundle = listening_at(tmp_path, {"type": "web", "endpoint": endpoint})
    assert read(bundle.directory, bundle.config) == []


def test_a_transport_that_asks_for_certificates(tmp_path: Path) -> None:
    """We have none, so that taking connections is as much as we see of it."""
    tls = {"key": "k", "certificate": "c", "ca_certificates": ["ca"]}
    bundle = listening_at(tmp_path, {"type": "web", "endpoint": {"type": "tcp", "port": 1, "tls": tls}})
    assert [(way.kind, way.tls) for way in read(bundle.directory, bundle.config)] == [("other", False)]


# -- folders of Unix domain sockets


def unix_node(folder: Path, path: str) -> Bundle:
    return listening_at(folder, {"type": "rawsocket", "endpoint": {"type": "unix", "path": path}})


def test_the_node_directory_is_closed_where_a_socket_lies_in_it(tmp_path: Path) -> None:
    bundle = unix_node(tmp_path, "raw.sock")
    bundle.directory.chmod(0o755)
    with Node(bundle.directory):
        assert stat.S_IMODE(bundle.directory.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
def test_a_node_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    bundle = unix_node(tmp_path, "raw.sock")
    bundle.directory.chmod(0o755)
    os.chown(bundle.directory, 65534, -1)
    with pytest.raises(NodeError, match=r"^Others can enter \S+/\.crossbar \(mode 0755\), and so use the socket in it"):
        Node(bundle.directory).start()
    assert stat.S_IMODE(bundle.directory.stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_enter(tmp_path: Path, mode: int) -> None:
    bundle = unix_node(tmp_path, "own/raw.sock")
    folder = bundle.directory / "own"
    folder.mkdir()
    folder.chmod(mode)
    advice = re.escape(f"(mode {mode:04o}), and so use the socket in it: `chmod 700 {folder}`.")
    with pytest.raises(NodeError, match=rf"^Others can enter {folder} {advice}$"):
        Node(bundle.directory).start()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    bundle = unix_node(tmp_path, "principals.db/raw.sock")
    with pytest.raises(NodeError, match=r"principals\.db: (File exists|Not a directory)\.$"):
        Node(bundle.directory).start()


# -- what must not come up


def forbid_registering(bundle: Bundle) -> None:
    def edit(worker: Config) -> None:
        (role,) = (role for realm in worker["realms"] for role in realm["roles"] if role["name"] == "authenticator")
        role["permissions"] = []

    edit_worker(bundle, edit)


BROKEN: dict[str, tuple[Callable[[Bundle], object], str]] = {
    "authenticator may not register": (forbid_registering, "can't start: ApplicationError: wamp.error.not_authorized"),
    "store is missing": (lambda bundle: bundle.store.unlink(), "there is no store at principals.db"),
}


VAULT = """
from pathlib import Path

from wampauth import Authenticator

SECRET = Path("vault").read_text()
{imported}

class Checks:
    def __init__(self, settings):
        {made}

    async def start(self, session):
        {started}

    def ticket(self, claim):
        return None

vault = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession, Sessions = vault.component, vault.sessions
create_ticket = create_cryptosign = vault.function("ticket")
"""
IN_THE_VAULT = "open-sesame"
OPENING = {  # where an author's module fails over what is secret, and what is told of it
    "imported": "Stopped: ValueError (vault.py:7)",
    "made": "extra configuration: the checks can't be made: ValueError (vault.py:11)",
    "started": "the authenticator can't start: ValueError (vault.py:14)",
}


def put_a_secret(where: str) -> Callable[[Bundle], object]:
    def put(bundle: Bundle) -> None:
        steps = {name: "int(SECRET)" if name == where else "..." for name in OPENING}
        (bundle.directory / "vault.py").write_text(VAULT.format(**steps))
        (bundle.directory / "vault").write_text(IN_THE_VAULT)
        config = bundle.directory / bundle.config
        config.write_text(config.read_text().replace('"authenticator.', '"vault.'))
        edit_worker(bundle, lambda worker: worker["options"]["pythonpath"].append(str(bundle.directory)))

    return put


BROKEN |= {name: (put_a_secret(name), sentence) for name, sentence in OPENING.items()}


def boot(folder: Path, spoil: Callable[[Bundle], object]) -> tuple[int | None, str, bool]:
    """Exit code, output and whether it listened after all, of a node in which something is spoilt."""
    bundle = empty_bundle(folder)
    spoil(bundle)
    with (folder / "log").open("wb") as log:
        command = [str(Path(sys.executable).with_name("crossbar")), "start", "--loglevel", "error"]
        command += ["--cbdir", str(bundle.directory)]
        path = os.pathsep.join([str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path}
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
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
    assert IN_THE_VAULT not in output


def test_a_configuration_that_the_node_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = empty_bundle(tmp_path)
    edit_worker(bundle, lambda worker: worker.update(nosuch=1))
    with pytest.raises(NodeError, match=r"^The node didn't start: the lines above say why"):
        Node(bundle.directory).start()
    assert "encountered unknown attribute 'nosuch'" in capfd.readouterr().err


# -- an authenticator that doesn't answer, a store that is gone

DEAF = """
from twisted.internet.defer import Deferred

from wampauth import Authenticator


class Checks:
    def __init__(self, settings):
        pass

    def ticket(self, claim):
        return Deferred()

    def cryptosign(self, claim):
        return Deferred()


deaf = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = deaf.component
create_ticket = deaf.function("ticket")
create_cryptosign = deaf.function("cryptosign")
"""


@pytest.fixture(scope="module")
def deaf(make_bundle: MakeBundle) -> Iterator[Bundle]:
    """A node with the transport "ws-whole" as in the bundle, and two more whose checks never answer."""

    def make_deaf(worker: Config) -> None:
        paths = worker["transports"][0]["paths"]
        paths["ws-whole"] = json.loads(json.dumps(paths["ws-function"]))
        for method in paths["ws-function"]["auth"].values():
            method["create"] = method["create"].replace("authenticator.", "deaf.")
        for component in worker["components"]:
            if component["classname"] == "authenticator.AuthenticatorSession":
                component["classname"] = "deaf.AuthenticatorSession"
                component["extra"]["guard"]["deadline"] = 0.5
            if component["classname"] == "authenticator.Sessions":
                component["extra"] = {"store": "principals.db", "guard": {"refusal_delay": 0.01}}
        worker["options"]["pythonpath"].append(str(bundle.directory))

    bundle = make_bundle(start=False, refusal_delay=0.01)
    edit_worker(bundle, make_deaf)
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
    wait_for(lambda: logged in bundle.log)  # it takes the way through the node's controller
    return record["outcome"] == "unavailable"


@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
@pytest.mark.parametrize("path", ["ws", "ws-function"])
def test_a_check_that_never_answers(deaf: Bundle, path: str, method: str) -> None:
    answer = attempt(f"ws://127.0.0.1:{deaf.port}/{path}", method, deaf.device)
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
