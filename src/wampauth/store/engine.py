"""What do the engines of a store have in common?

``sqlite.py`` and ``postgresql.py`` answer with the same kind of connection, so that ``reading.py`` (in the node) and
``writing.py`` (for the operator) speak the SQL of ``principals.sql`` to either.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any, Protocol, TypeVar

VERSION = 1  # of principals.sql; raise it with each change there
BUSY = 2.0  # seconds to wait for a lock that another process holds; below the guard's deadline


class StoreError(Exception):
    """The store can't be used. The text is one sentence for the operator: what is wrong, and what to do."""


class Connection(Protocol):
    """An open store."""

    BEGIN_READING: tuple[str, ...]  # the statements that begin a transaction
    BEGIN_WRITING: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the sentences call it: where it lies, without a secret."""

    @property
    def identity(self) -> tuple[int, ...]:
        """Another one for another store at the same place."""

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
    except BaseException:
        store.close()
        raise
    return store


def script() -> str:
    """The statements that make an empty store."""
    return f"{files(__package__).joinpath('principals.sql').read_text()} INSERT INTO store VALUES ({VERSION});"
