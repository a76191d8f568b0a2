"""How does a client come back well? One that is told no acts by the URI, and one that is cut off returns, but not at
the same moment as two thousand others.

    MYTICKET="secret123" python examples/reconnect.py client1     # stays; stop the node and start it again
    wampauth revoke client1 --yes                                 # elsewhere; it stops, and says why

Autobahn's ``Component`` does most of it: it tries again, waits longer each time, and asks ``is_fatal`` whether that
makes sense. What it lacks is added here: it waits as it is told, and where it would come back at once, it waits for a
random moment. The exit code is 0 if it stayed as long as it was to, and 1 if it has given up.
"""

import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import click
from autobahn.twisted.component import Component
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

# To try again would change nothing: a person has to. The last part of the URI, since the first is the application's.
FOR_GOOD = {
    *("invalid_ticket", "no_such_user", "revoked", "malformed", "tls_required", "channel_binding_required"),
    *("not_authorized", "no_such_realm", "no_such_role", "no_auth_method"),  # the router's own
}
TOLD = re.compile(r"in (\d+) seconds?")  # how long to wait, where the text says so
SPREAD = 2.0  # seconds within which those who were cut off together come back
RETRY = {"initial_retry_delay": 1.0, "retry_delay_growth": 1.5, "retry_delay_jitter": 0.1, "max_retry_delay": 30.0}
# A link that is silent counts as lost, and a router that many come back to may take its time.
PATIENCE = {"openHandshakeTimeout": 20.0, "autoPingInterval": 10.0, "autoPingTimeout": 10.0}


def is_fatal(error: Exception) -> bool:
    """Whether to give up."""
    return isinstance(error, ApplicationError) and error.error.rpartition(".")[2] in FOR_GOOD


def pause(error: Exception) -> float:
    """Seconds to wait, before the component's own delay, which grows from one time to the next."""
    told = TOLD.search(str(error.args[0])) if isinstance(error, ApplicationError) and error.args else None
    return (float(told[1]) if told else 0.0) + random.uniform(0, SPREAD)  # noqa: S311


class Client:
    """A component that stays until it has to go for good."""

    def __init__(self, reactor: Any, url: str, realm: str, authentication: dict[str, Any]) -> None:
        self._reactor, self._leaving = reactor, Deferred()
        self.why = ""  # it was lost or refused, the last time
        self._component = Component(
            self._main,
            transports={"type": "websocket", "url": url, "options": PATIENCE, **RETRY},
            realm=realm,
            authentication=authentication,
            is_fatal=is_fatal,
        )
        self._component.on_join(self._joined)
        self._component.on_connectfailure(self._failed)

    async def stay(self, seconds: float) -> bool:
        """Come in, and come back, until `seconds` are over; False if it has given up before."""
        self._reactor.callLater(seconds, self.leave)
        while not self._leaving.called:  # a connection that is closed politely counts as done, whoever has closed it
            try:
                await self._component.start(self._reactor)
            except RuntimeError:  # it was fatal
                return False
        return True

    def leave(self) -> None:
        """Say goodbye."""
        if not self._leaving.called:
            self._leaving.callback(None)
            self._component.stop()

    async def _main(self, reactor: Any, session: Any) -> None:
        """What there is to do in a session. When it returns, the session ends."""
        await Deferred()

    def _joined(self, session: Any, details: Any) -> None:
        print(f"joined: realm={details.realm} authid={details.authid} authrole={details.authrole}", flush=True)

    def _failed(self, component: Component, error: Exception) -> "Deferred[None] | None":
        """Autobahn waits for what is returned, and asks ``is_fatal`` then."""
        self.why = error.error_message() if isinstance(error, ApplicationError) else str(error)
        if is_fatal(error):
            print(f"stopped: {self.why}", flush=True)
            return None
        seconds = pause(error)
        print(f"again in {seconds:.2f} s: {self.why}", flush=True)
        return deferLater(self._reactor, seconds)


async def run(reactor: Any, url: str, realm: str, authentication: dict[str, Any], seconds: float) -> None:
    """Stay, and exit."""
    sys.exit(0 if await Client(reactor, url, realm, authentication).stay(seconds) else 1)


@click.command()
@click.argument("authid", required=False)
@click.option("--key", type=click.Path(path_type=Path), help="Private key file of 32 raw bytes, instead of MYTICKET.")
@click.option("--url", default="ws://localhost:8080/ws", show_default=True, help="Where the router listens.")
@click.option("--realm", help="Realm to join.  [default: realm1 with a ticket, devices with a key]")
@click.option("--seconds", default=86400.0, show_default=True, help="How long to stay.")
def main(authid: str | None, key: Path | None, url: str, realm: str | None, seconds: float) -> None:
    """Log in as AUTHID with the ticket in MYTICKET, or with a key, stay, and come back."""
    ticket = os.environ.get("MYTICKET", "").removesuffix("\n").removesuffix("\r")
    if not (key or (authid and ticket)):
        raise click.UsageError('Say who you are: MYTICKET="..." python examples/reconnect.py AUTHID, or --key FILE')
    try:
        seed = key.read_bytes().hex() if key else ""
    except OSError as error:
        raise click.ClickException(f"{key}: {error.strerror}") from None
    who = {"authid": authid} if authid else {}  # whose key it is, the router finds out
    how = {"cryptosign": {**who, "privkey": seed}} if key else {"ticket": {**who, "ticket": ticket}}
    react(run, (url, realm or ("devices" if key else "realm1"), how, seconds))


if __name__ == "__main__":
    main()
