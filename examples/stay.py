"""How does a session end that its client doesn't want to end? A client that joins, and stays.

    MYTICKET="secret123" python examples/stay.py client1      # says "joined: ...", and waits
    wampauth revoke client1 --yes                             # elsewhere; it says "ended: com.example.revoked"

The exit code is 0 if it stayed as long as it was to, or if the session ended as expected; 1 if it was refused, or if
the session ended in another way; 2 if there was no router to talk to.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.types import Challenge, CloseDetails, ComponentConfig, SessionDetails
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import react

SILENT = 20.0  # seconds after which a router that doesn't answer is given up
CLOSED = "it closed the connection. Does it want wss://, or its authority named by SSL_CERT_FILE (docs/tls.md)?"


class Staying(ApplicationSession):
    """Joins with a ticket or a key, and waits for what comes."""

    def __init__(self, config: ComponentConfig, secret: "str | CryptosignKey") -> None:
        super().__init__(config)
        self._secret = secret
        self.joined: Deferred[bool] = Deferred()  # or refused: False
        self.reason = ""  # the URI with which it ended; empty if it never began

    def onConnect(self) -> None:
        if isinstance(self._secret, str):
            self.join(self.config.realm, ["ticket"], self.config.extra)
        else:
            shown = {"pubkey": self._secret.public_key(), "channel_binding": None}
            self.join(self.config.realm, ["cryptosign"], self.config.extra, authextra=shown)

    def onChallenge(self, challenge: Challenge) -> Any:
        return self._secret if isinstance(self._secret, str) else self._secret.sign_challenge(challenge)

    def onJoin(self, details: SessionDetails) -> None:
        print(f"joined: realm={details.realm} authid={details.authid} authrole={details.authrole}", flush=True)
        self.joined.callback(True)

    def onLeave(self, details: CloseDetails) -> None:
        self.reason = self.reason or details.reason
        print(f"ended: {details.reason}", flush=True)
        self.disconnect()

    def gone(self, closed: Any) -> Any:
        """The connection is over, perhaps before the session began."""
        if not self.joined.called:
            self.joined.callback(False)
        return closed


async def run(reactor: Any, session: Staying, url: str, seconds: float, expected: str | None) -> None:
    """Join, stay, and exit."""
    try:
        runner = ApplicationRunner(url, session.config.realm)
        protocol = await runner.run(lambda _: session, start_reactor=False)
        protocol.is_closed.addBoth(session.gone)
        if await session.joined.addTimeout(SILENT, reactor):
            staying = reactor.callLater(seconds, session.leave)
            await protocol.is_closed
            if staying.active():
                staying.cancel()
        elif not session.reason:
            print(f"No session with the router: {CLOSED}", file=sys.stderr)
    except TimeoutError:
        print("No session with the router: no answer, or a certificate that isn't trusted.", file=sys.stderr)
    except Exception as error:
        print(f"No session with the router: {error}", file=sys.stderr)
    done = session.reason == (expected or CloseDetails.REASON_DEFAULT)
    sys.exit(0 if done else 1 if session.reason else 2)


@click.command()
@click.argument("authid", required=False)
@click.option("--key", type=click.Path(path_type=Path), help="Private key file of 32 raw bytes, instead of MYTICKET.")
@click.option("--url", default="ws://localhost:8080/ws", show_default=True, help="Where the router listens.")
@click.option("--realm", help="Realm to join.  [default: the principal's]")
@click.option("--seconds", default=3600.0, show_default=True, help="How long to stay.")
@click.option("--expect", metavar="URI", help="Succeed only if the session ends with this reason.")
def main(authid: str | None, key: Path | None, url: str, realm: str | None, seconds: float, expect: str | None) -> None:
    """Log in as AUTHID with the ticket in MYTICKET, or with a key, and stay until the session is ended."""
    secret = os.environ.get("MYTICKET", "").removesuffix("\n").removesuffix("\r")  # a file's line end
    if key:
        try:
            secret = CryptosignKey.from_file(str(key))
        except Exception as error:
            raise click.ClickException(f"{key} holds no private key of 32 raw bytes: {error}") from None
    elif not authid or not secret:
        raise click.UsageError('Say who you are: MYTICKET="..." python examples/stay.py AUTHID, or --key FILE')
    session = Staying(ComponentConfig(realm, authid), secret)
    react(run, (session, url, seconds, expect))


if __name__ == "__main__":
    main()
