"""How does it go for honest clients meanwhile? Some log in again and again, and some have joined and stay."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soaked import CHOSEN, HONEST, TICKET, Soaked
from wires import Wire, ways

from wampauth.testing.wamp import ABORT, AUTHENTICATE, CALL, CHALLENGE, HELLO, RESULT, ROLES, WELCOME, pubkey, sign

PATIENCE = 20.0  # seconds after which a client gives up
PAUSE = 0.1  # seconds between two logins, and before another try
STORE_AWAY = "an outage of the store"
OUTAGE = "com.example.unavailable"  # says that it is our fault, and to come again


@dataclass(frozen=True)
class Login:
    """One that was made, or given up."""

    who: str
    during: str  # which attack
    seconds: float
    tries: int = 1
    refused: str = ""  # why, if it was


@dataclass
class Honest:
    """All of them."""

    node: Soaked
    during: str = ""
    logins: list[Login] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # of those that had joined: whose call wasn't answered, and why
    slowest_call: float = 0.0
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Honest":
        kinds = {"chosen ticket": self._chosen, "made ticket": self._made, "key": self._key}
        self._threads = [threading.Thread(target=self._come, args=kind) for kind in kinds.items()]
        self._threads += [threading.Thread(target=self._stay, args=("wss",)) for _ in range(3)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _come(self, who: str, login: Callable[[Wire], Any]) -> None:
        while not self._end.wait(PAUSE):
            self.logins.append(self._join(who, login))

    def _join(self, who: str, login: Callable[[Wire], Any]) -> Login:
        """Try until it is let in: again where it was cut off, or told that it is our fault."""
        during, began, tries = self.during, time.monotonic(), 0
        while True:
            tries += 1
            try:
                with ways(self.node)["wss"].open() as wire:
                    answer = login(wire)
                refused = "" if answer[0] == WELCOME else str(answer[2] if answer[0] == ABORT else answer)
            except (OSError, EOFError) as error:
                refused = f"cut off ({type(error).__name__})"
            seconds = time.monotonic() - began
            if not refused:
                return Login(who, during, seconds, tries)
            if seconds > PATIENCE or (refused != OUTAGE and not refused.startswith("cut off")):
                return Login(who, during, seconds, tries, refused)
            time.sleep(PAUSE)

    def _chosen(self, wire: Wire) -> Any:
        return _with_ticket(wire, "client1", CHOSEN)

    def _made(self, wire: Wire) -> Any:
        return _with_ticket(wire, "client2", TICKET)

    def _key(self, wire: Wire) -> Any:
        extra = {"pubkey": pubkey(HONEST), "channel_binding": None}
        wire.send([HELLO, None, {"roles": ROLES, "authmethods": ["cryptosign"], "authextra": extra}])
        challenge = wire.receive()
        if challenge[0] == CHALLENGE:
            wire.send([AUTHENTICATE, sign(HONEST, challenge), {}])
            return wire.receive()
        return challenge

    def _stay(self, name: str) -> None:
        """Call something now and then; each call must be answered."""
        with ways(self.node)[name].open() as wire:
            if self._made(wire)[0] != WELCOME:
                self.lost.append("it couldn't join")
                return
            request = 0
            while not self._end.wait(0.5):
                request, began = request + 1, time.monotonic()
                try:
                    wire.send([CALL, request, {}, "com.example.add2", [2, 3]])
                    answer = wire.receive()
                except (OSError, EOFError) as error:
                    self.lost.append(f"{type(error).__name__} during {self.during}")
                    return
                self.slowest_call = max(self.slowest_call, time.monotonic() - began)
                if answer[0] != RESULT and self.during != STORE_AWAY:  # then, nobody can say who may stay
                    self.lost.append(f"{answer} during {self.during}")
                    return


def _with_ticket(wire: Wire, authid: str, ticket: str) -> Any:
    wire.send([HELLO, "realm1", {"roles": ROLES, "authmethods": ["ticket"], "authid": authid}])
    answer = wire.receive()
    if answer[0] == CHALLENGE:
        wire.send([AUTHENTICATE, ticket, {}])
        return wire.receive()
    return answer
