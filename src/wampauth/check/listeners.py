"""Can each listener show a certificate, and prove that it is its own? Can its socket be where it is to be? Else the
router doesn't start, and writes down where in its code that was noticed.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from wampauth import served
from wampauth.check.finding import Finding
from wampauth.check.layout import sections
from wampauth.nodeconfig import Section

LONGEST = 107  # bytes in the name of a Unix domain socket (unix(7))


def findings(directory: Path, workers: list[Section]) -> Iterator[Finding]:
    """What is wrong with the files that the transports name."""
    for number, worker in enumerate(workers):
        for index, transport in enumerate(sections(worker.get("transports"))):
            match transport.get("endpoint"):
                case {"tls": Section() as tls}:
                    yield from _of_files(directory, f"workers[{number}].transports[{index}].endpoint.tls", tls)
                case {"type": "unix", "path": str() as path}:
                    yield from _of_socket(f"workers[{number}].transports[{index}].endpoint.path", directory, path)


def _of_socket(place: str, directory: Path, path: str) -> Iterator[Finding]:
    socket = (directory / os.path.expandvars(path)).absolute()
    if len(os.fsencode(socket)) > LONGEST:
        yield Finding(place, f"{socket} is longer than the {LONGEST} bytes that a Unix domain socket's name may have")


def _of_files(directory: Path, place: str, tls: Section) -> Iterator[Finding]:
    certificate = directory / str(tls.get("certificate"))
    yield from _of_certificate(f"{place}.certificate", certificate)
    for inner in "chain_certificates", "ca_certificates":
        others = tls.get(inner)
        for number, name in enumerate(others if isinstance(others, list) else ()):
            yield from _of_certificate(f"{place}.{inner}[{number}]", directory / str(name))
    yield from _of_its_key(f"{place}.key", certificate, directory / str(tls.get("key")))


def _of_certificate(place: str, file: Path) -> Iterator[Finding]:
    try:
        served.chain(file)
    except OSError as error:
        yield Finding(place, f"{file}: {error.strerror}")
    except ValueError:
        yield Finding(place, f"{file} isn't a certificate in PEM")


def _of_its_key(place: str, certificate: Path, key: Path) -> Iterator[Finding]:
    try:
        shown = served.load(certificate)
    except (OSError, ValueError):
        return  # as was said
    try:
        if not served.fits(shown, key):
            yield Finding(place, f"{key} isn't the key of {certificate}")
    except OSError as error:
        yield Finding(place, f"{key}: {error.strerror}")
    except ValueError as error:
        yield Finding(place, f"{key} isn't a private key in PEM: {error}")
