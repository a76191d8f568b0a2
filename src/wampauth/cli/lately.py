"""How was somebody turned away in the last day? What ``why`` knows from the audit before it tries anything."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from wampauth.cli.joins import UNPROVEN, marked, places_of_audit
from wampauth.cli.refused import BINDING, TLS, Alike, Causes, alike, is_turned_away
from wampauth.cli.telling import in_one_line
from wampauth.cli.trying import Attempt
from wampauth.cli.whose import about
from wampauth.history import History, Record, moment
from wampauth.store import Connection

DAY = 86_400.0  # seconds
APART = 50  # kinds of refusals that are looked at
SHOWN = 3  # of them
LOGINS = ("accepted", "joined")
PASSED = (*LOGINS, "challenged")  # the last: with a key, on a connection as the node wants it


class Lately:
    """Of one principal, or one key.

    :ivar credential: the id of the one that is shown now, once it is known.
    :ivar ended: the last time that a session of it was ended; None: it has logged in since, or there is none.
    """

    def __init__(self, store: Connection | None, attempt: Attempt, audits: list[Path]) -> None:
        """:param store: None, if there is none that could tell more."""
        self._attempt = attempt
        self.credential: str | None = None
        self.ended: Record | None = None
        self._causes = Causes(store, audits, points=store is not None)
        self._login: Record | None = None  # the last
        self._passed: Record | None = None  # the last whose connection was as the node wants it
        self._found: list[Alike] = []
        with suppress(OSError), closing(History(audits, time.time() - DAY)) as history:
            self._found = alike(self._turned_away(marked(history, places_of_audit(), time.time())), APART)

    def _turned_away(self, records: Iterable[Record]) -> Iterator[Record]:
        who = self._attempt.who
        is_about = about(who) if who is not None else lambda _: False
        for one in filter(is_about, records):
            self._passed = one if one["outcome"] in PASSED else self._passed
            if is_turned_away(one):
                yield one
                continue
            if one["outcome"] in LOGINS:
                self._login, self.ended = one, None
            elif one["outcome"] == "ended":
                self.ended = one

    @property
    def failures(self) -> list[Alike]:
        """What may have had it throttled."""
        return [one for one in self._found if one.last["outcome"] == "refused" or one.reason == UNPROVEN]

    @property
    def last(self) -> Record | None:
        """The last that is known of it: a refusal, or a login."""
        refused = [one.last for one in self.shown]
        return max([*refused, self._login] if self._login else refused, key=moment, default=None)

    @property
    def of_connection(self) -> Alike | None:
        """The last refusal, if it was for what the node asks of a connection, and no connection was better since."""
        some = self.shown
        if not some or some[-1].reason not in (TLS, BINDING) or _is_before(some[-1], self._passed):
            return None
        return some[-1]

    @property
    def shown(self) -> list[Alike]:
        """The last ones that may have to do with the attempt."""
        return [one for one in self._found if not _is_throttled(one) and self._may_be(one.last)][-SHOWN:]

    @property
    def before(self) -> list[Alike]:
        """These, and behind them that it was throttled: if no node says so now, that is over."""
        return [*self.shown, *[one for one in self._found if _is_throttled(one) and self._may_be(one.last)][-1:]]

    def told(self, one: Alike) -> str:
        """Refusals in a clause."""
        often = f"{one.times} times since {one.since}" if one.times > 1 else f"once, at {one.since}"
        return f"{often}: {self._causes.cause(one.last)}"

    def sentence(self, one: Alike) -> str:
        """Refusals in a sentence, with when the last was."""
        since = f" It got in since, at {self._login['time']}." if self._login and _is_before(one, self._login) else ""
        return in_one_line(f"{self._causes.sentence(one, dated=True)}.{since}")

    def _may_be(self, record: Record) -> bool:
        """Whether a refusal may be of what is shown now."""
        if self._attempt.method is None:
            return True
        is_its = record.get("credential") in (None, self.credential)
        return record.get("method") in (None, self._attempt.method) and is_its


def _is_throttled(one: Alike) -> bool:
    return bool(one.last["outcome"] == "throttled")


def _is_before(one: Alike, other: Record | None) -> bool:
    return other is not None and moment(one.last) < moment(other)
