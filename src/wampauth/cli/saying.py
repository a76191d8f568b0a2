"""What does a command say when it is done? A sentence for people, or with ``--json`` an object for programs."""

import json
from typing import Any

import click

from wampauth.cli.options import Command

AS_JSON = "wampauth.json"  # in the context: whether a program is asking
ONE_OBJECT = "For programs: one JSON object."
ONCE = "This is the only time that the ticket is shown."

as_object = click.option("--json", "as_json", is_flag=True, help=ONE_OBJECT)  # for commands that say it themselves
as_lines = click.option("--json", "as_json", is_flag=True, help="For programs: a JSON object a line.")


def with_json(command: Command) -> Command:
    """Give a command the option ``--json``, by which :func:`say` goes."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[AS_JSON] = value

    return click.option("--json", is_flag=True, expose_value=False, callback=remember, help=ONE_OBJECT)(command)


def say(sentence: str | None, shown: str | None = None, ticket: str | None = None, **fields: Any) -> None:
    """Say what has been done. What is there to be used goes to standard output, alone; a sentence does not.

    :param shown: what people are shown on standard output.
    :param ticket: a secret, which is shown so, and which programs get as ``ticket``.
    :param fields: for programs.
    """
    if click.get_current_context().meta.get(AS_JSON):
        click.echo(json.dumps({**fields, **({"ticket": ticket} if ticket else {})}))
        return
    if shown or ticket:
        click.echo(shown or ticket)
    if sentence:
        click.echo(f"{sentence} {ONCE}" if ticket else sentence, err=True)
