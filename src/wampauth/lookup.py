"""What does the store say now?

A store may be slow, hang, fail or answer nonsense. All of that is the same to those who ask here: it is away.
"""

from collections.abc import Collection, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

from wampauth import names
from wampauth.admission import LATEST
from wampauth.claims import Principal
from wampauth.store import OpenStore

DEADLINE = 1.0  # seconds in which the store must answer
FIRST_DEADLINE = 30.0  # seconds for the first question: a store of an author's own may have to start
LOOKED_UP = 10_000  # credentials in a second, by a store that is slow but not away
LONGEST = 200  # characters of what is told of a store's failure


class StoreAway(Exception):
    """The store has given no answer that can be used. The text says what it did instead."""


class Lookup:
    """The two questions about live sessions, each answered within a time."""

    def __init__(self, store: OpenStore, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._store = store
        self._clock = clock

    async def point(self) -> Any:
        """Where the store is now: :meth:`changes` can be asked what came after that.

        :raises StoreAway: if it doesn't say so.
        """
        point, _ = await self._ask(self._store.changes(None), FIRST_DEADLINE)
        return point

    async def changes(self, since: Any) -> tuple[Any, Collection[str] | None]:
        """Where the store is now, and the authids that are concerned by what has changed; None: it can be everybody.

        :raises StoreAway: if it doesn't say so.
        """
        return await self._ask(self._store.changes(since), DEADLINE)  # type: ignore[no-any-return]

    async def by_ids(self, credentials: Collection[str]) -> Mapping[str, Principal]:
        """The principals of those credentials that count now. Questions about many may take longer.

        :raises StoreAway: if it doesn't say so, or says so of something that is no complete principal.
        """
        found = await self._ask(self._store.by_ids(credentials), DEADLINE + len(credentials) / LOOKED_UP)
        try:
            return {credential: checked(found[credential]) for credential in credentials if credential in found}
        except (TypeError, ValueError) as error:
            raise StoreAway(f"by_ids() gave an incomplete principal: {_described(error)}") from None

    def _ask(self, question: Coroutine[Any, Any, Any], seconds: float) -> "Deferred[Any]":
        """The answer, if it comes in time. The Deferred is our own: not every question lets itself be cancelled."""
        outcome: Deferred[Any] = Deferred()

        def give_up() -> None:
            outcome.errback(StoreAway(f"no answer after {seconds:g} seconds"))
            asking.cancel()

        def settle(result: Any) -> None:
            if not outcome.called:
                timer.cancel()
                away = isinstance(result, Failure)
                outcome.callback(Failure(StoreAway(_described(result.value))) if away else result)

        timer = self._clock.callLater(seconds, give_up)
        asking = Deferred.fromCoroutine(question).addBoth(settle)
        return outcome


def checked(principal: Principal) -> Principal:
    """A principal as a store may give it. In ``extra`` are the author's own fields, in the form in which they travel.

    :raises TypeError: if something has a type that no session can have been given.
    :raises names.Malformed: so, if it is within ``extra``.
    """
    named = (principal.authid, principal.realm, principal.role)
    if not all(isinstance(name, str) for name in named) or not isinstance(principal.extra, Mapping):
        raise TypeError("authid, realm and role are text, and extra is an object")
    expires: Any = principal.expires
    if isinstance(expires, bool) or not isinstance(expires, int | float | None) or not 0 <= (expires or 0) <= LATEST:
        raise TypeError("expires isn't a number of seconds since 1970")
    own = {name: value for name, value in principal.extra.items() if not names.RESERVED_EXTRA.fullmatch(name)}
    return replace(principal, extra=names.portable(own))


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {safe_str(error)}"[:LONGEST]
