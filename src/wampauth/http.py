"""How does a check ask an HTTP service? With a limit to all that the service could make us wait for, or keep.

Needs ``treq``: ``pip install "wampauth[http]"``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss

from wampauth.settings import SettingsError

__all__ = ["JsonService", "Reply", "ServiceError"]

CONNECTIONS = 20  # to one service, at once
LONGEST = 65_536  # bytes of an answer


class ServiceError(Exception):
    """The service gave an answer that nobody can work with. The text holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service says.

    :ivar code: of HTTP. A redirect is a code like others.
    :ivar body: not in the ``repr``.
    """

    code: int
    body: bytes = field(repr=False)

    def content(self) -> dict[str, Any]:
        """The JSON object that is in it.

        :raises ServiceError: if it isn't a 200, or anything but such an object.
        """
        if self.code != 200:
            raise ServiceError(f"the service said {self.code}")
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ServiceError(f"the service sent no JSON ({type(error).__name__})") from None
        if not isinstance(found, dict):
            raise ServiceError(f"the service sent {type(found).__name__}, not a JSON object")
        return found


class JsonService:
    """One URL, asked over a few connections that stay open.

    It follows no redirect, keeps no cookie, and hangs up on whoever says too much. It has no deadline of its own:
    cancel what it returns (the guard does, with a check that waits for it), and the connection is closed.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        connections: int = CONNECTIONS,
        longest: int = LONGEST,
    ) -> None:
        """
        :param url: begins with ``https://``; ``http://`` will do for this machine.
        :param headers: to send with each question, such as ``Authorization``.
        :param connections: at once; who comes then has to wait.
        :param longest: bytes of an answer.
        :raises SettingsError: for a URL to which questions would travel in clear, or that is none.
        """
        self._url = _safe(url)
        self._headers = dict(headers or {})
        self._longest = longest
        self._free = DeferredSemaphore(connections)
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = connections
        self._agent = Agent(reactor, pool=self._pool)

    async def get(self) -> Reply:
        """Ask for what is there.

        :raises Exception: if there is no answer, or one that is too long.
        """
        return await self._request("GET")

    async def post(self, question: Mapping[str, Any]) -> Reply:
        """Send a JSON object. It travels in the body, so that no log of URLs has it.

        :raises Exception: as :meth:`get`.
        """
        return await self._request("POST", json=dict(question))

    async def close(self) -> None:
        """Close the connections that nobody uses just now."""
        await self._pool.closeCachedConnections()

    async def _request(self, method: str, **body: Any) -> Reply:
        async with self._free:
            response = await treq.request(
                method,
                self._url,
                headers=self._headers,
                agent=self._agent,
                allow_redirects=False,
                unbuffered=True,
                **body,
            )
            collected = _Body(self._longest)
            response.deliverBody(collected)
            return Reply(response.code, await collected.whole)


class _Body(Protocol):
    """Collects a body of limited length. Who stops waiting hangs up: with ``readBody`` and ``treq.content``, a service
    that sends a byte a minute would keep the connection."""

    def __init__(self, longest: int) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._longest = longest
        self._parts = bytearray()

    def dataReceived(self, data: bytes) -> None:
        if self.whole.called:
            return
        self._parts += data
        if len(self._parts) > self._longest:
            self._hang_up()
            self.whole.errback(ServiceError(f"the service sent more than {self._longest} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # the second: it ends where the connection does
            self.whole.callback(bytes(self._parts))
        else:
            self.whole.errback(reason)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _safe(url: Any) -> str:
    """The URL, if nobody on the way can read or change what is said there."""
    parts = urlsplit(url if isinstance(url, str) else "")
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))):
        return str(url)
    raise SettingsError("a service is at an URL that begins with https://; http:// will do for this machine only")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
