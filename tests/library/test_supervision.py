"""Does a node end that has lost a part which logins need, and say which? (Starting and stopping: test_node.py.)"""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import CHOSEN, HERE, Bundle, MakeBundle, wait_for
from test_node import BOOT, READY, empty_bundle, start_node, until
from test_sessions import WATCHER
from websockets.exceptions import ConnectionClosed

from wampauth import pipes, supervision
from wampauth.nodeconfig import NodeError
from wampauth.supervision import Supervisor
from wampauth.testing import CALL, WELCOME, RawClient
from wampauth.worker import beat

TWO_AUTHENTICATORS = """
controller: {options: {shutdown: [shutdown_on_last_worker_exit]}}
workers:
  - {type: router, id: router}
  - {type: proxy}
  - &first {type: container, id: one, components: [{type: class, classname: authenticator.AuthenticatorSession}]}
  - {<<: *first, id: two}
  - {type: container, id: other, components: [{type: class, classname: backend.Backend}]}
"""


class FakeNode:
    """Ends when it is told to."""

    code: int | None = None

    def ended(self, patience: float = 0.0) -> int | None:
        return self.code

    def wait(self) -> int:
        return 1


class Watching:
    """A supervisor, and processes that stand for parts of a node."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (folder / "config.yaml").write_text(TWO_AUTHENTICATORS)
        self.told: list[str] = []
        self.ends_then = True  # the node, when something is told
        self.supervisor = stack.enter_context(Supervisor(folder, None, self._hear))
        self._stack = stack
        self._from_parts = os.open(self.supervisor.environment[beat.PIPE], os.O_WRONLY)
        stack.callback(os.close, self._from_parts)
        self.node: Any = FakeNode()

    def _hear(self, sentence: str) -> None:
        self.told.append(sentence)
        if self.ends_then:
            self.node.code = 0

    def part(self, name: str) -> "subprocess.Popen[bytes]":
        process = self._stack.enter_context(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        self._stack.callback(process.kill)
        self.beat(f"{process.pid} {name}")
        return process

    def beat(self, text: str | bytes) -> None:
        os.write(self._from_parts, (text if isinstance(text, bytes) else text.encode()) + b"\n")

    def ends(self) -> str:
        with pytest.raises(NodeError) as error:
            self.supervisor.watch(self.node)
        return str(error.value)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    with ExitStack() as stack:
        yield Watching(tmp_path, stack)


@pytest.mark.parametrize("name", ["router", "worker001", "other"])
def test_a_worker_ends(watching: Watching, name: str) -> None:
    watching.part("controller")
    watching.part(name).kill()
    assert watching.ends() == f"The node is stopped, since its worker {name} has ended: start it again."


def test_a_worker_that_has_ended_before_anybody_looked(watching: Watching) -> None:
    """It has told that it is there, and is gone when that is read."""
    router = watching.part("router")
    router.kill()
    router.wait()
    assert watching.ends() == "The node is stopped, since its worker router has ended: start it again."


@pytest.mark.parametrize("name", ["router", "worker001", "other"])
def test_a_worker_that_never_comes_up(watching: Watching, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(supervision, "START", 0.2)
    for other in {"router", "worker001", "one", "two", "other"} - {name}:
        watching.part(other)
    assert watching.ends() == f"The node is stopped, since its worker {name} has never answered: start it again."


def test_a_worker_of_another_python_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "workers: [{type: router, options: {python: /usr/bin/python3}}, {type: guest}]"
    )
    with Supervisor(tmp_path, None, print) as supervisor:
        assert supervisor._missing == set()


def test_the_controller_ends(watching: Watching) -> None:
    watching.part("controller").kill()
    assert watching.ends() == "The node is stopped, since its controller has ended: start it again."


@pytest.mark.parametrize("name", ["controller", "router"])
def test_a_process_hangs(watching: Watching, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is killed: a node can't be stopped in order while one of its processes hangs."""
    monkeypatch.setattr(supervision, "SILENCE", 0.5)
    hanging = watching.part(name)
    assert "hasn't answered for 0.5 seconds" in watching.ends()
    assert hanging.wait(BOOT) == -signal.SIGKILL


