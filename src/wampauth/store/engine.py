"""What do the engines of a store have in common?

``sqlite.py`` and ``postgresql.py`` answer with the same kind of connection, so that ``reading.py`` (in the node) and
``writing.py``, ``showing.py`` and ``moving.py`` (for the operator) speak the SQL of ``principals.sql`` to either.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from secrets import token_hex
from typing import Any, Protocol, TypeVar

VERSION = 1  # of principals.sql; raise it with each change there
BUSY = 2.0  # seconds to wait for a lock that another process holds; below the guard's deadline


class StoreError(Exception):
    """The store can't be used. The text is one sentence for the operator: what is wrong, and what to do."""


class Connection(Protocol):
    """An open store."""

    has_id: bool  # whether there is the table ``identity``
    BEGIN_READING: tuple[str, ...]  # the statements that begin a transaction
    BEGIN_WRITING: tuple[str, ...]

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
    if writing and not store.has_id:
        _give_id(store)
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


def _give_id(store: Connection) -> None:
    """Tell a store that an older program made from others. Who can't write this can't write the rest either, and is
    told so then; or may write, but not make tables, and does without."""
    with suppress(store.Error):
        for statement in store.BEGIN_WRITING:
            store.execute(statement)
        store.execute("CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL)")
        store.execute("INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM identity)", (token_hex(16),))
        store.execute("COMMIT")
        store.has_id = True
        return
    with suppress(store.Error):
        store.rollback()


def checked(store: SomeConnection) -> SomeConnection:
    """See that the store is one of ours. One that isn't is closed.

    :raises StoreError: if it is no principals database, or one of another version.
    """
    try:
        with sentences(store):
            versions = [version for (version,) in store.execute("SELECT version FROM store").fetchall()]
        if versions != [VERSION]:
            found = " and ".join(map(str, versions)) or "none"
            raise StoreError(f"{store.name} has version {found}, and this program knows {VERSION}: use its own")
        store.has_id = _has_id(store)
    except BaseException:
        store.close()
        raise
    return store


def _has_id(store: Connection) -> bool:
    """Whether the store has an id. An older program's has none, or a reader may not be allowed to see it."""
    with suppress(store.Error):
        return bool(store.execute("SELECT 1 FROM identity").fetchall())
    return False


def script() -> str:
    """The statements that make an empty store."""
    tables = files(__package__).joinpath("principals.sql").read_text()
    return f"{tables} INSERT INTO store VALUES ({VERSION}); INSERT INTO identity VALUES ('{token_hex(16)}');"
