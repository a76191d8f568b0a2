"""How does a listener come to show a renewed certificate, while nobody loses a session?

By itself the router reads key and certificate when it starts. Here it looks at the files again when somebody connects,
and who connects from then on gets the new ones. Connections that there are keep theirs.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crossbar.common.twisted import endpoint
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]

from wampauth import figures, served

EVERY = 1.0  # seconds between two looks at the files
LISTED = ("chain_certificates", "ca_certificates")  # more files in the endpoint's configuration

Fingerprint = tuple[tuple[int, int, int] | None, ...]


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
        figures.tell(self, "certificate_end_seconds", lambda this: this.ends, file=files[0].name)

    def getContext(self) -> Any:
        """The context of the next connection."""
        if self._monotonic() - self._looked >= EVERY:
            self._looked = self._monotonic()
            if (found := self._fingerprint()) != self._seen:
                self._seen = found
                self._renew()
        return self._options.getContext()

    def _renew(self) -> None:
        try:
            renewed = self._make()
            renewed.getContext()  # looks whether the key fits
        except Exception as error:
            self.log.error(
                "{file} and its key can't be taken ({error}): the old ones are shown until they change again",
                file=self._files[0],
                error=type(error).__name__,
            )
            return
        self._options, self.ends = renewed, self._end()
        day = served.day(self.ends)
        self.log.warn("{file} is shown from now on; it runs out on {day}", file=self._files[0], day=day)

    def _end(self) -> float:
        return served.ends(served.load(self._files[0]))

    def _fingerprint(self) -> Fingerprint:
        return tuple(map(_state, self._files))


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - at each connection
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def renew_certificates() -> None:
    """Have the listeners of this process show renewed certificates. Safe to call again."""
    make = endpoint._create_tls_server_context
    if getattr(make, "renews", False):
        return

    def renewing(config: Mapping[str, Any], directory: str, log: Any) -> Renewing:
        others = [name for several in LISTED for name in config.get(several, ())]
        names = config["certificate"], config["key"], *others
        return Renewing(lambda: make(config, directory, log), [Path(directory, name) for name in names])

    renewing.renews = True  # type: ignore[attr-defined]
    endpoint._create_tls_server_context = renewing
