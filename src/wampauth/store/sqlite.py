"""How is a store opened that lies in a file? Nobody else knows SQLite."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wampauth import ownership
from wampauth.store import reserve
from wampauth.store.engine import BUSY, UPGRADING, StoreError, checked, sentences, upgrade

apilevel, threadsafety = "2.0", 1  # adbapi asks for these: this module is its DB-API driver
ORPHANS = "DELETE FROM credential WHERE NOT EXISTS (SELECT 1 FROM principal AS p WHERE p.authid = credential.authid)"
SETTLING = 200  # milliseconds to wait for readers until the log can be emptied
ADVICE = {
    sqlite3.SQLITE_NOTADB: "this file is not a principals database; it was left as it is",
    sqlite3.SQLITE_CORRUPT: "this file is damaged; move it away, and `wampauth recover` a backup",
    sqlite3.SQLITE_BUSY: "another process is keeping the store locked; try again",
    sqlite3.SQLITE_PROTOCOL: "another process is keeping the store locked; try again",
    sqlite3.SQLITE_FULL: "the disk is full, and nothing was changed: make room beside the store, and try again",
    sqlite3.SQLITE_READONLY: "the store can't be written; check the owner and mode of file and folder",
    sqlite3.SQLITE_CANTOPEN: "the store can't be opened; check the owner and mode of file and folder",
    sqlite3.SQLITE_IOERR: "the disk is full or reports an error, and nothing was changed: see `df`, and try again",
}


class Connection(sqlite3.Connection):
    """A store in a file, with what ``engine.Connection`` asks for. ``interrupt`` is SQLite's own."""

    ENGINE = "sqlite"
    BEGIN_READING: tuple[str, ...] = ("BEGIN",)
    BEGIN_WRITING: tuple[str, ...] = ("BEGIN IMMEDIATE",)  # writers take turns

    name: str
    upgraded: int | None = None
    busy: int = 0  # milliseconds to wait for a lock
    fingerprint: tuple[int, ...]

    @property
    def identity(self) -> tuple[int, ...]:
        """Device and inode: another file that is put in this one's place has others."""
        return self.fingerprint[:2]

    def is_stale(self) -> bool:
        """True if the file at the path isn't what was opened (deleted, replaced, other permissions): open it anew."""
        try:
            return self.fingerprint != _fingerprint(self.name)
        except OSError:
            return True

    def run(self, script: str) -> None:
        """Run several statements; unlike ``executescript`` within the transaction that was begun."""
        statement = ""
        for line in script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self.execute(statement)
                statement = ""

    def has_tables(self) -> bool:
        """Whether there is a store at all, of whatever version."""
        return bool(self.execute("SELECT 1 FROM sqlite_master WHERE name = 'store'").fetchall())

    def copy(self, target: "Connection", tables: list[str]) -> None:
        """Make another store in a file like this one, as of one moment."""
        self.backup(target)

    @contextmanager
    def upgrading(self) -> Iterator[None]:
        """A transaction that may change the tables, also those that others refer to."""
        self.execute("PRAGMA foreign_keys = OFF")  # or a table couldn't be dropped and made anew
        self.execute(f"PRAGMA busy_timeout = {int(UPGRADING * 1000)}")
        try:
            self.execute("BEGIN IMMEDIATE")
            if self.has_tables():  # SQLite's own shell leaves them behind, and they count for nobody
                self.execute(ORPHANS)
            yield
            if self.execute("PRAGMA foreign_key_check").fetchall():
                raise sqlite3.IntegrityError("credentials without a principal would be left")
            self.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.rollback()
            raise
        finally:
            self.execute("PRAGMA foreign_keys = ON")
            self.execute(f"PRAGMA busy_timeout = {self.busy}")

    def settle(self) -> None:
        """Move what was written from the log into the file, so that the file alone is the store. Otherwise its log
        would count for another file that is put in its place, and would be lost if that one is no database."""
        with suppress(sqlite3.Error):  # it is written in any case; what can't be moved now is moved by the next writer
            self.execute(f"PRAGMA busy_timeout = {SETTLING}")
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.execute(f"PRAGMA busy_timeout = {self.busy}")
        reserve.keep(self.name)

    @staticmethod
    def explain(error: Exception) -> str:
        """What an operator can do about an error of SQLite."""
        if "no such table" in str(error) or "no such column" in str(error):
            return ADVICE[sqlite3.SQLITE_NOTADB]
        code: Any = getattr(error, "sqlite_errorcode", 0)
        return ADVICE.get(code & 0xFF, str(error))  # the low byte is the primary code, the rest says more


def connect(path: str, busy: float = BUSY, longest: float | None = None, upgrading: bool = True) -> Connection:
    """Open the store at `path`, which must exist, check that it is one of ours, and bring an older one up to date.

    :param busy: seconds to wait for a lock that another process holds.
    :param longest: makes no difference here: a query is short, or waits for a lock.
    :param upgrading: False leaves an older store as it is.
    :raises StoreError: if it is missing, not a principals database, of a later version, or can't be opened.
    """
    try:
        fingerprint = _fingerprint(path)
        store = _open(path, busy)
    except FileNotFoundError:
        makes = "`wampauth add` makes one, `wampauth recover` brings back a backup"
        raise StoreError(f"there is no store at {path}: {makes}") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise StoreError(f"{path!r} can't be the name of a file") from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {Connection.explain(error)}") from None
    store.fingerprint = fingerprint
    with sentences(store):
        store.execute("PRAGMA foreign_keys = ON")
    return checked(store, upgrading)


def create(path: str) -> None:
    """Make an empty store, whole or not at all: the file gets its name when it is complete. One that exists is left
    alone.

    :raises StoreError: if it can't be made.
    """
    if Path(path).exists():
        return
    try:
        with tempfile.TemporaryDirectory(dir=Path(path).parent, prefix=".principals-") as folder:
            unfinished = Path(folder, "principals.db")
            os.close(ownership.make(unfinished, Path(path).parent))
            _fill(unfinished)
            with suppress(FileExistsError):
                os.link(unfinished, path)  # unlike a rename, this can't replace a store that someone else just made
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {Connection.explain(error)}") from None


def _open(path: str, busy: float) -> Connection:
    store = sqlite3.connect(
        f"file:{quote(path)}?mode=rw",
        uri=True,
        timeout=busy,
        isolation_level=None,  # transactions begin and end where the code says so
        check_same_thread=False,  # adbapi closes a thread's connection from the reactor's thread
        factory=Connection,
    )
    store.name, store.busy = path, int(busy * 1000)
    store.create_function("store_now", 0, lambda: round(time.time(), 3))
    return store


def _fill(file: Path) -> None:
    store = _open(str(file), BUSY)
    try:
        store.execute("PRAGMA journal_mode = WAL")  # readers don't wait for a writer, nor it for them
        upgrade(store)
    finally:
        store.close()


def _fingerprint(path: str) -> tuple[int, ...]:
    found = os.stat(path)  # noqa: PTH116 - a Path costs four times as much, at each login
    owner = found.st_uid, found.st_gid
    return found.st_dev, found.st_ino, found.st_mode, *owner, found.st_size, found.st_mtime_ns
