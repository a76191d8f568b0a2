"""Is a principal in now, and when was it last? Asked of the nodes, and of their audit."""

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click

from wampauth.cli.acting import audits_of_store
from wampauth.cli.joins import JOINED, UNJOINED, is_unjoined, places_of_audit
from wampauth.cli.reaching import Answers, ask
from wampauth.cli.sessions import COLUMNS, told
from wampauth.cli.tables import show_records
from wampauth.history import History, Record
from wampauth.store import Connection, StoreError

LOGINS = ("accepted", JOINED)
COLUMNS_OF_ONE = tuple(name for name in COLUMNS if name not in ("authid", "role"))


@dataclass
class Presence:
    """What is known of it.

    :ivar sessions: its live sessions; None: nobody could say.
    :ivar last_login: the last record in the audit; None: there is none.
    :ivar let_in: a later one, after which it didn't join.
    :ivar warnings: what is missing, and why.
    """

    sessions: list[dict[str, Any]] | None
    last_login: Record | None
    let_in: Record | None
    warnings: list[str]

    def fields(self) -> dict[str, Any]:
        """For programs."""
        return {"sessions": self.sessions, "last_login": self.last_login, "let_in": self.let_in}

    def tell(self) -> None:
        """For people."""
        click.echo(f"last login: {_told(self.last_login) if self.last_login else 'none in the audit'}")
        if self.let_in:
            click.echo(f"{UNJOINED}: {_told(self.let_in)} (`wampauth why {self.let_in['authid']}` tells why)")
        number = "unknown" if self.sessions is None else len(self.sessions) or "none"
        click.echo(" ".join(["live sessions:", f"{number}.", *self.warnings]))
        if self.sessions:
            show_records(self.sessions, COLUMNS_OF_ONE, as_json=False)


def presence_of(store: Connection, authid: str) -> Presence:
    """Ask for a principal, by its authid as it is stored."""
    warnings = []
    answers = Answers([], 0, 0)
    try:
        answers = ask(store, {"do": "sessions", "authid": authid, "realm": None})
        warnings = [warning] if (warning := answers.warning()) else []
    except StoreError as error:  # it can be read, but not written
        warnings = [f"Nobody could be asked for live sessions: {error}"]
    found = [item for item in answers.telling("session") if not item["ended"]]
    known = told(store, found) if answers.asked > answers.silent else None
    try:
        last, let_in = _last_logins(authid)
    except OSError as error:
        last = let_in = None
        warnings.append(f"The audit can't be read: {error.filename}: {error.strerror}")
    return Presence(known, last, let_in, warnings)


def _told(record: Record) -> str:
    words = {"method": "by", "peer": "from"}
    return " ".join([record["time"], *(f"{word} {record[name]}" for name, word in words.items() if name in record)])


def _last_logins(authid: str) -> tuple[Record | None, Record | None]:
    """The last time that it got in, as far as that is known, and the last after that when it didn't join."""

    last = _newest(LOGINS, "authid", authid)
    if last is None or last["outcome"] == JOINED:
        return last, None
    joined = _newest((JOINED,), "authid", authid)
    anybody = joined or _newest((JOINED,), "realm", str(last.get("realm")))
    places = places_of_audit()
    places.watched |= {str(anybody.get("realm"))} if anybody else set()
    if is_unjoined(last, [joined] if joined else [], places, time.time()):
        return joined, last
    return last, None


def _newest(outcomes: tuple[str, ...], name: str, value: str) -> Record | None:
    """The last record of these outcomes in which a field has this value."""
    with closing(History(audits_of_store())) as history:
        return history.newest(lambda one: one["outcome"] in outcomes and one.get(name) == value, value)
