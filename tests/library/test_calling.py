"""Whatever an author's code does when it is called, nothing waits for ever, and nothing of it reaches a client."""

import asyncio
import re
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_guard import DEADLINE, DELAY, Guarded, answer, told
from test_store_open import Given, Shutdown, Started, deferred, plain, slow_coroutine
from test_store_open import coroutine as at_once
from test_store_open import told as asked
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from wampauth.admission import Admissions
from wampauth.calling import called
from wampauth.claims import Claim
from wampauth.lookup import Lookup, StoreAway
from wampauth.service import START_TIMEOUT, STOP_TIMEOUT, Service
from wampauth.settings import Settings
from wampauth.store import OpenStore, opened
from wampauth.testing.attempt import NoAudit

SECRET = "stored-s3cr3t"
STYLES = pytest.mark.parametrize("style", [plain, at_once, slow_coroutine, deferred])


class Panic(BaseException):
    """Such as a library in another language raises: no ``Exception``."""


# -- it raises what would end a process


@STYLES
@pytest.mark.parametrize(
    "error", [SystemExit, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit, StopIteration, Panic]
)
def test_what_would_end_the_process_is_our_fault(tmp_path: Path, style: Any, error: type[BaseException]) -> None:
    """The router would pass its text on to the client, and nothing would be recorded."""
    guard = Guarded(tmp_path)
    attempt = guard.attempt(lambda claim: raised(style, error(SECRET)))
    guard.clock.advance(DELAY)
    assert (attempt.uri, attempt.after) == ("com.example.unavailable", DELAY)
    (record,) = guard.audit
    assert "test_calling.py:" in record["reason"] or error is StopIteration
    assert SECRET not in f"{attempt.no} {record}"


def raised(style: Callable[[Any], Any], error: BaseException) -> Any:
    """`error`, in one of the styles."""

    def fails(_: object) -> None:
        raise error

    if style is plain:
        return fails(None)
    if style is deferred:
        return succeed(None).addCallback(fails)

    async def coroutine() -> None:
        if style is slow_coroutine:
            await succeed(None)
        fails(None)

    return coroutine()


# -- it can be awaited, and is neither a coroutine nor a Deferred


