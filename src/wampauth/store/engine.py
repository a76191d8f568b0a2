"""What do the engines of a store have in common?

``sqlite.py`` and ``postgresql.py`` answer with the same kind of connection, so that ``reading.py`` (in the node) and
``writing.py``, ``showing.py`` and ``moving.py`` (for the operator) speak the SQL of ``schema/`` to either.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from secrets import token_hex
from typing import Any, Protocol, TypeVar

from wampauth.store.schema import VERSION, steps

BUSY = 2.0  # seconds to wait for a lock that another process holds; below the guard's deadline
UPGRADING = 60.0  # seconds to wait for another process that upgrades the store


class StoreError(Exception):
    """The store can't be used. The text is one sentence for the operator: what is wrong, and what to do."""


class Connection(Protocol):
    """An open store."""

    ENGINE: str  # sqlite or postgresql
    BEGIN_READING: tuple[str, ...]  # the statements that begin a transaction
    BEGIN_WRITING: tuple[str, ...]
    upgraded: int | None  # the version that was found at opening, if it was an older one

    @property
    def name(self) -> str:
        """What the sentences call it: where it lies, without a secret."""

    @property
    def identity(self) -> tuple[int, ...]:
        """Another one for another store at the same place, as far as the engine can tell."""

    @property
    def Error(self) -> type[Exception]:
        """What the engine raises."""

    def execute(self, query: str, parameters: Any = ..., /) -> Any:
        """Run a statement, with ``?`` for each parameter, and return its cursor."""

    def run(self, script: str, /) -> None:
        """Run several statements, without parameters."""

    def has_tables(self) -> bool:
        """Whether there is a store at all, of whatever version."""

    def upgrading(self) -> AbstractContextManager[None]:
        """A transaction that may change the tables, and waits for others that do."""

    def copy(self, target: Any, tables: list[str], /) -> None:
        """Make a store in a file like this one, as of one moment."""

    def rollback(self) -> None:
        """Take back what the transaction has done so far."""

    def close(self) -> None:
        """Never while a thread is in the middle of a query."""

    def interrupt(self) -> None:
        """End the query that another thread is waiting for, if there is one. The connection is of no more use then."""

    def is_stale(self) -> bool:
        """True if there should be a new connection instead."""

    def settle(self) -> None:
        """What an operator's command does last."""

    def explain(self, error: Exception, /) -> str:
        """What an operator can do about an error of the engine."""


SomeConnection = TypeVar("SomeConnection", bound=Connection)


@contextmanager
def sentences(store: Connection) -> Iterator[None]:
    """Turn what the engine raises into a :class:`StoreError` that an operator can act on."""
    try:
        yield
    except store.Error as error:
        raise StoreError(f"{store.name}: {store.explain(error)}") from None


@contextmanager
def transaction(store: Connection, writing: bool = True) -> Iterator[None]:
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


def checked(store: SomeConnection, upgrading: bool = True) -> SomeConnection:
    """See that the store is one of ours, and bring an older one to what this program knows. One that can't be used is
    closed.

    :param upgrading: False leaves an older one as it is.
    :raises StoreError: if it is no principals database, one of a later version, or can't be upgraded.
    """
    try:
        if version(store) < VERSION and upgrading:
            upgrade(store)
    except BaseException:
        store.close()
        raise
    return store


def version(store: Connection) -> int:
    """How many steps the store has taken.

    :raises StoreError: if it is no principals database, or one that a later program has made.
    """
    with sentences(store):
        versions = [version for (version,) in store.execute("SELECT version FROM store").fetchall()]
    if len(versions) != 1 or not isinstance(versions[0], int) or versions[0] < 1:
        found = " and ".join(map(str, versions)) or "none"
        raise StoreError(f"{store.name} has version {found}, which no program gives: `wampauth recover` a backup")
    if versions[0] > VERSION:
        raise StoreError(
            f"{store.name} has version {versions[0]}, and this program knows {VERSION}: a later wampauth upgraded it,"
            " install that one (a backup from before can be brought back where no store is)"
        )
    return int(versions[0])


def upgrade(store: Connection) -> None:
    """Take the steps that the store lacks, from none on: all or nothing. One process does it, others wait for it.

    :raises StoreError: if that can't be done; the store is as it was.
    """
    try:
        with store.upgrading():
            since = version(store) if store.has_tables() else 0  # another process may have been faster
            if since == VERSION:
                return
            for step in steps(store.ENGINE, since):
                store.run(step)
            store.execute("DELETE FROM store")
            store.execute("INSERT INTO store VALUES (?)", (VERSION,))
            store.execute("INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM identity)", (token_hex(16),))
        store.upgraded = since or None
    except store.Error as error:
        raise StoreError(f"{store.name} can't be brought to version {VERSION}: {store.explain(error)}") from None


def copy_rows(target: Connection, source: Connection, tables: list[str]) -> None:
    """Make what one store holds what another one does, within a transaction of each.

    :param tables: those that others refer to come first.
    """
    for table in reversed(tables):
        target.execute(f"DELETE FROM {table}")
    for table in tables:
        rows = source.execute(f"SELECT * FROM {table}")
        columns = [column[0] for column in rows.description]
        places = ", ".join("?" * len(columns))
        for row in rows:
            target.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", row)
