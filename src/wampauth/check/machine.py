"""What is there around a configuration? Files and who may read them, certificates, packages."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from itertools import pairwise
from pathlib import Path

from wampauth import served
from wampauth.check.finding import Finding
from wampauth.nodeconfig import Section, walk
from wampauth.settings import SettingsError, require_private

SOON = 21 * 86400  # seconds before its end in which a certificate should be renewed
NO_HTTP2 = "out of reach under `wampauth start`; docs/dependencies.md"
FLAWS = {  # packages that see what strangers send: since when a flaw is mended, and which
    "autobahn": ("20.12.3", "CVE-2020-35678"),
    "cryptography": ("44.0.1", "CVE-2024-12797"),
    "h2": ("4.3.0", f"CVE-2025-57804; {NO_HTTP2}"),
    "hpack": ("4.2.0", f"CVE-2026-59980; {NO_HTTP2}"),
    "idna": ("3.15", "CVE-2026-45409; no stranger's text reaches it; docs/dependencies.md"),
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "pynacl": ("1.6.2", "CVE-2025-69277"),
    "twisted": ("24.7.0", "CVE-2024-41671"),
}
PRIVATE = ("key.priv", "admission.key", "sockets", "../.keys")  # beside those that the configuration names


def findings(directory: Path, workers: list[Section]) -> Iterator[Finding]:
    """All but the certificates of listeners."""
    yield from _of_files(directory, workers)
    yield from _of_owner(directory)
    yield from _of_packages()


def certificate(directory: Path, place: str, tls: Section) -> Iterator[Finding]:
    """What is wrong with the certificate of a listener, or soon will be."""
    file = directory / str(tls.get("certificate"))
    chain = tls.get("chain_certificates")
    for number, name in enumerate(chain if isinstance(chain, list) else ()):
        yield from _of_certificate(f"{place}.chain_certificates[{number}]", directory / str(name))
    yield from _of_certificate(f"{place}.certificate", file)
    try:
        shown, *behind = served.chain(file)
    except (OSError, ValueError):
        return  # which keeps the node from starting, in any case
    if served.is_for_development(shown):
        yield Finding(f"{place}.certificate", f"{file} is for development, or signed by itself: no client trusts it")
    if not served.names(shown):
        yield Finding(f"{place}.certificate", f"{file} names no host as its subjectAltName: no client trusts it")
    if served.has_signer_elsewhere(shown) and not behind and not chain:
        text = f"{file} lacks the certificate of who has signed it: put the whole chain there, or clients refuse it"
        yield Finding(f"{place}.certificate", text, "warning")


def _of_certificate(place: str, file: Path) -> Iterator[Finding]:
    """Whether it may be shown now, as may those behind it in the file."""
    try:
        shown = served.chain(file)
    except (OSError, ValueError):
        return  # which keeps the node from starting, in any case
    begin, end = max(one.not_valid_before_utc.timestamp() for one in shown), min(map(served.ends, shown))
    if (now := time.time()) < begin:
        yield Finding(place, f"{file} counts from {served.day(begin)} on: no client will connect before")
    elif end <= now:
        yield Finding(place, f"{file} has run out on {served.day(end)}: no client will connect")
    elif end < now + SOON:
        yield Finding(place, f"{file} runs out on {served.day(end)}: renew it", "warning")
    if any(one.issuer != signer.subject for one, signer in pairwise(shown)):
        text = f"{file} isn't in order: behind each certificate belongs the one that has signed it"
        yield Finding(place, text, "warning")


def _of_files(directory: Path, workers: list[Section]) -> Iterator[Finding]:
    for file in sorted(set(_private(directory, workers))):
        try:
            require_private(str(file))
        except SettingsError as error:
            yield Finding("", str(error))
    for folder in directory, directory.resolve().parent:
        if folder.stat().st_mode & 0o022:
            yield Finding("", f"{folder} can be written by others: who may put files there runs the node")
    run = (*directory.glob("*.yaml"), *directory.glob("*.json"), *directory.resolve().parent.glob("*.py"))
    for file in sorted(filter(_can_be_written, run)):
        yield Finding("", f"{file} can be written by others, who run the node then: `chmod go-w {file}`")


def _can_be_written(file: Path) -> bool:
    try:
        return file.is_file() and bool(file.stat().st_mode & 0o002)
    except OSError:  # a link to where we may not look
        return False


def _private(directory: Path, workers: list[Section]) -> Iterator[Path]:
    """Files and folders that are only for their owner, those that there are."""
    sections = [section for worker in workers for _, section in walk(worker)]
    named = [section.get(name) for section in sections for name in ("key", "store", "admission_key", "audit")]
    named += [
        str(Path(str(one.get("path"))).parent) for one in sections if one.get("type") == "unix"
    ]  # who may connect
    for name in (*PRIVATE, *named):
        with suppress(OSError):  # a name that is too long, or a folder that we may not enter
            if isinstance(name, str) and "://" not in name and (directory / name).exists():
                yield directory / name
    yield from directory.glob("audit*.jsonl*")
    yield from (file for file in (directory / "../.keys").glob("*") if file.suffix != ".pub")


def _of_owner(directory: Path) -> Iterator[Finding]:
    if directory.stat().st_uid == 0:
        yield Finding("", f"{directory} belongs to root: run the node as a user of its own")
    elif directory.stat().st_uid != os.geteuid() != 0:
        yield Finding("", f"{directory} isn't yours: check as the user that runs the node", "warning")


def _of_packages() -> Iterator[Finding]:
    for name, (mended, what) in FLAWS.items():
        with suppress(metadata.PackageNotFoundError):
            found = metadata.version(name)
            if _numbers(found) < _numbers(mended):
                yield Finding("", f"{name} {found} has a known flaw, which {mended} hasn't ({what})", "warning")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
