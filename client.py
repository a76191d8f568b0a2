"""How does a client prove who it is? A Twisted client for both methods.

    MYTICKET="secret123" python client.py client1        # WAMP-ticket: the secret comes from the environment
    python client.py --key .keys/client01.key            # WAMP-cryptosign: the private key stays with the client

It joins, shows what it was given, tries what its role may do and what it may not, and leaves. The exit code is 0 if all
went as it should, 1 if it was refused or something else came out, and 2 if there was no router to talk to."""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import txaio
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import Challenge, CloseDetails, ComponentConfig, PublishOptions, SessionDetails
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import react

UNTRUSTED = "its certificate has run out, is for another name, or isn't from a trusted authority (--ca FILE names one)"
SHOWN = ("realm", "session", "authid", "authrole", "authmethod", "authprovider", "authextra", "serializer")


class Client(ApplicationSession):
    """What both have in common: they have a secret, and remember how the session went."""

    joined, left, gone = "Client session joined", "Client session left", "Client session disconnected."
    has_joined = False
    reason = cause = complaint = ""  # the URI with which it ended, or why it never began; what wasn't as expected in it

    def __init__(self, config: ComponentConfig, secret: Any) -> None:
        super().__init__(config)
        self._secret = secret

    async def onJoin(self, details: SessionDetails) -> None:
        shown = ",\n               ".join(f"{name}={getattr(details, name)!r}" for name in SHOWN)
        print(f"{self.joined}:\nSessionDetails({shown})")
        self.has_joined = True
        try:
            await self.use(details)
        except Exception as error:
            self.complaint = f"{type(error).__name__}: {error}"
        self.leave()

    def onLeave(self, details: CloseDetails) -> None:
        print(f"{self.left}: {details}")
        self.reason = self.reason or details.reason  # a proxy may add an ABORT to its GOODBYE
        self.disconnect()

    def onDisconnect(self) -> None:
        print(self.gone)


class TicketClient(Client):
    """WAMP-ticket: say who you are, and hand over the secret when the router asks for it."""

    def onConnect(self) -> None:
        who = f"on realm '{self.config.realm}' as principal '{self.config.extra['authid']}'"
        print(f"Client session connected. Starting WAMP-Ticket authentication {who} ..")
        self.join(self.config.realm, ["ticket"], self.config.extra["authid"])

    def onChallenge(self, challenge: Challenge) -> str:
        print(f"WAMP-Ticket challenge received: {challenge}")
        return self._secret

    async def use(self, details: SessionDetails) -> None:
        """Do what the role ``frontend`` may, and try what it may not."""
        print(f"call result: {await self.call('com.example.add2', 2, 3)}")
        await self.expect_denial("registration", self.register(lambda x, y: x * y, "com.example.mul2"))
        for topic in "com.example.topic1", "com.foobar.topic1":
            await self.publish(topic, "hello", options=PublishOptions(acknowledge=True))
            print(f"ok, event published to topic {topic}")
        for topic in "com.example.topic2", "com.foobar.topic2":
            publication = self.publish(topic, "hello", options=PublishOptions(acknowledge=True))
            await self.expect_denial(f"publication to topic {topic}", publication)

    async def expect_denial(self, what: str, attempt: "Deferred[Any]") -> None:
        try:
            await attempt
            raise RuntimeError(f"{what} should have been denied")
        except ApplicationError as error:
            if error.error != ApplicationError.NOT_AUTHORIZED:
                raise
            print(f"{what} failed (this is expected!) {error}")


class CryptosignClient(Client):
    """WAMP-cryptosign: show a public key, and sign what the router sends to prove that the private half is yours."""

    joined, left, gone = "session joined", "session closed", "connection to router closed"

    def onConnect(self) -> None:
        print(f"initializing component: {self.config}")
        print(f"client public key loaded: {self._secret.public_key()}\nconnected to router")
        shown = {"pubkey": self._secret.public_key(), "channel_binding": self.config.extra["channel_binding"]}
        self.join(self.config.realm, ["cryptosign"], self.config.extra["authid"], authextra=shown)

    def onChallenge(self, challenge: Challenge) -> str:
        print(f"authentication challenge received: {challenge}")
        binding = self.config.extra["channel_binding"]
        return self._secret.sign_challenge(challenge, self.transport.transport_details.channel_id.get(binding), binding)

    async def use(self, details: SessionDetails) -> None:
        who = f'realm="{details.realm}", authid="{details.authid}", authrole="{details.authrole}"'
        print("*" * 80, f"OK, successfully authenticated with WAMP-cryptosign: {who}", "*" * 80, sep="\n")


