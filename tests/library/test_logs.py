"""How much can a stranger have us write into the log?"""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher, formatEvent
from twisted.python.failure import Failure

from wampauth.logs import FEW, KINDS, LONGEST, MORE, PERIOD, bound_publisher

ROUTER = "autobahn.wamp.websocket.WampWebSocketProtocol"


class Written:
    """A log that is bounded, and what came through."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.publisher = LogPublisher()
        self.events: list[dict[str, Any]] = []
        bound_publisher(self.publisher, self.clock.callLater, monotonic=self.clock.seconds)
        self.publisher.addObserver(self.events.append)
        self.clock.advance(1000)

    def logger(self, namespace: str = ROUTER) -> Logger:
        return Logger(namespace=namespace, observer=self.publisher)

    @property
    def texts(self) -> list[str]:
        return [formatEvent(event) for event in self.events]


@pytest.fixture
def written() -> Written:
    return Written()


def test_a_flood_is_some_lines_and_one_that_counts(written: Written) -> None:
    for number in range(10_000):
        written.logger().critical("{tb}", tb=f"Traceback {number}")
    assert written.texts == [f"Traceback {number}" for number in range(FEW)]
    written.clock.advance(PERIOD)
    assert written.texts[FEW:] == [
        f"9998 lines like those before were left out of the log: 9998 of {ROUTER} {{tb}}",
    ]
    assert written.events[-1]["log_level"].name == "critical"


def test_a_line_a_minute_for_as_long_as_it_lasts(written: Written) -> None:
    for _ in range(600):
        for _ in range(100):
            written.logger().error("{tb}", tb="x" * 20_000)
        written.clock.advance(1)
    minutes = 10
    assert len(written.texts) <= minutes * (FEW + 1) + FEW
    counted = sum(int(text.split()[0]) for text in written.texts if "left out" in text and not text.startswith("x"))
    assert counted >= 9 * (6000 - FEW)


def test_a_flood_hides_no_line_of_another_kind(written: Written) -> None:
    for _ in range(1000):
        written.logger().critical("{tb}", tb="flood")
        written.logger("twisted.internet.defer").failure("Unhandled", Failure(ValueError("flood")))
    written.logger().error("another line of the same module")
    written.logger("crossbar.worker.router").error("the realm is gone")
    try:
        raise LookupError("a bug")
    except LookupError:
        written.logger("twisted.internet.defer").failure("Unhandled")
    assert "another line of the same module" in written.texts
    assert "the realm is gone" in written.texts
    assert written.events[-1]["log_failure"].type is LookupError


def test_formats_that_a_stranger_makes_up_are_bounded_too(written: Written) -> None:
    for number in range(10_000):
        written.logger().error(f"can't read message {number}")
    assert len(written.texts) <= (KINDS + 1) * FEW
    written.clock.advance(PERIOD)
    assert written.texts[-1].startswith(f"{10_000 - KINDS - FEW} lines")
    assert len(written.texts[-1]) < LONGEST


def test_a_long_line_is_cut_to_its_beginning_and_its_end(written: Written) -> None:
    def deep(levels: int) -> None:
        deep(levels - 1) if levels else int("what it was")

    try:
        deep(500)
    except ValueError:
        written.logger().failure("Deep")
    (text,) = written.texts
    assert LONGEST <= len(text) < LONGEST + 100
    assert text.startswith("Deep") and "what it was" in text.splitlines()[-1]
    assert "log_failure" not in written.events[0]


def test_an_error_that_somebody_has_answered_with_is_a_line(written: Written) -> None:
    """The router would write a traceback without a place."""
    written.logger("crossbar.router.broker").failure("Authorization failed", Failure(LookupError("no callee {x}")))
    written.logger("acme.checks").failure("Failed", Failure(LookupError("no callee {x}")))  # an author's own
    assert written.texts == ["Authorization failed: no callee {x}", "Failed"]
    assert ["log_failure" in event for event in written.events] == [False, True]


def test_braces_in_a_long_line_are_not_filled_in(written: Written) -> None:
    written.logger().error("{tb}", tb="{log_level}" * 1000)
    assert "{log_level}" in written.texts[0]


def test_our_own_lines_and_those_that_inform_have_more_room(written: Written) -> None:
    for _ in range(100):
        written.logger("wampauth.guard.Guard").error("authentication unavailable")
        written.logger("crossbar.router").info("somebody is here")
    assert written.texts.count("authentication unavailable") == written.texts.count("somebody is here") == MORE


@pytest.mark.parametrize("namespace", ["authenticator", "backend.Backend", "stdout", "autobahnish.mine"])
def test_what_an_author_writes_is_his(written: Written, namespace: str) -> None:
    for _ in range(1000):
        written.logger(namespace).error("debugging")
    assert len(written.texts) == 1000


def test_what_nobody_would_see_is_not_counted(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wampauth.logs.get_global_log_level", lambda: "error")
    for _ in range(1000):
        written.logger().info("somebody is here")
        written.logger().debug("details")
    written.clock.advance(PERIOD)
    assert not any("left out" in text for text in written.texts)


def test_without_a_reactor_the_next_line_that_is_left_out_counts(written: Written) -> None:
    clock, publisher, texts = Clock(), LogPublisher(), []
    later: Callable[..., None] = lambda seconds, function: None  # noqa: E731
    bound_publisher(publisher, later, monotonic=clock.seconds)
    publisher.addObserver(lambda event: texts.append(formatEvent(event)))
    clock.advance(1000)
    for _ in range(10):
        Logger(namespace=ROUTER, observer=publisher).error("flood")
    clock.advance(PERIOD)
    Logger(namespace=ROUTER, observer=publisher).error("flood")
    assert texts[FEW].startswith("8 lines like those before")
    assert texts[FEW + 1] == "flood"


def test_once_there_is_a_reactor_what_is_left_out_is_told() -> None:
    """Though lines were left out before that."""
    clock, publisher, texts = Clock(), LogPublisher(), []
    later: list[Callable[..., Any]] = [lambda seconds, function: None]
    bound_publisher(publisher, lambda *args: later[0](*args), monotonic=clock.seconds)
    publisher.addObserver(lambda event: texts.append(formatEvent(event)))
    clock.advance(1000)
    for when in (lambda seconds, function: None), clock.callLater:
        later[0] = when
        for _ in range(10):
            Logger(namespace=ROUTER, observer=publisher).error("flood")
        clock.advance(PERIOD)
    assert [text for text in texts if text != "flood"] == [
        f"{number} lines like those before were left out of the log: {number} of {ROUTER} flood" for number in (8, 8)
    ]
