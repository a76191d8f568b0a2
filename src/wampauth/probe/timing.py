"""Can a stranger tell who exists: by the answer, or by the time that it takes?"""

import secrets
from collections.abc import Iterator

from nacl.signing import SigningKey

from wampauth.probe import passwords
from wampauth.probe.answers import Answer
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, NOT_APPLICABLE, Found, worst
from wampauth.probe.statistics import Comparison, compare
from wampauth.probe.target import Target

PAIRS = 16
SAME_ADDRESS = 4  # pairs from one address, where there are more: a limit on guesses must not come between
FEWEST = 8  # pairs from which anything can be told
SLOW = 8.0  # seconds in all, after which we begin no other pair
CHANCE = 0.001
SHIFT = 0.002  # seconds; less is within what a loaded machine does by itself
NOISE = 0.015  # seconds; a wider interval than this on either side tells nothing


def run(target: Target) -> Iterator[Found]:
    """The rows ``known-answer`` and ``known-time``."""
    stranger = made_up(target.authid)
    pairs = {"ticket": list(_pairs(target, stranger, "ticket"))} if "ticket" in target.methods else {}
    named = passwords.offered(target)
    yield _answers(target, stranger, pairs.get("ticket", []), named)
    pairs |= {method: list(_pairs(target, stranger, method)) for method in named}
    times = [_times(target, stranger, method, found) for method, found in pairs.items()]
    none = Found("known-time", NOT_APPLICABLE, "the router asks nobody for a name alone")
    yield worst(times or [none])


def made_up(authid: str) -> str:
    """An authid that nobody has, as long as the one given or longer."""
    return "probe" + secrets.token_hex(max(4, (len(authid) - 4) // 2))


def _pairs(target: Target, stranger: str, method: str) -> Iterator[tuple[Answer, Answer]]:
    """A wrong ticket, or just the name, for the one who is known and for the one who isn't, in turns."""
    spent, source = 0.0, None
    for number in range(PAIRS):
        if spent > SLOW:
            return
        source = target.source() if number % SAME_ADDRESS == 0 else source
        answers = {}
        for authid in (target.authid, stranger) if number % 2 else (stranger, target.authid):
            with target.connect(source) as client:
                answers[authid] = (
                    client.ticket(secrets.token_hex(8), authid)
                    if method == "ticket"
                    else passwords.hello(client, method, authid)
                )
        spent += sum(answer.seconds for answer in answers.values())
        yield answers[target.authid], answers[stranger]


def _answers(target: Target, stranger: str, pairs: list[tuple[Answer, Answer]], named: list[str]) -> Found:
    """Whether the first answers differ: later ones may be about too many guesses."""
    compared = [("ticket", *pairs[0])] if pairs else []
    if "cryptosign" in target.methods:
        compared.append(("cryptosign", _shown(target, target.authid), _shown(target, stranger)))
    for method, known, unknown in compared:
        if known.shape(target.authid, stranger) != unknown.shape(target.authid, stranger):
            return Found("known-answer", FALLS, f"{method}, known: {known}; unknown: {unknown}")
        if known.kind == "nothing":
            return Found("known-answer", CANT_TELL, f"{method}: {known}, both times")
    for method in named:
        one, answer = passwords.seen(target, method, target.authid, stranger)
        other, _ = passwords.seen(target, method, stranger, target.authid)
        if one != other:
            return Found("known-answer", FALLS, f"{method}, known: {one}; unknown: {other}")
        compared.append((method, answer, answer))
    if not compared:
        return Found("known-answer", CANT_TELL, "the router offers no method that is known here")
    return Found("known-answer", HOLDS, f"{' and '.join(one[0] for one in compared)}: {compared[0][1]}, both times")


def _shown(target: Target, authid: str) -> Answer:
    """The answer to a key that is nobody's."""
    with target.connect(target.source()) as client:
        return client.key(SigningKey.generate(), authid=authid, realm=target.realm)


def _times(target: Target, stranger: str, method: str, pairs: list[tuple[Answer, Answer]]) -> Found:
    """Only answers like the first ones are compared: a limit on guesses has a time of its own."""
    shapes = [tuple(answer.shape(target.authid, stranger) for answer in pair) for pair in pairs]
    alike = [pair for pair, shape in zip(pairs, shapes, strict=True) if shape == shapes[0]]
    if len(alike) < FEWEST:
        return Found(
            "known-time", CANT_TELL, f"{method}: only {len(alike)} of {len(pairs)} pairs of answers were alike"
        )
    found = compare([known.seconds for known, _ in alike], [unknown.seconds for _, unknown in alike])
    return Found("known-time", judge(found), f"{method}: {_words(found)}")


def judge(found: Comparison) -> str:
    """``falls`` if they differ, ``holds`` if they don't, and ``can't tell`` if it is too noisy to say."""
    if found.chance < CHANCE and abs(found.shift) > SHIFT and (found.low > 0 or found.high < 0):
        return FALLS
    return HOLDS if max(abs(found.low), abs(found.high)) < NOISE else CANT_TELL


def _words(found: Comparison) -> str:
    known, unknown, shift, low, high = (
        f"{1000 * seconds:.1f}" for seconds in (*found.medians, found.shift, found.low, found.high)
    )
    return (
        f"{found.tries[0]} tries each, medians {known} ms (known) and {unknown} ms (unknown);"
        f" difference {shift} ms, 95% interval {low} to {high} ms; by chance p = {found.chance:.4f}"
    )
