"""Is every part of a running node alive?

The router looks after little: where a worker dies, it ends the node or does nothing, by its configuration, and one that
hangs it doesn't notice. So ``wampauth start`` hears a beat of each process (``worker/beat.py``). If a part is gone that
logins need, it stops the node and tells which, for whatever starts it again: a node that is up and useless is worse
than one that is down. Of several authenticators one may be gone.
"""

import os
import select
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped]

from wampauth import pipes
from wampauth.nodeconfig import NodeError, Section, choose, load
from wampauth.testing.node import Node
from wampauth.worker.beat import CONTROLLER, ENDING, PIPE

LOOK = 0.2  # seconds between two looks
START = 60.0  # seconds after which each worker must have told that it is there
SILENCE = 15.0  # seconds without a beat, after which a process is taken to hang
PATIENCE = 3.0  # seconds after Ctrl-C, by which the node has begun to end if it has heard of it
MOST = 65_536  # bytes to read at a look: as many as a pipe holds


@dataclass
class Part:
    """A process of the node that has told that it is alive."""

    pid: int
    process: psutil.Process | None  # None: it had ended before we could look at it
    heard: float  # seconds on the monotonic clock

    def is_gone(self) -> bool:
        """Whether it has ended. One that waits to be reaped has."""
        if self.process is None:
            return True
        try:
            return not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True


class Supervisor:
    """Watches a node: a context manager, whose :attr:`environment` the node has to get."""

    def __init__(self, directory: Path, config: str | None, tell: Callable[[str], None]) -> None:
        """
        :param directory: the node's.
        :param config: the file's name; None: the one that Crossbar.io takes.
        :param tell: is given sentences for the operator.
        :raises NodeError: if the configuration can't be read.
        """
        whole = load(directory / choose(directory, config))
        workers = _workers(whole)
        self._stand_ins = _stand_ins(workers) if _outlives_workers(whole) else {}
        self._missing = {name for name, worker in workers.items() if _can_tell(worker)}
        self._tell = tell
        self._parts: dict[str, Part] = {}
        self._pipe = pipes.make()
        self._beats = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)  # so that it has always a writer
        self._unfinished = b""  # a line
        self._began = self._looked = time.monotonic()
        self._ending: set[str] = set()  # workers that end, though nobody has told the node to
        self._ends_in_order = False
        self._interrupted: float | None = None  # seconds on the monotonic clock

    @property
    def environment(self) -> Mapping[str, str]:
        """What the processes of the node must find in their environment."""
        return {PIPE: str(self._pipe)}

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._beats)
        shutil.rmtree(self._pipe.parent, ignore_errors=True)

    def watch(self, node: Node) -> int:
        """Wait until the node ends in order.

        :returns: an exit code.
        :raises NodeError: if a part is gone that logins need. The node may be running still: it is to be stopped.
        """
        self._began = time.monotonic()
        _tell_the_service_manager("READY=1")
        while True:
            code = node.ended()
            self._look()  # if the node has ended, too: it has told why
            if self._ends_in_order:
                node.wait()  # its own code doesn't tell, since workers have ended
                return 0
            if code:
                raise NodeError(f"The node has ended by itself (exit code {code}).")
            if code == 0 or (self._interrupted and self._looked - self._interrupted > PATIENCE):
                return 0
            select.select([self._beats], [], [], LOOK)

    def interrupted(self, *_: object) -> None:
        """Told so by a signal. Ctrl-C reaches the node, too, which ends by itself; if only we have heard, it is to be
        stopped."""
        self._interrupted = self._interrupted or time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked > SILENCE / 2:  # we were stopped ourselves, as by Ctrl-Z: nobody could be heard
            for part in self._parts.values():
                part.heard = now
            self._began = now
        self._looked = now
        self._listen(now)
        self._missing -= self._parts.keys()
        if self._ends_in_order:
            return
        for name, part in sorted(self._parts.items(), key=lambda one: one[0] != CONTROLLER):  # takes the others along
            if part.is_gone():
                self._lost(name, "has ended")
            elif now - part.heard > SILENCE:
                self._lost(name, f"hasn't answered for {SILENCE:g} seconds")
        if now - self._began > START and self._missing:
            self._lost(self._missing.pop(), "has never answered")
        _tell_the_service_manager("WATCHDOG=1")

    def _listen(self, now: float) -> None:
        with suppress(BlockingIOError):
            *lines, self._unfinished = (self._unfinished + os.read(self._beats, MOST)).split(b"\n")
            for line in lines:
                self._heard(line.decode(errors="replace"), now)

    def _heard(self, line: str, now: float) -> None:
        pid, _, said = line.partition(" ")
        name, ends, children = said.partition(ENDING)
        known = self._parts.get(name)
        if ends:
            self._begins_to_end(name, children.split())
        elif known and str(known.pid) == pid:
            known.heard = now
        else:
            with suppress(ValueError):
                if name and int(pid) > 0:
                    self._parts[name] = Part(int(pid), _process(int(pid)), now)

    def _begins_to_end(self, name: str, children: list[str]) -> None:
        """Why? Because it was told to, or because its controller has lost a worker, or one has begun to end before."""
        if name != CONTROLLER:
            self._ending.add(name)
            return
        for other, part in list(self._parts.items()):
            was_lost = part.is_gone() and str(part.pid) not in children
            if other != CONTROLLER and (was_lost or other in self._ending):
                self._lost(other, "has ended")
        self._ends_in_order = True

    def _lost(self, name: str, how: str) -> None:
        """Go on without a part, if there is another one for it.

        :raises NodeError: if there is none.
        """
        part = self._parts.pop(name, None)
        with suppress(psutil.Error):
            if part and part.process:
                part.process.kill()  # one that hangs would be asked on and on, and couldn't be stopped
        others = [
            other
            for other in self._stand_ins.get(name, ())
            if other in self._parts and not self._parts[other].is_gone()
        ]
        if not others:
            what = "controller" if name == CONTROLLER else f"worker {name}"
            raise NodeError(f"The node is stopped, since its {what} {how}: start it again.")
        self._tell(f"The worker {name} {how}: {others[0]} goes on alone. Start the node anew when it suits.")


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except (psutil.NoSuchProcess, OverflowError):
        return None


