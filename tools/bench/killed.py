"""A process of a node is killed, or frozen: after how many seconds is there service again, and are all clients back?

    python tools/bench/killed.py [--config hardened.yaml] [--what router] [--how SIGSTOP]

`wampauth start` runs as the unit in deploy/ has it run: it is started anew when it has ended, and killed when it tells
nothing for too long. Clients of examples/reconnect.py stay in all the time, and somebody logs in four times a second.
One process after the other goes. The table is for docs/running.md.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil
from nodes import ROOT, fill, placed, shipped, title
from storms import LIMIT
from trustme import CA
from unit import Service

from wampauth.probe.turns import trust
from wampauth.testing import WELCOME, RawClient, free_port

UNIT = ROOT / "deploy" / "systemd" / "wampauth.service"
AUTHID, TICKET = "user0", "ticket-0"  # in the store of each
CLIENTS = 4
OFTEN = 0.25  # seconds between two logins
ANSWER = 3.0  # seconds that one waits for a connection
SETTLE = 2.0  # seconds in which all is well, before the next one goes
START, CONTROLLER = "wampauth start", "controller"
BOTH = "authenticator1 and authenticator2"
GOES_ON = "authenticator1"  # the other one does its work: nothing is started anew
WHAT = {
    "config.json": [START, CONTROLLER, "worker"],
    "hardened.yaml": [START, CONTROLLER, "worker"],
    "scaled.yaml": [START, CONTROLLER, "router", "authentication", "proxy1", "proxy2", GOES_ON, BOTH],
}
HOW = {"SIGKILL": signal.SIGKILL, "SIGSTOP": signal.SIGSTOP}


@dataclass
class Outcome:
    """Of one that went, in seconds since then.

    :ivar served: until a login was good again, and from then on all were; 0 if none failed.
    :ivar back: until the last client was back; 0 if none was cut off.
    """

    served: float
    back: float


@dataclass
class Logins:
    """Somebody who logs in all the time: when each began, and whether it was good."""

    url: str
    options: dict[str, Any]
    tried: list[tuple[float, float, bool]] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Logins":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(OFTEN):
            began, good = time.monotonic(), False
            with suppress(Exception), RawClient(self.url, open_timeout=ANSWER, **self.options) as client:
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
        command = [sys.executable, str(ROOT / "examples" / "reconnect.py"), AUTHID, "--url", url, "--realm", "realm1"]
        environment = {**os.environ, "MYTICKET": TICKET, "PYTHONWARNINGS": "ignore", "SSL_CERT_FILE": str(authority)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.said: list[tuple[float, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.said.append((time.monotonic(), line.strip()))

    def joined(self, since: float) -> float | None:
        """When it was in again, if it is; 0 if it has stayed in."""
        later = [(moment, line) for moment, line in self.said if moment >= since]
        if not later:
            return 0.0 if any("joined" in line for _, line in self.said) else None
        moment, line = later[-1]
        return moment if line.startswith("joined") else None


class Trial:
    """A node, and those who use it."""

    def __init__(self, config: str, folder: Path) -> None:
        self.config, self.directory = config, folder
        self.port, self.tls_port = free_port(), free_port()
        self.authority = folder / "authority.pem"
        self._make()
        terms = ConfigParser(strict=False)
        terms.optionxform = str  # type: ignore[assignment,method-assign]
        terms.read(UNIT)
        command = [sys.executable, "-m", "wampauth", "start", "--directory", str(folder), "--config", config]
        self.service = Service(command, terms["Service"])
        secure = config == "hardened.yaml"
        self.url = f"wss://localhost:{self.tls_port}/ws" if secure else f"ws://127.0.0.1:{self.port}/ws"
        self.options = {"ssl": trust(self.authority)} if secure else {}

    def _make(self) -> None:
        config = placed(shipped(ROOT, self.config), ROOT, self.port, self.tls_port)
        (self.directory / self.config).write_text(json.dumps(config))
        fill(str(self.directory / "principals.db"), 10, 2)
        (self.directory / "admission.key").touch(0o600)
        (self.directory / "admission.key").write_bytes(os.urandom(32))
        for name in "sockets", "certs":
            (self.directory / name).mkdir(mode=0o700)
        authority = CA()
        certificate = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(str(self.authority))
        key = self.directory / "certs" / "server.key"
        key.touch(0o600)
        certificate.private_key_pem.write_to_path(str(key))
        certificate.cert_chain_pems[0].write_to_path(str(self.directory / "certs" / "server.pem"))

    def processes(self) -> dict[str, psutil.Process]:
        """The node's, by name."""
        start = psutil.Process(self.service.pid)
        (controller,) = start.children()
        named = {title(child): child for child in controller.children()}
        return {START: start, CONTROLLER: controller, **named}

    def run(self, whats: list[str], hows: list[str]) -> Iterator[tuple[str, str, Outcome]]:
        """Let one after the other go."""
        with self.service, Logins(self.url, self.options) as logins, self._clients() as clients:
            for how in hows:
                for what in whats:
                    self._wait_until_well(logins, clients)
                    since = time.monotonic()
                    starts = self.service.ready
                    found = self.processes()
                    for name in what.split(" and "):
                        found[name].send_signal(HOW[how])
                    yield what, how, self._outcome(logins, clients, since, starts, what == GOES_ON)

    @contextmanager
    def _clients(self) -> Iterator[list[Client]]:
        clients = [Client(self.url, self.authority) for _ in range(CLIENTS)]
        try:
            yield clients
        finally:
            for client in clients:
                client.process.kill()
                client.process.wait()

    def _wait_until_well(self, logins: Logins, clients: list[Client]) -> None:
        def is_well() -> bool:
            with suppress(psutil.Error, ValueError, OSError):
                enough = time.monotonic() - SETTLE
                here = all(map(self.processes().__contains__, " and ".join(WHAT[self.config]).split(" and ")))
                return here and all(client.joined(enough) == 0.0 for client in clients) and logins.served(enough) == 0.0
            return False

        wait_for(is_well)

    def _outcome(self, logins: Logins, clients: list[Client], since: float, starts: int, goes_on: bool) -> Outcome:
        if goes_on:
            wait_for(lambda: any("goes on alone" in line for moment, line in self.service.said if moment >= since))
        else:
            wait_for(lambda: self.service.ready > starts)
        wait_for(lambda: all(client.joined(since) is not None for client in clients))
        settled = time.monotonic()
        wait_for(lambda: any(began > settled for began, *_ in logins.tried) and logins.served(since) is not None)
        back = max(client.joined(since) or 0.0 for client in clients)
        return Outcome(logins.served(since) or 0.0, back - since if back else 0.0)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise click.ClickException(f"not all was well again after {LIMIT:g} seconds")
        time.sleep(0.05)


