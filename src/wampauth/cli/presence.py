"""Is a principal in now, and when was it last? Asked of the nodes, and of their audit."""

from dataclasses import dataclass
from typing import Any

import click

from wampauth.cli.acting import audits_of_store
from wampauth.cli.reaching import Answers, ask
from wampauth.cli.sessions import COLUMNS, told
from wampauth.cli.tables import show_records
from wampauth.history import History, Record
from wampauth.store import Connection, StoreError

LOGINS = ("accepted", "joined")
COLUMNS_OF_ONE = tuple(name for name in COLUMNS if name not in ("authid", "role"))


@dataclass
class Presence:
    """What is known of it.

    :ivar sessions: its live sessions; None: nobody could say.
    :ivar last_login: the last record in the audit; None: there is none.
    :ivar warnings: what is missing, and why.
    """

    sessions: list[dict[str, Any]] | None
    last_login: Record | None
    warnings: list[str]

    def fields(self) -> dict[str, Any]:
        """For programs."""
        return {"sessions": self.sessions, "last_login": self.last_login}

    def tell(self) -> None:
        """For people."""
        if self.last_login:
            words = {"method": "by", "peer": "from"}
            how = [f"{word} {self.last_login[name]}" for name, word in words.items() if name in self.last_login]
            click.echo(" ".join(["last login:", self.last_login["time"], *how]))
        else:
            click.echo("last login: none in the audit")
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
        last = _last_login(authid)
    except OSError as error:
        last = None
        warnings.append(f"The audit can't be read: {error.filename}: {error.strerror}")
    return Presence(known, last, warnings)


def _last_login(authid: str) -> Record | None:
    history = History(audits_of_store())
    try:
        return history.newest(lambda record: record["outcome"] in LOGINS and record.get("authid") == authid, authid)
    finally:
        history.close()
