"""What an operator does to principals and their credentials, through the library's own functions, and what is known of
it: each change may hold from the moment it was asked for, and holds when it is confirmed. Where the store is away, the
operator tries on until it is back.
"""

import asyncio
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from clients import public
from truth import CLOCKS, Change, Credential, Principal

from wampauth.cli.reaching import Answers, ask
from wampauth.store import Connection, StoreError, connect, moments, ticket_digest, writing
from wampauth.store.showing import Refused

AGAIN = 0.3  # seconds until it is tried again
THREADS = 8
ROLES = {"realm1": "frontend", "devices": "device"}


class Operator:
    """Writes the store in threads, each with a connection of its own."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._threads = ThreadPoolExecutor(THREADS, "operator")
        self._own = threading.local()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def does(self, act: Callable[..., Any], *args: Any) -> Any:
        """What `act` returns, once the store answers.

        :raises Refused: if it can't be done, and hasn't been done by an earlier try whose answer was lost.
        """
        tries = 0
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._once, act, args)
            except Refused:
                if tries:
                    return None
                raise
            except StoreError:
                tries += 1
                await asyncio.sleep(AGAIN)

    def _once(self, act: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        store: Connection | None = getattr(self._own, "store", None)
        if store is None or store.is_stale():
            self._forget()
            store = self._own.store = connect(self._where)
        try:
            return act(store, *args)
        except StoreError:
            self._forget()
            raise

    def _forget(self) -> None:
        store, self._own.store = getattr(self._own, "store", None), None
        if store is not None:
            with suppress(Exception):
                store.close()

    # -- acts

    async def add(self, who: Principal, kind: str, lasts: float = math.inf) -> Credential:
        """Somebody new, with a credential."""
        with self._changing(who, who.role.becomes(ROLES[who.realm], time.monotonic())):
            await self.does(
                writing.add, {"authid": who.authid, "realm": who.realm, "role": ROLES[who.realm], "extra": {"n": 1}}
            )
        return await self.give(who, kind, lasts)

    async def give(self, who: Principal, kind: str, lasts: float = math.inf) -> Credential:
        """Another credential, which counts for so many seconds."""
        credential, terms = self._new(kind)
        now = time.monotonic()
        if lasts < math.inf:
            terms["expires"] = moments.iso(time.time() + lasts)
        who.credentials.append(credential)
        with self._changing(who, credential.counts.becomes(True, now)):
            await self.does(writing.add_credential, who.authid, terms)
        if lasts < math.inf:
            credential.runs_out(now + lasts)
        return credential

    async def rotate(self, who: Principal, old: Credential, overlap: float) -> Credential:
        credential, terms = self._new(old.kind)
        now = time.monotonic()
        who.credentials.append(credential)
        ends = old.runs_out(now + overlap)
        if ends:
            ends.until = math.inf
        with self._changing(who, credential.counts.becomes(True, now)):
            await self.does(writing.rotate, who.authid, await self.named(who, old), terms, overlap)
        if ends:
            ends.until = time.monotonic() + overlap + CLOCKS
        return credential

    async def named(self, who: Principal, credential: Credential) -> str:
        """The id of a credential."""
        query = "SELECT id FROM credential WHERE authid = ? AND verifier = ?"

        def look(store: Connection) -> str:
            try:
                return str(store.execute(query, (who.authid, _verifier(credential))).fetchone()[0])
            except store.Error as error:
                raise StoreError(str(error)) from None

        return str(await self.does(look))

    async def withdraw(self, who: Principal, credential: Credential) -> None:
        identifier = await self.named(who, credential)
        with self._changing(who, credential.counts.becomes(False, time.monotonic())):
            await self.does(writing.revoke, who.authid, identifier)

    async def revoke(self, who: Principal) -> None:
        with self._changing(who, who.role.becomes(None, time.monotonic())):
            await self.does(writing.revoke, who.authid)

    async def remove(self, who: Principal) -> None:
        with self._changing(who, who.role.becomes(None, time.monotonic())):
            await self.does(writing.remove, who.authid)

    async def restore(self, who: Principal, role: str) -> None:
        with self._changing(who, who.role.becomes(role, time.monotonic())):
            await self.does(writing.restore, who.authid)

    async def set_role(self, who: Principal, role: str) -> None:
        with self._changing(who, who.role.becomes(role, time.monotonic())):
            await self.does(writing.change, who.authid, {"role": role})

    async def kick(self, who: Principal) -> Answers:
        """As `wampauth kick` does."""
        return await self.does(ask, {"do": "kick", "authid": who.authid, "session": None})  # type: ignore[no-any-return]

    @contextmanager
    def _changing(self, who: Principal, change: Change[Any]) -> Iterator[None]:
        """It is confirmed when the block ends."""
        yield
        change.until = who.touched = time.monotonic()

    def _new(self, kind: str) -> tuple[Credential, dict[str, Any]]:
        secret = secrets.token_hex(32)
        credential = Credential(kind, secret)
        return credential, {"kind": kind, "verifier": _verifier(credential), "label": secret[:6]}


def _verifier(credential: Credential) -> str:
    return ticket_digest(credential.secret) if credential.kind == "ticket" else public(credential.secret)
