"""How does a client prove who it is? A Twisted client for both methods.

    MYTICKET="secret123" python client.py client1        # WAMP-ticket: the secret comes from the environment
    python client.py --key .keys/client01.key            # WAMP-cryptosign: the private key stays with the client

It joins, shows what it was given, tries what its role may do and what it may not, and leaves. The exit code is 0 if all
went as it should, 1 if it was refused or something else came out, and 2 if there was no router to talk to.
"""

import io
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import txaio
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import Challenge, CloseDetails, ComponentConfig, PublishOptions, SessionDetails
from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError, ReactorNotRunning
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import deferLater

import keys
import names

CONNECT_TIMEOUT = 10.0  # seconds in which the router must take the connection
SESSION_TIMEOUT = 20.0  # seconds after which a session that goes nowhere is given up
DONE, REFUSED, NOT_CONNECTED = 0, 1, 2  # exit codes
RULE = "*" * 80
CLOSED = "it closed the connection"
SILENT = "it doesn't answer"
NO_TLS = "its certificate is for another name, or from an authority that isn't trusted (--ca FILE names one that is)"


@dataclass
class Outcome:
    """What became of the session."""

    joined: bool = False
    reason: str = ""  # the URI with which the session ended; empty if it never began
    complaint: str = ""  # what wasn't as expected, as a sentence


def describe(details: SessionDetails) -> str:
    """What the router made of us, a line each; Autobahn's own form adds 20 lines on the transport."""
    shown = ("realm", "session", "authid", "authrole", "authmethod", "authprovider", "authextra", "serializer")
    return "SessionDetails(" + ",\n               ".join(f"{name}={getattr(details, name)!r}" for name in shown) + ")"


class NotExpected(Exception):
    """The router allowed what it should deny, or the other way round."""


class TicketClient(ApplicationSession):
    """WAMP-ticket: say who you are, and hand over the secret when the router asks for it."""

    def __init__(self, config: ComponentConfig, outcome: Outcome, ticket: str) -> None:
        super().__init__(config)
        self._outcome = outcome
        self._ticket = ticket

    def onConnect(self) -> None:
        realm, authid = self.config.realm, self.config.extra["authid"]
        print("Client session connected. ", end="")
        print(f"Starting WAMP-Ticket authentication on realm '{realm}' as principal '{authid}' ..")
        self.join(realm, ["ticket"], authid)

    def onChallenge(self, challenge: Challenge) -> str:
        print(f"WAMP-Ticket challenge received: {challenge}")
        return self._ticket

    async def onJoin(self, details: SessionDetails) -> None:
        print(f"Client session joined:\n{describe(details)}")
        self._outcome.joined = True
        try:
            await try_permissions(self)
            await deferLater(reactor, self.config.extra["stay"], lambda: None)
        except Exception as error:
            self._outcome.complaint = f"{type(error).__name__}: {error}"
        self.leave()

    def onLeave(self, details: CloseDetails) -> None:
        print(f"Client session left: {details}")
        self._outcome.reason = self._outcome.reason or details.reason  # a proxy may add an ABORT to its GOODBYE
        self.disconnect()

    def onDisconnect(self) -> None:
        print("Client session disconnected.")


async def try_permissions(session: ApplicationSession) -> None:
    """Do what the role ``frontend`` may, and try what it may not.

    :raises NotExpected: if the router permits what it should deny.
    :raises ApplicationError: if it denies what it should permit.
    """
    print(f"call result: {await session.call('com.example.add2', 2, 3)}")
    await expect_denial("registration", session.register(lambda x, y: x * y, "com.example.mul2"))
    for topic in "com.example.topic1", "com.foobar.topic1":
        await session.publish(topic, "hello", options=PublishOptions(acknowledge=True))
        print(f"ok, event published to topic {topic}")
    for topic in "com.example.topic2", "com.foobar.topic2":
        publication = session.publish(topic, "hello", options=PublishOptions(acknowledge=True))
        await expect_denial(f"publication to topic {topic}", publication)


