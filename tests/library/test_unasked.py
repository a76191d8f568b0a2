"""Does a call come to the same without a look at what is called?"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from txaio import tx

from wampauth.worker import unasked


class Called:
    """What the router calls."""

    async def coroutine(self, number: int) -> int:
        return await succeed(number)

    async def failing_coroutine(self, number: int) -> int:
        raise ValueError(number)

    def plain(self, number: int) -> int:
        return number

    def failing(self, number: int) -> int:
        raise ValueError(number)

    def deferred(self, number: int) -> "Deferred[int]":
        return succeed(number)


CALLS = [getattr(Called(), name) for name in vars(Called) if not name.startswith("_")]


@pytest.fixture
def as_ever() -> Iterator[None]:
    were = tx.iscoroutinefunction
    yield
    tx.iscoroutinefunction = were


def outcome(call: Callable[..., Any], *args: Any) -> str:
    results: list[Any] = []
    tx._TxApi(tx.config).as_future(call, *args).addBoth(results.append)
    (result,) = results
    return repr(result.value) if isinstance(result, Failure) else repr(result)


@pytest.mark.usefixtures("as_ever")
@pytest.mark.parametrize("args", [(), (23,)], ids=["wrongly called", "called"])
def test_a_call_comes_to_the_same(args: tuple[int, ...]) -> None:
    calls = [*CALLS, *map(partial, CALLS)]
    before = [outcome(call, *args) for call in calls]
    unasked.leave_to_twisted()
    assert tx.iscoroutinefunction(Called.coroutine) is False
    assert [outcome(call, *args) for call in calls] == before
    assert ("23" in before) is bool(args)
