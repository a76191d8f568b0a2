"""How is the node started, waited for, and stopped?

``wampauth start`` and the tests use the same class, and so may yours::

    with Node(Path(".crossbar")):
        ...  # every transport of its configuration answers
"""

import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any

import psutil  # type: ignore[import-untyped]

from wampauth import worker
from wampauth.nodeconfig import NodeError, choose
from wampauth.testing.transports import Transport, read

START_TIMEOUT = 60.0  # seconds; a node takes 3 to 8
STOP_TIMEOUT = 15.0  # seconds
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
LAUNCHER = ThreadPoolExecutor(1)  # a child's parent is a thread: this one lives as long as the process

__all__ = ["START_TIMEOUT", "Node", "NodeError"]


class Node:
    """A Crossbar.io node: a context manager that has it ready on entry and gone on exit."""

    def __init__(
        self,
        directory: Path,
        config: str | None = None,
        output: IO[Any] | None = None,
        loglevel: str = "error",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """
        :param directory: the node directory, with the configuration file `config` in it.
        :param config: None: ``config.yaml`` or else ``config.json``.
        :param output: where its log goes; None: to ours.
        :param loglevel: at ``warn`` and ``info`` the router writes about attempts, as many as ``logs.py`` lets it.
        :param environment: what its processes find there, beside ours.
        """
        self.directory = directory
        self._config = config
        self._output = output
        self._loglevel = loglevel
        self._more = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node and wait until every transport of its configuration answers.

        On Linux, the node ends with this process, whatever ends that.

        :raises NodeError: if one of its addresses is taken, if others can enter the folder of a Unix domain socket, if
            the node ends before it is ready, or after 60 seconds.
        """
        config = choose(self.directory, self._config)
        transports = read(self.directory, config)
        require_not_running(self.directory)
        for transport in transports:
            transport.require_free(config)
        close_folders(self.directory, transports)
        self._process = self._launch(config)
        try:
            for transport in transports:
                self._wait_for(transport)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ask the node to end, and see that it does."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._kill()

    def wait(self) -> int:
        """Wait until the node ends by itself, and return its exit code."""
        assert self._process is not None
        return self._process.wait()

    def ended(self, patience: float = 0.0) -> int | None:
        """The exit code of the node, if it ends within `patience` seconds; else None."""
        assert self._process is not None
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, config: str) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("crossbar")), "start", "--loglevel", self._loglevel]
        command += ["--cbdir", str(self.directory.absolute()), "--config", config]
        quiet = subprocess.DEVNULL if self._loglevel == "error" else None  # errors go to stderr
        try:
            return LAUNCHER.submit(
                subprocess.Popen,
                command,
                stdout=self._output or quiet,
                stderr=subprocess.STDOUT if self._output else None,
                cwd=self.directory,  # a worker looks for modules in it before all that is configured
                env={**_environment(), **self._more},
                preexec_fn=_end_with_us(),
            ).result()
        except OSError as error:
            raise NodeError(f"{command[0]} can't be run: {error.strerror}.") from None

    def _wait_for(self, transport: Transport) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            answered = transport.answers()
            if self._process.poll() is not None:  # whoever may have answered
                require_not_running(self.directory)  # it may have been started twice at once, and says so to nobody
                raise NodeError("The node didn't start: the lines above say why.")
            if answered:
                return
            if time.monotonic() > deadline:
                raise NodeError(f"The node wasn't ready after {START_TIMEOUT:g} seconds.")
            time.sleep(0.05)

    def _kill(self) -> None:
        """End its processes one by one: a worker whose reactor hangs wouldn't notice that its controller is gone."""
        assert self._process is not None
        workers: list[psutil.Process] = []
        with suppress(psutil.Error):
            workers = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        for child in workers:
            with suppress(psutil.Error):
                child.kill()


def require_not_running(directory: Path) -> None:
    """See that no node runs in `directory`, and take away what one that was killed has left.

    Crossbar.io itself refuses to start where a program of whatever node has the process id in ``node.pid``.

    :raises NodeError: if one runs, with the way to stop it.
    """
    file = directory / "node.pid"
    try:
        process = psutil.Process(int(json.loads(file.read_text())["pid"]))
        ours = _is_node_of(process, directory)
    except FileNotFoundError:
        return
    except psutil.AccessDenied:
        ours = True  # for all we may know
    except (ValueError, LookupError, TypeError, psutil.Error):
        ours = False
    if not ours:
        file.unlink(missing_ok=True)
        return
    way = "Ctrl-C in its terminal" if _is_in_foreground(process.pid) else f"`kill {process.pid}`"
    force = f"`kill -9 {process.pid}`"  # its workers end with it
    raise NodeError(f"A node is running already (process {process.pid}): stop it with {way}, or {force} if it hangs.")


def close_folders(directory: Path, transports: Iterable[Transport]) -> None:
    """See that nobody else can enter the folders of Unix domain sockets: Crossbar.io opens these to all users of the
    machine. A folder that isn't there is made, and the node directory is closed.

    :raises NodeError: if others can enter one of them.
    """
    for folder in dict.fromkeys(way.address.parent for way in transports if isinstance(way.address, Path)):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
            if folder.resolve() == directory.resolve() and found.st_uid == os.geteuid():
                folder.chmod(0o700)
                continue
        except OSError as error:
            raise NodeError(f"{folder}: {error.strerror}.") from None
        if (mode := stat.S_IMODE(found.st_mode)) & 0o077:
            raise NodeError(
                f"Others can enter {folder} (mode {mode:04o}), and so use the socket in it: `chmod 700 {folder}`."
            )


def _is_node_of(process: psutil.Process, directory: Path) -> bool:
    """Whether it is the controller of the node in `directory`: its workers are at home there."""
    if folders := list(filter(None, map(_home, process.children()))):
        return str(directory.resolve()) in folders
    command = process.cmdline()[:2]  # it has just been started, or it is about to end
    return any(Path(part).name == "crossbar" for part in command) or command[:1] == ["crossbar-controller"]


def _home(process: psutil.Process) -> str:
    try:
        return str(process.cwd())
    except psutil.NoSuchProcess:  # also if it only waits to be reaped
        return ""


def _is_in_foreground(pid: int) -> bool:
    """Whether Ctrl-C in a terminal reaches it. Only Linux says so."""
    try:
        _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
        _, _, group, _, terminal, foreground, *_ = fields.split()
    except (OSError, ValueError):
        return False
    return terminal != "0" and group == foreground


def _environment() -> dict[str, str]:
    """Ours, with the precautions for the processes of a node; the controller passes its path on to all of them."""
    path = filter(None, [str(worker.FOLDER), os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def _end_with_us() -> Callable[[], None] | None:
    """What a child does before it becomes the node, so that the kernel asks it to end when :data:`LAUNCHER` ends."""
    if sys.platform != "linux":
        return None
    libc, starter = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != starter:  # it has ended in the meantime
            os._exit(1)

    return ask
