"""In what order is probed? What needs quiet comes first, and what may disturb others last."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from nacl.signing import SigningKey

from wampauth.probe import claiming, frames, guessing, joined, malformed, signatures, timing, waiting
from wampauth.probe.answers import Answer
from wampauth.probe.budget import Spent
from wampauth.probe.catalogue import CREDENTIAL, ROWS
from wampauth.probe.client import Client
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, NOT_APPLICABLE, Found, Row, row
from wampauth.probe.target import BINDING, Target, Turned, Unreachable

Run = Callable[[Target], Iterator[Found]]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Probe:
    """What is tried in one go, and the rows that come of it."""

    run: Run
    rows: tuple[str, ...]


WAITING = Probe(waiting.run, ("idle-tcp", "idle-headers", "idle-websocket", "idle-challenge"))
QUIET = (Probe(timing.run, ("known-answer", "known-time")),)
TOGETHER = (
    Probe(malformed.run, ("exception-text", "inner-names", "malformed-joins", "malformed-hangs")),
    Probe(frames.version, ("version",)),
    Probe(frames.origin, ("origin",)),
    Probe(claiming.anonymous, ("anonymous",)),
    Probe(claiming.clear_ticket, ("clear-ticket",)),
    Probe(claiming.run, claiming.NAMES),
    Probe(signatures.strangers, ("unknown-key", "small-order")),
    Probe(signatures.known, ("forged", "replayed")),
    Probe(signatures.after_goodbye, ("after-goodbye",)),
    Probe(signatures.channel_binding, ("channel-binding",)),
    Probe(joined.run, joined.NAMES),
)
ONE_BY_ONE = (
    Probe(guessing.on_connection, ("guesses-connection", "true-ticket", "lock-out")),
    Probe(guessing.with_hello, ("guesses-hello",)),
)
IN_A_CROWD = (
    Probe(guessing.from_address, ("guesses-address", "forwarded-for")),
    Probe(guessing.over_authids, ("guesses-authids",)),
)
LAST = (Probe(frames.oversized, ("oversized",)), Probe(frames.nesting, ("deep-nesting",)))
AT_ONCE = 3  # probes
ALL = (WAITING, *QUIET, *TOGETHER, *ONE_BY_ONE, *IN_A_CROWD, *LAST)


def probe(target: Target, tell: Tell) -> list[Row]:
    """Probe a router.

    :param tell: is told of the progress, a line at a time.
    :returns: the rows, in the order of the catalogue.
    :raises Unreachable: if no WAMP router answers there, or a true credential is none: rows would be judged by it.
    """
    greet(target)
    _log_in(target)
    found: dict[str, Found] = {}
    with ThreadPoolExecutor(1) as beside:
        waiting_rows = beside.submit(_play, WAITING, target)
        tell(f"waiting {waiting.LONGEST:g} s on four silent connections, while the others go on")
        apart = AT_ONCE if target.has_addresses else 1  # or else the limit that one meets would be the next one's
        for probes, at_once in ((QUIET, 1), (TOGETHER, AT_ONCE), (ONE_BY_ONE, apart), (IN_A_CROWD, 1)):
            found |= _play_all(probes, target, at_once, tell)
        found |= waiting_rows.result()
    found |= _play_all(LAST, target, 1, tell)
    found["secret-echo"] = _echo(target)
    return [row(ROWS[name], _fitting(name, target, found)) for name in ROWS]


def play(name: str, target: Target) -> Found:
    """One row, by its name, of a target that has been greeted."""
    if missing := lacks(name, target):
        return missing
    if name == "secret-echo":
        return _echo(target)
    (one,) = (one for one in ALL if name in one.rows)
    return _play(one, target)[name]


def greet(target: Target) -> None:
    """See that a router is there, which methods it offers, and whether it wants keys bound to the connection.

    :raises Unreachable: if there is none.
    """
    try:
        answers = {method: _first_answer(target, method) for method in ("ticket", "cryptosign")}
        if not any(answer.kind in ("WELCOME", "ABORT", "CHALLENGE") for answer in answers.values()):
            raise Unreachable(f"{target.address.shown} doesn't answer HELLO as a WAMP router does: {answers['ticket']}")
        refused = "wamp.error.no_auth_method"
        target.methods |= {method for method, answer in answers.items() if answer.uri != refused}
        if target.key and target.address.is_secure and "cryptosign" in target.methods:
            with target.connect(target.source()) as client:
                if not client.key(target.key).challenge:
                    target.binding = BINDING
    except (OSError, Turned) as error:
        raise Unreachable(f"{target.address.shown}: {target.redact(str(error)) or type(error).__name__}") from None


def _log_in(target: Target) -> None:
    """See that the credentials are what they are said to be. What a broken connection leaves open, the rows will tell.

    :raises Unreachable: if one is refused.
    """
    tried: list[tuple[str, str, Callable[[Client], Answer]]] = []
    if (ticket := target.ticket) is not None and "ticket" in target.methods:
        tried.append(("ticket", f"{target.authid} into {target.realm}", lambda client: client.ticket(ticket)))
    if target.key is not None and "cryptosign" in target.methods:
        tried.append(("key", f"{target.key_authid} into {target.key_realm}", target.join_with_key))
    for what, whom, attempt in tried:
        with suppress(OSError, Turned, Spent), target.connect(target.source()) as client:
            if (answer := attempt(client)).kind == "ABORT":
                came = target.redact(str(answer))
                raise Unreachable(f"the true {what} must be right, and doesn't let {whom}: {came}")


def _first_answer(target: Target, method: str) -> Answer:
    with target.connect(target.source()) as client:
        if method == "ticket":
            return client.hello("ticket", target.authid)
        return client.key(SigningKey.generate())


def _play_all(probes: tuple[Probe, ...], target: Target, at_once: int, tell: Tell) -> dict[str, Found]:
    found: dict[str, Found] = {}
    with ThreadPoolExecutor(at_once) as pool:
        running: list[tuple[Probe, Future[dict[str, Found]]]] = []
        for one in probes:
            if any(lacks(name, target) is None for name in one.rows):
                running.append((one, pool.submit(_play, one, target)))
        for one, future in running:
            rows = future.result()
            found |= rows
            tell(", ".join(f"{name}: {rows[name].verdict}" for name in one.rows if lacks(name, target) is None))
    return found


def _play(one: Probe, target: Target) -> dict[str, Found]:
    """Run a probe. Whatever becomes of it, each of its rows has a verdict."""
    found: dict[str, Found] = {}
    reason = "nothing was found"
    try:
        for result in one.run(target):
            found[result.name] = result
    except Spent as spent:
        reason = f"the budget is spent: {spent}"
    except Turned as turned:
        reason = f"the opening handshake was refused: {turned}"
    except Exception as error:  # of a connection that breaks in the middle; a fault of ours shows in the row
        reason = f"the probe broke off: {type(error).__name__}: {target.redact(str(error))}"
    return {name: Found(name, CANT_TELL, reason) for name in one.rows} | found


def lacks(name: str, target: Target) -> Found | None:
    """Why a row isn't tried: what it needs wasn't given, or the router doesn't offer the method."""
    about = ROWS[name]
    given = {
        "--ticket-env": target.ticket is not None,
        "--key": target.key is not None,
        CREDENTIAL: target.ticket is not None or target.key is not None,
        "--topic": target.topic is not None,
        "--procedure": target.procedure is not None,
    }
    if about.method and about.method not in target.methods:
        return Found(name, NOT_APPLICABLE, f"the router doesn't offer {about.method}")
    if missing := [option for option in about.needs if not given[option]]:
        note = f" ({target.note})" if target.note else ""
        return Found(name, CANT_TELL, f"needs {' and '.join(missing)}{note}")
    return None


def _fitting(name: str, target: Target, found: dict[str, Found]) -> Found:
    one = lacks(name, target) or found[name]
    return Found(name, one.verdict, target.redact(one.came))


def _echo(target: Target) -> Found:
    """Whether a secret came back in any answer so far."""
    echoed = target.redact.found
    return Found("secret-echo", FALLS if echoed else HOLDS, echoed or "no answer had one in it")
