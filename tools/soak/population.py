"""Who is there? The people whom the store knows, and their sessions; some clients always stay in."""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from clients import LEFT, Session, log_in
from operators import ROLES, Operator
from service import Service
from truth import Credential, Principal
from verdicts import Ending, Verdicts

STAYING = 12  # clients that are always in, and come back by themselves
CALM = 5.0  # seconds in which nothing more is done to somebody
ADDRESSES = 200  # of clients; wrong guesses from one are throttled
KNOWN = 1.0  # seconds after which it is known who had to wait for a core
GONE = 100  # people who were removed, and try to come in


@dataclass
class Population:
    """All of them, as far as is known."""

    service: Service
    operator: Operator
    verdicts: Verdicts
    random: random.Random
    people: list[Principal] = field(default_factory=list)
    sessions: dict[Session, "asyncio.Task[None]"] = field(default_factory=dict)
    gone: deque[tuple[Principal, Credential]] = field(default_factory=lambda: deque(maxlen=GONE))
    returns: list[float] = field(default_factory=list)  # seconds from a lost session to the next, of who stays

    async def enter(self, who: Principal, credential: Credential | None, secret: str, **odd: str) -> Session | None:
        address = f"127.0.0.{self.random.randrange(2, ADDRESSES + 2)}"
        login, session = await log_in(self.service.url, address, who, credential, secret, **odd)
        self.verdicts.login(login)
        if session:
            self.sessions[session] = asyncio.create_task(session.listen(self._ended))
        return session

    def _ended(self, session: Session, reason: str, moment: float) -> None:
        self.sessions.pop(session, None)
        if session.is_leaving:
            self.verdicts.counts[f"end: {LEFT}"] += 1
            return
        ending = Ending(session.who, session.credential, session.role, session.since, session.joined, moment, reason)
        asyncio.get_running_loop().call_later(KNOWN, self.verdicts.ending, ending)

    async def stay(self, number: int) -> None:
        """One who is always in, and whom nobody does anything to: it comes back by itself, as a client library does."""
        who = Principal(f"staying-{number}", self.random.choice([*ROLES]))
        credential = await self.operator.add(who, self.random.choice(["ticket", "key"]))
        lost = time.monotonic()
        while True:
            session = await self.enter(who, credential, credential.secret)
            if session is None:
                await asyncio.sleep(0.5 + self.random.random())
                continue
            self.returns.append(session.joined - lost)
            await self.sessions[session]
            lost = time.monotonic()

    async def watch(self) -> None:
        """See that nobody stays who should have gone."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for one in list(self.sessions):
                if not one.is_leaving and self.verdicts.overdue(one.who, one.credential, one.role, one.joined, now):
                    one.is_leaving = True
                    one.connection.transport.abort()

    def somebody(self, suits: Callable[[Principal], bool], is_calm: bool = True) -> Principal | None:
        now = time.monotonic()
        for one in self.random.sample(self.people, min(20, len(self.people))):
            if (not is_calm or (now - one.touched > CALM and not one.is_busy)) and suits(one):
                return one
        return None

    def session(self) -> Session | None:
        """One that is in, and isn't one of those that stay."""
        some = [one for one in self.sessions if not (one.is_leaving or one.who.authid.startswith("staying"))]
        return self.random.choice(some) if some else None

    @staticmethod
    def role(who: Principal) -> str | None:
        return who.role.at(time.monotonic())

    def usable(self, who: Principal, lasting: bool = False) -> list[Credential]:
        """What may let him in just now, as far as is known; of these, those that don't run out."""
        if self.role(who) is None:
            return []
        soon = time.monotonic() + 0.5
        return [one for one in who.credentials if one.counts.at(soon) and not (lasting and one.expires < math.inf)]
