"""Where does the store lie, and how is it opened?

The one file that knows the database engine. ``principals.py`` (reading, in the node) and ``registry.py`` (writing, for
the operator) speak the SQL of ``principals.sql`` over what :func:`connect` returns.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

apilevel, threadsafety = "2.0", 1  # adbapi asks for these: this module is its DB-API driver
VERSION = 1  # of principals.sql; raise it with each change there
SCHEMA = Path(__file__).with_name("principals.sql")
BUSY = 2.0  # seconds to wait for another process's lock; below the guard's deadline

# The store's clock, in seconds since 1970. Asking the database lets all nodes that share one agree on the time.
NOW = "((julianday('now') - 2440587.5) * 86400.0)"


class StoreError(Exception):
    """The store can't be used. The text is one sentence for the operator: what is wrong, and what to do."""


class Connection(sqlite3.Connection):
    """A connection that remembers which file it was opened on."""

    path: str
    fingerprint: tuple[int, ...]

    def is_stale(self) -> bool:
        """True if the file at the path isn't what was opened (deleted, replaced, other permissions): open it anew."""
        try:
            return self.fingerprint != _fingerprint(self.path)
        except OSError:
            return True

    def spoil(self) -> None:
        """Count this connection as stale from now on."""
        self.fingerprint = ()


def connect(path: str, busy: float = BUSY) -> Connection:
    """Open the store at `path`, which must exist, and check that it is one of ours.

    :param busy: seconds to wait for a lock that another process holds.
    :raises StoreError: if it is missing, not a principals database, of another version, or can't be opened.
    """
    with sentences(path):
        fingerprint = _fingerprint(path)
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=rw",
            uri=True,
            timeout=busy,
            isolation_level=None,  # transactions begin and end where the code says so
            check_same_thread=False,  # adbapi closes a thread's connection from the reactor's thread
            factory=Connection,
        )
        connection.path, connection.fingerprint = path, fingerprint
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            ((version,),) = connection.execute("SELECT version FROM store").fetchall()
            if version != VERSION:
                raise StoreError(f"{path} has version {version}, and this program knows version {VERSION}: use its own")
        except BaseException:
            connection.close()
            raise
    return connection


def create(path: str) -> None:
    """Make an empty store at `path`, readable by its owner only, whole or not at all. Leaves an existing file alone.

    :raises StoreError: if it can't be written.
    """
    if Path(path).exists():
        return
    with sentences(path), tempfile.TemporaryDirectory(dir=Path(path).parent, prefix=".principals-") as folder:
        unfinished = Path(folder, "principals.db")
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(unfinished, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # readers don't wait for a writer, nor it for them
            connection.executescript(f"BEGIN; {SCHEMA.read_text()} INSERT INTO store VALUES ({VERSION}); COMMIT;")
        finally:
            connection.close()
        try:
            os.link(unfinished, path)  # unlike a rename, this can't replace a store that someone else just made
        except FileExistsError:
            return


@contextmanager
def writing(connection: Connection) -> Iterator[Connection]:
    """One transaction: all of it is written or, after any exception, nothing. Writers take turns.

    :raises StoreError: if the disk is full, the file can't be written, or another writer keeps it for too long.
    """
    with sentences(connection.path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def sentences(path: str) -> Iterator[None]:
    """Turn what the engine and the operating system raise into a :class:`StoreError` that an operator can act on."""
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"there is no store at {path}: `python manage.py add` makes one") from None
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # ours to explain, or to mend
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {_advice(error)}") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None


ADVICE = {
    sqlite3.SQLITE_NOTADB: "this file is not a principals database; it was left as it is",
    sqlite3.SQLITE_CORRUPT: "this file is damaged; put a backup in its place",
    sqlite3.SQLITE_BUSY: "another process is keeping the store locked; try again",
    sqlite3.SQLITE_FULL: "the disk is full; nothing was changed",
    sqlite3.SQLITE_READONLY: "the store can't be written; check the owner and mode of file and folder",
    sqlite3.SQLITE_CANTOPEN: "the store can't be opened; check the owner and mode of file and folder",
    sqlite3.SQLITE_IOERR: "the disk reported an error or is full; nothing was changed",
}


def _advice(error: sqlite3.Error) -> str:
    if "no such table" in str(error):
        return ADVICE[sqlite3.SQLITE_NOTADB]
    code: Any = getattr(error, "sqlite_errorcode", 0)
    return ADVICE.get(code & 0xFF, str(error))  # the low byte is the primary code, the rest says more


def _fingerprint(path: str) -> tuple[int, ...]:
    found = Path(path).stat()
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns
