"""A client of the soak: it logs in, stays, does something when it is told to, and says how its session ended."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey
from truth import Credential, Principal
from verdicts import IN, LOST, Login
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from wampauth.testing.wamp import (
    ABORT,
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    ERROR,
    GOODBYE,
    HELLO,
    PUBLISH,
    ROLES,
    WELCOME,
    pubkey,
    sign,
)

PATIENCE = 12.0  # seconds for an answer; the guard's deadline is 5
FAILURES = (OSError, WebSocketException, InvalidHandshake, TimeoutError, EOFError)
LEFT = "left"  # by itself


@dataclass(eq=False)
class Session:
    """One that has joined."""

    who: Principal
    credential: Credential
    role: str
    since: float
    joined: float
    number: int  # as the proxy has told it
    connection: ClientConnection
    is_leaving: bool = False
    is_over: bool = False
    _asked: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)
    _requests: int = 0

    async def listen(self, ended: Callable[["Session", str, float], None]) -> None:
        """Hear what comes until the end, and tell of it."""
        reason = LOST
        try:
            async for text in self.connection:
                message = json.loads(text)
                if message[0] == GOODBYE:
                    reason = message[2]
                    break
                known = self._asked.pop(message[2] if message[0] == ERROR else message[1], None)
                if known and not known.done():
                    known.set_result(message)
        except FAILURES:
            pass
        moment = time.monotonic()
        self.is_over = True
        for one in self._asked.values():
            if not one.done():
                one.set_result(None)
        ended(self, reason, moment)
        with suppress(*FAILURES):
            await self.connection.close()

    async def does(self) -> Any:
        """Do what its role may: the answer; None if the session has ended first.

        :raises TimeoutError: if there is none.
        """
        self._requests += 1
        about = [PUBLISH, self._requests, {"acknowledge": True}, "com.example.news", ["x"]]
        if self.who.realm == "realm1":
            about = [CALL, self._requests, {}, "com.example.add2", [2, 3]]
        answer = self._asked[self._requests] = asyncio.get_running_loop().create_future()
        try:
            await self.connection.send(json.dumps(about))
        except FAILURES:
            return None
        return await asyncio.wait_for(answer, PATIENCE)

    async def leaves(self) -> None:
        self.is_leaving = True
        with suppress(*FAILURES):
            await self.connection.send(json.dumps([GOODBYE, {}, "wamp.close.normal"]))


async def log_in(
    url: str, address: str, who: Principal, credential: Credential | None, secret: str, **odd: Any
) -> tuple[Login, Session | None]:
    """Try it once.

    :param credential: what must let this one in; None: nothing may.
    :param secret: the ticket, or the seed of the key, that is shown.
    :param odd: if they are others, ``kind`` of the secret, the ``realm`` that is asked for, the seed that ``signs``.
    """
    kind = odd.get("kind") or (credential.kind if credential else "ticket")
    since, connection, answer = time.monotonic(), None, None
    try:
        async with asyncio.timeout(PATIENCE):
            connection = await connect(
                url, subprotocols=[Subprotocol("wamp.2.json")], proxy=None, local_addr=(address, 0), ping_interval=None,
                compression=None, open_timeout=None, close_timeout=1,
            )  # fmt: skip
            answer = await _introduce(connection, kind, who, secret, odd)
    except FAILURES:
        answer = None
    login = Login(who, credential, since, time.monotonic(), LOST)
    if answer and answer[0] == WELCOME and connection:
        details = answer[2]
        login.outcome, login.role = IN, details["authrole"]
        login.named = details["authid"], details["realm"]
        stands_on = credential or Credential(kind, secret)
        return login, Session(who, stands_on, login.role, since, login.until, answer[1], connection)
    if answer and answer[0] == ABORT:
        login.outcome = answer[2]
    if connection:
        with suppress(*FAILURES):
            await connection.close()
    return login, None


async def _introduce(connection: ClientConnection, kind: str, who: Principal, secret: str, odd: dict[str, Any]) -> Any:
    details: dict[str, Any] = {"roles": ROLES, "authmethods": ["ticket" if kind == "ticket" else "cryptosign"]}
    if kind == "ticket":
        details["authid"] = who.authid
    else:
        details["authextra"] = {"pubkey": public(secret), "channel_binding": None}
    await connection.send(json.dumps([HELLO, odd.get("realm") or who.realm, details]))
    answer = json.loads(await connection.recv())
    if answer[0] != CHALLENGE:
        return answer
    proof = secret if kind == "ticket" else sign(SigningKey(bytes.fromhex(odd.get("signs") or secret)), answer)
    await connection.send(json.dumps([AUTHENTICATE, proof, {}]))
    return json.loads(await connection.recv())


def public(seed: str) -> str:
    """The public key, in hexadecimal."""
    return pubkey(SigningKey(bytes.fromhex(seed)))
