"""Where does the store lie, and how is it opened?

``principals.py`` (reading, in the node) and ``registry.py`` (writing, for the operator) speak the SQL of
``principals.sql`` over what :func:`connect` returns. Only this file knows SQLite; only ``postgresql.py``, PostgreSQL.
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

apilevel, threadsafety = "2.0", 1  # adbapi asks for these: this module is its DB-API driver
VERSION = 1  # of principals.sql; raise it with each change there
SCHEMA = Path(__file__).with_name("principals.sql")
BUSY = 2.0  # seconds to wait for another process's lock; below the guard's deadline
SETTLING = 200  # milliseconds to wait for readers until the log can be emptied
ADVICE = {
    sqlite3.SQLITE_NOTADB: "this file is not a principals database; it was left as it is",
    sqlite3.SQLITE_CORRUPT: "this file is damaged; put a backup in its place",
    sqlite3.SQLITE_BUSY: "another process is keeping the store locked; try again",
    sqlite3.SQLITE_PROTOCOL: "another process is keeping the store locked; try again",
    sqlite3.SQLITE_FULL: "the disk is full; nothing was changed",
    sqlite3.SQLITE_READONLY: "the store can't be written; check the owner and mode of file and folder",
    sqlite3.SQLITE_CANTOPEN: "the store can't be opened; check the owner and mode of file and folder",
    sqlite3.SQLITE_IOERR: "the disk reported an error or is full; nothing was changed",
}


class StoreError(Exception):
    """The store can't be used. The text is one sentence for the operator: what is wrong, and what to do."""


class Connection(sqlite3.Connection):
    """An SQLite store. ``postgresql.Connection`` has the same attributes and methods."""

    BEGIN_READING = ("BEGIN",)
    BEGIN_WRITING = ("BEGIN IMMEDIATE",)  # writers take turns

    name: str  # what the sentences call it
    busy: int  # milliseconds to wait for a lock
    fingerprint: tuple[int, ...]

    def is_stale(self) -> bool:
        """True if the file at the path isn't what was opened (deleted, replaced, other permissions): open it anew."""
        try:
            return self.fingerprint != _fingerprint(self.name)
        except OSError:
            return True

    def settle(self) -> None:
        """Move what was written from the log into the file, so that the file alone is the store. Otherwise its log
        would count for another file that is put in its place, and would be lost if that one is no database."""
        with suppress(sqlite3.Error):  # it is written in any case; what can't be moved now is moved by the next writer
            self.execute(f"PRAGMA busy_timeout = {SETTLING}")
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.execute(f"PRAGMA busy_timeout = {self.busy}")

    def spoil(self) -> None:
        """Count this connection as stale from now on."""
        self.fingerprint = ()

    @staticmethod
    def explain(error: Exception) -> str:
        """What an operator can do about an error of the engine."""
        if "no such table" in str(error) or "no such column" in str(error):
            return ADVICE[sqlite3.SQLITE_NOTADB]
        code: Any = getattr(error, "sqlite_errorcode", 0)
        return ADVICE.get(code & 0xFF, str(error))  # the low byte is the primary code, the rest says more


def connect(where: str, busy: float = BUSY) -> Connection:
    """Open the store, which must exist, and check that it is one of ours.

    :param where: a path, or a URL that begins with ``postgresql://``.
    :param busy: seconds to wait for a lock that another process holds.
    :raises StoreError: if it is missing, not a principals database, of another version, or can't be opened.
    """
    store = _other_engine(where).connect(where, busy) if is_url(where) else _connect(where, busy)
    try:
        with sentences(store):
            versions = [version for (version,) in store.execute("SELECT version FROM store").fetchall()]
        if versions != [VERSION]:
            found = " and ".join(map(str, versions)) or "none"
            raise StoreError(f"{store.name} has version {found}, and this program knows {VERSION}: use its own")
    except BaseException:
        store.close()
        raise
    return store


def create(where: str) -> None:
    """Make an empty store, whole or not at all. Leaves one that exists alone.

    :raises StoreError: if it can't be made.
    """
    if is_url(where):
        _other_engine(where).create(where, _script())
    elif not Path(where).exists():
        _create(where, _script())


def is_url(where: str) -> bool:
    """Whether the store is a database server's rather than a file."""
    return "://" in where


@contextmanager
def sentences(store: Any) -> Iterator[None]:
    """Turn what the engine raises into a :class:`StoreError` that an operator can act on."""
    try:
        yield
    except store.Error as error:
        raise StoreError(f"{store.name}: {store.explain(error)}") from None


@contextmanager
def transaction(store: Any, writing: bool = True) -> Iterator[None]:
    """All that is done in it is written or, after any exception, nothing. One that only reads sees a single moment.

    :raises StoreError: if the disk is full, the store can't be written, or another writer keeps it for too long.
    """
    with sentences(store):
        try:
            for statement in store.BEGIN_WRITING if writing else store.BEGIN_READING:
                store.execute(statement)
            yield
            store.execute("COMMIT")
        except BaseException:
            with suppress(store.Error):  # a connection that is lost has nothing to take back
                store.rollback()
            raise


def _connect(path: str, busy: float) -> Connection:
    try:
        fingerprint = _fingerprint(path)
        store = sqlite3.connect(
            f"file:{quote(path)}?mode=rw",
            uri=True,
            timeout=busy,
            isolation_level=None,  # transactions begin and end where the code says so
            check_same_thread=False,  # adbapi closes a thread's connection from the reactor's thread
            factory=Connection,
        )
    except FileNotFoundError:
        raise StoreError(f"there is no store at {path}: `python manage.py add` makes one") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {Connection.explain(error)}") from None
    store.name, store.fingerprint, store.busy = path, fingerprint, int(busy * 1000)
    store.create_function("store_now", 0, lambda: round(time.time(), 3))
    with sentences(store):
        store.execute("PRAGMA foreign_keys = ON")
    return store


def _script() -> str:
    return f"{SCHEMA.read_text()} INSERT INTO store VALUES ({VERSION});"


def _create(path: str, script: str) -> None:
    """Make the file under another name, and give it its own when it is complete."""
    try:
        with tempfile.TemporaryDirectory(dir=Path(path).parent, prefix=".principals-") as folder:
            unfinished = Path(folder, "principals.db")
            os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL, 0o600))
            store = sqlite3.connect(unfinished, isolation_level=None)
            try:
                store.execute("PRAGMA journal_mode = WAL")  # readers don't wait for a writer, nor it for them
                store.executescript(f"BEGIN; {script} COMMIT;")
            finally:
                store.close()
            try:
                os.link(unfinished, path)  # unlike a rename, this can't replace a store that someone else just made
            except FileExistsError:
                return
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {Connection.explain(error)}") from None


def _fingerprint(path: str) -> tuple[int, ...]:
    found = os.stat(path)  # noqa: PTH116 - a Path costs four times as much, at each login
    owner = found.st_uid, found.st_gid
    return found.st_dev, found.st_ino, found.st_mode, *owner, found.st_size, found.st_mtime_ns


def _other_engine(url: str) -> Any:
    if not url.startswith("postgresql://"):
        raise StoreError(f"{url.partition('://')[0]} isn't an engine that is known here: give a path or postgresql://")
    try:
        import postgresql
    except ImportError:
        raise StoreError("for PostgreSQL, psycopg is needed: `make postgresql` installs it") from None
    return postgresql
