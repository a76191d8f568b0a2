"""What does a client say of itself, and what do we answer?

The router calls an authenticator with three arguments. ``realm`` and ``authid`` come straight from the client's HELLO;
so do ``authextra`` and ``ticket`` in ``details``. What ``details`` says of the transport is the router's own, and true.
``methods.parse`` makes a claim of them; the author's check answers with a :class:`Principal`, with None, or by raising
:class:`Refused`.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from wampauth.forwarded import client_behind, plain

MAX_EXTRA = 32  # fields of authextra; client libraries send a handful
CHANNEL_BINDINGS = (None, "tls-unique")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an attempt comes from, by the router's word; ``channel_binding`` alone is the client's.

    :ivar address: an IP address, or ``unix`` and the like. Behind a trusted proxy that doesn't tell the address it is
        something that names the proxy, such as ``unknown behind 10.0.0.1``.
    :ivar is_secure: whether the connection is one of TLS.
    :ivar channel_binding: ``tls-unique`` if the client's signature will be bound to that connection.
    :ivar session: the session id that the client gets if it joins. Behind proxies it gets another one.
    :ivar headers: of the HTTP request that opened the WebSocket, their names in lower case. Not in the ``repr``, since
        they may hold cookies.
    :ivar connection: the same for all attempts that come over one connection.
    """

    address: str
    is_secure: bool = False
    channel_binding: str | None = None
    session: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connection: str = field(default="", repr=False)

    @property
    def locality(self) -> str:
        """``loopback`` or ``unix`` for this machine, else empty."""
        return "unix" if self.address == "unix" else "loopback" if _is_loopback(self.address) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketClaim:
    """WAMP-ticket: who the client says it is, and the secret that it shows. Well-formed, and not proven.

    Neither the ticket nor ``authextra``, in which a client may send whatever it likes, is in the ``repr``.
    """

    authid: str
    ticket: str = field(repr=False)
    realm: str | None = None  # None: wherever the principal belongs
    authextra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = None
    prefix: str = ""  # of the authenticator's URIs: what a device signs that enrols begins with it


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyClaim:
    """WAMP-cryptosign: the public key that the client shows. It has proven nothing yet; the router has it sign then."""

    pubkey: str  # 64 hexadecimal digits in lower case
    authid: str | None = None  # None: whoever's key it is
    realm: str | None = None
    authextra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramClaim:
    """WAMP-SCRAM: who the client says it is. It has proven nothing yet; the router has it show then that it knows the
    password, which it never sends."""

    authid: str  # ASCII
    realm: str | None = None
    authextra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CraClaim:
    """WAMP-CRA: who the client says it is. It has proven nothing yet; the router has it sign with the secret then."""

    authid: str
    realm: str | None = None
    authextra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsClaim:
    """A TLS client certificate. The handshake has proven that the client holds its private key, and that one of the
    transport's authorities has signed it; whose it is, it hasn't.

    :ivar fingerprint: SHA-256 of the certificate, in 64 hexadecimal digits. Know it by this: the rest is what the
        authority says, for whomever else it signs.
    :ivar subject: OpenSSL's short names in lower case, such as ``{"cn": "pump-7"}``.
    :ivar names: alternative names, as OpenSSL writes them, such as ``DNS:pump-7.example.com``.
    :ivar not_before: seconds since 1970; so with ``not_after``, at which the session ends at the latest. The router
        always says both.
    """

    fingerprint: str
    subject: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    not_before: float | None = None
    not_after: float | None = None
    authid: str | None = None  # None: whoever's certificate it is
    realm: str | None = None
    authextra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = None


