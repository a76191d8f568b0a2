"""Who waits, so that the reactor doesn't?

Two kinds of threads (``pool.py``), both behind a bounded queue: for the queries, each thread with a connection to the
store, and for the hashing of chosen tickets.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from wampauth.places import Busy, Places, Stopping, come_back
from wampauth.store.engine import sentences
from wampauth.store.pool import Threads

LONGEST_WAIT = 2.0  # seconds that a query may wait for others; it may take as long again (engine.BUSY)
LONGEST_QUERY = 4.0  # seconds after which a server gives one up
HANGS = 5.0  # seconds after which we hang up on a server that says nothing at all


class Queue:
    """Work that waits for threads: a limited number, of which what was given up still counts until it is done."""

    def __init__(self, reactor: Any, threads: ThreadPool, room: int, full: str) -> None:
        """
        :param room: how much may be waiting or under way.
        :param full: what :class:`Busy` says when that is reached.
        """
        self._reactor, self._threads = reactor, threads
        self._room, self._full = room, full
        self._unfinished: set[Deferred[Any]] = set()
        self._answers: deque[tuple[Deferred[Any], Any]] = deque()  # on their way back from the threads
        self._is_called = False  # the reactor, to deliver them
        self._closed = False

    def do(self, work: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        """What `work`, called with `args`, returns in a thread. Fails with :class:`Busy` if too much is waiting."""
        if self._closed:
            return fail(Stopping())
        if len(self._unfinished) >= self._room:
            return fail(Busy(self._full))
        answer: Deferred[Any] = Deferred()  # who cancels it doesn't make room: the thread is still busy
        self._unfinished.add(answer)
        self._begin(answer, work, args)
        return answer

    def __len__(self) -> int:
        return len(self._unfinished)

    def close(self) -> None:
        """Fail what is waiting, and what is asked from now on."""
        self._closed = True
        for answer in list(self._unfinished):
            if not answer.called:
                answer.errback(Stopping())

    def _begin(self, answer: "Deferred[Any]", work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self._threads.callInThread(self._in_thread, answer, work, args)
        except Exception:  # the system has no thread to spare: what isn't done mustn't keep its place
            self._give(answer, Failure())

    def _in_thread(self, answer: "Deferred[Any]", work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            if self._closed:
                raise Stopping()
            result = work(*args)
        except BaseException:
            result = Failure()
        self._give(answer, result)

    def _give(self, answer: "Deferred[Any]", result: Any) -> None:
        """From whatever thread."""
        self._answers.append((answer, result))
        if not self._is_called:  # one wake-up for many answers: to wake the reactor costs as much as a look-up
            self._is_called = True
            self._reactor.callFromThread(self._deliver)

    def _deliver(self) -> None:
        self._is_called = False
        while self._answers:
            answer, result = self._answers.popleft()
            self._unfinished.discard(answer)
            if not answer.called:  # or nobody is waiting for it any more
                answer.callback(result)  # a Failure travels on as one
            self._is_done(answer)  # after that, since it may spare others their turn

    def _is_done(self, answer: "Deferred[Any]") -> None:
        """A thread is free again."""


class FairQueue(Queue):
    """Work that strangers ask for. No address takes all the room, and they take turns: one that asks for much waits
    for itself."""

    def __init__(self, reactor: Any, threads: ThreadPool, room: int, full: str, at_once: int) -> None:
        """:param at_once: for how much there are threads; what waits beyond that waits here."""
        super().__init__(reactor, threads, room, full)
        self._places, self._at_once = Places(room), at_once
        self._lines: OrderedDict[str, deque[tuple[Any, ...]]] = OrderedDict()  # whose turn is next comes first
        self._running: dict[Deferred[Any], tuple[str, float]] = {}  # who has asked for it, and since when it runs
        self._pace = 0.0  # seconds that a piece of work has taken of late

    def do_for(self, address: str, work: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        """Like :meth:`do`, in turn with the other addresses. What is given up before its turn isn't begun, and fails
        with :class:`Busy`, too."""
        if self._closed:
            return fail(Stopping())
        if not self._places.take(address):
            return fail(self.no_time())
        answer: Deferred[Any] = Deferred(self._give_up)
        self._unfinished.add(answer)
        self._lines.setdefault(address, deque()).append((answer, work, args))
        self._go_on()
        return answer

    def has_begun(self, answer: "Deferred[Any]") -> bool:
        """Whether what was asked for is being done in a thread."""
        return answer in self._running

    def _go_on(self) -> None:
        while self._lines and len(self._running) < self._at_once:
            address, line = self._lines.popitem(last=False)
            answer, work, args = line.popleft()
            if line:
                self._lines[address] = line  # behind the others
            if answer.called:
                self._unfinished.discard(answer)
                self._places.leave(address)
                continue
            self._running[answer] = address, time.monotonic()
            self._begin(answer, work, args)

    def _is_done(self, answer: "Deferred[Any]") -> None:
        if answer in self._running:
            address, began = self._running.pop(answer)
            self._pace += (time.monotonic() - began - self._pace) / 8
            self._places.leave(address)
            self._go_on()

    def _give_up(self, answer: "Deferred[Any]") -> None:
        if answer not in self._running:
            answer.errback(self.no_time())

    def no_time(self) -> Busy:
        """What somebody is told who gets no turn, or not in time."""
        return Busy(self._full, come_back(len(self._places) * self._pace / self._at_once))


class Queries(adbapi.ConnectionPool):
    """Threads with a connection each, opened anew when the store isn't the one that it was opened on."""

    running: bool

    def __init__(self, engine: str, where: str, threads: int, reactor: Any) -> None:
        """:param engine: the name of the module that knows how to connect."""
        super().__init__(engine, where, longest=LONGEST_QUERY, cp_reactor=reactor, cp_min=1, cp_max=threads)
        self._looked: dict[Any, float] = {}  # by thread: when its connection was last looked at; seconds, monotonic
        self._asking: dict[Any, float] = {}  # by thread: since when it waits for an answer
        self.start()

    def start(self) -> None:
        """Twisted calls this as well, once the reactor runs."""
        if not self.running:
            self.threadpool = Threads(self.min, self.max, name="store")
            super().start()

    def finalClose(self) -> None:
        """End the queries that are under way, and close the connections; but for one that a thread is still using,
        since that would take the process down."""
        self.shutdownID = None
        for connection in list(self.connections.values()):
            _interrupt(connection)
        self.threadpool.stop()
        self.running = False
        busy = {thread.ident for thread in self.threadpool.threads if thread.is_alive()}
        for thread in self.connections.keys() - busy:
            self._close(self.connections.pop(thread))

    def connect(self) -> Any:
        """Runs in a thread: its connection."""
        self._looked[self.threadID()] = time.monotonic()
        known = self.connections.get(self.threadID())
        if known is not None and known.is_stale():
            self.disconnect(known)
        return super().connect()

    def answer(self, asked: float, question: Callable[..., Any], *args: Any) -> Any:
        """Runs in a thread. A connection that failed once isn't used again. Of questions that wait side by side, one
        look at the connection is enough: it comes after they were asked.

        :param asked: seconds, monotonic.
        """
        if time.monotonic() - asked > LONGEST_WAIT:
            raise Busy("the store keeps logins waiting for too long")
        connection = self.connections.get(self.threadID())
        if connection is None or self._looked[self.threadID()] <= asked:
            connection = self.connect()
        self._asking[self.threadID()] = time.monotonic()
        try:
            with sentences(connection):
                return question(connection, *args)
        except BaseException:
            self.disconnect(connection)
            raise
        finally:
            self._asking.pop(self.threadID(), None)

    def hang_up(self) -> None:
        """End the queries that hang. A server whose process is stuck keeps its connections, however long: threads that
        waited for it would be missing when another process, or another server, could answer."""
        since = time.monotonic() - HANGS
        for thread, began in list(self._asking.items()):
            connection = self.connections.get(thread)  # its thread may give it up just now
            if began < since and connection is not None:
                _interrupt(connection)


def _interrupt(connection: Any) -> None:
    try:
        connection.interrupt()
    except connection.Error:
        return  # it was just closed
