"""How does a device come to its key? It makes one, and has it registered with a one-time token.

    wampauth enrol sensor-1 --realm devices --role device      # the operator; prints the token, once
    MYTOKEN="..." python examples/enrol.py sensor-1 device.key  # the device: "enrolled and joined: ..."

The private key is made here, for its owner alone (0600), and never leaves. It is tried first, always: whose answer was
lost on its way finds it registered, and doesn't need the token any more. The exit code is 0 if it has joined, 1 if it
was refused, 2 if there was no router to talk to.
"""

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.types import Challenge, CloseDetails, ComponentConfig, SessionDetails
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import react

SILENT = 20.0  # seconds after which a router that doesn't answer is given up


def own_key(file: Path) -> SigningKey:
    """The device's key. It is made, whole, before anybody hears of it."""
    if not file.exists():
        unfinished = file.with_name(f"{file.name}.{os.getpid()}")
        with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
            opened.write(bytes(SigningKey.generate()))
            opened.flush()
            os.fsync(opened.fileno())
        unfinished.rename(file)
    return SigningKey(file.read_bytes())


def enrolment(key: SigningKey, prefix: str, realm: str, authid: str, token: str) -> dict[str, str]:
    """What goes into authextra: the public key, and a proof that it is ours, and meant for this token alone."""
    pubkey = bytes(key.verify_key).hex()
    digest = sha256(token.encode()).hexdigest()
    message = f"{prefix}enrol\n{realm}\n{authid}\n{digest}\n{pubkey}"
    return {"pubkey": pubkey, "proof": key.sign(message.encode()).signature.hex()}


class Device(ApplicationSession):
    """Joins once, by the key or, with a token, by having it registered."""

    def __init__(self, config: ComponentConfig, authid: str, key: SigningKey, token: str, prefix: str) -> None:
        super().__init__(config)
        self._authid, self._key, self._token, self._prefix = authid, key, token, prefix
        self.ended: Deferred[str] = Deferred()  # with the reason; empty if it has joined

    def onConnect(self) -> None:
        realm = str(self.config.realm)
        if self._token:
            shown: dict[str, Any] = {"enrol": enrolment(self._key, self._prefix, realm, self._authid, self._token)}
            self.join(realm, ["ticket"], self._authid, authextra=shown)
        else:
            shown = {"pubkey": bytes(self._key.verify_key).hex(), "channel_binding": None}
            self.join(realm, ["cryptosign"], self._authid, authextra=shown)

    def onChallenge(self, challenge: Challenge) -> Any:
        return self._token or CryptosignKey.from_bytes(bytes(self._key)).sign_challenge(challenge)

    def onJoin(self, details: SessionDetails) -> None:
        how = "enrolled and joined" if self._token else "joined"
        print(f"{how}: realm={details.realm} authid={details.authid} authrole={details.authrole}", flush=True)
        self.ended.callback("")
        self.leave()

    def onLeave(self, details: CloseDetails) -> None:
        if not self.ended.called:
            self.ended.callback(details.reason)
        self.disconnect()

    def onDisconnect(self) -> None:
        if not self.ended.called:
            self.ended.callback("wamp.close.transport_lost")


async def attempt(reactor: Any, url: str, realm: str, *how: Any) -> str:
    """Try once; empty if it has joined, else the reason."""
    session = Device(ComponentConfig(realm), *how)
    await ApplicationRunner(url, realm).run(lambda _: session, start_reactor=False)
    return await session.ended.addTimeout(SILENT, reactor)


async def run(reactor: Any, url: str, realm: str, authid: str, key: SigningKey, token: str, prefix: str) -> None:
    """By the key; if nobody knows it, by the token. A token is spent at most once, whatever is lost on the way."""
    try:
        reason = await attempt(reactor, url, realm, authid, key, "", prefix)
        if reason == f"{prefix}no_such_user" and token:
            reason = await attempt(reactor, url, realm, authid, key, token, prefix)
    except TimeoutError:
        print("No session with the router: no answer, or a certificate that isn't trusted.", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        print(f"No session with the router: {error}", file=sys.stderr)
        sys.exit(2)
    if reason:
        print(f"refused: {reason}", file=sys.stderr)
        sys.exit(1)


@click.command()
@click.argument("authid")
@click.argument("key", type=click.Path(path_type=Path))
@click.option("--url", default="ws://localhost:8080/ws", show_default=True, help="Where the router listens.")
@click.option("--realm", default="devices", show_default=True, help="Realm to join.")
@click.option("--prefix", default="com.example.", show_default=True, help="What the authenticator's URIs begin with.")
def main(authid: str, key: Path, url: str, realm: str, prefix: str) -> None:
    """Join as AUTHID with the private key in the file KEY, which is made if it isn't there. If the router doesn't know
    it, have it registered with the one-time token in MYTOKEN."""
    token = os.environ.get("MYTOKEN", "").removesuffix("\n").removesuffix("\r")  # a file's line end
    try:
        made = own_key(key)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{key} is no private key of 32 bytes, and can't become one: {error}") from None
    react(run, (url, realm, authid, made, token, prefix))


if __name__ == "__main__":
    main()
