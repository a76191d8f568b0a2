"""How does a test ask something in the thread of Twisted's reactor?"""

import functools
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.threads import blockingCallFromThread
from twisted.python.reflect import namedModule

from wampauth.calling import TooLate, called, within

PATIENCE = 30.0  # seconds for whatever is asked


def do(work: Callable[..., Any], *args: Any) -> Any:
    """What `work` returns, or what is awaited then, in the reactor's thread.

    :raises TimeoutError: if that takes too long.
    """
    reactor = running_reactor()
    late = TooLate(f"no answer after {PATIENCE:g} seconds")
    return blockingCallFromThread(reactor, lambda: within(called(work, *args), PATIENCE, reactor, late))


@functools.cache
def running_reactor() -> Any:
    """Twisted's reactor, running in a thread. It can't be started twice, so it runs until the tests are over."""
    reactor: Any = namedModule("twisted.internet.reactor")
    if reactor.running:
        raise RuntimeError("the reactor is running already: StoreContract runs it in a thread of its own")
    thread = threading.Thread(target=reactor.run, args=(False,), name="reactor", daemon=True)

    def end() -> None:
        threading.main_thread().join()
        reactor.callFromThread(reactor.stop)  # what was started in it is stopped with it
        thread.join(PATIENCE)

    thread.start()
    threading.Thread(target=end, name="end of the reactor").start()
    return reactor
