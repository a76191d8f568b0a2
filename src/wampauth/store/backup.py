"""How is all of a store kept, and brought back? As a file that is a store itself, whichever engine it comes from.

A store that was brought back gets a new id, so that those who watch sessions look at everybody. The part of it that
salts are made of stays: who had a salt shown before would see from another one which names nobody has.
"""

import os
import tempfile
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from shutil import copyfile

from wampauth.store import connect, create
from wampauth.store.engine import Connection, copy_rows, sentences, transaction
from wampauth.store.reading import ACTIVE, SALTING, STATE
from wampauth.store.requests import PASSING
from wampauth.store.showing import Refused

COUNTING = f"""SELECT p.authid, c.id, c.kind, c.verifier FROM credential c JOIN principal p ON p.authid = c.authid
               WHERE {STATE} = '{ACTIVE}' ORDER BY p.authid, c.id"""


def keep(where: str, file: Path) -> None:
    """Write all of the store into a new file, as of one moment, while others use it. An older store stays older.

    :raises Refused: if there is such a file, or no folder for it.
    :raises StoreError: if the store can't be read, or the file not be written.
    """
    if os.path.lexists(file):
        raise Refused(f"{file} is there already, and a backup replaces nothing")
    if not file.parent.is_dir():
        raise Refused(f"there is no folder {file.parent}: make it first")
    with (
        closing(connect(where, upgrading=False)) as store,
        tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as folder,
    ):
        unfinished = str(Path(folder, "principals.db"))
        create(unfinished)  # for its owner only
        with closing(connect(unfinished)) as kept:
            with sentences(store):
                store.copy(kept, _tables(kept))
            kept.settle()
        os.link(unfinished, file)  # unlike a rename, this replaces nothing


def bring_back(where: str, file: Path) -> list[tuple[str, str]]:
    """Make the store what it was when `file` was written: all or nothing, while others use it.

    :returns: authid and id of the credentials that count now and didn't before; none for a store that was empty.
    :raises StoreError: if the file is none that :func:`keep` wrote, or the store can't be written.
    """
    connect(str(file), upgrading=False).close()
    with tempfile.TemporaryDirectory() as folder:
        copied = copyfile(file, Path(folder, "principals.db"))  # which may be older, and stays so
        with closing(connect(str(copied))) as kept:
            create(where)
            with closing(connect(where)) as store:
                again = _replace(store, kept)
                store.settle()
    return again


def _replace(store: Connection, kept: Connection) -> list[tuple[str, str]]:
    with transaction(kept, writing=False), transaction(store):
        was_empty = not store.execute("SELECT 1 FROM principal LIMIT 1").fetchall()
        before = set(store.execute(COUNTING).fetchall())
        copy_rows(store, kept, _tables(kept))
        store.execute("UPDATE identity SET id = substr(id, 1, ?) || ?", (SALTING, token_hex(16)))
        found = [one for one in store.execute(COUNTING).fetchall() if one not in before and not was_empty]
    return [(authid, credential) for authid, credential, *_ in found]  # also a token: the key it became had its id


def _tables(kept: Connection) -> list[str]:
    """Those that others refer to come first. What passes between operators and nodes isn't kept."""
    names = kept.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
    return [name for (name,) in names if name not in PASSING]
