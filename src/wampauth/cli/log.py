"""What has happened at the node? The audit as people read it: logins, sessions, and what operators did."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import click

from wampauth import names
from wampauth.audit import COUNTED, PROVEN
from wampauth.cli.acting import audits_to_read, with_audit
from wampauth.cli.joins import JOINED, UNJOINED, UNPROVEN, marked, places_of_audit
from wampauth.cli.options import SPAN, Authid, seconds
from wampauth.cli.telling import claims, in_one_line
from wampauth.cli.whose import about
from wampauth.history import History, Record, moment
from wampauth.store import moments

OUTCOMES = (*PROVEN, "challenged", *COUNTED)
BEFORE = 10  # records to show before those that are followed


class Since(click.ParamType):  # type: ignore[type-arg]
    """A point in time, or a span before now: seconds since 1970."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return time.time() - seconds(value) if SPAN.fullmatch(value) else moments.seconds(value) or 0.0
        except names.Malformed as error:
            self.fail(f"{error}, or as a span like 1h or 7d", param, ctx)


@click.command()
@click.option(
    "--authid", type=Authid(is_claim=True), help="Only what concerns this principal, or who has claimed to be it."
)
@click.option("--since", metavar="TIME", type=Since(), help="Only what is younger: a time, or a span like 1h.")
@click.option(
    *("--outcome", "outcomes"),
    metavar="OUTCOME",
    multiple=True,
    type=click.Choice(OUTCOMES),
    help=f"Only this; can be given again: {', '.join(OUTCOMES)}.",
)
@click.option("--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For programs: the records, a JSON object a line.")
@with_audit
def log(authid: str | None, since: float | None, outcomes: tuple[str, ...], follow: bool, as_json: bool) -> None:
    """Show the audit: who tried to join, what became of it, and what operators did. Rotated files are read, too."""
    history = History(audits_to_read("log", is_awaited=follow), since or 0.0)
    is_wanted = _wanted(authid, outcomes)
    wanted = filter(is_wanted, marked(history, places_of_audit(), time.time()))
    try:
        _print(deque(wanted, BEFORE) if follow and since is None else wanted, as_json)
        if history.broken:
            click.echo(f"Lines that can't be read were passed over: {history.broken}.", err=True)
        if follow:
            _print(filter(is_wanted, history.follow()), as_json)
    except KeyboardInterrupt:
        sys.exit(0)
    finally:
        history.close()


def sentence(record: Record) -> str:
    """A record as an operator reads it, in one line that a terminal can show."""
    when = datetime.fromtimestamp(moment(record), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    text = " ".join(_acted(record) if record["outcome"] == "acted" else _tried(record))
    return in_one_line(f"{when}  {record['outcome']:11} {text}")


def _acted(record: Record) -> Iterator[str]:
    yield f"{record.get('operator')}: {record.get('act')}"
    yield from (str(record[name]) for name in ("authid", "credential") if name in record)
    if "session" in record:
        yield f"session {record['session']}"
    if "realm" in record:
        yield f"in {record['realm']}"
    if "change" in record:
        yield f"({record['change']})"


def _tried(record: Record) -> Iterator[str]:
    if "count" in record:
        yield f"{record['count']} more"
    if who := record.get("authid", record.get("claimed")):
        yield str(who)
    if claimed := claims(record):
        yield f"claiming {claimed}"
    words = {"realm": "in", "method": "by", "peer": "from", "session": "as session", "reference": "with the reference"}
    yield from (f"{word} {record[name]}" for name, word in words.items() if name in record)
    if "reason" in record:
        yield f": {record['reason']}"
    if record.get(JOINED) is False and record.get("reason") != UNPROVEN:
        yield f": {UNJOINED}"


def _wanted(authid: str | None, outcomes: tuple[str, ...]) -> Callable[[Record], bool]:
    is_about = about(authid) if authid else lambda _: True
    return lambda record: (not outcomes or record["outcome"] in outcomes) and is_about(record)


def _print(records: Iterable[Record], as_json: bool) -> None:
    for record in records:
        click.echo(json.dumps(record) if as_json else sentence(record))