def _workers(config: object) -> dict[str, Section]:
    """The router's processes, by name."""
    workers = config.get("workers") if isinstance(config, Section) else None
    unnamed = count(1)
    named: dict[str, Section] = {}
    for worker in workers if isinstance(workers, list) else ():
        if isinstance(worker, Section):
            name = str(worker["id"]) if "id" in worker else f"worker{next(unnamed):03}"  # as the router names it
            named |= {name: worker} if worker.get("type") in ("router", "container", "proxy") else {}
    return named


def _can_tell(worker: Section) -> bool:
    """Whether it runs in our Python and environment."""
    options = worker.get("options")
    return not isinstance(options, Section) or not {"env", "python"} & options.keys()


def _outlives_workers(config: object) -> bool:
    """Whether the router's controller goes on when one of its workers has ended. By itself it doesn't."""
    match config:
        case {"controller": {"options": {"shutdown": str() | list() as reasons}}}:
            return "shutdown_on_worker_exit" not in str(reasons)  # nor with an error
    return False


def _stand_ins(workers: Mapping[str, Section]) -> dict[str, set[str]]:
    """For each container, those that run the same components in the same realms: one of them will do."""
    work = {
        name: tuple((str(one.get("classname")), str(one.get("realm"))) for one in worker.get("components") or ())
        for name, worker in workers.items()
        if worker.get("type") == "container"
    }
    return {name: {other for other in work if other != name and work[other] == work[name]} for name in work}


def _tell_the_service_manager(state: str) -> None:
    """systemd's protocol (sd_notify(3)), where it has asked for it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, suppress(OSError):
        manager.sendto(state.encode(), path.replace("@", "\0", 1) if path.startswith("@") else path)
