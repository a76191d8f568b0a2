"""What does the store say now?

A store may be slow, hang, fail or answer nonsense. All of that is the same to those who ask here: it is away.
"""

from collections.abc import Collection, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wampauth import names
from wampauth.admission import LATEST
from wampauth.calling import within
from wampauth.claims import Principal
from wampauth.places import Stopping
from wampauth.store import OpenStore
from wampauth.told import told

DEADLINE = 1.0  # seconds in which the store must answer
FIRST_DEADLINE = 30.0  # seconds for the first question: a store of an author's own may have to start
WRITING = 5.0  # seconds in which something must be written for operators: there may be a lock to wait for
LOOKED_UP = 10_000  # credentials in a second, by a store that is slow but not away


class StoreAway(Exception):
    """The store has given no answer that can be used. The text says what it did instead."""


class StoreStopped(StoreAway):
    """It is over in order, since the node is stopping: nobody need be told."""


class Lookup:
    """The two questions about live sessions, and those of operators, each answered within a time."""

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
        seconds = DEADLINE + len(credentials) / LOOKED_UP
        return await self._ask(self._by_ids(credentials), seconds)  # type: ignore[no-any-return]

    async def _by_ids(self, credentials: Collection[str]) -> dict[str, Principal]:
        found = await self._store.by_ids(credentials)
        try:
            return {credential: checked(found[credential]) for credential in credentials if credential in found}
        except Exception as error:  # a mapping of an author's may raise whatever its look-up does
            raise StoreAway(f"by_ids() gave an incomplete principal: {told(error)}") from None

    # -- what operators want to know (``answering.py``)

    async def requests(self, node: str) -> Mapping[str, str]:
        """What is asked of all processes, by the id of the request; the store hears that this one is there.

        :raises StoreAway: here and below, if the store doesn't do it in its time.
        """
        return await self._ask(self._store.requests(node), FIRST_DEADLINE)  # type: ignore[no-any-return]

    async def answer(self, request: str, node: str, part: int, text: str) -> bool:
        """Add a part to an answer; whether it is still wanted."""
        return await self._ask(self._store.answer(request, node, part, text), WRITING)  # type: ignore[no-any-return]

    async def request(self, text: str) -> tuple[str, Collection[str]]:
        """Ask all processes: the request's id, and who they are."""
        return await self._ask(self._store.request(text), WRITING)  # type: ignore[no-any-return]

    async def answers(self, request: str) -> Collection[tuple[str, str]]:
        """What has come since this was asked before: processes, and what each says."""
        return await self._ask(self._store.answers(request), WRITING)  # type: ignore[no-any-return]

    async def withdraw(self, request: str, gone: Collection[str] = ()) -> None:
        """Forget a request, and processes, or names that they had."""
        await self._ask(self._store.withdraw(request, gone), WRITING)

    def _ask(self, question: Coroutine[Any, Any, Any], seconds: float) -> "Deferred[Any]":
        """The answer, if it comes in time."""
        late = StoreAway(f"no answer after {seconds:g} seconds")
        return within(Deferred.fromCoroutine(question), seconds, self._clock, late).addErrback(_away)


def _away(failure: Failure) -> Failure:
    if failure.check(StoreAway):
        return failure
    return Failure((StoreStopped if failure.check(Stopping) else StoreAway)(told(failure.value)))


def checked(principal: Principal) -> Principal:
    """A principal as a store may give it. In ``extra`` are the author's own fields, in the form in which they travel.

    :raises names.Malformed: if something has a type that no session can have been given.
    """
    named = (principal.authid, principal.realm, principal.role)
    if not all(isinstance(name, str) for name in named) or not isinstance(principal.extra, Mapping):
        raise names.Malformed("authid, realm and role are text, and extra is an object")
    expires: Any = principal.expires
    if isinstance(expires, bool) or not isinstance(expires, int | float | None) or not 0 <= (expires or 0) <= LATEST:
        raise names.Malformed("expires isn't a number of seconds since 1970")
    names.max_sessions(principal.max_sessions)
    own = {name: value for name, value in principal.extra.items() if not names.RESERVED_EXTRA.fullmatch(name)}
    extra = names.portable(own)
    return principal if extra == principal.extra else replace(principal, extra=extra)
