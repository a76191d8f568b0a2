"""Which audit belongs to the store that a command works on? An operator's acts go there, and are read there."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import click

from wampauth import acts
from wampauth.audit import attempts
from wampauth.cli.asked import instead
from wampauth.nodeconfig import audits, audits_in

AUDIT = "wampauth.audit"  # in the context: the file, or node directory, that is named by an option
NO_AUDIT = (
    "no configuration in .crossbar or here names this store: give the node's audit as `wampauth --audit FILE ...`"
)
NODES = ("*/.crossbar", "*/*/.crossbar")  # where other node directories may lie, from here
LOOKED_AT = 1000  # of these

Command = Callable[..., None]


def with_audit(command: Command) -> Command:
    """Give a command the option ``--audit``, which may also stand before it."""

    def remember(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.find_root().meta[AUDIT] = value

    option = click.option(
        *("--audit", "audit"),
        metavar="FILE|FOLDER",
        expose_value=False,
        callback=remember,
        help="Of this node.  [default: as for `wampauth --audit`]",
    )
    return option(command)


def audits_of_store() -> list[Path]:
    """The audit that the operator names, or those of the nodes that work with the store."""
    root = click.get_current_context().find_root()
    named: str | None = root.meta.get(AUDIT)
    if named is None and not instead(root.obj):
        return audits(root.obj)
    named = named or str(Path(root.obj).parent)
    return audits_in(Path(named)) or [Path(named)]


def audits_to_read(command: str, is_awaited: bool = False) -> list[Path]:
    """The same, if there is anything to read. Whoever may mean another node is told of it.

    :param command: that reads them, for a sentence.
    :param is_awaited: it is good enough if there will be something.
    """
    if not (named := audits_of_store()):
        raise click.ClickException(NO_AUDIT)
    other = _newer(named)
    if is_awaited or any(map(_written, named)):
        if other:
            click.echo(f"The audit in {other} is newer: `wampauth {command} --audit {other}` reads that one.", err=True)
        return named
    where = " or ".join(map(str, named))
    raise click.ClickException(
        f"there is no audit at {where} yet: the node writes it (`wampauth {command} --audit {other or 'FILE'}` "
        "reads that of another node)"
    )


def acted(act: str, authid: str | None = None, **fields: Any) -> None:
    """Tell the audit what has been done. If it can't be told, the operator is; it is done all the same."""
    try:
        if not (found := audits_of_store()):
            raise OSError(NO_AUDIT)
        acts.record(found[0], act, authid=authid, **fields)
    except OSError as error:
        why = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        click.echo(f"The audit has no line of this: {why}", err=True)


def _newer(named: list[Path]) -> Path | None:
    """The node directory near here whose audit is the newest, and newer than these, if the operator has named none."""
    if click.get_current_context().find_root().meta.get(AUDIT) is not None:
        return None
    newest = max(map(_written, named))
    known = {audit.parent.resolve() for audit in named}
    found = [(_written(audit), folder) for folder in _nodes() for audit in audits_in(folder)]
    later = [(when, folder) for when, folder in found if when > newest and folder.resolve() not in known]
    return max(later)[1] if later else None


def _nodes() -> Iterator[Path]:
    for pattern in NODES:
        with suppress(OSError):
            yield from islice(Path().glob(pattern), LOOKED_AT)


def _written(audit: Path) -> float:
    """When something was written there last, in seconds since 1970; 0: there is nothing."""
    return max(map(_changed, (audit, Path(attempts(str(audit))))))


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
