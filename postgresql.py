"""How is a store opened that several machines share? The PostgreSQL half of ``database.py``, and as long as it is used
with a file, nobody needs it.

Passwords belong in ``~/.pgpass`` or ``PGPASSWORD``, not in the URL: a configuration isn't a place for secrets.
"""

from typing import Any
from urllib.parse import urlsplit

import psycopg

import database

CONNECT_TIMEOUT = 2  # seconds; below the guard's deadline, like database.BUSY
LOCK = 7_316_550  # any number; with it, two operators don't make the tables at once
CLOCK = """CREATE FUNCTION store_now() RETURNS DOUBLE PRECISION LANGUAGE SQL
           AS 'SELECT EXTRACT(EPOCH FROM date_trunc(''milliseconds'', clock_timestamp()))::DOUBLE PRECISION'"""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A store in PostgreSQL, with the attributes and methods of ``database.Connection``."""

    BEGIN_READING = ("BEGIN ISOLATION LEVEL REPEATABLE READ",)
    BEGIN_WRITING = ("BEGIN", "LOCK TABLE change IN EXCLUSIVE MODE")  # writers take turns, readers don't mind

    name: str
    spoiled = False

    def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run a statement that is written with SQLite's placeholders."""
        return super().execute(query.replace("?", "%s"), params, **options)

    def is_stale(self) -> bool:
        """True if the connection is lost, or has failed once."""
        return self.spoiled or self.closed

    def settle(self) -> None:
        """Nothing to do; a file has a log to empty."""

    def spoil(self) -> None:
        """Count this connection as stale from now on."""
        self.spoiled = True

    @staticmethod
    def explain(error: Exception) -> str:
        """What the server says, in a line."""
        if isinstance(error, psycopg.errors.UndefinedTable):
            return "this database holds no principals; `python manage.py add` makes the tables"
        return " ".join(str(error).split())


def connect(url: str, busy: float) -> Connection:
    """Connect to the database that `url` names.

    :param busy: seconds to wait for a lock that another session holds, or for a server that doesn't answer.
    :raises database.StoreError: if that can't be done.
    """
    address = urlsplit(url)
    name = f"postgresql://{address.hostname or ''}{address.path}"  # without user and password
    try:
        store = Connection.connect(
            url,
            autocommit=True,  # transactions begin and end where the code says so
            connect_timeout=CONNECT_TIMEOUT,
            tcp_user_timeout=int(busy * 1000),
            options=f"-c lock_timeout={int(busy * 1000)}",
        )
    except psycopg.Error as error:
        raise database.StoreError(f"{name}: {Connection.explain(error)}") from None
    store.name = name
    return store


def create(url: str, script: str) -> None:
    """Make the tables in the database that `url` names, unless it has them.

    :raises database.StoreError: if that can't be done.
    """
    store = connect(url, database.BUSY)
    try:
        with database.sentences(store), store.transaction():
            store.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            if store.execute("SELECT to_regclass('store')").fetchone() == (None,):
                store.execute(CLOCK)
                store.execute(script)
    finally:
        store.close()
