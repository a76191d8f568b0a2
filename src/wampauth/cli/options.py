"""What do the commands have in common? The store that they work on, and the options for credentials."""

import functools
import os
import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from wampauth import names
from wampauth.cli.asked import instead
from wampauth.cli.reaching import Own
from wampauth.store import OWN, Connection, connect, create, make_room, moments, showing, upgraded

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
SPAN = re.compile(r"\d{1,5}[smhd]")

Command = Callable[..., None]


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A point in time, or a span from now on: ``2030-12-31T23:59:59Z`` or ``30d``. Kept as text until the store's
    clock is at hand."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return value if SPAN.fullmatch(value) else str(moments.iso(moments.seconds(value)))
        except names.Malformed as error:
            self.fail(f"{error}, or as a span like 30d or 12h", param, ctx)


class Authid(click.ParamType):  # type: ignore[type-arg]
    """An authid as it is pasted, perhaps with blanks or a line end around it."""

    name = "authid"

    def __init__(self, is_claim: bool = False) -> None:
        """:param is_claim: it is looked for in the audit, where strangers may have claimed anything."""
        self._is_claim = is_claim

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        meant = value.strip()
        if not self._is_claim:
            names.authid(meant)  # but returned as it is typed: in an old store it may matter how accents are written
        return meant


def moment(store: Connection, value: str | None) -> str | None:
    """The point in time that an option names, in ISO 8601."""
    span = SPAN.fullmatch(value or "")
    return moments.iso(showing.now(store) + seconds(span[0])) if span else value


def seconds(span: str) -> float:
    """A span like ``30d`` in seconds."""
    return int(span[:-1]) * UNITS[span[-1]]


def on_store(
    new: bool = False, urgent: bool = False, nodes: bool = False, unasked: bool = False
) -> Callable[[Command], Command]:
    """Run a command with the store, open, as its first argument; with `new`, make one where there is none.

    :param urgent: it must work even when the disk is full.
    :param nodes: it asks the nodes alone, which a store of an author's own may allow, too.
    :param unasked: it makes sense for a store that no node asks, too.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> None:
            path = click.get_current_context().obj
            if nodes and OWN.fullmatch(path):
                command(Own(path), *args, **options)
                return
            is_meant = unasked and os.path.lexists(path)
            if not is_meant and (why := instead(path, makes=new)):
                raise showing.Refused(why)
            if urgent:
                make_room(path)
            if new:
                create(path)
            with closing(connect(path)) as store:
                if store.upgraded is not None:
                    click.echo(upgraded(store), err=True)
                if isinstance(authid := options.get("authid"), str):
                    options["authid"] = showing.stored(store, authid)  # under which audits and nodes know it
                try:
                    command(store, *args, **options)
                finally:
                    store.settle()

        return run

    return decorate


def confirmed(question: str) -> Callable[[Command], Command]:
    """Ask before a command is run, unless it is given --yes. Standard output is for the answer, which may be JSON."""

    def ask(context: click.Context, parameter: click.Parameter, is_sure: bool) -> None:
        if not is_sure:
            click.confirm(question, abort=True, err=True)

    return click.option("--yes", is_flag=True, expose_value=False, callback=ask, help="Don't ask.")


def with_terms(command: Command) -> Command:
    """Give a command the options that say when a credential counts."""
    command = click.option(
        "--expires", metavar="TIME", type=Moment(), help="When it ends: a time, or a span like 30d."
    )(command)
    command = click.option("--not-before", metavar="TIME", type=Moment(), help="When it begins to count.")(command)
    return click.option("--label", help="A note, for you.")(command)


def with_chosen(command: Command) -> Command:
    """Give a command the two ways to take a ticket that a person chose."""
    command = click.option("--from-env", metavar="NAME", help="Take a chosen one from this variable.")(command)
    return click.option("--from-stdin", is_flag=True, help="Take a chosen one from standard input.")(command)


def terms(store: Connection, label: str | None, not_before: str | None, expires: str | None) -> dict[str, Any]:
    """The options of :func:`with_terms`, those that were given."""
    given = {"label": label, "not_before": moment(store, not_before), "expires": moment(store, expires)}
    return {name: value for name, value in given.items() if value is not None}
