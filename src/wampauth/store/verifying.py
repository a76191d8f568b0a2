"""Which chosen ticket is right? To find that out is made to be costly, and the same right one is found out once.

Argon2id guards what lies in the store. To repeat it for a ticket that was right a moment ago protects nothing, so a
keyed digest of the ticket and its verifier is remembered: in memory, with a key that this process has made for itself,
for a limited time and in a limited number. Those who come with the same ticket while it is being checked wait for that
one check. A wrong ticket is never remembered, and each pays for it in full.
"""

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wampauth.store import tickets
from wampauth.store.threads import FairQueue

MOST = 10_000  # right tickets to remember, each in some 200 bytes
LONGEST = 600.0  # seconds for which one is remembered

Number = int | None  # which of the verifiers; None: none


class Remembered:
    """Pairs of a verifier and the ticket that opens it. Of both, only a keyed digest is kept."""

    is_on = True  # for the whole process: see :func:`forget_tickets`

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """:param clock: says the seconds."""
        self._clock = clock
        self._key = os.urandom(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()  # by digest; the oldest first

    def __len__(self) -> int:
        return len(self._until)

    def find(self, verifiers: Sequence[str], ticket: str) -> Number:
        """Which of the `verifiers` is known to be opened by the `ticket`. A no costs the same for any number of them,
        and whatever is remembered."""
        while self._until and next(iter(self._until.values())) <= self._clock():
            self._until.popitem(last=False)
        padded = [*verifiers, *[tickets.decoy()] * (tickets.MAX_CHOSEN - len(verifiers))]
        known = [self.digest(verifier, ticket) in self._until for verifier in padded]
        return known.index(True) if any(known) else None

    def add(self, verifier: str, ticket: str) -> None:
        """The `ticket` has just been found to open the `verifier`."""
        if not Remembered.is_on:
            return
        digest = self.digest(verifier, ticket)
        self._until[digest] = self._clock() + LONGEST
        self._until.move_to_end(digest)
        while len(self._until) > MOST:
            self._until.popitem(last=False)

    def digest(self, *parts: str) -> bytes:
        """A keyed digest of texts, in this order: outside of this process it tells nothing."""
        keyed = hashlib.blake2b(key=self._key, digest_size=32)
        for part in map(str.encode, parts):
            keyed.update(len(part).to_bytes(8))
            keyed.update(part)
        return keyed.digest()


def forget_tickets() -> None:
    """Remember nothing in this process from now on: each login with a chosen ticket is checked anew."""
    Remembered.is_on = False


class Verifying:
    """Checks chosen tickets in threads, each right one once."""

    def __init__(self, hashes: FairQueue) -> None:
        """:param hashes: has a thread for each check, in turns."""
        self._hashes = hashes
        self._remembered = Remembered()
        self._checks: dict[bytes, _Check] = {}  # under way, by digest of what is checked

    async def find(self, address: str, authid: str, verifiers: Sequence[str], ticket: str) -> Number:
        """Which of the `verifiers` of `authid` the `ticket` opens. The verifiers are what the store says now.

        :param address: whose turn it takes.
        :raises Busy: if too much is waiting.
        """
        number = self._remembered.find(verifiers, ticket)
        if number is not None and Remembered.is_on:
            return number
        what = self._remembered.digest(authid, ticket, *verifiers)
        if Remembered.is_on and what in self._checks:
            number = await self._checks[what].join(address)
            if number is not None:
                return number  # and else pay for it, too
        check = self._checks[what] = _Check(
            lambda turn_of: self._hashes.do_for(turn_of, tickets.find_chosen, verifiers, ticket), self._hashes
        )
        check.settled.addCallback(self._settled, check, what, verifiers, ticket)
        return await check.join(address)

    def _settled(self, number: Number, check: "_Check", what: bytes, verifiers: Sequence[str], ticket: str) -> None:
        if self._checks.get(what) is check:
            del self._checks[what]
        if number is not None:
            self._remembered.add(verifiers[number], ticket)


class _Check:
    """One check that is under way, and all who wait for it.

    :ivar settled: fires first, with what has come out; None also if nothing has.
    """

    def __init__(self, ask: "Callable[[str], Deferred[Number]]", hashes: FairQueue) -> None:
        """
        :param ask: has it done in the turn of an address.
        :param hashes: the queue that it is done in.
        """
        self._ask, self._hashes = ask, hashes
        self.settled: Deferred[Number] = Deferred()
        self._waiting: list[Deferred[Number]] = []
        self._turns: dict[str, Deferred[Number]] = {}  # by address

    def join(self, address: str) -> "Deferred[Number]":
        """Wait for it. Until it has begun, it takes its turn for each address as well: nobody waits in the line of
        another one."""
        mine: Deferred[Number] = Deferred(self._leave)
        self._waiting.append(mine)
        if address not in self._turns and not self._has_begun():
            turn = self._turns[address] = self._ask(address)
            turn.addBoth(self._done, address)
        return mine

    def _has_begun(self) -> bool:
        return any(map(self._hashes.has_begun, self._turns.values()))

    def _leave(self, one: "Deferred[Number]") -> None:
        """Somebody has given up. If all have, nobody takes a turn for it any more."""
        self._waiting.remove(one)
        if not self._has_begun():
            one.errback(self._hashes.no_time())
        if not self._waiting:
            self._settle(None)

    def _done(self, result: "Number | Failure", address: str) -> None:
        del self._turns[address]
        if not self.settled.called and not (isinstance(result, Failure) and self._turns):
            self._settle(result)

    def _settle(self, result: "Number | Failure") -> None:
        self.settled.callback(None if isinstance(result, Failure) else result)
        for turn in list(self._turns.values()):
            turn.cancel()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(result)  # a Failure travels on as one
