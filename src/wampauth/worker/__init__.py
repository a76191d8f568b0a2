"""What do our components see to first in their process? Are the precautions of ``sitecustomize.py`` in force there?"""

import sys
import time
from pathlib import Path

from twisted.logger import Logger

from wampauth import logs, origins
from wampauth.worker import anew, files, garbage, unseen

FOLDER = Path(__file__).parent  # belongs on PYTHONPATH, before all else, where a node is started
CLOSE = 5.0  # seconds by which two readings of the same clock may differ
LIMIT = 10_000  # calls in each other: ten times Python's own limit is still refused in milliseconds
WARNING = (
    "this process runs without precautions against strangers: {missing}. Start the node with `wampauth start`, or with "
    "PYTHONPATH={folder}"
)
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
        reactor.callLater(0, reactor.stop)  # type: ignore[attr-defined]
