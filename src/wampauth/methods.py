"""Which methods are there to prove who one is, and what is particular about each? All in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from wampauth import certificates, names
from wampauth.claims import (
    CHANNEL_BINDINGS,
    MAX_EXTRA,
    Claim,
    CraClaim,
    KeyClaim,
    Origin,
    Principal,
    ScramClaim,
    TicketClaim,
    TlsClaim,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What every claim has, and where the rest of it is found.

    :ivar authid: as the client has sent it, or None: whatever that may be.
    :ivar details: what the router calls an authenticator with.
    """

    authid: Any
    details: Mapping[str, Any]
    realm: str | None
    authextra: dict[str, Any]
    origin: Origin
    longest_ticket: int  # characters
    prefix: str

    @property
    def common(self) -> dict[str, Any]:
        """The fields that all claims have."""
        return {"realm": self.realm, "authextra": self.authextra, "origin": self.origin}

    def named(self) -> str | None:
        """The authid, where it may be left out."""
        return None if self.authid in (None, "") else names.authid(self.authid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is particular about a method.

    :ivar claim: the type of its claims.
    :ivar read: makes one, or raises ``names.Malformed`` with the rule that was broken.
    :ivar subject: what a client claims to be, with an address the pair that is throttled: an authid, a public key.
    :ivar told: what the router needs to know of a principal to check the proof.
    :ivar error: the last part of the URI that a client is refused with, whatever the cause.
    :ivar text: what it is told then, with the claim for ``{0}``.
    :ivar is_proven: the claim is the proof. Otherwise the router sends a challenge, and who doesn't meet it is never
        heard of again.
    :ivar has_decoys: nobody is refused before the challenge, but with one that can't be met: what a client shows at
        first is only a name, and a no would tell who is known.
    :ivar is_function: the router knows it for transports of type ``function``, too.
    """

    claim: type[Any]
    read: Callable[[Said], Claim]
    error: str
    text: str
    subject: Callable[[Any], str] = attrgetter("authid")
    told: Callable[[Principal], dict[str, Any]] = lambda principal: {}
    is_proven: bool = False
    has_decoys: bool = False
    is_function: bool = True

    @property
    def outcome(self) -> str:
        """How the audit calls a yes."""
        return "accepted" if self.is_proven else "challenged"


def _ticket(said: Said) -> TicketClaim:
    ticket = names.ticket(said.details.get("ticket"), said.longest_ticket)
    return TicketClaim(authid=names.authid(said.authid), ticket=ticket, prefix=said.prefix, **said.common)


def _key(said: Said) -> KeyClaim:
    return KeyClaim(pubkey=names.pubkey(said.authextra.get("pubkey")), authid=said.named(), **said.common)


def _scram(said: Said) -> ScramClaim:
    names.nonce(said.authextra.get("nonce"))
    return ScramClaim(authid=names.ascii_authid(said.authid), **said.common)


def _cra(said: Said) -> CraClaim:
    return CraClaim(authid=names.authid(said.authid), **said.common)


def _tls(said: Said) -> TlsClaim:
    return TlsClaim(**certificates.shown(said.details.get("transport")), authid=said.named(), **said.common)


def _told_scram(principal: Principal) -> dict[str, Any]:
    scram = principal.scram
    assert scram is not None  # see `complete`
    keys = {"salt": scram.salt, "stored-key": scram.stored_key, "server-key": scram.server_key}
    return {"kdf": "argon2id-13", "iterations": scram.iterations, "memory": scram.memory, **keys}


METHODS = {
    "ticket": Method(
        claim=TicketClaim,
        read=_ticket,
        error="invalid_ticket",
        text="could not authenticate session - invalid ticket for principal {0.authid}",
        is_proven=True,
    ),
    "cryptosign": Method(
        claim=KeyClaim,
        read=_key,
        subject=attrgetter("pubkey"),
        told=lambda principal: {"pubkey": principal.pubkey},
        error="no_such_user",
        text="no principal with matching public key 0x{0.pubkey}",
    ),
    "scram": Method(
        claim=ScramClaim,
        read=_scram,
        told=_told_scram,
        error="wrong_password",
        text="could not authenticate session - wrong password for principal {0.authid}",
        has_decoys=True,
    ),
    "wampcra": Method(
        claim=CraClaim,
        read=_cra,
        told=lambda principal: {"secret": principal.secret},
        error="wrong_password",
        text="could not authenticate session - wrong password for principal {0.authid}",
        has_decoys=True,
    ),
    "tls": Method(
        claim=TlsClaim,
        read=_tls,
        subject=attrgetter("fingerprint"),
        error="no_such_user",
        text="no principal with matching certificate {0.fingerprint}",
        is_proven=True,
        is_function=False,
    ),
}


def method_of(claim: Claim) -> str:
    """The method that a claim is one of."""
    return next(name for name, method in METHODS.items() if isinstance(claim, method.claim))


def parse(
    method: str,
    realm: Any,
    authid: Any,
    details: Mapping[str, Any],
    origin: Origin,
    longest_ticket: int = names.MAX_TICKET,
    prefix: str = "",
) -> Claim:
    """Check type, length and form of everything that a stranger could have chosen.

    :param method: one of :data:`METHODS`.
    :param longest_ticket: in characters.
    :param prefix: of the authenticator's URIs.
    :raises names.Malformed: with the rule that was broken.
    """
    extra = details.get("authextra") or {}
    if not isinstance(extra, dict) or len(extra) > MAX_EXTRA:
        raise names.Malformed(f"authextra is an object of at most {MAX_EXTRA} fields")
    if details.get("authmethod") != method:
        raise names.Malformed(f"the authmethod of this procedure is {method}")
    if extra.get("channel_binding") not in CHANNEL_BINDINGS:
        raise names.Malformed("channel_binding is null or tls-unique")
    said = Said(
        authid=authid,
        details=details,
        realm=None if realm is None else names.realm(realm),
        authextra=extra,
        origin=origin,
        longest_ticket=longest_ticket,
        prefix=prefix,
    )
    return METHODS[method].read(said)
