"""What comes of what no client library would send? Does it join, does it hang, and what do the texts tell?"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from wampauth.probe.answers import Answer
from wampauth.probe.cases import NOWHERE, Case, all_of
from wampauth.probe.client import Client, hello
from wampauth.probe.guessing import wrong
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, Found
from wampauth.probe.target import Target, Turned
from wampauth.testing.wamp import AUTHENTICATE

AT_ONCE = 8
PATIENCE = 7.0  # seconds; a router may take some to give up
NO_PROOF = "00" * 96

# What the text of an exception looks like, in Python and elsewhere.
EXCEPTION = re.compile(
    r"Traceback|\b[A-Z]\w*(Error|Exception|Warning)\b|<class '|NoneType|has no (attribute|len)|unhashable|subscriptable"
    r"|unsupported operand|not (iterable|callable|JSON serializable)|invalid literal|codec can't|concatenate"
    r"|positional argument|index out of range|not enough values|cannot unpack|must be (str|int|bytes)|sqlite|psycopg"
    r"|syntax error|SELECT .* FROM|undefined is not|Cannot read propert|panic:|dynamic authenticator failed"
)
# A bare KeyError has the key as its text, and Autobahn calls whatever is raised a runtime error.
RUNTIME = "wamp.error.runtime_error"
INNER = re.compile(
    r"no callee registered|procedure\b.*\bregistered|\b[a-z]\w*\.[a-z_]\w*\.[a-z_]\w*|\.(py|js|go|rb|java)\b"
    r"|(^|[\s'\"])/(usr|home|opt|srv|var|etc|app)/|No (function|module)|authenticator does not exist"
)


@dataclass(frozen=True)
class Played:
    """What came of a case: the answers, and whether the last one is missing though it was due."""

    case: Case
    answers: tuple[Answer, ...]
    hangs: bool

    def __str__(self) -> str:
        return f"{self.case.name}: {self.answers[-1]}"


def run(target: Target) -> Iterator[Found]:
    """The rows ``malformed-joins``, ``malformed-hangs``, ``exception-text``, ``inner-names``."""
    offered = {*target.methods, "router", "ignored"}
    cases = [case for case in all_of(target.realm, target.authid, target.key_realm) if case.group in offered]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        games = list(pool.map(lambda case: play(target, case), cases))
    refused = [game for game in games if game.answers[-1].kind == "refused"]
    if len(refused) > len(games) // 4:
        names = "malformed-joins", "malformed-hangs", "exception-text", "inner-names"
        came = f"{len(refused)} of {len(games)}: {refused[0].answers[-1]}"
        yield from (Found(name, CANT_TELL, came) for name in names)
        return
    joins = [game for game in games if any(answer.kind == "WELCOME" for answer in game.answers)]
    yield _found("malformed-joins", joins, f"{len(games)} kinds, and none joins")
    hangs = [game for game in games if game.hangs]
    yield _found("malformed-hangs", hangs, f"{len(games)} kinds, and each is answered or ignored")
    asked = [game for game in games if game.case.group in ("ticket", "cryptosign")]
    if asked:
        told = [game for game in asked if any(map(tells_exception, game.answers))]
        yield _found("exception-text", told, f"{len(asked)} kinds; such as {asked[0]}")
    else:
        yield Found("exception-text", CANT_TELL, "the router offers neither ticket nor cryptosign")
    named = [game for game in games if any(map(tells_names, game.answers))]
    yield _found("inner-names", named, f"{len(games)} kinds, and none names a procedure, a file or a module")


def play(target: Target, case: Case) -> Played:
    """Send what the case says, and take down what comes back."""
    try:
        with target.connect(target.source()) as client:
            answers = [*_play(client, case)]
    except (Turned, OSError) as refused:
        return Played(case, (Answer("refused", text=target.redact(str(refused))),), hangs=False)
    return Played(case, tuple(answers), hangs=answers[-1].kind == "nothing")


def _play(client: Client, case: Case) -> Iterator[Answer]:
    if case.group == "ignored":
        yield client.ask(case.messages[0], client_hello(), patience=PATIENCE)
        return
    for message in case.messages:
        yield (answer := client.ask(message, patience=PATIENCE))
        if answer.kind not in ("CHALLENGE", "other"):
            return
    if answer.kind == "CHALLENGE":
        yield client.ask([AUTHENTICATE, NO_PROOF if answer.challenge else wrong(), {}], patience=PATIENCE)


def client_hello() -> list[object]:
    """A HELLO to which there is always an answer, be it no."""
    return hello(NOWHERE, "anonymous")


def tells_exception(answer: Answer) -> bool:
    """Whether an ABORT has the text of an exception. What the router says of a violated protocol is its own affair."""
    return answer.kind == "ABORT" and (answer.uri == RUNTIME or bool(EXCEPTION.search(answer.text)))


def tells_names(answer: Answer) -> bool:
    """Whether an answer names what lies inside."""
    if answer.kind not in ("ABORT", "closed"):
        return False
    text = re.sub(r"<class '[^']*'>", "", answer.text)  # of the messages of the protocol
    return answer.uri == "wamp.error.no_such_procedure" or bool(INNER.search(text))


def _found(name: str, falling: list[Played], otherwise: str) -> Found:
    if not falling:
        return Found(name, HOLDS, otherwise)
    more = f" (and {len(falling) - 1} more)" if len(falling) > 1 else ""
    return Found(name, FALLS, f"{falling[0]}{more}")
