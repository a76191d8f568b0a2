"""How are Ed25519 keys read and made? Public halves as operators get them, private halves as WAMP clients keep them."""

import errno
import os
from pathlib import Path

from nacl.signing import SigningKey

from wampauth import names
from wampauth.pubkeys import IS_PRIVATE, NO_PUBLIC_KEY, RAW, public, text_of

LARGEST = 10_000  # bytes of a file that may hold a key
SHORTEST_KEY = 40  # characters: what has fewer is no key in any form


def read_public(text: str) -> str:
    """A public key in 64 hexadecimal digits, from a text as ``pubkeys.public`` takes it, or from a file that holds it.

    :raises names.Malformed: if it is none of them, or a private key.
    :raises OSError: if it looks like the name of a file, and that can't be read.
    """
    try:
        return public(text)
    except names.Malformed:
        if not _is_file(text):
            raise
    try:
        content = _read(Path(text))
    except FileNotFoundError as error:
        raise names.Malformed(f"{text}: {error.strerror}, and no public key: {NO_PUBLIC_KEY}") from None
    if len(content) == RAW or (len(content) == 2 * RAW and not content.isascii()):
        raise names.Malformed(f"{text}: {IS_PRIVATE}")
    try:
        return public(text_of(content))
    except names.Malformed as error:
        raise names.Malformed(f"{text}: {error}") from None


def generate(file: Path) -> str:
    """Make a key pair: the private half in `file`, which only its owner can read, the public half beside it in `.pub`.

    :returns: the public key, in 64 hexadecimal digits.
    :raises FileExistsError: if one of the two is there; neither is touched then.
    """
    if not file.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    private = SigningKey.generate()
    pubkey = bytes(private.verify_key).hex()
    halves = (file, bytes(private), 0o600), (file.with_name(file.name + ".pub"), f"{pubkey}\n".encode(), 0o644)
    made: list[Path] = []
    try:
        for path, content, mode in halves:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as output:
                made.append(path)
                output.write(content)
    except BaseException:  # a pair, or nothing
        for path in made:
            path.unlink()
        raise
    return pubkey


def _is_file(text: str) -> bool:
    """Whether it is meant as the name of a file. What could be a key must not stand in what we say about files."""
    try:
        is_name = len(text) < SHORTEST_KEY or text.endswith((".pub", ".key", ".pem"))
        return (is_name and not text.startswith("ssh-")) or Path(text).exists()
    except (OSError, ValueError):  # too long, or with a NUL in it
        return False


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST)
