"""A process of a node is killed, or frozen: after how many seconds is there service again, and are all clients back?

    python tools/bench/killed.py [--config hardened.yaml] [--what router] [--how SIGSTOP]

`wampauth start` runs as the unit in deploy/ has it run: it is started anew when it has ended, and killed when it tells
nothing for too long. Clients of examples/reconnect.py stay in all the time, and somebody logs in four times a second.
One process after the other goes. The table is for docs/running.md.
"""

import itertools
import json
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psutil
from arrivals import LIMIT
from configurations import ROOT, placed, shipped
from filled import fill
from nodes import make_admission_key, title
from served import Client, Logins
from trustme import CA
from unit import Service

from wampauth.probe.turns import trust
from wampauth.testing import free_port

UNIT = ROOT / "deploy" / "systemd" / "wampauth.service"
CLIENTS = 4
SETTLE = 2.0  # seconds in which all is well, before the next one goes
START, CONTROLLER = "wampauth start", "controller"
BOTH = "authenticator1 and authenticator2"
GOES_ON = "authenticator1"  # the other one does its work, and nothing is started anew: so it comes last
WHAT = {
    "config.json": [START, CONTROLLER, "worker"],
    "hardened.yaml": [START, CONTROLLER, "worker"],
    "scaled.yaml": [START, CONTROLLER, "router", "authentication", "proxy1", "proxy2", BOTH, GOES_ON],
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
        is_secure = config == "hardened.yaml"
        self.url = f"wss://localhost:{self.tls_port}/ws" if is_secure else f"ws://127.0.0.1:{self.port}/ws"
        self.options = {"ssl": trust(self.authority)} if is_secure else {}

    def _make(self) -> None:
        config = placed(shipped(ROOT, self.config), ROOT, self.port, self.tls_port)
        (self.directory / self.config).write_text(json.dumps(config))
        fill(str(self.directory / "principals.db"), 10, 2)
        make_admission_key(self.directory)
        (self.directory / "sockets").mkdir(mode=0o700)
        self._certify(self.directory / "certs")

    def _certify(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        authority = CA()
        certificate = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(str(self.authority))
        (folder / "server.key").touch(0o600)
        certificate.private_key_pem.write_to_path(str(folder / "server.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))

    def processes(self) -> dict[str, psutil.Process]:
        """The node's, by name."""
        start = psutil.Process(self.service.pid)
        (controller,) = start.children()
        named = {title(child): child for child in controller.children()}
        return {START: start, CONTROLLER: controller, **named}

    def run(self, whats: list[str], how: str) -> Iterator[tuple[str, Outcome]]:
        """Let one after the other go."""
        with self.service, Logins(self.url, self.options) as logins, self._clients() as clients:
            for what in whats:
                self._wait_until_well(logins, clients)
                since = time.monotonic()
                starts = self.service.ready
                found = self.processes()
                for name in what.split(" and "):
                    found[name].send_signal(HOW[how])
                yield what, self._outcome(logins, clients, since, starts, what == GOES_ON)

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
    for name, by in itertools.product(config, how):
        with tempfile.TemporaryDirectory(prefix="killed-") as folder:
            trial = Trial(name, Path(folder))
            for which, outcome in trial.run([one for one in WHAT[name] if not what or one in what], by):
                click.echo(f"{name}: {which}, {by}: {outcome}", err=True)
                outcomes[name, which][by] = outcome
    click.echo(table(outcomes))


if __name__ == "__main__":
    main()
