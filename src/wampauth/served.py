"""When does a certificate run out, and is it one for the internet?"""

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import AuthorityInformationAccessOID

DEVELOPMENT = "trustme"  # who signs what `make certs` makes


def load(file: Path) -> x509.Certificate:
    """The first certificate in a PEM file, which is the one that a listener shows.

    :raises OSError: if it can't be read.
    :raises ValueError: if it isn't one.
    """
    return x509.load_pem_x509_certificate(file.read_bytes())


def chain(file: Path) -> list[x509.Certificate]:
    """All in a PEM file: behind the first those by which clients come from it to an authority that they know.

    :raises OSError: if it can't be read.
    :raises ValueError: if there is none in it, or one can't be read.
    """
    return x509.load_pem_x509_certificates(file.read_bytes())


def ends(certificate: x509.Certificate) -> float:
    """When it runs out, in seconds since 1970."""
    return certificate.not_valid_after_utc.timestamp()


def fits(certificate: x509.Certificate, key: Path) -> bool:
    """Whether the private key in a PEM file is the one of the certificate.

    :raises OSError: if it can't be read.
    :raises ValueError: if it isn't a key, or needs a passphrase.
    """
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except TypeError:  # it is encrypted
        raise ValueError("it needs a passphrase, which the router can't give") from None
    except UnsupportedAlgorithm:
        raise ValueError("it is of a kind that isn't known here") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def is_for_development(certificate: x509.Certificate) -> bool:
    """Whether nobody but us trusts it."""
    return certificate.issuer == certificate.subject or DEVELOPMENT in certificate.issuer.rfc4514_string()


def names(certificate: x509.Certificate) -> list[str]:
    """The hosts that it is for; clients look at nothing else."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []
    return [str(name.value) for name in found]


def has_signer_elsewhere(certificate: x509.Certificate) -> bool:
    """Whether it says where to fetch the certificate of who has signed it, as those of public authorities do: that is
    none that clients have by themselves."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return False
    return any(one.access_method == AuthorityInformationAccessOID.CA_ISSUERS for one in found)


def day(moment: float) -> str:
    """As an operator reads it."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
