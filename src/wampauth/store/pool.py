"""Which threads wait, so that the reactor doesn't?

They are Twisted's own, but for their end: a thread may hang in a locked file, a dead disk or a frozen server, and the
process goes on to its end all the same. And they are woken once for all that is to be done.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

BEHIND = 5  # niceness: a third of what a thread of the usual priority gets, where both want a core (sched(7))
GRACE = 1.0  # seconds at the end of the process for what is under way


class Threads(ThreadPool):
    """A thread pool whose threads are not waited for without a limit, and are woken once for all that waits."""

    log = Logger()
    gives_way = False  # its threads are behind the reactor when both want a core: for work that computes
    until: float | None = None  # seconds, monotonic: when whoever stops it waits no more; None: GRACE from then on

    def __init__(self, *args: Any, **options: Any) -> None:
        """As Twisted's thread pool takes them."""
        super().__init__(*args, **options)
        self._lock = threading.Lock()
        self._work: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._working = 0  # threads

    def callInThread(self, work: Callable[..., Any], *args: Any) -> None:
        """Do `work`, called with `args`, once a thread is free. One that is busy goes on with it by itself: to wake a
        thread costs as much as a look-up.

        :raises Exception: if there is none, and the system can't start one just now.
        """
        with self._lock:
            self._work.append((work, args))
            if self._working >= self.max:
                return
            self._working += 1
        try:
            super().callInThread(self._work_on)
        except Exception:
            if self._leaves_it_to_others():
                return
            raise

    def _leaves_it_to_others(self) -> bool:
        """No thread could be started for the newest work: whether one that there is goes on with it. Else it is
        dropped, and the next work tries again."""
        self.threads[:] = [thread for thread in self.threads if thread.ident is not None]  # else it would be joined
        with self._lock:
            self._working -= 1
            if not self._working:
                self._work.clear()
            return self._working > 0

    def _work_on(self) -> None:
        while True:
            with self._lock:
                if not self._work:
                    self._working -= 1
                    return
                work, args = self._work.popleft()
            try:
                work(*args)
            except BaseException:
                self.log.failure("what was to be done in a thread has failed")

    def threadFactory(self, *args: Any, **options: Any) -> Thread:
        """Make a thread; at the process's end, Python waits for those that aren't daemons."""
        pool = self

        class Impatient(Thread):
            def run(self) -> None:
                if pool.gives_way and sys.platform == "linux":  # elsewhere a priority is the whole process's
                    usual = os.getpriority(os.PRIO_PROCESS, os.getpid())
                    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), usual + BEHIND)
                super().run()

            def join(self, timeout: float | None = None) -> None:
                super().join(max(0.0, (pool.until or 0.0) - time.monotonic()) if timeout is None else timeout)

        return Impatient(*args, daemon=True, **options)

    def stop(self) -> None:
        """Stop the threads, within :data:`GRACE`. One that hangs is left alone."""
        if self.until is None:
            self.until = time.monotonic() + GRACE
        super().stop()
