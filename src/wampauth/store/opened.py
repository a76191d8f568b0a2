"""How is a store asked, whatever its author wrote? Its answers can be awaited, and are of the right type."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.reflect import namedModule

from wampauth.calling import Start, TooLate, awaited, called, within
from wampauth.claims import KeyClaim, Principal, Refused, ScramClaim, TicketClaim, TlsClaim
from wampauth.enrolment import proven_key
from wampauth.places import Stopping
from wampauth.settings import SettingsError
from wampauth.store.protocol import QUESTIONS, REACHING, Changes, Store
from wampauth.told import sentence

LONGEST_START = 30.0  # seconds
LONGEST_STOP = 3.0  # seconds


class WrongAnswer(TypeError):
    """A store has answered what can't be used. The text holds nothing of it."""


class Lacking(NotImplementedError):
    """A store doesn't do what it is asked for."""


class OpenStore:
    """A store whose answers can always be awaited, and are of the right type. ``wampauth.open_store`` makes one.

    How long an answer may take is for those to say who ask. To cancel a question takes nothing from the others.
    """

    log = Logger()

    def __init__(self, store: Store, reactor: Any = None) -> None:
        """
        :param reactor: None stands for Twisted's own.
        :raises SettingsError: if the store lacks a method.
        """
        if missing := [name for name in QUESTIONS if not callable(getattr(store, name, None))]:
            raise SettingsError(f"a store of type {type(store).__name__} lacks the method {missing[0]}")
        self._store: Any = store
        self._reactor = reactor
        self._start, self._is_stopped = Start(), False

    async def by_ticket(self, claim: TicketClaim) -> Principal | None:
        """Whose ticket it is, or None. With a new key in authextra, and a store that :class:`Enrols`: whose one-time
        token it is; then the key is registered, which the principal has as its ``pubkey``.

        :raises Refused: if the ticket doesn't count now; some stores do so, with the reason.
        :raises Exception: here and below, if the store is away.
        """
        pubkey = proven_key(claim)
        if pubkey is None:
            return _principal_or_none(await self._ask("by_ticket", claim))
        if not callable(getattr(self._store, "enrol", None)):
            raise Refused("a new key, and this store registers none")
        enrolled = _principal_or_none(await self._ask("enrol", claim, pubkey))
        return enrolled and replace(enrolled, pubkey=pubkey)

    async def by_key(self, claim: KeyClaim) -> Principal | None:
        """Whose public key it is, or None.

        :raises Refused: if the key doesn't count now; some stores do so, with the reason.
        """
        return _principal_or_none(await self._ask("by_key", claim))

    async def by_scram(self, claim: ScramClaim) -> Principal | None:
        """Whose password the client has to prove, if the store keeps passwords (:class:`Scram`).

        :raises Refused: for whoever has none that counts, with what to challenge instead.
        :raises NotImplementedError: if it doesn't.
        """
        self._require("by_scram", "keeps no passwords")
        return _principal_or_none(await self._ask("by_scram", claim))

    async def by_certificate(self, claim: TlsClaim) -> Principal | None:
        """Whose certificate it is, or None, if the store knows certificates (:class:`Certificates`).

        :raises Refused: if the certificate doesn't count now; some stores do so, with the reason.
        :raises NotImplementedError: if it doesn't.
        """
        self._require("by_certificate", "knows no certificates")
        return _principal_or_none(await self._ask("by_certificate", claim))

    async def by_ids(self, credentials: Collection[str]) -> Mapping[str, Principal]:
        """Those of the credentials that count now, by their id."""
        found = await self._ask("by_ids", credentials)
        if not isinstance(found, Mapping) or not all(isinstance(identifier, str) for identifier in found):
            raise WrongAnswer(f"the store answered with {_kind(found)} instead of a mapping of credential ids")
        for principal in found.values():
            _principal(principal)
        return found

    async def changes(self, since: Any) -> Changes:
        """Where we are now, and the authids that something was taken from since then; None: look at everybody."""
        answer = await self._ask("changes", since)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise WrongAnswer(f"the store answered with {_kind(answer)} instead of a tuple of two")
        point, authids = answer
        if authids is not None and not _is_collection_of_str(authids):
            raise WrongAnswer(f"the store answered with {_kind(authids)} instead of a collection of authids")
        return point, authids

    def _require(self, question: str, otherwise: str) -> None:
        if not callable(getattr(self._store, question, None)):
            raise Lacking(f"a store of type {type(self._store).__name__} {otherwise}: it lacks {question}")

    @property
    def can_reach(self) -> bool:
        """Whether operators reach the nodes through it; only then the methods below may be called."""
        return all(callable(getattr(self._store, name, None)) for name in REACHING)

    async def requests(self, node: str) -> Mapping[str, str]:
        """What operators want to know, by the id of the request."""
        found = await self._ask("requests", node)
        if not isinstance(found, Mapping):
            raise WrongAnswer(f"the store answered with {_kind(found)} instead of a mapping of requests")
        return found

    async def answer(self, request: str, node: str, part: int, text: str) -> bool:
        """Add a part to an answer; whether it is still wanted."""
        return bool(await self._ask("answer", request, node, part, text))

    async def request(self, text: str) -> tuple[str, Collection[str]]:
        """Ask all processes that have the store open: the request's id, and who they are."""
        answer = await self._ask("request", text)
        if not _is_pair(answer) or not isinstance(answer[0], str) or not _is_collection_of_str(answer[1]):
            raise WrongAnswer(f"the store answered with {_kind(answer)} instead of a request's id and who is there")
        return answer[0], answer[1]

    async def answers(self, request: str) -> Collection[tuple[str, str]]:
        """What has come since this was asked before: processes, and what each says."""
        parts = await self._ask("answers", request)
        if not isinstance(parts, Collection) or not all(map(_is_pair_of_str, parts)):
            raise WrongAnswer(f"the store answered with {_kind(parts)} instead of processes and what each says")
        return parts

    async def withdraw(self, request: str, gone: Collection[str] = ()) -> None:
        """Forget a request, and processes that don't answer any more."""
        await self._ask("withdraw", request, gone)

    async def _ask(self, question: str, *about: Any) -> Any:
        if not self._start.is_done:
            await self._start.wait(lambda: Deferred.fromCoroutine(self._begin()))
        try:
            return await awaited(getattr(self._store, question)(*about))
        except Exception as error:
            if self._is_stopped and not isinstance(error, Refused):
                raise Stopping from None
            raise

    async def _begin(self) -> None:
        if start := getattr(self._store, "start", None):
            late = TooLate(f"the store's start() wasn't done after {LONGEST_START:g} seconds")
            await within(called(start), LONGEST_START, self._the_reactor(), late)
        if getattr(self._store, "stop", None):
            self._the_reactor().addSystemEventTrigger("before", "shutdown", self._stop)

    def _stop(self) -> "Deferred[None]":
        self._is_stopped = True
        late = TooLate(f"not done after {LONGEST_STOP:g} seconds")
        stopped = within(called(self._store.stop), LONGEST_STOP, self._the_reactor(), late)
        text = "the store couldn't be stopped: {why}"
        return stopped.addErrback(lambda failure: self.log.error(text, why=sentence(failure.value)))

    def _the_reactor(self) -> Any:
        return self._reactor or namedModule("twisted.internet.reactor")  # which is made when it is imported


def _principal_or_none(answer: Any) -> Principal | None:
    return None if answer is None else _principal(answer)


def _principal(answer: Any) -> Principal:
    if not isinstance(answer, Principal):
        raise WrongAnswer(f"the store answered with {_kind(answer)} instead of a Principal")
    return answer


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _is_pair_of_str(value: Any) -> bool:
    return _is_pair(value) and _is_collection_of_str(value)


def _is_collection_of_str(value: Any) -> bool:
    if isinstance(value, str) or not isinstance(value, Collection):
        return False
    return all(isinstance(member, str) for member in value)


def _kind(answer: Any) -> str:
    """Its type; what it holds may be a secret."""
    return "None" if answer is None else f"something of type {type(answer).__name__}"