@pytest.mark.parametrize(("lost", "left"), [("one", "two"), ("two", "one")])
@pytest.mark.parametrize("hangs", [False, True])
def test_one_of_two_authenticators(
    watching: Watching, monkeypatch: pytest.MonkeyPatch, lost: str, left: str, hangs: bool
) -> None:
    """The other one goes on; one that hangs isn't asked any more."""
    process, other = watching.part(lost), watching.part(left)
    if hangs:
        monkeypatch.setattr(supervision, "SILENCE", 1.0)
        monkeypatch.setattr(supervision, "LOOK", 0.05)
        hear = watching.supervisor._listen

        def listen(now: float) -> None:
            watching.beat(f"{other.pid} {left}")
            hear(now)

        monkeypatch.setattr(watching.supervisor, "_listen", listen)
    else:
        process.kill()
    assert watching.supervisor.watch(watching.node) == 0
    assert process.wait(BOOT) == -signal.SIGKILL
    assert [line.partition(":")[2] for line in watching.told] == [
        f" {left} goes on alone. Start the node anew when it suits."
    ]


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        ("last_worker", "worker"),
        ("last_worker_exit", "worker_exit_with_error"),
        ("controller: ", "ignored: "),
        ("{<<: *first, id: two}", "{<<: *first, id: two, components: [{classname: x.Y}]}"),
        ("id: two}", "id: two, components: [{classname: authenticator.AuthenticatorSession, realm: another}]}"),
    ],
)
def test_an_authenticator_that_nobody_stands_in_for(tmp_path: Path, was: str, instead: str) -> None:
    """The node would end all the same; or the other one serves another realm."""
    assert was in TWO_AUTHENTICATORS
    (tmp_path / "config.yaml").write_text(TWO_AUTHENTICATORS.replace(was, instead))
    with Supervisor(tmp_path, None, print) as supervisor:
        assert not any(supervisor._stand_ins.values())


def test_both_authenticators(watching: Watching) -> None:
    watching.ends_then = False
    for process in watching.part("one"), watching.part("two"):
        process.kill()
    watching.part("other")
    assert re.fullmatch(r"The node is stopped, since its worker (one|two) has ended: start it again\.", watching.ends())


def test_the_same_name_in_another_process(watching: Watching) -> None:
    """A component that the router has started anew is the part from now on."""
    first = watching.part("router")
    second = watching.part("router")
    first.kill()
    first.wait()
    watching.beat(f"{second.pid} controller (ends in order)")
    assert watching.supervisor.watch(watching.node) == 0


def test_the_node_ends_in_order(watching: Watching) -> None:
    worker = watching.part("router")
    watching.beat(f"{os.getpid()} controller (ends in order) {worker.pid}")
    watching.beat(f"{worker.pid} router (ends in order)")
    worker.kill()
    assert watching.supervisor.watch(watching.node) == 0


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_node_that_ends_in_order_since_it_has_lost_a_worker(watching: Watching, is_killed: bool) -> None:
    """As a controller does by itself: we may hear of both at once, when all of it has ended."""
    other, router = watching.part("other"), watching.part("router")
    if not is_killed:
        watching.beat(f"{router.pid} router (ends in order)")
    watching.beat(f"{os.getpid()} controller (ends in order) {other.pid} {'' if is_killed else router.pid}")
    watching.beat(f"{other.pid} other (ends in order)")
    for process in other, router:
        process.kill()
        process.wait()
    watching.node.code = 1
    assert watching.ends() == "The node is stopped, since its worker router has ended: start it again."


