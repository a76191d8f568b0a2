"""How are Ed25519 keys read and made? Private halves as WAMP clients keep them, public halves as operators get them."""

import os
from pathlib import Path

from autobahn.wamp.cryptosign import CryptosignKey
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from nacl.signing import SigningKey

from wampauth import names

PRIVATE = 32  # bytes of a raw private key
LARGEST = 10_000  # bytes of a file that may hold a key


def load_private(file: Path) -> CryptosignKey:
    """Read a private key: 32 raw bytes, or OpenSSH's format for Ed25519, without a passphrase.

    :raises names.Malformed: if it is neither.
    :raises OSError: if the file can't be read.
    """
    content = _read(file)
    try:
        if content.startswith(b"-----BEGIN"):
            return CryptosignKey.from_ssh_bytes(content.decode().strip())
        return CryptosignKey.from_bytes(content)
    except Exception as error:  # Autobahn raises bare ones, whose texts say what is wrong
        raise names.Malformed(f"{file} holds no private key of 32 raw bytes or OpenSSH Ed25519: {error}") from None


def read_public(text: str) -> str:
    """A public key in 64 hexadecimal digits, from these, from an OpenSSH line, or from a file that holds one of them.

    :raises names.Malformed: if it is none of them, or a private key.
    :raises OSError: if it looks like the name of a file, and that can't be read.
    """
    if not (names.PUBKEY.fullmatch(text) or text.startswith("ssh-")):
        content = _read(Path(text))
        if b"PRIVATE KEY" in content or len(content) == PRIVATE:
            raise names.Malformed(f"{text} holds a private key: register the public one")
        lines = content.decode("ascii", "replace").strip().splitlines()
        if len(lines) > 1:
            raise names.Malformed(f"{text} holds {len(lines)} lines: give the one that is meant")
        text = "".join(lines)
    return names.safe_pubkey(_from_openssh(text) if text.startswith("ssh-") else text)


def generate(file: Path) -> str:
    """Make a key pair: the private half in `file`, which only its owner can read, the public half beside it in `.pub`.

    :returns: the public key, in 64 hexadecimal digits.
    :raises FileExistsError: if one of the two is there; neither is touched then.
    """
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


def _from_openssh(line: str) -> str:
    try:
        parsed = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise names.Malformed("this isn't an OpenSSH public key") from None
    if not isinstance(parsed, Ed25519PublicKey):
        raise names.Malformed("this OpenSSH key isn't of type ssh-ed25519")
    return parsed.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST)
