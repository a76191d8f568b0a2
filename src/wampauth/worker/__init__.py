"""What do our components see to first in their process? Are the precautions of ``sitecustomize.py`` in force there?"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from wampauth import logs, origins
from wampauth.worker import anew, files, garbage, tags, unseen

FOLDER = Path(__file__).parent  # belongs on PYTHONPATH, before all else, where a node is started
CLOSE = 5.0  # seconds by which two readings of the same clock may differ
LIMIT = 10_000  # calls in each other: ten times Python's own limit is still refused in milliseconds
WARNING = (
    "this process runs without precautions against strangers: {missing}. Start the node with `wampauth start`, or with "
    "PYTHONPATH={folder}"
)
LEAVING = 10.0  # seconds by which a process has ended that its components leave, or a container has made new ones
ORDERLY = ("wamp.close.normal", "wamp.close.system_shutdown", "wamp.close.goodbye_and_out")  # why components leave
_told: set[str] = set()


def missing() -> list[str]:
    """What isn't as it should be, in words; empty if all is in force."""
    from twisted.internet import reactor
    from twisted.web import http

    found = []
    if sys.getrecursionlimit() > LIMIT:
        found.append("deep nesting in a message keeps it for a minute")
    if abs(reactor.seconds() - time.monotonic()) > CLOSE:  # type: ignore[attr-defined]
        found.append("a change of the wall clock stalls its timers")
    if tags.are_read():
        found.append("a message in CBOR can keep it for seconds, and take all memory")
    if http.H2_ENABLED:
        found.append("HTTP/2 is offered")
    return found


def begin() -> None:
    """Let this process have many files open, bound its log, have it told of refused Origins and of precautions that
    are missing, and spare it work that leads to nothing. Safe to call again. In a process that is no worker of
    Crossbar.io, such as ``wampauth check``, nothing is changed."""
    if logs.is_worker():
        garbage.settle()
        unseen.leave_plain()
        anew.spare()
        tags.refuse()
        files.raise_limit()
        logs.bound()
        origins.tell_of_refused()
        _warn()


def _warn() -> None:
    found = "; ".join(missing())
    if found and found not in _told:
        _told.add(found)
        Logger(namespace=__name__).error(WARNING, missing=found, folder=FOLDER)


def end() -> None:
    """End this process in order, since a part of it is gone that can't come back. The node ends with it, or is stopped
    by ``wampauth start``, and may be started anew."""
    from twisted.internet import reactor

    if reactor.running:  # type: ignore[attr-defined]
        reactor.callLater(0, _stop, reactor)  # type: ignore[attr-defined]


def _stop(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # another part has said so, too
        reactor.stop()


def end_unless(is_well: Callable[[], bool], tell: Callable[[], object], clock: Any) -> None:
    """Tell, and end this process, if it goes on after its component has left, and all isn't well by then. In what way
    it has left doesn't say that: who puts it out may name any reason, and not each container makes a new one."""

    def look() -> None:
        if not is_well():
            tell()
            end()

    clock.callLater(LEAVING, look)
