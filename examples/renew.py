"""How does a client stay when its ticket runs out? It joins anew before the end, and only then leaves the old session.

    python examples/renew.py alice "print-a-fresh-token"     # the command prints a ticket, as often as it is asked

When a session ends stands in the authextra of its WELCOME: ``expires``, seconds since 1970. While two sessions overlap,
events come twice: tell them apart by a number of their own. The exit code is 1 if there is no session any more.
"""

import shlex
import sys
import time
from typing import Any

import click
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.types import Challenge, CloseDetails, ComponentConfig, SessionDetails
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater, react
from twisted.internet.utils import getProcessOutput

SHARE = 0.7  # of a session's time, after which a successor joins
AGAIN = 1.0  # seconds after which it tries once more
SILENT = 20.0  # seconds after which a router that doesn't answer is given up


class Client(ApplicationSession):
    """One session. What it is there for begins in ``onJoin``."""

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self.joined: Deferred[None] = Deferred()
        self.over: Deferred[None] = Deferred()
        self.expires: float | None = None
        self.ended = ""  # why

    def onConnect(self) -> None:
        self.join(self.config.realm, ["ticket"], self.config.extra["authid"])

    def onChallenge(self, challenge: Challenge) -> str:
        return str(self.config.extra["ticket"])

    async def onJoin(self, details: SessionDetails) -> None:
        if topic := self.config.extra["topic"]:
            await self.subscribe(lambda *event: print("event:", *event, flush=True), topic)
        print(f"joined: authid={details.authid} authrole={details.authrole}", flush=True)
        self.expires = (details.authextra or {}).get("expires")
        self.joined.callback(None)

    def onLeave(self, details: CloseDetails) -> None:
        self.ended = details.reason
        print(f"ended: {details.reason}", flush=True)
        if not self.joined.called:
            self.joined.errback(ConnectionRefusedError(details.reason))
        self.over.callback(None)
        self.disconnect()


async def begin(reactor: Any, url: str, realm: str, authid: str, command: str, topic: str | None) -> Client:
    """A session that has joined with a fresh ticket."""
    program, *args = shlex.split(command)
    ticket = (await getProcessOutput(program, args, env=None)).decode().strip()
    session = Client(ComponentConfig(realm, {"authid": authid, "ticket": ticket, "topic": topic}))
    await ApplicationRunner(url, realm).run(lambda _: session, start_reactor=False)
    await session.joined.addTimeout(SILENT, reactor)
    return session


async def succeed(reactor: Any, session: Client, *who: Any) -> Client:
    """Its successor, if there is one while it lasts."""
    while not session.ended:
        try:
            return await begin(reactor, *who)
        except Exception as error:
            print(f"no successor yet: {error}", file=sys.stderr)
            await deferLater(reactor, AGAIN)
    sys.exit(1)


async def run(reactor: Any, *who: Any) -> None:
    """Stay, from one session to the next."""
    try:
        session = await begin(reactor, *who)
    except Exception as error:
        print(f"No session with the router: {error}", file=sys.stderr)
        sys.exit(1)
    while session.expires:
        it_is_time = deferLater(reactor, SHARE * max(0.0, session.expires - time.time()))
        await DeferredList([it_is_time, session.over], fireOnOneCallback=True)
        successor = await succeed(reactor, session, *who)
        session.leave()
        session = successor
    await session.over
    sys.exit(1)


@click.command()
@click.argument("authid")
@click.argument("command")
@click.option("--url", default="ws://localhost:8080/ws", show_default=True, help="Where the router listens.")
@click.option("--realm", default="realm1", show_default=True, help="Realm to join.")
@click.option("--topic", help="Print the events of this topic.")
def main(authid: str, command: str, url: str, realm: str, topic: str | None) -> None:
    """Join as AUTHID with the ticket that COMMAND prints, and stay."""
    react(run, (url, realm, authid, command, topic))


if __name__ == "__main__":
    main()
