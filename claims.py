"""What does a client say of itself? Reads the three arguments that the router calls an authenticator with.

``realm`` and ``authid`` come straight from the client's HELLO; so do ``authextra`` and ``ticket`` in ``details``. What
``details`` says of the transport is the router's own, and true.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import names

MAX_EXTRA = 32  # fields of authextra; client libraries send a handful
CHANNEL_BINDINGS = (None, "tls-unique")


@dataclass(frozen=True, slots=True)
class Claim:
    """One client's claim. All of it is well-formed, none of it proven."""

    method: str  # ticket or cryptosign
    realm: str | None
    authid: str | None
    ticket: str = field(repr=False)  # empty for cryptosign
    pubkey: str  # 64 lower-case hexadecimal digits; empty for ticket
    channel_binding: str | None

    @property
    def subject(self) -> str:
        """What the client claims to be: the key that it shows, or the authid that it names."""
        return self.pubkey or self.authid or ""

    @classmethod
    def parse(cls, method: str, realm: Any, authid: Any, details: dict[str, Any]) -> "Claim":
        """Check type, length and form of everything that a stranger could have chosen.

        :raises names.Malformed: with the rule that was broken.
        """
        extra = details.get("authextra") or {}
        if not isinstance(extra, dict) or len(extra) > MAX_EXTRA:
            raise names.Malformed(f"authextra is an object of at most {MAX_EXTRA} fields")
        if details.get("authmethod") != method:
            raise names.Malformed(f"the authmethod of this procedure is {method}")
        channel_binding = extra.get("channel_binding")
        if channel_binding not in CHANNEL_BINDINGS:
            raise names.Malformed("channel_binding is null or tls-unique")
        return cls(
            method=method,
            realm=None if realm is None else names.realm(realm),
            authid=None if authid in (None, "") and method == "cryptosign" else names.authid(authid),
            ticket=names.ticket(details.get("ticket")) if method == "ticket" else "",
            pubkey=names.pubkey(extra.get("pubkey")) if method == "cryptosign" else "",
            channel_binding=channel_binding,
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an attempt comes from, by the router's word."""

    session: int | None  # the session id that the client gets if it joins
    host: str  # an IP address, or "unix" and the like
    is_secure: bool  # over TLS
    connection: str = ""  # one for all attempts that come over it

    @property
    def locality(self) -> str:
        """``loopback`` or ``unix`` for this machine, else empty."""
        return "unix" if self.host == "unix" else "loopback" if _is_loopback(self.host) else ""

    @classmethod
    def parse(cls, details: dict[str, Any], trusted_proxies: tuple[str, ...]) -> "Origin":
        """Read the transport's details; behind one of `trusted_proxies`, the address that the proxy vouches for."""
        transport = _object(details.get("transport"))
        peer = str(transport.get("peer") or "unknown")
        kind, _, rest = peer.partition(":")
        host = rest.rpartition(":")[0] if kind.startswith("tcp") else kind
        if host in trusted_proxies:
            host = _vouched_for(host, transport, trusted_proxies)
        session = details.get("session")
        return cls(
            session=session if isinstance(session, int) else None,
            connection=peer if kind.startswith("tcp") else str(session),  # a Unix socket's clients have no address
            host=host,
            is_secure=transport.get("is_secure") is True,
        )


def _vouched_for(host: str, transport: dict[str, Any], trusted_proxies: tuple[str, ...]) -> str:
    """The nearest hop of X-Forwarded-For that isn't itself a trusted proxy."""
    hops = str(_object(transport.get("http_headers_received")).get("x-forwarded-for", ""))
    for hop in reversed(hops.split(",")):
        address = _address(hop.strip())
        if host not in trusted_proxies or address is None:
            break
        host = address
    return host


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