class Later:
    """An answer that can be awaited, as a library's own may be."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from succeed(None).__await__()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_check_may_answer_with_whatever_can_be_awaited(tmp_path: Path) -> None:
    assert Guarded(tmp_path).attempt(lambda claim: Later(answer())).answer == told()


def test_so_may_start() -> None:
    """What fails then must not be taken for a start."""
    (failed,) = outcome(service(lambda: Later(OSError("no such host"))).started())
    assert failed.type is OSError
    assert outcome(service(lambda: Later("whatever")).started()) == [None]


# -- it has other parameters


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (lambda: None, r"<lambda>\(\) takes 0 positional arguments but 1 was given"),
        (lambda claim, realm: None, r"<lambda>\(\) missing 1 required positional argument: 'realm'"),
    ],
)
def test_what_it_lacks_is_told(tmp_path: Path, check: Any, why: str) -> None:
    """Else there would be only our own line to look at."""
    guard = Guarded(tmp_path)
    guard.attempt(check)
    (record,) = guard.audit
    assert re.match(rf"TypeError: \S*{why} \(", record["reason"])


def test_a_text_of_its_own_is_not(tmp_path: Path) -> None:
    guard = Guarded(tmp_path)
    guard.attempt(lambda claim: raised(plain, TypeError(f"f() takes no {SECRET}")))
    assert SECRET not in guard.audit[0]["reason"]


# -- it hangs, and can't be cancelled


def fails_to_be_cancelled() -> "Deferred[None]":
    def cancel(_: object) -> None:
        raise RuntimeError(SECRET)

    return Deferred(cancel)


async def is_cancelled_and_goes_on() -> None:
    while True:
        try:
            await Deferred()
        except Exception:  # and so for ever: as one does who connects anew until it succeeds
            continue


async def awaits_what_fails_to_be_cancelled() -> None:
    await fails_to_be_cancelled()


STUBBORN = pytest.mark.parametrize(
    "stubborn", [fails_to_be_cancelled, is_cancelled_and_goes_on, awaits_what_fails_to_be_cancelled]
)


@STUBBORN
def test_a_check_that_cannot_be_cancelled_is_given_up(tmp_path: Path, stubborn: Callable[[], Any]) -> None:
    guard = Guarded(tmp_path)
    attempt = guard.attempt(lambda claim: stubborn())
    guard.clock.advance(DEADLINE)
    assert (attempt.uri, attempt.after) == ("com.example.unavailable", DEADLINE)


class Checks:
    """Checks whose hooks are given to them."""

    def __init__(self, start: Callable[[], Any], stop: Callable[[], Any]) -> None:
        self.start, self.stop = lambda session: start(), stop
        self.ticket = partial(answered, answer())  # has no __qualname__


def answered(found: Any, claim: Claim) -> Any:
    return found


def service(start: Callable[[], Any], stop: Callable[[], Any] = lambda: None) -> Service:
    audit: Any = NoAudit()
    one = Service(Clock(), lambda _: Checks(start, stop), {}, Settings(), "a.", Admissions("a.", bytes(32)), audit)
    one._goes_on = lambda: None  # type: ignore[method-assign] # the reactor isn't to stop it
    return one


def outcome(waited: "Deferred[Any]") -> list[Any]:
    """What has come of it, if anything."""
    found: list[Any] = []
    waited.addBoth(found.append)
    return found


@STUBBORN
def test_neither_start_nor_stop_is_waited_for_longer(stubborn: Callable[[], Any]) -> None:
    """The node would neither come up nor end, or end never."""
    one = service(stubborn)
    waiting = outcome(one.started())
    one._clock.advance(START_TIMEOUT)
    (failed,) = waiting
    assert isinstance(failed, Failure)
    assert str(failed.value) == "Checks.start() wasn't done after 30 seconds"
    other = service(lambda: None, stubborn)
    other.begin()
    stopping = outcome(other.stop())
    other._clock.advance(STOP_TIMEOUT)
    assert stopping == [None]


@STUBBORN
def test_nor_are_a_stores(stubborn: Callable[[], Any]) -> None:
    reactor = Shutdown()
    store = Started(plain, None)
    store.start = stubborn  # type: ignore[method-assign]
    waiting = outcome(Deferred.fromCoroutine(OpenStore(store, reactor).changes(None)))
    reactor.advance(opened.LONGEST_START)
    assert [no.type.__name__ for no in waiting] == ["TooLate"]
    store = Started(plain, None)
    asked(OpenStore(store, reactor), "by_key")
    store.stop = stubborn  # type: ignore[method-assign]
    (stop,) = reactor.triggers
    stopping = outcome(stop())
    reactor.advance(opened.LONGEST_STOP)
    assert stopping == [None]


class Fails(dict[str, Any]):
    """What a store has found, and reads when it is asked for."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(c1=None)
        self.error = error

    def __contains__(self, name: object) -> bool:
        raise self.error

    def values(self) -> Any:
        return []


@pytest.mark.parametrize("error", [KeyError(SECRET), OSError(SECRET), SystemExit(SECRET), Panic(SECRET)], ids=repr)
def test_what_a_store_has_found_may_fail_later(error: BaseException) -> None:
    """It is away then; else nobody would be looked at any more."""
    lookup = Lookup(OpenStore(Given(plain, by_ids=Fails(error))), Clock())
    (away,) = outcome(Deferred.fromCoroutine(lookup.by_ids(["c1"])))
    assert away.type is StoreAway
    assert SECRET not in str(away.value)


def test_a_function_answers_at_once() -> None:
    assert outcome(called(lambda *given: given, 1, 2)) == [(1, 2)]
