"""What does a well-formed name look like?

Used twice: for what a stranger claims (``claims.py``) and for what an operator stores (``store/writing.py``).
Every function returns its argument in the one form we keep, or raises :class:`Malformed` with a sentence that is
fit for a stranger's eyes: it names the rule, never the value.
"""

import json
import math
import re
import unicodedata
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point

MAX_AUTHID = 128  # characters
DECOMPOSED = 4  # characters at most that one is decomposed into
MAX_CREDENTIAL = 128  # characters of the id of one; ours have 16
MAX_LABEL = 64
MAX_EXTRA = 4096  # characters of JSON; it travels with each login
MAX_DEPTH = 20  # of its objects and lists
MAX_OVERLAP = 10 * 366 * 86_400  # seconds
MAX_NONCE = 256  # characters of Base64; client libraries send 24
MAX_ITERATIONS, MAX_MEMORY = 10_000, 262_144  # of Argon2id, and KiB: what a client can be asked to pay
MAX_SESSIONS = 1_000_000  # of a principal at a time
MAX_TICKET = 1024  # characters; one that ``wampauth ticket`` makes has 43
REALM = re.compile(r"[A-Za-z][A-Za-z0-9_\-@.]{2,254}")  # the router's own rule (autobahn.wamp.message)
ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_\-.]{0,127}")
PUBKEY = re.compile(r"[0-9a-fA-F]{64}")
CREDENTIAL = re.compile(r"[0-9a-f]{16}")
ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>[0-9]{1,7}),t=(?P<passes>[0-9]{1,2}),p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}"
)
PREFIX = re.compile(r"([a-z0-9_]+\.)+")
RESERVED_ROLES = ("trusted", "anonymous")  # the router grants the first everything, and hands out the second itself
RESERVED_EXTRA = re.compile(
    r"credential|expires|wampauth|transport|scram_server_signature|x_cb_.*|proxy_.*"
)  # fields that we and the router put in ourselves


class Malformed(ValueError):
    """A name breaks its rule. The text says which rule."""


def realm(value: Any) -> str:
    """A realm name, as the router allows it."""
    if not (isinstance(value, str) and REALM.fullmatch(value)):
        raise Malformed("a realm is 3 to 255 letters, digits or _-@. and starts with a letter")
    return plain(value)


def prefix(value: Any) -> str:
    """What an authenticator's URIs begin with, in the strict form of WAMP's loose and strict URIs (section 2.1.1)."""
    if not (isinstance(value, str) and PREFIX.fullmatch(value)):
        raise Malformed("a prefix is like com.example. and ends in a dot: lower-case letters, digits, _ and dots")
    return value


def role(value: Any) -> str:
    """A role that a principal may have: well-formed, and none that the router treats specially."""
    if not (isinstance(value, str) and ROLE.fullmatch(value)):
        raise Malformed("a role is 1 to 128 letters, digits or _-. and starts with a letter")
    if value in RESERVED_ROLES:
        raise Malformed(f"the role {plain(value)!r} belongs to the router and can't be given to a principal")
    return plain(value)


def authid(value: Any) -> str:
    """An authid: printable, without spaces, at most :data:`MAX_AUTHID` characters. That excludes NUL and surrogates.

    Accents may come composed or decomposed, as the system does it on which a name is typed; we keep them composed
    (Unicode's NFC).
    """
    if isinstance(value, str) and 0 < len(value) <= MAX_AUTHID * DECOMPOSED:
        composed = unicodedata.normalize("NFC", value)
        if len(composed) <= MAX_AUTHID and composed.isprintable() and " " not in composed:
            return composed
    raise Malformed(f"an authid is 1 to {MAX_AUTHID} printable characters without spaces")


def spellings(value: str) -> tuple[str, str, str]:
    """The ways in which an authid may stand in a store: as it is typed, composed, and decomposed."""
    return value, unicodedata.normalize("NFC", value), unicodedata.normalize("NFD", value)


