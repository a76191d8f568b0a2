"""Does this process still turn its reactor? Where a supervisor asks for it, each process of a node tells so, once a
second, by a line with its process id and name, and when it begins to end in order; the controller then also tells which
of its children it has still.

A thread asks the reactor for each beat, so that one that computes or hangs stays silent, as does one that was stopped.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PIPE = "WAMPAUTH_BEATS"  # the environment's variable that names the supervisor's pipe
INTERVAL = 1.0  # seconds
AT_FIRST = 0.1  # seconds, until there is a reactor that turns
WORKER = "crossbar.worker.main"  # in the arguments of a worker
ENDING = " (ends in order)"  # after a name; after the controller's follow the process ids of its children
CONTROLLER = "controller"  # its name; a worker has the one that its configuration gives


def begin() -> None:
    """Tell from now on, if somebody wants to hear it, and this is a process of the router's."""
    path, name = os.environ.get(PIPE), _name(sys.orig_argv)
    if path and name:
        threading.Thread(target=_run, args=(path, name), name="beat", daemon=True).start()


def _name(arguments: list[str]) -> str | None:
    """What the arguments with which it was started call it."""
    if WORKER in arguments and "--worker" in arguments[:-1]:
        return arguments[arguments.index("--worker") + 1]
    return CONTROLLER if any(Path(part).name == "crossbar" for part in arguments) and "start" in arguments else None


def _run(path: str, name: str) -> None:
    with suppress(OSError):  # the supervisor has ended
        beat = _Beat(os.open(path, os.O_WRONLY | os.O_NONBLOCK), name)
        while True:
            beat.ask()
            time.sleep(INTERVAL if beat.is_turning else AT_FIRST)


def let_stop_again(reactor: Any) -> None:
    """Whoever tells all processes of a node to end, as systemd does by itself, tells each twice, since each tells those
    that it has started. By itself the reactor writes a traceback then."""
    from twisted.internet.error import ReactorNotRunning

    stop = reactor.stop

    def stopping() -> None:
        with suppress(ReactorNotRunning):
            stop()

    reactor.stop = stopping


class _Beat:
    """One question at a time, so that a reactor that hangs finds one when it goes on."""

    is_turning = False  # the reactor

    def __init__(self, pipe: int, name: str) -> None:
        self._pipe, self._name = pipe, name
        self._is_asked = False

    def ask(self) -> None:
        reactor: Any = sys.modules.get("twisted.internet.reactor")  # Crossbar.io chooses which one it is
        if not self._is_asked and getattr(reactor, "running", False):
            self._is_asked = True
            reactor.callFromThread(self._beat, reactor)

    def _beat(self, reactor: Any) -> None:
        self._is_asked = False
        if not self.is_turning:
            let_stop_again(reactor)
            reactor.addSystemEventTrigger("before", "shutdown", self._ends)
        self.is_turning = True
        self._tell(self._name)

    def _ends(self) -> None:
        from twisted.internet.process import reapProcessHandlers as children

        self._tell(" ".join([self._name + ENDING, *map(str, children)]))

    def _tell(self, text: str) -> None:
        with suppress(OSError):  # the supervisor has ended, or can't follow
            os.write(self._pipe, f"{os.getpid()} {text}\n".encode())  # short, and so whole (pipe(7))