def test_only_we_are_interrupted(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C reaches the node, too, and it ends by itself; another program's SIGINT doesn't."""
    monkeypatch.setattr(supervision, "PATIENCE", 0.1)
    watching.part("router")
    watching.supervisor.interrupted(signal.SIGINT, None)
    assert watching.supervisor.watch(watching.node) == 0


@pytest.mark.parametrize("code", [1, -9])
def test_the_node_ends_by_itself(watching: Watching, code: int) -> None:
    watching.node.code = code
    assert watching.ends() == f"The node has ended by itself (exit code {code})."


@pytest.mark.parametrize("line", [b"", b"\n\n", b"\xff", b"x router", b"-1 router", b"1" * 500])
def test_nonsense_in_the_pipe(watching: Watching, line: bytes) -> None:
    watching.beat(line)
    watching.node.code = 0
    watching.supervisor._look()
    assert watching.supervisor._parts == {}


def test_the_supervisor_was_stopped_for_a_while(watching: Watching) -> None:
    """As by Ctrl-Z. Nobody could be heard meanwhile, so nobody is taken to hang."""
    part = watching.part("router")
    watching.supervisor._look()
    watching.supervisor._looked -= 3600
    watching.supervisor._parts["router"].heard -= 3600
    watching.supervisor._look()
    assert part.poll() is None


def test_who_was_killed_leaves_nothing_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next supervisor removes its pipe; none that is heard or new, and nothing else."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, heard, new = (pipes.make() for _ in range(3))
    strange = tmp_path / "wampauth-strange"
    strange.mkdir()
    (strange / pipes.NAME).touch()
    (tmp_path / "wampauth-file").touch()
    for old in left.parent, heard.parent, strange:
        os.utime(old, (0, 0))
    hearing = os.open(heard, os.O_RDWR | os.O_NONBLOCK)
    made = pipes.make()
    os.close(hearing)
    kept = {heard.parent.name, new.parent.name, made.parent.name, strange.name, "wampauth-file"}
    assert {one.name for one in tmp_path.iterdir()} == kept
    assert heard.is_fifo() and (strange / pipes.NAME).exists()


def test_nobody_else_can_send_beats(watching: Watching) -> None:
    folder = Path(watching.supervisor.environment[beat.PIPE]).parent
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (
            ["python", "-u", "-m", "crossbar.worker.main", "--cbdir", "/x", "--worker", "proxy1", "--klass", "k"],
            "proxy1",
        ),
        (["python", "/bin/crossbar", "start", "--cbdir", "/x"], "controller"),
        (["python", "guest.py", "--worker", "proxy1"], None),
        (["python", "-m", "crossbar.worker.main", "--worker"], None),
        (["/bin/crossbar", "version"], None),
        ([], None),
    ],
)
def test_who_tells_of_itself(arguments: list[str], name: str | None) -> None:
    assert beat._name(arguments) == name


def test_a_service_manager_is_told(watching: Watching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By systemd's protocol: once it is ready, and then as long as all is well."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        router = watching.part("router")
        router.kill()
        router.wait()
        watching.beat(f"{os.getpid()} other")
        watching.ends()
        assert manager.recv(100) == b"READY=1"
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)  # it wasn't well any more


# Real nodes


def processes(start: "subprocess.Popen[str]") -> dict[str, psutil.Process]:
    """The node's, by the names that their titles end in."""
    (controller,) = psutil.Process(start.pid).children()
    children = {" ".join(child.cmdline()).strip().removeprefix("crossbar-"): child for child in controller.children()}
    return {**children, "controller": controller}


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["worker", "controller"])
def test_a_part_of_the_plain_node(tmp_path: Path, what: str, how: signal.Signals) -> None:
    """The start command tells which, and ends; the next start works at once."""
    bundle = empty_bundle(tmp_path)
    start = start_node(bundle)
    until(READY, start)
    found = processes(start)
    victim = found["controller"] if what == "controller" else next(one for name, one in found.items() if what in name)
    victim.send_signal(how)
    output, _ = start.communicate(timeout=BOOT)
    said = "has ended" if how == signal.SIGKILL else "hasn't answered for 15 seconds"
    named = "controller" if what == "controller" else "worker worker001"
    assert output == f"Error: The node is stopped, since its {named} {said}: start it again.\n" or (
        what == "controller" and output == "Error: The node has ended by itself (exit code -9).\n"
    )
    assert start.returncode == 1
    assert psutil.wait_procs(found.values(), BOOT)[1] == []
    again = start_node(bundle)
    until(READY, again)
    again.terminate()
    again.communicate(timeout=BOOT)


