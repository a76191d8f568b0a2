"""How do principals move from one store to another? As JSON lines, one a principal."""

import json
from collections.abc import Callable, Iterable, Iterator

from wampauth import names
from wampauth.store.engine import Connection, transaction
from wampauth.store.showing import Record, Refused, show
from wampauth.store.writing import insert, insert_credential

MAX_NESTING = 5_000  # objects and lists in a line of an import


def export(connection: Connection) -> Iterator[Record]:
    """Each principal with its credentials, all from one moment."""
    with transaction(connection, writing=False):
        for (authid,) in connection.execute("SELECT authid FROM principal ORDER BY authid").fetchall():
            yield show(connection, authid)


def load(
    connection: Connection, lines: Iterable[bytes], allow: Callable[[str, str], None] = lambda realm, role: None
) -> int:
    """Add the principals that :func:`export` wrote, one JSON object a line: all or none.

    :param allow: raises :class:`Refused` for a realm and role that nobody may be given.
    :returns: how many.
    :raises Refused: with the number of the line that can't be added, and why.
    """
    number = 0
    with transaction(connection):
        for number, line in enumerate(lines, start=1):
            try:
                if line.count(b"[") + line.count(b"{") > MAX_NESTING:
                    raise RecursionError  # rather than let the parser run out of stack
                record = json.loads(line)
                authid = insert(connection, record)
                allow(record["realm"], record["role"])
                for credential in record.get("credentials", ()):
                    insert_credential(connection, authid, credential, past=True)
            except (Refused, names.Malformed) as error:
                raise Refused(f"line {number}: {error}; nothing was imported") from None
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise Refused(f"line {number} isn't a principal as `export` writes it; nothing was imported") from None
    return number
