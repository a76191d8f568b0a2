"""May a stranger guess without an end? And what comes of it for the one who is meant?"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from wampauth.probe import passwords
from wampauth.probe.answers import Answer
from wampauth.probe.client import Client
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, NOT_APPLICABLE, Found, verdict, worst
from wampauth.probe.target import Target, Turned
from wampauth.probe.timing import made_up
from wampauth.testing.wamp import AUTHENTICATE

GUESSES = 30
AUTHIDS = 250
AT_ONCE = 10  # connections
RECONNECTS = 12  # for one of them, where the router hangs up after each guess
SLOW = 1.0  # guesses a second: slower than that is a limit, too
SLOWISH = 20.0  # guesses a second from an address: slower than that, a limit may lie beyond those that we try
LONGEST = 12.0  # seconds for a row
REFUSED = Answer("refused", text="the connection")


def wrong() -> str:
    """A ticket that is nobody's."""
    return "probe" + secrets.token_hex(12)


def on_connection(target: Target) -> Iterator[Found]:
    """The rows ``guesses-connection``, ``true-ticket`` and ``lock-out``."""
    source, answers, last, found = target.source(), list[Answer](), None, list[Found]()
    proofs = [on_challenge(target, method) for method in passwords.offered(target)]  # before a limit on tickets is met
    if "ticket" in target.methods:
        with target.connect(source) as client:
            first = client.hello("ticket", target.authid)
            if first.kind == "CHALLENGE":
                answers += _guesses(lambda: client.authenticate(wrong()))
                found.append(judge("guesses-connection", answers))
                last = _true_after(client, target.ticket, limited=bool(limit(answers))) if target.ticket else None
            else:
                found.append(Found("guesses-connection", CANT_TELL, f"to HELLO: {first}"))
    none = Found("guesses-connection", NOT_APPLICABLE, "the router offers neither tickets nor passwords")
    yield worst([*found, *proofs] or [none])
    if answers and last:
        yield _true_ticket(answers, last)
        yield _lock_out(target, source)


def on_challenge(target: Target, method: str) -> Found:
    """Guesses at a password: proofs that are none, all on one challenge."""
    with target.connect(target.source()) as client:
        first = passwords.hello(client, method, target.authid)
        if first.kind != "CHALLENGE":
            return Found("guesses-connection", CANT_TELL, f"{method}, to HELLO: {first}")
        answers = list(_guesses(lambda: client.authenticate(passwords.no_proof())))
    found = judge("guesses-connection", answers)
    return Found(found.name, found.verdict, f"{method}: {found.came}")


def _true_after(client: Client, ticket: str, limited: bool) -> Answer:
    """What the true ticket gets. Where there is a limit, a wrong one goes along with it, and uses up what may have come
    free in the meantime."""
    if not limited:
        return client.authenticate(ticket)
    client.send([AUTHENTICATE, wrong(), {}], [AUTHENTICATE, ticket, {}])
    answer = client.answer()
    if answer.kind == "ABORT":
        answer = client.answer()
    return answer


def _true_ticket(guesses: list[Answer], last: Answer) -> Found:
    """Where guesses are slow, the right one may get in: that is the limit then."""
    if last.kind != "WELCOME":
        return Found("true-ticket", verdict(False, last), str(last))
    rate = pace(guesses)
    came = f"WELCOME, after {len(guesses)} guesses at {rate:,.0f} a second"
    return Found("true-ticket", HOLDS if rate < SLOW else FALLS, came)


def _lock_out(target: Target, source: str | None) -> Found:
    """Whether the one who is meant gets in, from elsewhere if we have another address."""
    with target.joined() as (_, answer):
        pass
    if answer.kind == "WELCOME":
        return Found("lock-out", HOLDS, "WELCOME" + (" from another address" if source else " even from this address"))
    if source:
        return Found("lock-out", FALLS, str(answer))
    return Found("lock-out", CANT_TELL, f"{answer}; whether from another address, one address can't tell")


def with_hello(target: Target) -> Iterator[Found]:
    """The row ``guesses-hello``."""
    with target.connect(target.source()) as client:
        answers = list(_guesses(lambda: client.ticket(wrong())))
    yield judge("guesses-hello", answers)