async def expect_denial(what: str, attempt: "Deferred[Any]") -> None:
    """Wait for `attempt` to be refused as not authorized."""
    try:
        await attempt
    except ApplicationError as error:
        if error.error != ApplicationError.NOT_AUTHORIZED:
            raise
        print(f"{what} failed (this is expected!) {error}")
    else:
        raise NotExpected(f"{what} should have been denied")


class CryptosignClient(ApplicationSession):
    """WAMP-cryptosign: show a public key, and sign what the router sends to prove that the private half is yours."""

    def __init__(self, config: ComponentConfig, outcome: Outcome, key: CryptosignKey) -> None:
        super().__init__(config)
        print(f"initializing component: {config}")
        self._outcome = outcome
        self._key = key
        print(f"client public key loaded: {key.public_key()}")

    def onConnect(self) -> None:
        print("connected to router")
        extra = self.config.extra
        shown = {"pubkey": self._key.public_key(), "channel_binding": extra["channel_binding"]}
        self.join(self.config.realm, ["cryptosign"], extra["authid"], authextra=shown)

    def onChallenge(self, challenge: Challenge) -> str:
        print(f"authentication challenge received: {challenge}")
        binding = self.config.extra["channel_binding"]
        channel_id = self.transport.transport_details.channel_id.get(binding) if binding else None
        return self._key.sign_challenge(challenge, channel_id, binding)

    def onJoin(self, details: SessionDetails) -> None:
        print(f"session joined:\n{describe(details)}")
        print(RULE)
        print(
            f'OK, successfully authenticated with WAMP-cryptosign: realm="{details.realm}", '
            f'authid="{details.authid}", authrole="{details.authrole}"'
        )
        print(RULE)
        self._outcome.joined = True
        reactor.callLater(self.config.extra["stay"], self.leave)

    def onLeave(self, details: CloseDetails) -> None:
        print(f"session closed: {details}")
        self._outcome.reason = self._outcome.reason or details.reason  # a proxy may add an ABORT to its GOODBYE
        self.disconnect()

    def onDisconnect(self) -> None:
        print("connection to router closed")


async def run(runner: ApplicationRunner, make: partial[ApplicationSession], outcome: Outcome) -> None:
    """Connect, and wait until the session has come to its end, whatever end that is."""
    try:
        connecting = runner.run(make, start_reactor=False)
        protocol = await connecting.addTimeout(CONNECT_TIMEOUT, reactor)
        await protocol.is_closed.addTimeout(SESSION_TIMEOUT + runner.extra["stay"], reactor)
        if not outcome.reason:
            said = protocol.wasNotCleanReason or protocol.remoteCloseReason
            outcome.complaint = said or (NO_TLS if runner.url.startswith("wss:") else CLOSED)
    except TimeoutError:
        outcome.complaint = SILENT
    except ConnectError as error:
        outcome.complaint = f"{str(error).rstrip('.')}. Is it running? Try `make crossbar`"
    except Exception as error:
        outcome.complaint = str(error).rstrip(".") or type(error).__name__


def stop() -> None:
    """End the main loop, unless Ctrl-C has."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def judge(outcome: Outcome, expected: str | None) -> tuple[int, str]:
    """The exit code, and what to tell the user if it isn't 0."""
    if not outcome.reason:
        return NOT_CONNECTED, f"No session with the router: {outcome.complaint}."
    if expected:
        done = outcome.reason == expected != CloseDetails.REASON_DEFAULT  # to leave in peace is no refusal
        return (DONE, "") if done else (REFUSED, f"Expected {expected}, but the session ended with {outcome.reason}.")
    if not outcome.joined:
        return REFUSED, f"Refused: {outcome.reason}."
    if outcome.complaint:
        return REFUSED, f"Joined, but not all went as expected: {outcome.complaint}."
    if outcome.reason != CloseDetails.REASON_DEFAULT:
        return REFUSED, f"Joined, but the router ended the session: {outcome.reason}."
    return DONE, ""


