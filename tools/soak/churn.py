"""Who comes and goes? So many events a second, chosen at random: logins good and bad, calls, and what operators do."""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from clients import PATIENCE
from operators import ROLES
from population import KNOWN, STAYING, Population
from service import OTHER_ROLE
from truth import Credential, Kick, Principal
from verdicts import CLOCK, NODE, STORE

from wampauth.cli.reaching import Answers
from wampauth.store.showing import Refused
from wampauth.testing.wamp import PUBLISHED, RESULT

PEOPLE = 240
SESSIONS = 200  # as many stay in, about
AT_ONCE = 400  # events under way
TRIES = 5  # to find something that can be done just now
WEIGHTS = {
    "join": 30, "leave": 15, "call": 12, "wrong login": 12, "revoke": 4, "withdraw a credential": 3, "restore": 4,
    "rotate": 4, "expire": 4, "set role": 3, "kick": 1, "add": 4, "remove": 4,
}  # fmt: skip


@dataclass
class Churn(Population):
    """What they do, and what becomes of them."""

    done: Counter[str] = field(default_factory=Counter)
    missed: int = 0  # events for which there was no time
    _under_way: set["asyncio.Task[None]"] = field(default_factory=set)
    _number: int = 0

    # -- the whole

    async def settle(self) -> None:
        """The people who are there at first."""
        await asyncio.gather(*(self.add() for _ in range(PEOPLE)))

    async def run(self, rate: float, until: float) -> None:
        """Events at that rate, until that moment."""
        standing = [asyncio.create_task(one) for one in (self.watch(), *map(self.stay, range(STAYING)))]
        due = time.monotonic()
        while due < until:
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self._under_way) < AT_ONCE:
                self._begin(self._choose())
            else:
                self.missed += 1
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=3 * PATIENCE)
        for task in standing:
            if task.done():
                self.verdicts.fault(until, f"what was to go on has ended: {task.exception()!r}")
            task.cancel()
        for session in list(self.sessions):
            session.is_leaving = True
            session.connection.transport.abort()
        await asyncio.sleep(2 * KNOWN)

    def _choose(self) -> str:
        """There are always about as many people, and sessions."""
        (name,) = self.random.choices([*WEIGHTS], [*WEIGHTS.values()])
        if name in ("add", "remove"):
            return "remove" if len(self.people) > PEOPLE else "add"
        if name in ("join", "leave") and (len(self.sessions) > SESSIONS) == (name == "join"):
            return "leave" if name == "join" else "join"
        return name

    def _begin(self, name: str) -> None:
        task = asyncio.create_task(self._do(name))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _do(self, name: str) -> None:
        """This, or something else, if there is nobody just now to whom it can be done."""
        try:
            for one in (name, *(self._choose() for _ in range(TRIES))):
                act: Callable[[], Awaitable[object]] = getattr(self, one.replace(" ", "_"))
                if await act() is not False:
                    self.done[one] += 1
                    return
        except Exception as error:
            self.verdicts.fault(time.monotonic(), f"after {name}: {type(error).__name__}: {error}")

    # -- what clients do

    async def join(self) -> bool:
        who = self.somebody(lambda one: bool(self.usable(one)), is_calm=False)
        if who is None:
            return False
        credential = self.random.choice(self.usable(who))
        await self.enter(who, credential, credential.secret)
        return True

    async def leave(self) -> bool:
        session = self.session()
        if session:
            await session.leaves()
        return bool(session)

    async def call(self) -> bool:
        session, since = self.session(), time.monotonic()
        if session is None:
            return False
        try:
            answer = await session.does()
        except TimeoutError:
            answer = ["nothing"]
        now = time.monotonic()
        if answer is None or answer[0] in (RESULT, PUBLISHED) or session.is_leaving or session.who.kicks:
            return True
        earliest, _ = session.who.loses(session.credential, session.role, session.joined)
        excuses = (STORE, NODE, CLOCK) if session.credential.expires < math.inf else (STORE, NODE)
        if earliest > now and not self.verdicts.out(excuses, since, now):
            self.verdicts.fault(now, f"{session.who.authid} may not do what it may: {answer}")
        return True

    async def wrong_login(self) -> bool:
        """One that must be refused, or that may not have to be any more."""
        who = self.somebody(lambda one: bool(one.credentials), is_calm=False)
        if who is None:
            return False
        other, odd = self.random.choice(self.people), self.random.randrange(6)
        ticket, key = _held(other, "ticket"), _held(other, "key")
        if odd == 0 and self.gone:
            who, former = self.random.choice(self.gone)
            await self.enter(who, former, former.secret)
        elif odd == 1 and other is not who and ticket:  # which is good for that one alone
            await self.enter(who, None, ticket.secret, kind="ticket")
        elif odd == 2 and key:  # without its private half
            await self.enter(other, None, key.secret, kind="key", signs=_random_seed(self.random))
        elif odd == 3 and ticket:
            await self.enter(other, None, ticket.secret, kind="ticket", realm=_other_realm(other.realm))
        elif odd == 4:  # what this one had, and what may have been taken away
            former = self.random.choice(who.credentials)
            await self.enter(who, former, former.secret)
        else:
            await self.enter(who, None, _random_seed(self.random), kind=self.random.choice(["ticket", "key"]))
        return True

    # -- what operators do

    async def add(self) -> None:
        self._number += 1
        who = Principal(f"person-{self._number}", self.random.choice([*ROLES]))
        who.is_busy = True
        await self.operator.add(who, self.random.choice(["ticket", "key"]))
        who.is_busy = False
        self.people.append(who)

    async def remove(self) -> bool:
        who = self.somebody(lambda one: True)
        if who is None:
            return False
        self.people.remove(who)
        await self.operator.remove(who)
        self.gone.append((who, who.credentials[-1]))
        return True

    async def revoke(self) -> bool:
        return await self._to(lambda one: self.role(one) is not None, self.operator.revoke)

    async def restore(self) -> bool:
        def was(who: Principal) -> str:
            return next(change.value for change in reversed(who.role.changes) if change.value)

        return await self._to(lambda one: self.role(one) is None, lambda who: self.operator.restore(who, was(who)))

    async def set_role(self) -> bool:
        async def give_the_other(who: Principal) -> None:
            await self.operator.set_role(who, OTHER_ROLE if self.role(who) == "frontend" else "frontend")

        return await self._to(lambda one: one.realm == "realm1" and self.role(one) is not None, give_the_other)

    async def rotate(self) -> bool:
        async def replace(who: Principal) -> None:
            old = self.random.choice(self.usable(who, lasting=True))
            await self.operator.rotate(who, old, self.random.choice([0.0, 1.0, 3.0, 10.0]))

        return await self._to(lambda one: bool(self.usable(one, lasting=True)), replace)

    async def withdraw_a_credential(self) -> bool:
        async def withdraw(who: Principal) -> None:
            await self.operator.withdraw(who, self.random.choice(self.usable(who)))
            await self.operator.give(who, self.random.choice(["ticket", "key"]))

        return await self._to(lambda one: bool(self.usable(one)), withdraw)

    async def expire(self) -> bool:
        """A credential that counts for some seconds, and one who comes in with it."""

        kind, lasts = self.random.choice(["ticket", "key"]), 3 + 12 * self.random.random()

        async def give_and_use(who: Principal) -> None:
            try:
                lasting = await self.operator.give(who, kind, lasts)
            except Refused:  # the store was away for longer than it would have counted
                who.credentials.pop()
                return
            await self.enter(who, lasting, lasting.secret)

        return await self._to(lambda one: self.role(one) is not None, give_and_use)

    async def kick(self) -> bool:
        session = self.session()
        if session is None or session.who.is_busy:
            return False
        kick = Kick(time.monotonic())
        session.who.kicks.append(kick)
        answers: Answers = await self.operator.kick(session.who)
        kick.until = time.monotonic()
        if answers.silent == answers.asked and not self.verdicts.out((STORE, NODE), kick.since, kick.until):
            self.verdicts.fault(kick.until, f"{session.who.authid} couldn't be kicked: no node answered")
        return True

    async def _to(self, suits: Callable[[Principal], bool], act: Callable[[Principal], Awaitable[None]]) -> bool:
        who = self.somebody(suits)
        if who is None:
            return False
        who.is_busy = True
        try:
            await act(who)
        finally:
            who.is_busy = False
        return True


def _held(who: Principal, kind: str) -> Credential | None:
    return next((one for one in who.credentials if one.kind == kind), None)


def _other_realm(realm: str) -> str:
    return next(other for other in ROLES if other != realm)


def _random_seed(chosen: random.Random) -> str:
    return chosen.randbytes(32).hex()