Claim = TicketClaim | KeyClaim | ScramClaim | CraClaim | TlsClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramVerifier:
    """What a WAMP-SCRAM proof is checked with: Argon2id of the password, and two keys that follow from it. Who has it
    can try passwords, as fast as Argon2id lets him, but can't log in with it.

    :ivar salt: 32 hexadecimal digits; the client is told.
    :ivar iterations: of Argon2id; the client is told.
    :ivar memory: KiB; the client is told.
    :ivar stored_key: 64 hexadecimal digits, as ``server_key``.
    """

    salt: str
    iterations: int
    memory: int
    stored_key: str = field(repr=False)
    server_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who the client is: everything that the router is told comes from here, and nothing from the claim.

    :ivar extra: what the client finds in its authextra: JSON, at most 4,096 characters.
    :ivar pubkey: for WAMP-cryptosign, in hexadecimal; None stands for the claim's.
    :ivar credential: an id of what it was let in on, by which a store knows it again (``Store.by_ids``). It travels in
        authextra, so it must not be a secret. While the session lasts, ``by_ids`` of the setting ``store`` must answer
        with the same authid, realm, role and extra; otherwise it is ended as revoked.
    :ivar expires: seconds since 1970, after which the session is ended.
    :ivar scram: for WAMP-SCRAM: what the router checks the proof with.
    :ivar secret: for WAMP-CRA: what the client and the router sign with. Whoever has it can log in.
    :ivar max_sessions: how many sessions the authid may have at a time; None: any number. Each ``Authenticator`` counts
        its own. Of logins at one moment all get in, unless `credential` and the setting ``store`` are there.
    """

    authid: str
    realm: str
    role: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    pubkey: str | None = None
    credential: str | None = None
    expires: float | None = None
    scram: ScramVerifier | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    max_sessions: int | None = None


class Refused(Exception):
    """What a check raises to say no with a reason. The reason reaches the audit, and never the client."""

    reason: str = "refused"  # for a subclass that doesn't call our __init__
    found: Mapping[str, str | None] = MappingProxyType({})
    decoy: ScramVerifier | None = None

    def __init__(
        self,
        reason: str,
        *,
        authid: str | None = None,
        realm: str | None = None,
        role: str | None = None,
        credential: str | None = None,
        decoy: ScramVerifier | None = None,
    ) -> None:
        """
        :param reason: for the operator, such as ``revoked``.
        :param authid: whom the check found; so with ``realm``, ``role`` and ``credential``.
        :param decoy: for WAMP-SCRAM: what the client is challenged with all the same, so that it can't tell that it is
            refused: the salt that this authid has, or would have. Its keys don't matter. None: one is made up.
        """
        super().__init__(reason)
        self.reason = reason
        self.found = {"authid": authid, "realm": realm, "role": role, "credential": credential}
        self.decoy = decoy


Answer = Principal | None | Awaitable[Principal | None]
SomeClaim = TypeVar("SomeClaim", TicketClaim, KeyClaim, ScramClaim, CraClaim, TlsClaim, contravariant=True)


class Check(Protocol[SomeClaim]):
    """The form of a check. A plain value, a coroutine and a Deferred are all good answers."""

    def __call__(self, claim: SomeClaim, /) -> Answer: ...


def known(principal: Principal) -> dict[str, Any]:
    """Who was found, as :class:`Refused` and the audit have it."""
    return {name: getattr(principal, name) for name in ("authid", "realm", "role", "credential")}


def origin(details: Mapping[str, Any], trusted_proxies: tuple[str, ...]) -> Origin:
    """Read the transport's details; behind one of `trusted_proxies`, the address that the proxy vouches for."""
    transport = _object(details.get("transport"))
    peer = str(transport.get("peer") or "unknown")
    kind, _, rest = peer.partition(":")
    address = rest.rpartition(":")[0] if kind.startswith("tcp") else kind
    headers = _object(transport.get("http_headers_received"))
    if trusted_proxies and (proxy := plain(address)) in trusted_proxies:
        address = client_behind(str(proxy), headers, trusted_proxies)
    session = details.get("session")
    binding = _object(details.get("authextra")).get("channel_binding")
    return Origin(
        address=address,
        is_secure=transport.get("is_secure") is True,
        channel_binding=binding if binding in CHANNEL_BINDINGS else None,
        session=session if isinstance(session, int) else None,
        headers=headers,
        connection=peer if kind.startswith("tcp") else str(session),  # a Unix socket's clients have no address
    )


def said(realm: Any, authid: Any, details: Mapping[str, Any]) -> dict[str, str]:
    """The text that a client has sent to say who it is, well-formed or not: authid, realm, role."""
    sent = {"authid": authid, "realm": realm, "role": details.get("authrole")}
    return {name: text for name, text in sent.items() if isinstance(text, str) and text}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
