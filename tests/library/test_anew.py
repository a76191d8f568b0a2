"""Does what the router does anew each time come to the same without it?"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from txaio import tx

from wampauth.worker import anew


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
    were = tx.iscoroutinefunction, tx.Logger
    yield
    tx.iscoroutinefunction, tx.Logger = were


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
    anew.spare()
    assert tx.iscoroutinefunction(Called.coroutine) is False
    assert [outcome(call, *args) for call in calls] == before
    assert ("23" in before) is bool(args)


class Session:
    """Has a logger, as Autobahn's have."""

    def __init__(self) -> None:
        self.log = tx.make_logger()


class OtherSession(Session):
    """Has another one."""


@pytest.mark.usefixtures("as_ever")
def test_loggers_of_one_name_are_one_and_follow_the_level() -> None:
    level, lone = tx.get_global_log_level(), Session().log
    anew.spare()
    anew.spare()
    one, same, other = Session().log, Session().log, OtherSession().log
    assert one is same is not other
    assert [log._logger.namespace for log in (one, other)] == [f"{__name__}.Session", f"{__name__}.OtherSession"]
    assert (type(one), one._logger.namespace) == (type(lone), lone._logger.namespace)
    try:
        for name in "error", "debug":
            tx.set_global_log_level(name)
            assert {log._log_level for log in (lone, one, other)} == {name}
    finally:
        tx.set_global_log_level(level)
