"""How is an author's code called, and for how long is it waited for?

It may answer at once, or with whatever can be awaited. It may also hang, go on though it is cancelled, fail when it is,
or raise what would end a process: none of that is more than a failure.
"""

from collections.abc import Callable
from contextlib import suppress
from inspect import isawaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wampauth.places import Busy
from wampauth.told import stopped


class TooLate(TimeoutError):
    """Something of an author's has taken too long."""


async def awaited(answer: Any) -> Any:
    """The answer itself, or what comes of it."""
    return await answer if isawaitable(answer) else answer


def called(function: Callable[..., Any], *args: Any) -> "Deferred[Any]":
    """What `function` answers, at once or later."""

    async def asked() -> Any:
        return await awaited(function(*args))

    return Deferred.fromCoroutine(asked())


def within(answer: "Deferred[Any]", seconds: float, clock: Any, late: Exception) -> "Deferred[Any]":
    """The answer, if it comes in time; then what it is waiting for is cancelled. The Deferred is our own, and always
    fires: not every question lets itself be cancelled.

    :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
    :param late: the failure then. What hasn't begun yet says instead that it is ``Busy``.
    """
    outcome: Deferred[Any] = Deferred()

    def give_up() -> None:
        with suppress(BaseException):  # of an author's, which nobody waits for any more
            answer.cancel()
        if not outcome.called:
            outcome.errback(late)

    timer = clock.callLater(seconds, give_up)

    def settle(result: Any) -> None:
        if timer.active():
            timer.cancel()
            outcome.callback(result)  # a Failure travels on as one
        elif not outcome.called and isinstance(result, Failure) and result.check(Busy):
            outcome.errback(result)

    answer.addErrback(_not_ending).addBoth(settle)
    return outcome


class Start:
    """Something is started once, however many wait for it. After a failure, the next one who asks has it tried again.

    :ivar is_done: whether it was started.
    """

    def __init__(self) -> None:
        self.is_done = self._is_under_way = False
        self._waiting: list[Deferred[None]] = []

    def wait(self, start: Callable[[], "Deferred[Any]"]) -> "Deferred[None]":
        """Until it is started: with `start`, unless that is done or under way."""
        mine: Deferred[None] = Deferred(self._waiting.remove)  # who gives up doesn't end it for the others
        self._waiting.append(mine)
        if self.is_done:
            self._settle(None)
        elif not self._is_under_way:
            self._is_under_way = True
            start().addBoth(self._settle)
        return mine

    def _settle(self, result: Any) -> None:
        failed = isinstance(result, Failure)
        self._is_under_way, self.is_done = False, not failed
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(result if failed else None)  # a Failure travels on as one


def _not_ending(failure: Failure) -> Failure:
    """What would end the process, such as ``sys.exit("no licence")``, is a failure like others."""
    return failure if isinstance(failure.value, Exception) else Failure(stopped(failure.value))