def load_key(file: Path) -> CryptosignKey:
    """Read the private key.

    :raises click.ClickException: with a sentence, if that can't be done.
    """
    try:
        return keys.load_private(file)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}. `make keys` makes the demo's keys.") from None
    except names.Malformed as error:
        raise click.ClickException(str(error)) from None


def trust(ca: Path, url: str) -> Any:
    """TLS that believes in the authority `ca` only, and in the name in `url`.

    :raises click.ClickException: with a sentence, if the file holds no certificate, or the URL isn't one of TLS.
    """
    address = urlsplit(url)
    if address.scheme != "wss" or not address.hostname:
        raise click.UsageError("--ca goes with a --url that begins with wss://")
    try:
        return optionsForClientTLS(address.hostname, trustRootFromCertificates([Certificate.loadPEM(ca.read_bytes())]))
    except OSError as error:
        raise click.ClickException(f"{ca}: {error.strerror}. `make certs` makes the demo's.") from None
    except Exception as error:
        raise click.ClickException(f"{ca} holds no certificate in PEM: {error}") from None


@click.command()
@click.argument("principal", metavar="[AUTHID]", required=False)
@click.option("--key", type=click.Path(path_type=Path), help="Private key file: log in with WAMP-cryptosign.")
@click.option("--url", default="ws://localhost:8080/ws", show_default=True, help="Where the router listens.")
@click.option("--realm", help="Realm to join.  [default: realm1 with a ticket; the router's choice with a key]")
@click.option("--authid", help="Whom to log in as. A key needs none: the router knows whose it is.")
@click.option("--ca", type=click.Path(path_type=Path), help="Certificate of the authority that signed the router's.")
@click.option("--channel-binding", type=click.Choice(["tls-unique"]), help="Bind the signature to the TLS connection.")
@click.option("--expect", metavar="URI", help="Succeed only if refused, or ended, with this error.")
@click.option("--stay", type=click.FloatRange(0, 3600), default=0, metavar="SECONDS", help="Don't leave at once.")
@click.option("--debug", is_flag=True, help="Show what the library does.")
def main(
    principal: str | None,
    key: Path | None,
    url: str,
    realm: str | None,
    authid: str | None,
    ca: Path | None,
    channel_binding: str | None,
    expect: str | None,
    stay: float,
    debug: bool,
) -> None:
    """Log in to the router with WAMP-ticket as AUTHID, the ticket taken from MYTICKET in the environment, or with
    WAMP-cryptosign if --key is given."""
    authid = authid or principal
    outcome = Outcome()
    make: partial[ApplicationSession]
    extra: dict[str, Any] = {"channel_binding": channel_binding, "authid": authid, "stay": stay}
    if key:
        make = partial(CryptosignClient, outcome=outcome, key=load_key(key))
        extra["key"] = str(key)
    elif not authid:
        raise click.UsageError("Say whom to log in as, or give a --key.")
    elif not (ticket := os.environ.get("MYTICKET")):
        raise click.UsageError('The ticket comes from the environment: MYTICKET="..." python client.py AUTHID')
    elif any("\ud800" <= character <= "\udfff" for character in authid + ticket):  # what Python makes of other bytes
        raise click.UsageError("AUTHID and MYTICKET must be text in UTF-8.")
    else:
        print(f"Principal '{authid}' using the ticket in MYTICKET")
        make = partial(TicketClient, outcome=outcome, ticket=ticket)
        realm = realm or "realm1"

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # or what is piped would be lost: the log takes over sys.stdout
    tls = trust(ca, url) if ca else None  # before the log takes over what click prints
    txaio.use_twisted()
    txaio.start_logging(level="debug" if debug else "info")
    if key:
        print(f"Connecting to {url}: requesting realm={realm}, authid={authid}")
    runner = ApplicationRunner(url, realm, extra, ssl=tls)
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run(runner, make, outcome)).addBoth(lambda _: stop()))
    reactor.run()
    code, sentence = judge(outcome, expect)
    if sentence:
        click.echo(sentence, file=sys.__stderr__)  # Twisted's log has taken over sys.stderr
    sys.exit(code)


if __name__ == "__main__":
    main()
