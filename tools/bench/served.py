"""Is there service? Seen by somebody who logs in all the time, and by a client that stays in."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from beside import Beside, Said, listen
from configurations import ROOT

from wampauth.testing import WELCOME, RawClient

AUTHID, TICKET = "user0", "ticket-0"  # in the store of each node that is measured
OFTEN = 0.25  # seconds between two logins
ANSWER = 3.0  # seconds that one waits for a connection


class Logins(Beside):
    """Somebody who logs in all the time.

    :ivar tried: when each login began and ended, in seconds on the monotonic clock, and whether it was good.
    """

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        """:param options: of the connection, as `RawClient` takes them."""
        super().__init__()
        self._url, self._options = url, options
        self.tried: list[tuple[float, float, bool]] = []

    def go_on(self) -> None:
        """Log in, again and again."""
        while not self.end.wait(OFTEN):
            began, good = time.monotonic(), False
            with suppress(Exception), RawClient(self._url, open_timeout=ANSWER, **self._options) as client:
                good = client.login_ticket(AUTHID, TICKET)[0] == WELCOME
            self.tried.append((began, time.monotonic(), good))

    def served(self, since: float) -> float | None:
        """Seconds from then to the first of those that have all been good; None if the last one wasn't."""
        later = [one for one in self.tried if one[0] >= since]
        bad = [number for number, (_, _, good) in enumerate(later) if not good]
        if not bad and later:
            return 0.0
        return later[bad[-1] + 1][1] - since if later and bad[-1] + 1 < len(later) else None


class Client:
    """examples/reconnect.py, as a process."""

    def __init__(self, url: str, authority: Path) -> None:
        """:param authority: the file with the certificate of who vouches for the node."""
        command = [sys.executable, str(ROOT / "examples" / "reconnect.py"), AUTHID, "--url", url, "--realm", "realm1"]
        environment = {**os.environ, "MYTICKET": TICKET, "PYTHONWARNINGS": "ignore", "SSL_CERT_FILE": str(authority)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._said: Said = []
        listen(self.process, self._said)

    def joined(self, since: float) -> float | None:
        """When it was in again, if it is; 0 if it has stayed in."""
        later = [(moment, line) for moment, line in self._said if moment >= since]
        if not later:
            return 0.0 if any("joined" in line for _, line in self._said) else None
        moment, line = later[-1]
        return moment if line.startswith("joined") else None
