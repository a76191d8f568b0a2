"""How much may a stranger make us write into the log?

The router writes a traceback about each message that it can't read, and somebody who sends nothing else would fill the
disk. So the first lines of a kind are written, a few a minute, and then one line a minute counts the others. A kind is
who writes, where, and of which exception: a flood of one hides no line of another. What an author's own modules write
is theirs, and passes.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher, formatEvent, globalLogPublisher
from txaio.tx import get_global_log_level

PERIOD = 60.0  # seconds from the first line of a kind to the line that counts the others
FEW = 2  # lines of a kind in that time, of warnings and worse
MORE = 20  # lines of a kind that only inform, or are our own
KINDS = 100  # to be told apart in that time; beyond that all count as one
LONGEST = 2000  # characters of a line; a traceback's end says what it was
HEAD = 400  # of these from the beginning
LOUDEST = 3  # kinds that the counting line names
BOUND = ("autobahn", "crossbar", "twisted", "txaio", "wampauth")  # whose lines a stranger can cause
WORKER = "crossbar.worker."  # in the arguments of such a process
LEVELS = ["debug", "info", "warn", "error", "critical"]

Event = dict[str, Any]
Kind = tuple[str, ...]
OTHERS: Kind = ("others",)


class Bound:
    """Says of each event whether it may be written, and counts those that mayn't. Any thread may ask."""

    def __init__(self, tell: Callable[[LogLevel, str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        :param tell: writes the line that counts.
        :param monotonic: seconds, on a clock that nobody sets.
        """
        self._tell, self._monotonic = tell, monotonic
        self._lock = threading.Lock()
        self._seen: Counter[Kind] = Counter()
        self._left_out: Counter[Kind] = Counter()
        self._level = LogLevel.info  # the worst of what was left out
        self._began = 0.0

    def admits(self, event: Event) -> bool:
        """Whether it may be written. What nobody would see isn't counted."""
        level = event.get("log_level", LogLevel.info)
        namespace = str(event.get("log_namespace") or "")
        if level is LogLevel.debug or not _is_shown(level) or not _is_bound(namespace, level):
            return True
        with self._lock:
            told = self._end_period()
            admitted = self._count(_kind(event, namespace), _allowance(namespace, level), level)
        if told:
            self._tell(*told)
        return admitted

    def summarise(self) -> None:
        """Write the line that counts, if it is time and there is something to count."""
        with self._lock:
            told = self._end_period()
        if told:
            self._tell(*told)

    def is_counting(self) -> bool:
        """Whether a line that counts is due."""
        return bool(self._left_out)

    def _count(self, kind: Kind, allowance: int, level: Any) -> bool:
        if kind not in self._seen and len(self._seen) >= KINDS:
            kind = OTHERS
        self._seen[kind] += 1
        if self._seen[kind] <= allowance:
            return True
        self._left_out[kind] += 1
        self._level = max(self._level, level, key=lambda one: LEVELS.index(one.name))
        return False

    def _end_period(self) -> tuple[Any, str] | None:
        """Begin anew if it is time; returns what is to be told of the period that is over."""
        now = self._monotonic()
        if now - self._began < PERIOD:
            return None
        told = self._counted() if self._left_out else None
        self._began, self._level = now, LogLevel.info
        self._seen.clear()
        self._left_out.clear()
        return told

    def _counted(self) -> tuple[Any, str]:
        loudest = ", ".join(
            f"{count} of {' '.join(filter(None, kind))}" for kind, count in self._left_out.most_common(LOUDEST)
        )
        more = len(self._left_out) - LOUDEST
        others = f", and of {more} other kinds" if more > 0 else ""
        return (
            self._level,
            f"{self._left_out.total()} lines like those before were left out of the log: {loudest}{others}",
        )


class BoundedPublisher(LogPublisher):
    """Hands on what is within the bounds, and cuts what is too long."""

    _bound: Bound

    def __call__(self, event: Event) -> None:
        if event.get("log_counts") or not hasattr(self, "_bound"):
            super().__call__(event)
        elif self._bound.admits(event):
            super().__call__(_cut(event))
        else:
            self._see_that_it_is_told()

    def bound_by(self, bound: Bound, later: Callable[[float, Callable[[], None]], object]) -> None:
        """:param later: calls a function after some seconds; any thread may call it. None: it can't yet."""
        self._later, self._is_due = later, False
        self._bound = bound

    def _see_that_it_is_told(self) -> None:
        if not self._is_due:
            self._is_due = self._later(PERIOD, self._summarise) is not None

    def _summarise(self) -> None:
        self._is_due = False
        self._bound.summarise()
        if self._bound.is_counting():  # the period isn't over yet
            self._see_that_it_is_told()


def is_worker() -> bool:
    """Whether this process is a worker of Crossbar.io."""
    return any(WORKER in argument for argument in sys.orig_argv)


def bound() -> None:
    """Bound the log of this process. Safe to call again, and at any time."""
    if not isinstance(globalLogPublisher, BoundedPublisher):
        bound_publisher(globalLogPublisher, _after)


def bound_publisher(
    publisher: LogPublisher, later: Callable[[float, Callable[[], None]], object], **clock: Callable[[], float]
) -> None:
    """Have `publisher` keep to the bounds. Its observers, also those that it is given later, see nothing else."""
    log = Logger(namespace="wampauth.logs", observer=publisher)

    def tell(level: Any, text: str) -> None:
        log.emit(level, "{text}", text=text, log_counts=True)

    publisher.__class__ = BoundedPublisher  # every logger has this very object already
    publisher.bound_by(Bound(tell, **clock), later)


def _after(seconds: float, function: Callable[[], None]) -> bool | None:
    """Call `function` after some seconds. Before there is a reactor, the next line that is left out asks again."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is None:
        return None
    reactor.callFromThread(reactor.callLater, seconds, function)
    return True


def _is_shown(level: Any) -> bool:
    shown = get_global_log_level()
    return shown not in LEVELS or LEVELS.index(level.name) >= LEVELS.index(shown)


def _is_bound(namespace: str, level: Any) -> bool:
    if namespace == "log_legacy":  # Twisted's old interface, which authors may use, too
        return level is not LogLevel.info
    return namespace.partition(".")[0] in BOUND


def _allowance(namespace: str, level: Any) -> int:
    return MORE if level is LogLevel.info or namespace.startswith("wampauth") else FEW


def _kind(event: Event, namespace: str) -> Kind:
    failure = event.get("log_failure")
    exception = getattr(getattr(failure, "type", None), "__name__", "")
    return namespace, str(event.get("log_format") or "")[:60], exception


def _cut(event: Event) -> Event:
    """The event, or one that says no more than fits. The router's tracebacks without a place are none: somebody has
    answered with an error, such as that there is no authorizer any more when a node stops."""
    text, failure = formatEvent(event), event.get("log_failure")
    is_answer = failure is not None and not failure.frames and str(event.get("log_namespace")).startswith("crossbar.")
    if failure is not None:
        text = f"{text}: {failure.getErrorMessage()}" if is_answer else f"{text}\n{failure.getTraceback()}"
    if len(text) <= LONGEST and not is_answer:
        return event
    whole = {name: value for name, value in event.items() if name.startswith("log_") and name != "log_failure"}
    left_out = len(text) - LONGEST
    if left_out > 0:
        text = f"{text[:HEAD]}\n... {left_out} characters left out ...\n{text[HEAD - LONGEST :]}"
    return {**whole, "log_format": "{cut}", "cut": text}
