"""On what was a session let in?

The guard puts the credential and its expiry into the authextra of each session that it admits, together with an HMAC
that nobody else can make. So ``Sessions`` knows them again when they have joined, in this process or in another one,
however long a client took between the challenge and its proof, and nothing needs to be remembered of those who never
join. What a client of another transport puts into its authextra counts for nothing.
"""

import functools
import hmac
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from wampauth import names
from wampauth.claims import Principal
from wampauth.settings import SettingsError, require_private
from wampauth.worker import proven

KEY = 32  # bytes, at least
LENGTH = 16  # bytes of the HMAC that are kept: half of SHA-256, and as long as RFC 2104 (section 5) wants it to be
LATEST = 253_402_300_799  # seconds since 1970: the year 9999 ends. What is beyond that was given in milliseconds
PATIENCE = 2.0  # seconds that a client may take to sign a challenge; after that, it is a failure
PASSWORD_PATIENCE = 10.0  # where it has to compute Argon2id of a password for that
MOST = 10_000  # challenges to remember
MARKS = 1_000  # marks to remember from the answer to the session
MARK = "wampauth"  # the field of authextra that holds the HMAC, and what else it alone vouches for
AT = "@"  # between these two


class Admissions:
    """Marks what one ``Authenticator`` admits, and knows it again."""

    def __init__(self, prefix: str, key: bytes) -> None:
        """
        :param prefix: of the authenticator's URIs: two authenticators in one realm keep to their own.
        :param key: at least :data:`KEY` bytes, the same wherever the authenticator and its ``Sessions`` run.
        """
        self.prefix, self._key = prefix, key
        self._mark = functools.lru_cache(maxsize=MARKS)(self._made_mark)  # each is made, and soon looked at
        self.challenged = Challenged(prefix)
        self.counts: dict[str, Callable[[str], int]] = {}  # by realm: how many sessions an authid has there

    def fields(self, principal: Principal, latest: float | None = None) -> dict[str, Any]:
        """What goes into the authextra of a session that is admitted as `principal`, beside its ``extra``.

        :param latest: seconds since 1970, at which it ends though its credential may count for longer; None: never.
        """
        fields: dict[str, Any] = {}
        if principal.credential is not None:
            fields["credential"] = principal.credential
        if principal.expires is not None:
            fields["expires"] = float(principal.expires)
        stands_on = (principal.realm, principal.authid, principal.role, principal.credential, principal.expires)
        mark = self._mark(*stands_on, latest)
        return {**fields, MARK: mark if latest is None else f"{mark}{AT}{latest}"}

    def present(self, principal: Principal) -> int:
        """How many sessions the authid has, as far as this process watches its realm."""
        count = self.counts.get(principal.realm)
        return count(principal.authid) if count else 0

    def read(self, realm: str, details: Mapping[str, Any]) -> Principal | None:
        """The principal as which a session was admitted; None if it wasn't admitted by this authenticator.

        :param details: of the session, as ``wamp.session.on_join`` and ``wamp.session.get`` tell them.
        """
        given = details.get("authextra") or {}
        mark, credential, expires = given.get(MARK), given.get("credential"), given.get("expires")
        if not isinstance(mark, str) or not mark.isascii() or not isinstance(credential, str | None):
            return None
        if credential is not None and len(credential) > names.MAX_CREDENTIAL:
            return None  # none was admitted with it, and its mark would be kept for a while
        if isinstance(expires, bool) or not isinstance(expires, float | int | None) or abs(expires or 0) > LATEST:
            return None
        authid, role = str(details.get("authid")), str(details.get("authrole"))
        try:
            made, latest = _parted(mark)
        except ValueError:
            return None
        if not hmac.compare_digest(self._mark(realm, authid, role, credential, expires, latest), made):
            return None
        extra = {name: value for name, value in given.items() if not names.RESERVED_EXTRA.fullmatch(name)}
        return Principal(authid, realm, role, extra, credential=credential, expires=expires)

    @staticmethod
    def latest(details: Mapping[str, Any]) -> float | None:
        """When a session that could be read ends, though its credential may count for longer; None: never."""
        return _parted(details["authextra"][MARK])[1]

    def digest(self, text: str) -> bytes:
        """Of `text`, 32 bytes that nobody else can tell, and that are the same wherever the key is."""
        return hmac.digest(self._key, text.encode(), "sha256")

    def _made_mark(
        self,
        realm: str,
        authid: str,
        role: str,
        credential: str | None,
        expires: float | None,
        latest: float | None,
    ) -> str:
        """The HMAC. A serializer may make 5 of 5.0, so that a number is always written as a float."""
        moment = None if expires is None else float(expires)
        more = [] if latest is None else [float(latest)]
        text = json.dumps([self.prefix, realm, authid, role, credential, moment, *more])
        return hmac.digest(self._key, text.encode(), "sha256")[:LENGTH].hex()


