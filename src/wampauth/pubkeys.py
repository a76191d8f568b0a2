"""What is pasted in place of a public key, and which key is it?

The same text means the same wherever it is typed. No sentence of ours repeats it: it may be a private key.
"""

import base64
import binascii
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

from wampauth import names

RAW = 32  # bytes of a raw key, private or public
HEX = re.compile(r"(0[xX])?([0-9a-fA-F]{64})")  # a client that is refused is shown its key with 0x
LINE = re.compile(  # of authorized_keys: options in which there may be blanks in quotes, the type, the key, a comment
    r"""(?:(?:[^\s"]|"(?:[^"\\]|\\.)*")++\s+)?((?:ssh|ecdsa|sk)-[\w.@-]+)\s+(\S+).*"""
)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43,100}={0,2}")
WRAPPED = (  # what stands before the 32 bytes of a public key: nothing, or the beginning of OpenSSH's or X.509's form
    b"",
    b"\0\0\0\x0bssh-ed25519\0\0\0\x20",
    bytes.fromhex("302a300506032b6570032100"),
)
PRIVATE_SIGNS = (
    *("PRIVATE KEY", "PuTTY-User-Key-File", "Private-Lines"),
    *("b3BlbnNzaC1rZXktdjE", "MC4CAQAwBQYDK2Vw"),  # OpenSSH's and PKCS #8's in base64, without their first line
)
NO_PUBLIC_KEY = (
    "a public key is 64 hexadecimal digits, an OpenSSH line (ssh-ed25519 ...) or its 32 bytes in base64, "
    "or the name of a file that holds one of these"
)
IS_PRIVATE = (
    "this is a private key, which stays with its owner: give the public one (FILE.pub, or `ssh-keygen -y -f FILE`)"
)


def public(text: object) -> str:
    """A public key that may be stored, in 64 hexadecimal digits, from whatever of it an operator is given.

    These are hexadecimal digits, also with ``0x``, in upper case; a line of OpenSSH's, also of ``authorized_keys`` with
    options; base64 of either alphabet, with and without padding, of the 32 bytes, of what an OpenSSH line has, or of
    X.509's form, also as PEM. Blanks, line ends and comments around it make no difference.

    :raises names.Malformed: if it is none of them, or a private key. The sentence doesn't repeat the text.
    """
    if not isinstance(text, str):
        raise names.Malformed(NO_PUBLIC_KEY)
    text = text.removeprefix("\ufeff").strip()
    if _is_private(text):
        raise names.Malformed(IS_PRIVATE)
    if text.startswith("-----BEGIN"):
        return names.safe_pubkey(_from_pem(text))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) > 1:
        raise names.Malformed(f"there are {len(lines)} lines: give the one that is meant")
    return names.safe_pubkey(_from_line("".join(lines)))


def text_of(content: bytes) -> str:
    """What a text file holds. Windows may have put a mark before it, or write two bytes for each character."""
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if is_wide else "utf-8-sig", "replace")


def _from_line(line: str) -> str:
    if found := HEX.fullmatch(line):
        return found[2]
    if found := LINE.fullmatch(line):
        return _from_openssh(f"{found[1]} {found[2]}")
    decoded = _from_base64(line) or b""
    for beginning in WRAPPED:
        if decoded.startswith(beginning) and len(decoded) == len(beginning) + RAW:
            return decoded[-RAW:].hex()
    raise names.Malformed(NO_PUBLIC_KEY)


def _from_openssh(line: str) -> str:
    try:
        parsed = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise names.Malformed("this isn't an OpenSSH public key: is it whole?") from None
    return _ed25519(parsed)


def _from_pem(text: str) -> str:
    try:
        parsed = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise names.Malformed(NO_PUBLIC_KEY) from None
    return _ed25519(parsed)


def _ed25519(parsed: object) -> str:
    if not isinstance(parsed, Ed25519PublicKey):
        raise names.Malformed("this key isn't of type ssh-ed25519: WAMP-cryptosign knows no other")
    return parsed.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _from_base64(text: str) -> bytes | None:
    if not BASE64.fullmatch(text):
        return None
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4))
    except binascii.Error:
        return None


def _is_private(text: str) -> bool:
    """Whether it is a private key, as far as one can see: 32 bytes look like a public one."""
    if any(sign in text for sign in PRIVATE_SIGNS):
        return True
    both_halves = re.fullmatch(r"(0[xX])?[0-9a-fA-F]{128}", text)
    return bool(both_halves) or len(_from_base64(text) or b"") == 2 * RAW
