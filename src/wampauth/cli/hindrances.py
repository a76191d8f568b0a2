"""What do the nodes themselves have against a login? Throttling, what they ask of connections, and live sessions."""

import time
from collections.abc import Iterator
from typing import Any

from wampauth.cli.lately import Lately
from wampauth.cli.reaching import NOBODY, SILENT, Answers, ask
from wampauth.cli.refused import BINDING, TLS
from wampauth.cli.trying import MISSED, Attempt, Reason
from wampauth.history import moment
from wampauth.store import Connection, StoreError, moments
from wampauth.store.showing import Record
from wampauth.throttle import counted_address

ASKED = {  # by a node of a connection: how the audit calls it, and what we say
    "require_tls": (
        TLS,
        "A node lets nobody in without TLS (wss://){}. Who comes without sees `tls_required`, or a closed connection.",
    ),
    "require_channel_binding": (
        BINDING,
        "A node lets in nobody with a key who doesn't use channel binding{}. Who doesn't sees"
        " `channel_binding_required`; docs/tls.md shows how a client switches it on.",
    ),
}
EXCEPTED = {"unix": "through its Unix socket", "loopback": "from 127.0.0.1 or ::1"}
GOES_ON = 60.0  # seconds since the last one


def of_nodes(store: Connection, principal: Record, attempt: Attempt, lately: Lately) -> Iterator[Reason]:
    """What keeps a principal out, or may, by what the nodes say."""
    keys = [one["verifier"] for one in principal["credentials"] if one["kind"] == "key"]
    subjects = [principal["authid"], *keys]
    if attempt.ticket is not None or attempt.pubkey is not None:
        subjects = [attempt.pubkey or principal["authid"]]
    try:
        answers = ask(store, {"do": "why", "subjects": subjects}, of="")
    except StoreError as error:  # it can be read, but not written
        yield Reason("no node", f"The nodes can't be asked: {error}", is_certain=False)
        return
    if not answers.asked:
        yield Reason("no node", NOBODY, is_certain=False)
    elif answers.silent:
        yield Reason("silent node", SILENT.format(answers.silent, answers.asked), is_certain=False)
    yield from (_throttled(item, lately) for item in answers.telling("seconds"))
    has_key = bool(keys) if attempt.ticket is None else False
    yield from dict.fromkeys(_transports(answers, has_key or attempt.pubkey is not None))
    if most := principal["max_sessions"]:
        yield from _too_many(store, principal["authid"], most)


def _throttled(item: dict[str, Any], lately: Lately) -> Reason:
    until = moments.iso(round(time.time() + item["seconds"], 0))
    if item["subject"] is None:
        text = f"Whoever comes from {item['address']} is throttled until {until}: too many failures from there"
        return Reason("throttled", f"{text}, which `wampauth why --last` shows.", is_certain=False)
    text = f"From {item['address']}, {item['subject']} is throttled until {until}: too many failures."
    return Reason("throttled", f"{text}{_fed(item, lately)}")


def _fed(item: dict[str, Any], lately: Lately) -> str:
    """By what, and whether it goes on: then waiting doesn't help."""
    some = [one for one in lately.failures if counted_address(str(one.last.get("peer"))) == item["address"]]
    if not some:
        return ""
    often = "; ".join(lately.told(one) for one in some)
    last = max(moment(one.last) for one in some)
    if time.time() - last > GOES_ON:
        return f" Before: {often}."
    ago = max(0, round(time.time() - last))
    going_on = f"It goes on (the last one was {ago} s ago), and each failure throttles anew: stop what sends it."
    return f" Before: {often}. {going_on}"


def _transports(answers: Answers, has_key: bool) -> Iterator[Reason]:
    """What the nodes ask of a client's connection."""
    for item in answers.telling("asks"):
        places = " or ".join(EXCEPTED.get(place, place) for place in item["plain_from"])
        for setting, (missed, text) in ASKED.items():
            if item["asks"][setting] and (has_key or missed == TLS):
                yield Reason(
                    MISSED[missed], text.format(f", unless it comes {places}" if places else ""), is_certain=False
                )


def _too_many(store: Connection, authid: str, most: int) -> Iterator[Reason]:
    answers = ask(store, {"do": "sessions", "authid": authid})
    number = sum(not item["ended"] for item in answers.telling("session"))
    if number >= most:
        many = "sessions" if number > 1 else "session"
        yield Reason(
            "too many sessions",
            f"{authid} has {number} {many}, and may have {most}: `wampauth sessions --authid {authid}` shows since when"
            f" and from where. `wampauth set {authid} --max-sessions N` allows more; `wampauth kick {authid}` ends them"
            " all, those in use, too.",
        )