@dataclass(slots=True)
class Waiting:
    """A challenge that may yet be met."""

    timer: Any
    settle: Callable[[bool], None]
    receipt: str


class Challenged:
    """Who has been challenged, and has yet to prove who it is? The guard asks. Whoever checks the proof tells
    (``worker/proven.py``), or ``Sessions`` in the same process, which hears of those who join.

    :ivar procedure: by which it can be told from another process.
    """

    def __init__(self, prefix: str) -> None:
        """:param prefix: of the authenticator's URIs."""
        self.procedure = f"{prefix}authenticate.proven.{secrets.token_hex(8)}"
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()
        proven.HERE[self.procedure] = self

    def __len__(self) -> int:
        return len(self._waiting)

    def wait_for(self, session: int, clock: Any, settle: Callable[[bool], None], patience: float = PATIENCE) -> str:
        """Have `settle` called once: with True if that session is proven or joins within `patience`, else with False.

        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
        :param patience: seconds.
        :returns: the receipt that :meth:`proven` asks for.
        """
        self._settle(session, False)
        timer, receipt = clock.callLater(patience, self._settle, session, False), secrets.token_hex(LENGTH)
        self._waiting[session] = Waiting(timer, settle, receipt)
        if len(self._waiting) > MOST:
            self._settle(next(iter(self._waiting)), False)
        return receipt

    def proven(self, session: Any, receipt: Any) -> None:
        """The proof of a session was right, says one who has the receipt. Without that, nothing happens."""
        waiting = self._waiting.get(session) if isinstance(session, int) else None
        if waiting is None or not isinstance(receipt, str) or not receipt.isascii():
            return
        if hmac.compare_digest(waiting.receipt, receipt):
            self._settle(session, True)

    def joined(self, session: int) -> None:
        """A session has joined, whosever it is."""
        self._settle(session, True)

    def _settle(self, session: int, is_proven: bool) -> None:
        waiting = self._waiting.pop(session, None)
        if waiting is None:
            return
        if waiting.timer.active():
            waiting.timer.cancel()
        waiting.settle(is_proven)


def _parted(mark: str) -> tuple[str, float | None]:
    """The HMAC, and when the session ends in any case.

    :raises ValueError: for what we don't write.
    """
    made, _, latest = mark.partition(AT)
    return made, float(latest) if latest else None


def is_marked(details: Mapping[str, Any]) -> bool:
    """Whether a session claims to have been admitted by an authenticator of this library, truly or not."""
    return MARK in (details.get("authextra") or {})


def is_proxied(details: Mapping[str, Any]) -> bool:
    """Whether a session came through a proxy: the method by which that joined is none of the client's."""
    return str(details.get("authmethod")).endswith("-proxy")


def load_key(path: str) -> bytes:
    """The key in the file at `path`; without a path a random one, which is good for this process.

    :raises SettingsError: if it can't be read, is too short, or can be read by others.
    """
    if not path:
        return os.urandom(KEY)
    try:
        require_private(path)
        key = Path(path).read_bytes()
    except FileNotFoundError:
        makes = f"in the node directory, `(umask 077; head -c {KEY} /dev/urandom >{quote(path)})` makes one"
        raise SettingsError(f"setting 'admission_key': there is no file {path}: {makes}") from None
    except OSError as error:
        raise SettingsError(f"setting 'admission_key': {path}: {error.strerror}") from None
    if len(key) < KEY:
        raise SettingsError(f"setting 'admission_key': {path} must hold at least {KEY} random bytes")
    return key
