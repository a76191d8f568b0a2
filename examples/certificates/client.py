"""How does a device show its certificate? It joins, says as whom, and leaves.

    python client.py pump.pem --ca server-ca.pem        # the file has the private key and the certificate

The exit code is 0 if it joined, 1 if it was refused, and 2 if there was no connection.
"""

import sys
from pathlib import Path
from typing import Any

import click
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.types import CloseDetails, SessionDetails
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import react

SILENT = 10.0  # seconds after which a router that doesn't answer is given up


class Device(ApplicationSession):
    ended: Deferred[str]
    who = ""

    def onConnect(self) -> None:
        self.join(None, ["tls"])  # the certificate says it all

    def onJoin(self, details: SessionDetails) -> None:
        self.who = f"{details.realm} {details.authid} {details.authrole}"
        self.leave()

    def onLeave(self, details: CloseDetails) -> None:
        self.ended.callback(details.reason)
        self.disconnect()


async def run(reactor: Any, url: str, own: Path, ca: Path) -> None:
    trusted = trustRootFromCertificates([Certificate.loadPEM(ca.read_bytes())])
    tls = optionsForClientTLS("localhost", trusted, PrivateCertificate.loadPEM(own.read_bytes()))
    device = Device()
    device.ended = Deferred()
    try:
        protocol = await ApplicationRunner(url, ssl=tls).run(lambda _: device, start_reactor=False)
        protocol.is_closed.addBoth(lambda _: device.ended.called or device.ended.errback(ConnectionAbortedError()))
        reason = await device.ended.addTimeout(SILENT, reactor)
    except Exception as error:
        print(f"No session with the router: {type(error).__name__}", file=sys.stderr)
        sys.exit(2)
    print(device.who or f"refused: {reason}")
    sys.exit(0 if device.who else 1)


@click.command()
@click.argument("own", type=click.Path(path_type=Path, exists=True))
@click.option("--ca", type=click.Path(path_type=Path, exists=True), required=True, help="Who has signed the router's.")
@click.option("--url", default="wss://localhost:8443/ws", show_default=True, help="Where the router listens.")
def main(own: Path, ca: Path, url: str) -> None:
    """Join with the private key and the certificate in OWN."""
    react(run, (url, own, ca))


if __name__ == "__main__":
    main()
