"""What does an operator see of the live sessions of a realm, and do to them?"""

from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wampauth.answering import Answering, Question
from wampauth.endings import TOO_MANY
from wampauth.gathering import Item
from wampauth.live import Live
from wampauth.lookup import StoreStopped
from wampauth.watch import Watch

Standing = tuple[float, int, Live | None]  # the younger is greater; None: the session is at another node
REASONS = ("kicked", TOO_MANY)


class Operating:
    """Answers for one realm (``answering.py``)."""

    log = Logger()

    def __init__(self, realm: str, watch: Watch, answering: Answering, oldest_leaves: bool) -> None:
        """:param oldest_leaves: of sessions that are too many for a principal; else the newest."""
        self._realm, self._watch, self._answering, self._oldest_leaves = realm, watch, answering, oldest_leaves
        self._counting: set[str] = set()  # authids whose sessions elsewhere are being counted
        answering.add(self.answer, watches=True)
        watch.ask_elsewhere = self._count_elsewhere

    def stop(self) -> None:
        """There are no sessions any more that we know of."""
        self._answering.remove(self.answer)

    async def answer(self, question: Question) -> Iterable[Item]:
        """What there is to say here to an operator's question; first, that this realm is watched."""
        return self._items(question, await self._concerned(question))

    async def _concerned(self, question: Question) -> list[Live]:
        """The sessions that the question is about, after what is to be done to them."""
        do, authid = question["do"], question.get("authid")
        if do == "sessions":
            return self._wanted(authid, question.get("realm"))
        if do == "kick":
            return self._kick(self._named(authid, question.get("session")), question.get("why"))
        if do == "ended":
            await self._watch.follow()
            return self._watch.endings.take(str(authid), question.get("credential"))
        return []

    def _items(self, question: Question, concerned: list[Live]) -> Iterator[Item]:
        if question["do"] in ("sessions", "kick", "ended"):
            yield {"watches": self._realm}
        if question["do"] == "sessions":
            yield from map(self._described, concerned)
        else:
            yield from (
                {"ended": live.session, "realm": self._realm, "authid": live.principal.authid} for live in concerned
            )

    def _wanted(self, authid: str | None, realm: str | None) -> list[Live]:
        if realm not in (None, self._realm):
            return []
        return self._watch.live.everybody() if authid is None else list(self._watch.live.of(authid))

    def _named(self, authid: str | None, session: int | None) -> list[Live]:
        if authid is not None:
            return list(self._watch.live.of(authid))
        found = self._watch.live.get(session) if session is not None else None
        return [found] if found else []

    def _kick(self, some: list[Live], why: Any) -> list[Live]:
        """End those that haven't been ended before."""
        here = [live for live in some if not live.ended]
        for live in here:
            self._watch.end(live, why if why in REASONS else REASONS[0])
        return here

    def _described(self, live: Live) -> Item:
        """A session, as `wampauth sessions` tells of it."""
        return {
            "authid": live.principal.authid,
            "realm": self._realm,
            "role": live.principal.role,
            "session": live.session,
            "credential": live.principal.credential,
            "method": live.method,
            "address": live.peer,
            "tls": live.is_secure,
            "since": live.since,
            "until": live.expires,
            "ended": live.ended,
        }

    # -- a principal's sessions at several nodes

    def _count_elsewhere(self, authid: str, most: int) -> None:
        """A principal who may have so many sessions has one here: see that there aren't too many with those of other
        processes. Once at a time for each."""
        if authid not in self._counting:
            self._counting.add(authid)
            Deferred.fromCoroutine(self._keep_within(authid, most)).addErrback(self._failed).addBoth(
                lambda _: self._counting.discard(authid)
            )

    async def _keep_within(self, authid: str, most: int) -> None:
        question = {"do": "sessions", "authid": authid, "realm": self._realm}
        elsewhere = [item for item in await self._answering.ask_others(question) if "session" in item]
        theirs: list[Standing] = [
            (i["since"] or 0.0, i["session"], None)
            for i in elsewhere
            if not i["ended"] and self._watch.live.get(i["session"]) is None
        ]
        ours: list[Standing] = [(*live.order, live) for live in self._watch.live.of(authid) if not live.ended]
        staying = sorted(theirs + ours, key=lambda one: one[:2])
        excess = max(0, len(staying) - most)
        for _, session, live in staying[:excess] if self._oldest_leaves else staying[len(staying) - excess :]:
            if live:
                self._kick([live], TOO_MANY)
            elif self._oldest_leaves:
                await self._answering.ask_others({"do": "kick", "session": session, "why": TOO_MANY})

    def _failed(self, failure: Any) -> None:
        if not failure.check(StoreStopped):
            self.log.error("sessions at other nodes can't be counted: {error}", error=failure.value)