def look_alike(one: str, other: str) -> bool:
    """Whether two authids are the same but for how their accents are written."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def without_line_end(text: str) -> str:
    """A secret as a person means it who keeps it in a file: without the line end that an editor has put behind it."""
    return text.removesuffix("\n").removesuffix("\r")


def ticket(value: Any, longest: int = MAX_TICKET) -> str:
    """A ticket: text that UTF-8 can carry, at most `longest` characters."""
    if not (isinstance(value, str) and 0 < len(value) <= longest and _encodable(value)):
        raise Malformed(f"a ticket is 1 to {longest} characters of text")
    return value


def ascii_authid(value: Any) -> str:
    """An authid, as the router can check a WAMP-SCRAM proof of it: it writes the message that is signed in ASCII."""
    if not authid(value).isascii():
        raise Malformed("for WAMP-SCRAM an authid is of ASCII characters")
    return str(value)


def nonce(value: Any) -> str:
    """What a client sends with HELLO for WAMP-SCRAM."""
    if not (isinstance(value, str) and 0 < len(value) <= MAX_NONCE):
        raise Malformed(f"authextra has a nonce of 1 to {MAX_NONCE} characters")
    return value


def secret(value: Any) -> str:
    """A secret for WAMP-CRA."""
    if not (isinstance(value, str) and 0 < len(value) <= MAX_TICKET and _encodable(value)):
        raise Malformed(f"a secret is 1 to {MAX_TICKET} characters of text")
    return value


def digits(value: Any, bytes_: int) -> str:
    """So many bytes in hexadecimal. Returned in lower case."""
    if not (isinstance(value, str) and re.fullmatch(f"[0-9a-fA-F]{{{2 * bytes_}}}", value)):
        raise Malformed(f"{2 * bytes_} hexadecimal digits are expected")
    return value.lower()


def price(iterations: Any, memory: Any) -> tuple[int, int]:
    """What Argon2id costs a client that proves that it knows a password: passes, and KiB."""
    if type(iterations) is not int or not 1 <= iterations <= MAX_ITERATIONS:
        raise Malformed(f"iterations are 1 to {MAX_ITERATIONS}")
    if type(memory) is not int or not 8 <= memory <= MAX_MEMORY:
        raise Malformed(f"memory is 8 to {MAX_MEMORY} KiB")
    return iterations, memory


def overlap(value: Any) -> float | None:
    """For how many seconds what was replaced still counts; None: as long as it did."""
    if value is not None and not (type(value) in (int, float) and 0 <= value <= MAX_OVERLAP):
        raise Malformed(f"an overlap is 0 to {MAX_OVERLAP} seconds")
    return None if value is None else float(value)


def label(value: Any) -> str:
    """An operator's note on a credential: printable, so that a terminal can show it, and possibly empty."""
    if not (isinstance(value, str) and len(value) <= MAX_LABEL and (value == "" or value.isprintable())):
        raise Malformed(f"a label is at most {MAX_LABEL} printable characters")
    return unicodedata.normalize("NFC", value)


def max_sessions(value: Any) -> int | None:
    """How many sessions a principal may have at a time; None: any number."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_SESSIONS):
        raise Malformed(f"a principal may have 1 to {MAX_SESSIONS:,} sessions at a time, or any number")
    return value


def extra(value: Any) -> dict[str, Any]:
    """What a principal finds in its authextra: a JSON object, without the fields that we and the router put there."""
    if not isinstance(value, dict):
        raise Malformed("extra is a JSON object")
    value = portable(value)
    if value and len(json.dumps(value)) > MAX_EXTRA:
        raise Malformed(f"extra is at most {MAX_EXTRA} characters of JSON")
    if reserved := [name for name in value if RESERVED_EXTRA.fullmatch(name)]:
        raise Malformed(f"extra can't hold {reserved[0]!r}: the router puts that there")
    return value


def portable(value: Any, depth: int = 0) -> Any:
    """A copy of `value`, if every serializer of WAMP can carry it. A client whose WELCOME can't be written waits for
    ever."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and _encodable(value):
        return plain(value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, dict) and depth < MAX_DEPTH and all(isinstance(name, str) for name in value):
        return {portable(name): portable(part, depth + 1) for name, part in value.items()}
    if isinstance(value, (list, tuple)) and depth < MAX_DEPTH:
        return [portable(part, depth + 1) for part in value]
    raise Malformed(f"extra is a JSON object of text and 64-bit numbers, nested at most {MAX_DEPTH} deep")


def pubkey(value: Any) -> str:
    """The form of a public key: 64 hexadecimal digits. Returned in lower case."""
    if not (isinstance(value, str) and PUBKEY.fullmatch(value)):
        raise Malformed("a public key is 64 hexadecimal digits")
    return value.lower()


def safe_pubkey(value: Any) -> str:
    """A public key that may be stored: a canonical point of the prime-order group.

    A key of small order would accept forged signatures (RFC 8032, section 8; libsodium's
    ``crypto_core_ed25519_is_valid_point`` does the check, in about 50 microseconds).
    """
    key = pubkey(value)
    if not crypto_core_ed25519_is_valid_point(bytes.fromhex(key)):
        raise Malformed("the public key isn't a point of Ed25519 that a signature can be checked with")
    return key


def sha256(value: Any) -> str:
    """What is stored of a ticket that was made here: its SHA-256, in 64 hexadecimal digits."""
    if not (isinstance(value, str) and PUBKEY.fullmatch(value)):
        raise Malformed("a ticket is stored as its SHA-256, 64 hexadecimal digits")
    return value.lower()


def fingerprint(value: Any) -> str:
    """The SHA-256 of a certificate, with or without colons. Returned as 64 hexadecimal digits in lower case."""
    bare = value.replace(":", "") if isinstance(value, str) else ""
    if not PUBKEY.fullmatch(bare):
        raise Malformed("the fingerprint of a certificate is its SHA-256, 64 hexadecimal digits")
    return bare.lower()


def argon2id(value: Any) -> str:
    """What is stored of a ticket that a person chose: Argon2id in the usual text form, at a price we can pay."""
    found = ARGON2ID.fullmatch(value) if isinstance(value, str) else None
    if not found or not 8 <= int(found["memory"]) <= 262_144 or not 1 <= int(found["passes"]) <= 8:
        raise Malformed("a chosen ticket is stored as Argon2id of 8 KiB to 256 MiB and 1 to 8 passes")
    return found[0]


def credential(value: Any) -> str:
    """The id of a credential: 16 hexadecimal digits, in lower case."""
    if not (isinstance(value, str) and CREDENTIAL.fullmatch(value)):
        raise Malformed("the id of a credential is 16 hexadecimal digits")
    return value


def plain(value: str) -> str:
    """The bare text: of a member of an ``Enum`` that is text, too, ``str()`` may make ``Role.ADMIN``."""
    return str.__str__(value)


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