def test_a_node_that_is_told_to_end(tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path)
    start = start_node(bundle)
    until(READY, start)
    processes(start)["controller"].terminate()
    output, _ = start.communicate(timeout=BOOT)
    assert (start.returncode, "Error" in output) == (0, False)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("what", ["router", "authentication", "proxy1", "proxy2", "authenticator1"])
def test_a_part_of_the_scaled_node(make_bundle: MakeBundle, what: str, how: signal.Signals) -> None:
    """Of the authenticators, one may go."""
    bundle = make_bundle("scaled.yaml", start=False)
    (bundle.directory / "sockets").mkdir(0o700, exist_ok=True)
    start = start_node(bundle, "--directory", str(bundle.directory), "--config", "scaled.yaml")
    try:
        until(READY, start)
        wait_for(lambda: all(logs_in(bundle) for _ in range(4)), BOOT)  # both authenticators, which take turns
        wait_for(lambda: sum(listens_at(process, bundle.port) for process in processes(start).values()) == 2, BOOT)
        found = processes(start)
        found[what].send_signal(how)
        if what == "authenticator1":
            lines = until_one_says(start, "authenticator2 goes on alone")
            assert "The worker authenticator1 has" in lines[-1]
            assert logs_in(bundle)
            found["authenticator2"].send_signal(how)
        output, _ = start.communicate(timeout=BOOT)
        assert f"Error: The node is stopped, since its worker {what[:-1]}" in output
        assert start.returncode == 1
        assert psutil.wait_procs(found.values(), BOOT)[1] == []
    finally:
        start.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("config", "how"), [("config.json", "SIGSTOP"), ("hardened.yaml", "SIGKILL")])
def test_clients_come_back_by_themselves(config: str, how: str) -> None:
    """Under a supervisor that keeps to the unit, all those of examples/reconnect.py; and others can log in again."""
    options = ("--config", config, "--what", "worker", "--how", how)
    command = [sys.executable, str(HERE / "tools" / "bench" / "killed.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"| `{config}`: worker |" in done.stdout


def listens_at(process: psutil.Process, port: int) -> bool:
    """Whether it is a proxy that is ready: the second comes up behind the first."""
    return any(one.laddr.port == port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN)


def logs_in(bundle: Bundle) -> bool:
    with RawClient(bundle.url) as client:
        return bool(client.login_ticket("client1", CHOSEN)[0] == WELCOME)


def until_one_says(process: "subprocess.Popen[str]", words: str) -> list[str]:
    """Read what it writes up to a line with these words."""
    assert process.stdout is not None
    lines = [""]
    while words not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return lines


def let_clients_kill(config: dict[str, Any]) -> None:
    """Give a ticket's role the right to put others out of its realm, and `Sessions` a role that isn't the router's."""
    (worker,) = config["workers"]
    realm = next(realm for realm in worker["realms"] if realm["name"] == "realm1")
    frontend = next(role for role in realm["roles"] if role["name"] == "frontend")
    frontend["permissions"] = [{"uri": "wamp.session.", "match": "prefix", "allow": {"call": True}}]
    realm["roles"].append(WATCHER)
    watching = (one for one in worker["components"] if one["classname"].endswith("Sessions"))
    next(one for one in watching if one["realm"] == "realm1")["role"] = WATCHER["name"]


def test_sessions_are_put_out_of_their_realm(make_bundle: MakeBundle) -> None:
    """Nobody would end who is revoked: the node ends, and says why."""
    bundle: Bundle = make_bundle(start=False)
    bundle.edit_config(let_clients_kill)
    node = bundle.start()
    with suppress(ConnectionClosed), closing(RawClient(bundle.url)) as client:  # the node ends while we kill
        _, me, _ = client.login_ticket("client1", CHOSEN)
        for session in client.request(CALL, {}, "wamp.session.list")[3][0]:
            if session != me:
                client.request(CALL, {}, "wamp.session.kill", [session], {"reason": f"test.{secrets.token_hex(4)}"})
    assert node.ended(BOOT) not in (None, 0)
    assert "aren't watched any more, since the component was put out of it" in bundle.log
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", bundle.port), 1).close()
