"""How is a store opened that several machines share? The PostgreSQL half of ``database.py``, and as long as it is used
with a file, nobody needs it.

Passwords belong in ``~/.pgpass`` or ``PGPASSWORD``, not in the URL: a configuration isn't a place for secrets.
"""

import re
import select
from typing import Any

import psycopg

import database

# No password, and no place where one could slip in: what couldn't be read is quoted in errors.
URL = re.compile(
    r"postgresql://([\w.+-]+@)?(?P<place>([\w.-]*(:\d+)?,)*[\w.-]*(:\d+)?/[\w.+-]+)"
    r"(\?sslmode=[a-z-]+(&sslrootcert=[\w./-]+)?)?"
)
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
        """True if the connection has failed once, or is lost: what a server says unasked is goodbye."""
        if self.spoiled or self.closed:
            return True
        listener = select.poll()
        listener.register(self.fileno(), select.POLLIN)
        return bool(listener.poll(0))

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
    address = URL.fullmatch(url)
    if address is None:
        raise database.StoreError(
            "a store's URL is written postgresql://USER@HOST:PORT/DATABASE, with ?sslmode=verify-full if you like;"
            " a password belongs in ~/.pgpass or PGPASSWORD"
        )
    name = f"postgresql://{address['place']}"
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
                store.execute(script.replace(" TEXT", ' TEXT COLLATE "C"'))  # sorted by code point, as in a file
    finally:
        store.close()
