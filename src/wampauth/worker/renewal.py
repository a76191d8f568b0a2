"""How does a listener come to show a renewed certificate, while nobody loses a session?

By itself the router reads key and certificate when it starts. Here it looks at the files again when somebody connects,
and who connects from then on gets the new ones. Connections that there are keep theirs.

By itself it also shows only the first certificate of each file. Here it shows the whole chain that is in it.
"""

import os
import time
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from crossbar.common.twisted import endpoint
from OpenSSL import crypto
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]

from wampauth import figures, served

EVERY = 1.0  # seconds between two looks at the files
AGAIN = 600.0  # seconds after which some that couldn't be taken are tried again: perhaps it wasn't their fault

Fingerprint = tuple[tuple[int, int, int] | None, ...]


class RunOut(ValueError):
    """The new certificate is of no use any more."""


@implementer(IOpenSSLContextFactory)
class Renewing:
    """What a TLS listener asks for its context: it stands in for Twisted's ``CertificateOptions``."""

    log = Logger()

    def __init__(
        self, make: Callable[[], Any], files: list[Path], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """
        :param make: reads the files, and returns a ``CertificateOptions``; raises what it likes if they aren't right.
        :param files: the certificate comes first.
        """
        self._make, self._files, self._monotonic = make, files, monotonic
        self._looked, self._seen = monotonic(), self._fingerprint()
        self._options = make()
        self.ends = self._end()  # seconds since 1970
        self._again = inf  # when to try again, on the clock
        figures.tell(self, "certificate_end_seconds", Renewing._told_end, file=files[0].name)

    def getContext(self) -> Any:
        """The context of the next connection."""
        self._look()
        return self._options.getContext()

    def _told_end(self) -> float:
        """When it runs out what would be shown, though nobody may have connected since it was renewed."""
        self._look()
        return self.ends

    def _look(self) -> None:
        if (now := self._monotonic()) - self._looked < EVERY:
            return
        self._looked = now
        if (found := self._fingerprint()) != self._seen or now >= self._again:
            self._seen, self._again = found, inf
            self._renew()

    def _renew(self) -> None:
        try:
            renewed = self._make()
            renewed.getContext()  # looks whether the key fits
            if (ends := self._end()) <= time.time() < self.ends:
                raise RunOut
        except Exception as error:
            self.log.error(
                "{file} and its key can't be taken ({error}): the old ones are shown until they change again",
                file=self._files[0],
                error=type(error).__name__,
            )
            self._again = self._looked + AGAIN
            return
        self._options, self.ends = renewed, ends
        self.log.warn("{file} is shown from now on; it runs out on {day}", file=self._files[0], day=served.day(ends))

    def _end(self) -> float:
        return served.ends(served.load(self._files[0]))

    def _fingerprint(self) -> Fingerprint:
        return tuple(map(_state, self._files))


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - at each connection
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_ctime_ns  # which tells also of `chmod` and `chown`


def renew_certificates() -> None:
    """Have the listeners of this process show renewed certificates. Safe to call again."""
    make = endpoint._create_tls_server_context
    if getattr(make, "renews", False):
        return

    def renewing(config: Mapping[str, Any], directory: str, log: Any) -> Renewing:
        shown = [Path(directory, name) for name in (config["certificate"], *config.get("chain_certificates", ()))]
        others = [Path(directory, name) for name in (config["key"], *config.get("ca_certificates", ()))]

        def whole() -> Any:
            options = make(config, directory, log)
            _, *behind = dict.fromkeys(one for file in shown for one in served.chain(file))  # some are in two of them
            options.extraCertChain = [*map(crypto.X509.from_cryptography, behind)]
            return options

        return Renewing(whole, shown + others)

    renewing.renews = True  # type: ignore[attr-defined]
    endpoint._create_tls_server_context = renewing