def table(outcomes: dict[tuple[str, str], dict[str, Outcome]]) -> str:
    """As docs/running.md has it."""
    lines = ["| | killed: service | clients | frozen: service | clients |", "|---|---|---|---|---|"]
    for (config, what), by_how in outcomes.items():
        cells = [f"{value:.0f} s" for how in HOW if how in by_how for value in vars(by_how[how]).values()]
        lines.append(f"| `{config}`: {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--config", type=click.Choice(list(WHAT)), multiple=True, default=list(WHAT))
@click.option("--what", multiple=True, help="A process, or several.")
@click.option("--how", type=click.Choice(list(HOW)), multiple=True, default=list(HOW))
def main(config: tuple[str, ...], what: tuple[str, ...], how: tuple[str, ...]) -> None:
    """Measure, and print the table."""
    outcomes: dict[tuple[str, str], dict[str, Outcome]] = defaultdict(dict)
    for name in config:
        with tempfile.TemporaryDirectory(prefix="killed-") as folder:
            trial = Trial(name, Path(folder))
            for which, by, outcome in trial.run([one for one in WHAT[name] if not what or one in what], list(how)):
                click.echo(f"{name}: {which}, {by}: {outcome}", err=True)
                outcomes[name, which][by] = outcome
    click.echo(table(outcomes))


if __name__ == "__main__":
    main()
