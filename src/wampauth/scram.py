"""What is kept of a password for WAMP-SCRAM? Two keys, made of it by Argon2id, a salt and a price (RFC 5802).

The client computes the same, and proves that it has: ``stored_key`` checks the proof but makes none, since it is the
SHA-256 of what does. The password itself is never sent, and is kept by nobody.
"""

import base64
import hashlib
import hmac
import re
from typing import Any

from nacl.pwhash import argon2id

from wampauth import names
from wampauth.claims import ScramVerifier

ITERATIONS, MEMORY = 3, 65_536  # passes, and KiB: the second choice of RFC 9106 (section 4), some 150 ms
SALT, KEY = 16, 32  # bytes
WRITTEN = re.compile(r"argon2id-13\$(\d{1,5})\$(\d{1,6})\$([0-9a-f]{32})\$([0-9a-f]{64})\$([0-9a-f]{64})")


def derive(password: str, salt: str, iterations: int = ITERATIONS, memory: int = MEMORY) -> ScramVerifier:
    """What is kept of `password`. Takes some 150 ms and 64 MiB.

    :param salt: 32 hexadecimal digits.
    """
    raw = argon2id.kdf(KEY, password.encode(), bytes.fromhex(salt), iterations, memory * 1024)
    salted = base64.b64encode(raw).rstrip(b"=")  # WAMP's clients go on with the text that Argon2 writes
    client_key, server_key = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    stored_key = hashlib.sha256(client_key).hexdigest()
    return ScramVerifier(
        salt=salt, iterations=iterations, memory=memory, stored_key=stored_key, server_key=server_key.hex()
    )


def salt_of(authid: str, key: bytes) -> str:
    """The salt of `authid`, whether there is somebody of that name or not: so that it tells nothing.

    :param key: makes it another one elsewhere. Who knows it doesn't learn more than the salt.
    """
    return hmac.digest(key, f"salt of {authid}".encode(), "sha256")[:SALT].hex()


def unknown(salt: str) -> ScramVerifier:
    """What somebody has of whom no password is kept."""
    nothing = "0" * 2 * KEY
    return ScramVerifier(salt=salt, iterations=ITERATIONS, memory=MEMORY, stored_key=nothing, server_key=nothing)


def well_formed(verifier: Any) -> ScramVerifier:
    """What an author gives, if the router can work with it.

    :raises names.Malformed: if it can't.
    """
    if not isinstance(verifier, ScramVerifier):
        raise names.Malformed("scram is missing, which the router checks the proof with")
    iterations, memory = names.price(verifier.iterations, verifier.memory)
    return ScramVerifier(
        salt=names.digits(verifier.salt, SALT),
        iterations=iterations,
        memory=memory,
        stored_key=names.digits(verifier.stored_key, KEY),
        server_key=names.digits(verifier.server_key, KEY),
    )


def written(verifier: ScramVerifier) -> str:
    """As it is stored, in a line."""
    parts = (verifier.iterations, verifier.memory, verifier.salt, verifier.stored_key, verifier.server_key)
    return "$".join(["argon2id-13", *map(str, parts)])


def checked(text: Any) -> str:
    """What may be stored, or raises as :func:`read`."""
    return written(read(text))


def read(text: Any) -> ScramVerifier:
    """What :func:`written` has written.

    :raises names.Malformed: if it isn't that.
    """
    found = WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise names.Malformed("a password is stored as argon2id-13$ITERATIONS$MEMORY$SALT$STORED-KEY$SERVER-KEY")
    iterations, memory = names.price(int(found[1]), int(found[2]))
    return ScramVerifier(salt=found[3], iterations=iterations, memory=memory, stored_key=found[4], server_key=found[5])
