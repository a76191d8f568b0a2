"""How are TLS client certificates read? As the router shows them, and as files that an operator gets."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wampauth import names

LARGEST = 100_000  # bytes of a file that may hold a certificate
MOMENT = "%Y%m%d%H%M%SZ"
MISSING = "this method needs a TLS client certificate, at a transport that asks for one"
PEM = b"-----BEGIN CERTIFICATE-----"


def shown(transport: Any) -> dict[str, Any]:
    """What a ``TlsClaim`` has of a certificate.

    :param transport: the router's details of the connection. What the router tells of the certificate there has come
        through the TLS handshake; nothing of it is the client's word alone.
    :raises names.Malformed: if the client has shown none.
    """
    told = transport.get("peer_cert") if isinstance(transport, Mapping) else None
    if not isinstance(told, Mapping):
        raise names.Malformed(MISSING)
    subject = told.get("subject")
    return {
        "fingerprint": names.fingerprint(told.get("sha256")),
        "subject": {str(name): str(value) for name, value in subject.items()} if isinstance(subject, Mapping) else {},
        "names": _alternative_names(told.get("extensions")),
        "not_before": _seconds(told.get("not_before")),
        "not_after": _seconds(told.get("not_after")),
    }


def load(file: Path) -> tuple[str, float]:
    """The fingerprint of a certificate (in a chain, of the first one), and when it runs out, in seconds since 1970.

    :raises names.Malformed: if there is none in the file.
    :raises OSError: if the file can't be read.
    """
    from cryptography import x509  # takes its time to load
    from cryptography.hazmat.primitives.hashes import SHA256

    with file.open("rb") as opened:
        content = opened.read(LARGEST)
    try:
        read = x509.load_pem_x509_certificate if PEM in content else x509.load_der_x509_certificate
        certificate = read(content)
    except ValueError:
        raise names.Malformed(f"{file} holds no certificate in PEM or DER") from None
    return certificate.fingerprint(SHA256()).hex(), certificate.not_valid_after_utc.timestamp()


def _alternative_names(extensions: Any) -> tuple[str, ...]:
    """As OpenSSL writes them: ``DNS:pump-7.example.com``."""
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, Mapping) and extension.get("name") == "subjectAltName":
            return tuple(str(extension.get("value")).split(", "))
    return ()


def _seconds(moment: Any) -> float:
    try:
        return datetime.strptime(str(moment), MOMENT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise names.Malformed("a certificate says from when and until when it counts") from None
