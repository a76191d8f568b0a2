"""How does a device show that a new key is its own, and is meant for this token?

It logs in with a one-time token as its ticket, and shows in authextra, under ``enrol``, the public key and a signature
by it of what :func:`message` says. So nobody who sees the key can have it registered elsewhere, and nobody who sees the
message learns the token. Its first line keeps it apart from the challenges of WAMP-cryptosign, which are 32 bytes.
"""

import hashlib
from collections.abc import Mapping

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from wampauth import names
from wampauth.claims import Refused, TicketClaim

FIELD = "enrol"  # of authextra: {"pubkey": 64 hexadecimal digits, "proof": 128 hexadecimal digits}
SIGNATURE = 64  # bytes


def message(prefix: str, realm: str, authid: str, token: str, pubkey: str) -> bytes:
    """What the device signs.

    :param prefix: of the authenticator's URIs, with its dot.
    :param pubkey: 64 hexadecimal digits in lower case.
    """
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f"{prefix}enrol\n{realm}\n{authid}\n{digest}\n{pubkey}".encode()


def shown_key(claim: TicketClaim) -> str | None:
    """The key that the client shows, in the one form that we keep; None if there is none."""
    shown = claim.authextra.get(FIELD)
    try:
        return names.pubkey(shown.get("pubkey")) if isinstance(shown, Mapping) else None
    except names.Malformed:
        return None


def proven_key(claim: TicketClaim) -> str | None:
    """The key that the client wants to have registered, and has shown to be its own; None: it wants none.

    :raises Refused: if it hasn't shown that, or nobody could.
    """
    shown = claim.authextra.get(FIELD)
    if shown is None:
        return None
    if claim.realm is None:
        raise Refused("a new key, and no realm that it is for")
    try:
        if not isinstance(shown, Mapping):
            raise names.Malformed(f"{FIELD} is an object with pubkey and proof")
        pubkey = names.safe_pubkey(shown.get("pubkey"))
        proof = bytes.fromhex(names.digits(shown.get("proof"), SIGNATURE))
    except names.Malformed as wrong:
        raise Refused(f"a new key that can't be registered: {wrong}") from None
    for authid in dict.fromkeys(names.spellings(claim.authid)):
        if _is_signed(message(claim.prefix, claim.realm, authid, claim.ticket, pubkey), pubkey, proof):
            return pubkey
    raise Refused("a new key without a proof that it is for this token")


def _is_signed(text: bytes, pubkey: str, proof: bytes) -> bool:
    try:
        VerifyKey(bytes.fromhex(pubkey)).verify(text, proof)
    except BadSignatureError:
        return False
    return True
