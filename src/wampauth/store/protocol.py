"""What is a store asked? A class of your own that answers these four questions takes the place of the one that is
shipped, and nobody else has to know. ``wampauth.testing.StoreContract`` tells whether it does.
"""

from collections.abc import Awaitable, Collection, Mapping
from typing import Any, Protocol

from wampauth.claims import Answer, KeyClaim, Principal, ScramClaim, TicketClaim, TlsClaim

Changes = tuple[Any, Collection[str] | None]
QUESTIONS = ("by_ticket", "by_key", "by_ids", "changes")
REACHING = ("requests", "answer", "request", "answers", "withdraw")


class Store(Protocol):
    """What an author writes. Each method may be a coroutine function, return a Deferred, or answer at once.

    A store may also have ``start()``, which is begun at the first question and awaited by each; it has 30 seconds, and
    is tried again after a failure. ``stop()`` is called at the end of the process if it was started; it has 3 seconds.
    Whatever a method raises, but for ``Refused``, means that the store is away: a client is told to try again.
    """

    def by_ticket(self, claim: TicketClaim, /) -> Answer:
        """Whose ticket it is, or None; may raise ``Refused`` with the reason. Must not tell by the time that it takes
        whether there is such an authid."""

    def by_key(self, claim: KeyClaim, /) -> Answer:
        """Whose public key it is, or None; may raise ``Refused`` with the reason."""

    def by_ids(self, credentials: Collection[str], /) -> Mapping[str, Principal] | Awaitable[Mapping[str, Principal]]:
        """Those of the credentials that count now, by their id, each with its principal as it stands now."""

    def changes(self, since: Any, /) -> Changes | Awaitable[Changes]:
        """Where we are now, and the authids that something was taken from since then.

        :param since: where we were when it was asked before, or None.
        :returns: with None for the authids: look at everybody.
        """


class Enrols(Protocol):
    """What a store may be asked, too: one that registers the keys of devices that come with a one-time token."""

    def enrol(self, claim: TicketClaim, pubkey: str, /) -> Answer:
        """Spend the token that the claim's ticket is, and register the key: both or nothing, and once, however many
        come with it at the same time. The answer has the key's ``credential``.

        None, or ``Refused``: it is no token of this authid and realm that counts now, or somebody has the key. The
        client has proven that it has the key, and that it is meant for this token.
        """


class Scram(Protocol):
    """What a store may be asked, too: one that keeps passwords, for WAMP-SCRAM."""

    def by_scram(self, claim: ScramClaim, /) -> Answer:
        """Whose password the client has to prove: the principal, with ``scram``. For whoever has none that counts it
        raises ``Refused`` with a ``decoy``, whose salt is the same each time, and stays when the password changes."""


class Certificates(Protocol):
    """What a store may be asked, too: one that knows TLS client certificates."""

    def by_certificate(self, claim: TlsClaim, /) -> Answer:
        """Whose certificate it is, or None; may raise ``Refused`` with the reason. It is known by its fingerprint."""


class Reaching(Protocol):
    """What a store may have as well, all of it or nothing: then ``wampauth sessions``, ``kick`` and the like reach the
    nodes through it. The texts are JSON, at most some 100,000 characters.
    """

    def requests(self, node: str, /) -> Mapping[str, str] | Awaitable[Mapping[str, str]]:
        """What was asked for in the last ten seconds and not withdrawn, by the id of the request. A process asks so
        twice a second, by a name of its own, and :meth:`request` tells who has."""

    def answer(self, request: str, node: str, part: int, text: str, /) -> bool | Awaitable[bool]:
        """Add a part to the answer of `node`; False if the request was withdrawn."""

    def request(self, text: str, /) -> tuple[str, Collection[str]] | Awaitable[tuple[str, Collection[str]]]:
        """Ask all processes: the new request's id, and the names of those that are there."""

    def answers(self, request: str, /) -> Collection[tuple[str, str]] | Awaitable[Collection[tuple[str, str]]]:
        """The parts that have come since this was asked before, each with its process; those of one in their order."""

    def withdraw(self, request: str, gone: Collection[str], /) -> Awaitable[None] | None:
        """Forget a request with its answers, and processes that didn't answer: those that live ask again."""
