"""Which audit belongs to the store that a command works on? An operator's acts go there, and are read there."""

from pathlib import Path
from typing import Any

import click

from wampauth import acts
from wampauth.nodeconfig import audits

AUDIT = "wampauth.audit"  # in the context: the file that is named by an option
NO_AUDIT = "no configuration in .crossbar names this store: give the node's audit as `wampauth --audit FILE ...`"


def audits_of_store() -> list[Path]:
    """The audit that the operator names, or those of the nodes that work with the store."""
    root = click.get_current_context().find_root()
    named: str | None = root.meta.get(AUDIT)
    return [Path(named)] if named else audits(root.obj)


def acted(act: str, authid: str | None = None, **fields: Any) -> None:
    """Tell the audit what has been done. If it can't be told, the operator is; it is done all the same."""
    try:
        if not (found := audits_of_store()):
            raise OSError(NO_AUDIT)
        acts.record(found[0], act, authid=authid, **fields)
    except OSError as error:
        why = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        click.echo(f"The audit has no line of this: {why}", err=True)