async def run(reactor: Any, client: Client, url: str, tls: Any, expected: str | None) -> None:
    """Connect, wait until the session has come to its end, whatever end that is, and exit."""
    try:
        protocol = await ApplicationRunner(url, client.config.realm, ssl=tls).run(lambda _: client, start_reactor=False)
        await protocol.is_closed.addTimeout(20, reactor)  # seconds, for a router that goes silent
        said = protocol.wasNotCleanReason or protocol.remoteCloseReason
        client.cause = said or (UNTRUSTED if url.startswith("wss:") else "it closed the connection (try wss://)")
    except Exception as error:
        client.cause = "it doesn't answer" if isinstance(error, TimeoutError) else str(error).rstrip(".")
        if isinstance(error, ConnectError):
            client.cause += ". Is it running? Try `make crossbar`"
    code, sentence = judge(client, expected)
    click.echo(sentence, nl=bool(sentence), file=sys.__stderr__)  # Twisted's log has taken over sys.stderr
    sys.exit(code)


def judge(client: Client, expected: str | None) -> tuple[int, str]:
    """The exit code, and what to tell the user if it isn't 0."""
    in_peace = client.reason == CloseDetails.REASON_DEFAULT
    if not client.reason and not client.has_joined:
        return 2, f"No session with the router: {client.cause}."
    if expected and (in_peace or client.reason != expected):
        return 1, f"Expected {expected}, but the session ended with {client.reason or client.cause}."
    if expected or (in_peace and not client.complaint):
        return 0, ""
    what = "Joined, but not all went as expected" if client.has_joined else "Refused"
    return 1, f"{what}: {client.complaint or client.reason or client.cause}."


def take_ticket(authid: str | None) -> str:
    """The ticket of `authid`, which must not stand on the command line: others can read that."""
    if not authid:
        raise click.UsageError("Say whom to log in as, or give a --key.")
    if not (ticket := os.environ.get("MYTICKET", "").removesuffix("\n").removesuffix("\r")):  # a file's line end
        raise click.UsageError('The ticket comes from the environment: MYTICKET="..." python client.py AUTHID')
    if any("\ud800" <= character <= "\udfff" for character in authid + ticket):  # what Python makes of other bytes
        raise click.UsageError("AUTHID and MYTICKET must be text in UTF-8.")
    return ticket


def load_key(file: Path) -> CryptosignKey:
    """Read a private key: 32 raw bytes, or OpenSSH's format for Ed25519, without a passphrase."""
    try:
        ssh = file.read_bytes().startswith(b"-----BEGIN")
        return CryptosignKey.from_ssh_file(str(file)) if ssh else CryptosignKey.from_file(str(file))
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}. `make keys` makes the demo's keys.") from None
    except Exception as why:  # Autobahn raises bare ones, whose texts say what is wrong
        raise click.ClickException(f"{file} holds no private key of 32 raw bytes or OpenSSH Ed25519: {why}") from None


def trust(ca: Path, url: str) -> Any:
    """TLS that believes in the authority `ca` only, and in the name in `url`."""
    address = urlsplit(url)
    if address.scheme != "wss" or not address.hostname:
        raise click.UsageError("--ca goes with a --url that begins with wss://")
    try:
        return optionsForClientTLS(address.hostname, trustRootFromCertificates([Certificate.loadPEM(ca.read_bytes())]))
    except Exception as error:
        raise click.ClickException(f"{ca} holds no certificate in PEM (`make certs` makes one): {error}") from None


@click.command()
@click.argument("principal", metavar="[AUTHID]", required=False)
@click.option("--key", type=click.Path(path_type=Path), help="Private key file: log in with WAMP-cryptosign.")
@click.option("--url", default="ws://localhost:8080/ws", show_default=True, help="Where the router listens.")
@click.option("--realm", help="Realm to join.  [default: realm1 with a ticket; the router's choice with a key]")
@click.option("--authid", help="Whom to log in as. A key needs none: the router knows whose it is.")
@click.option("--ca", type=click.Path(path_type=Path), help="Certificate of the authority that signed the router's.")
@click.option("--channel-binding", type=click.Choice(["tls-unique"]), help="Bind the signature to the TLS connection.")
@click.option("--expect", metavar="URI", help="Succeed only if refused, or ended, with this error.")
@click.option("--debug", is_flag=True, help="Show what the library does.")
def main(url: str, realm: str | None, ca: Path | None, expect: str | None, debug: bool, **who: Any) -> None:
    """Log in with WAMP-ticket as AUTHID, the ticket taken from MYTICKET, or with WAMP-cryptosign if --key is given."""
    authid, key = who.pop("principal") or who["authid"], who["key"]
    config = ComponentConfig(realm if key else realm or "realm1", {**who, "authid": authid, "key": str(key)})
    client = CryptosignClient(config, load_key(key)) if key else TicketClient(config, take_ticket(authid))
    tls = trust(ca, url) if ca else None
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # or what is piped would be lost
    connecting = f"Connecting to {url}: requesting realm={realm}, authid={authid}"
    print(connecting if key else f"Principal '{authid}' using the ticket in MYTICKET")
    txaio.start_logging(level="debug" if debug else "info")
    react(run, (client, url, tls, expect))


if __name__ == "__main__":
    main()