def from_address(target: Target) -> Iterator[Found]:
    """The rows ``guesses-address`` and ``forwarded-for``."""
    source, stranger = target.source(), made_up(target.authid)
    usual = _guess(target, target.source(), stranger).shape(target.authid, stranger)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: _guess(target, source, target.authid), range(GUESSES)))
        forged = list(pool.map(lambda number: _guess(target, source, target.authid, number), range(1, AT_ONCE + 1)))
    yield (found := judge("guesses-address", answers, connections=AT_ONCE))
    shapes = [answer.shape(target.authid, stranger) for answer in answers]
    if found.verdict != HOLDS:
        yield Found("forwarded-for", CANT_TELL, "there is no limit that a header could undo")
    elif usual not in shapes or shapes.count(usual) == len(shapes):
        yield Found("forwarded-for", CANT_TELL, "the answer to too many guesses isn't told from a wrong ticket's")
    else:  # some may get through, where a guess or two a second is allowed
        refused = [answer for answer in forged if answer.shape(target.authid, stranger) != usual]
        yield Found("forwarded-for", HOLDS if refused else FALLS, str((refused or forged)[0]))


def over_authids(target: Target) -> Iterator[Found]:
    """The row ``guesses-authids``."""
    source, authids = target.source(), [made_up("") for _ in range(AUTHIDS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shares = [authids[number::AT_ONCE] for number in range(AT_ONCE)]
        answers = [answer for share in pool.map(_over, repeat(target), repeat(source), shares) for answer in share]
    yield judge("guesses-authids", answers, connections=AT_ONCE)


def _over(target: Target, source: str | None, authids: list[str]) -> list[Answer]:
    """A guess for each of some authids, on as few connections as the router allows."""
    answers: list[Answer] = []
    for _ in range(RECONNECTS):
        before = len(answers)
        with target.connect(source) as client:
            for authid in authids[before:]:
                answer = client.ticket(wrong(), authid)
                if answer.kind == "closed" and len(answers) > before:
                    break  # it hangs up after so many; another connection may get further
                answers.append(_without(answer, authid))
                if answer.kind in ("closed", "nothing") or sum(one.seconds for one in answers) > LONGEST:
                    return answers
        if len(answers) == len(authids):
            break
    return answers


def _without(answer: Answer, authid: str) -> Answer:
    """The answer, with nothing in it of the authid that was claimed."""
    return Answer(answer.kind, answer.uri, answer.text.replace(authid, "…"), answer.seconds)


def _guess(target: Target, source: str | None, authid: str, forged: int | None = None) -> Answer:
    """One guess on a connection of its own.

    :param forged: the last part of the address that a header says we come from.
    """
    headers = {"X-Forwarded-For": f"203.0.113.{forged}"} if forged else None
    try:
        with target.connect(source, headers=headers) as client:
            return client.ticket(wrong(), authid)
    except (Turned, OSError):
        return REFUSED


def _guesses(guess: Callable[[], Answer]) -> Iterator[Answer]:
    """Guesses one after the other, until the connection is gone or the row has taken long enough."""
    seconds = 0.0
    for _ in range(GUESSES):
        answer = guess()
        yield answer
        seconds += answer.seconds
        if answer.kind in ("closed", "nothing", "WELCOME") or seconds > LONGEST:
            return


def judge(name: str, answers: list[Answer], connections: int = 1) -> Found:
    """A row about guesses: it falls if one joins, or if neither a limit nor their pace bounds them."""
    if joined := [answer for answer in answers if answer.kind == "WELCOME"]:
        return Found(name, FALLS, f"{joined[0]}, to a wrong ticket")
    if answers[0].kind in ("nothing", "other"):
        return Found(name, CANT_TELL, str(answers[0]))
    if bounded := limit(answers):
        return Found(name, HOLDS, bounded)
    rate = connections * pace(answers)
    came = f"{len(answers)} guesses at {rate:,.0f} a second; to each: {answers[0]}"
    if rate < SLOW:
        return Found(name, HOLDS, came)
    return Found(name, CANT_TELL if connections > 1 and rate < SLOWISH else FALLS, came)


def limit(answers: list[Answer]) -> str:
    """What bounds the guesses: the router hangs up, or says something else. Empty if nothing does."""
    shapes = [answer.shape() for answer in answers]
    for number, answer in enumerate(answers):
        if shapes[number] != shapes[0]:
            return f"{answer}, after {shapes.count(shapes[0])} guesses that were answered with {answers[0]}"
    if answers[0].kind in ("closed", "refused"):
        return f"{answers[0]}, at once"
    return ""


def pace(answers: list[Answer]) -> float:
    """Guesses a second on a connection, by the later half: the router may take more and more time."""
    late = answers[len(answers) // 2 :]
    return len(late) / max(sum(answer.seconds for answer in late), 1e-6)
