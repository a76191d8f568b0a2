"""Who waits, so that the reactor doesn't?

Three kinds of threads, each with a bounded queue: for questions that may take a while, for lookups, of which each login
has one, and for the hashing of chosen tickets. ``principals.py`` says what is asked in them.
"""

import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

import database

READERS = 4  # threads for questions, and for lookups in a database server; each has a connection
QUESTIONS_WAITING = 1000  # of either kind, for a thread
LONGEST_WAIT = 2.0  # seconds that a lookup may wait for others; the query may take as long again (database.BUSY)

# Where the answer goes, when it was asked for (seconds, monotonic), the question, and what it is about.
Lookup = tuple["Deferred[Any]", float, Any, tuple[Any, ...]]


class Busy(Exception):
    """More is waiting to be looked up, or checked, than the queue holds."""


class Pool(adbapi.ConnectionPool):
    """One connection for each thread, opened anew when the store at the path isn't the one it was opened on."""

    def __init__(self, path: str, reactor: Any) -> None:
        super().__init__(database.__name__, path, cp_reactor=reactor, cp_min=1, cp_max=READERS)
        self._unfinished = 0  # questions

    def ask(self, question: Any, *args: Any) -> "Deferred[Any]":
        """What `question`, called with a connection and `args`, returns in a thread."""
        if self._unfinished >= READERS + QUESTIONS_WAITING:
            return fail(Busy("too many questions are waiting for the store"))
        self._unfinished += 1
        return self.runWithConnection(_with, question, *args).addBoth(self._finished)

    def _finished(self, result: Any) -> Any:
        self._unfinished -= 1
        return result

    def connect(self) -> Any:
        known = self.connections.get(self.threadID())
        if known is not None and known.is_stale():
            self.disconnect(known)
        return super().connect()


def _with(connection: Any, question: Any, *args: Any) -> Any:
    """Runs in a thread. A connection that failed once isn't used again."""
    try:
        with database.sentences(connection):
            return question(connection, *args)
    except BaseException:
        connection.spoil()
        raise


class Lookups:
    """Answers lookups in threads that do nothing else. They take what waits and hand over what is answered without
    ceremony: otherwise the way to a thread and back would cost several times what a lookup does."""

    def __init__(self, pool: Pool, reactor: Any, threads: int) -> None:
        self._pool, self._reactor = pool, reactor
        self._closed = False
        self._waiting = 0
        self._questions: SimpleQueue[Lookup | None] = SimpleQueue()
        self._answers: deque[tuple[Deferred[Any], Any]] = deque()
        self._called = False  # the reactor, to deliver them
        self._threads = [Thread(target=self._work, name="lookups", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Wait for the queries that are under way; nothing else is answered."""
        self._closed = True
        for _ in self._threads:
            self._questions.put(None)
        for thread in self._threads:
            thread.join()

    def ask(self, question: Any, *args: Any) -> "Deferred[Any]":
        """What `question`, called with a connection and `args`, returns in a thread."""
        if self._closed or self._waiting >= QUESTIONS_WAITING:
            return fail(Busy("too many logins are waiting for the store"))
        self._waiting += 1
        answer: Deferred[Any] = Deferred()
        self._questions.put((answer, time.monotonic(), question, args))
        return answer

    def _work(self) -> None:
        """Runs in each of the threads."""
        while lookup := self._questions.get():
            self._answer(*lookup)
            del lookup  # it may hold a ticket, and the next may be long in coming

    def _answer(self, answer: "Deferred[Any]", asked: float, question: Any, args: tuple[Any, ...]) -> None:
        try:
            if self._closed or time.monotonic() - asked > LONGEST_WAIT:
                raise Busy("the store keeps logins waiting for too long")
            result = _with(self._pool.connect(), question, *args)
        except BaseException:
            result = Failure()
        self._answers.append((answer, result))
        if not self._called:
            self._called = True
            self._reactor.callFromThread(self._deliver)

    def _deliver(self) -> None:
        self._called = False
        while self._answers:
            answer, result = self._answers.popleft()
            self._waiting -= 1
            answer.callback(result)  # a Failure travels on as one


class Hashing:
    """Slow work in threads of its own, so that it neither stalls the reactor nor delays the lookups."""

    def __init__(self, reactor: Any, at_once: int, waiting: int) -> None:
        """:param waiting: how many may wait besides those that are done at once."""
        self._reactor = reactor
        self._threads = ThreadPool(minthreads=0, maxthreads=at_once, name="hashing")
        self._threads.start()
        self._room = at_once + waiting

    def close(self) -> None:
        self._threads.stop()

    async def do(self, work: Callable[..., Any], *args: Any) -> Any:
        """What `work`, called with `args`, returns in a thread.

        :raises Busy: if too much is waiting.
        """
        if self._room == 0:
            raise Busy("too many chosen tickets are waiting to be checked")
        self._room -= 1
        try:
            return await deferToThreadPool(self._reactor, self._threads, work, *args)
        finally:
            self._room += 1
