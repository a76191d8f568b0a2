"""Are the precautions of ``sitecustomize.py`` in force in this process?"""

import sys
import time
from pathlib import Path

from twisted.logger import Logger

FOLDER = Path(__file__).parent  # belongs on PYTHONPATH, before all else, where a node is started
CLOSE = 5.0  # seconds by which two readings of the same clock may differ
LIMIT = 10_000  # calls in each other: ten times Python's own limit is still refused in milliseconds
WARNING = (
    "this process runs without precautions against strangers: {missing}. Start the node with `wampauth start`, or with "
    "PYTHONPATH={folder}"
)
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


def warn() -> None:
    """Write one line for this process if something is missing."""
    found = "; ".join(missing())
    if found and found not in _told:
        _told.add(found)
        Logger(namespace=__name__).warn(WARNING, missing=found, folder=FOLDER)
