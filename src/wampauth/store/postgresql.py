"""How is a store opened that several machines share? Nobody else knows PostgreSQL, and whoever has a file doesn't need
it.

Passwords belong in ``~/.pgpass`` or ``PGPASSWORD``, not in the URL: a configuration isn't a place for secrets.
"""

import os
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from wampauth.store.engine import (
    BUSY,
    UPGRADING,
    StoreError,
    checked,
    copy_rows,
    sentences,
    transaction,
    upgrade,
    version,
)
from wampauth.store.schema import VERSION

apilevel, threadsafety = "2.0", 1  # adbapi asks for these: this module is its DB-API driver
# No password, and no place where one could slip in: what couldn't be read is quoted in errors.
URL = re.compile(
    r"postgresql://([\w.+-]+@)?(?P<place>([\w.-]*(:\d+)?,)*[\w.-]*(:\d+)?/[\w.+-]+)"
    r"(\?sslmode=[a-z-]+(&sslrootcert=[\w./-]+)?)?"
)
QUOTED = re.compile('".*(?:"|$)')  # of a value that has the wrong form; other errors quote names of ours
CONNECT_TIMEOUT = 2  # seconds; below the guard's deadline, like BUSY
KEEPALIVE = 3  # seconds: is the machine still there?
LOCK = 7_316_550  # any number; with it, two processes don't make or change the tables at once
CLOCK = """CREATE OR REPLACE FUNCTION store_now() RETURNS DOUBLE PRECISION LANGUAGE SQL
           AS 'SELECT EXTRACT(EPOCH FROM date_trunc(''milliseconds'', clock_timestamp()))::DOUBLE PRECISION'"""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A store in PostgreSQL, with what ``engine.Connection`` asks for."""

    ENGINE = "postgresql"
    BEGIN_READING: tuple[str, ...] = ("BEGIN ISOLATION LEVEL REPEATABLE READ",)
    BEGIN_WRITING: tuple[str, ...] = (
        "BEGIN",
        "LOCK TABLE change IN EXCLUSIVE MODE",
    )  # writers take turns, readers don't mind

    name: str
    upgraded: int | None = None
    identity: tuple[int, ...] = ()  # the number of the table: tables that are made anew have another

    def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run a statement that is written with SQLite's placeholders."""
        return super().execute(query.replace("?", "%s"), params, **options)

    def run(self, script: str) -> None:
        """Run several statements."""
        super().execute(script.replace(" TEXT", ' TEXT COLLATE "C"'))  # sorted by code point, as in a file

    def has_tables(self) -> bool:
        """Whether there is a store at all, of whatever version."""
        return self.execute("SELECT to_regclass('store')").fetchone() != (None,)

    def copy(self, target: Any, tables: list[str]) -> None:
        """Make a store in a file like this one, as of one moment."""
        if version(self) != VERSION:
            raise StoreError(f"{self.name} has an older version: keep it with `pg_dump`; any other command upgrades it")
        with transaction(self, writing=False), transaction(target):
            copy_rows(target, self, tables)

    @contextmanager
    def upgrading(self) -> Iterator[None]:
        """A transaction that may change the tables. Those who write wait before it takes any other lock."""
        with self.transaction():
            self.execute(f"SET LOCAL lock_timeout = {int(UPGRADING * 1000)}")
            self.execute("SET LOCAL statement_timeout = 0")
            self.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            if self.has_tables():
                self.execute("LOCK TABLE change IN EXCLUSIVE MODE")
            self.execute(CLOCK)
            yield

    def interrupt(self) -> None:
        """Hang up, which also works when the server says nothing any more. The server ends the query at `longest`."""
        with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    def is_stale(self) -> bool:
        """True if the connection is lost: what a server says unasked is goodbye."""
        if self.closed:
            return True
        listener = select.poll()
        listener.register(self.fileno(), select.POLLIN)
        return bool(listener.poll(0))

    def settle(self) -> None:
        """Nothing to do; a file has a log to empty."""

    @staticmethod
    def explain(error: Exception) -> str:
        """What the server says, in a line, without the details that quote what is stored, or was to be."""
        if isinstance(error, psycopg.errors.UndefinedTable):
            makes = "`wampauth add` makes the tables, `wampauth recover` brings back a backup"
            return f"this database holds no principals; {makes}"
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        said = " ".join((said or str(error)).split())
        return QUOTED.sub('"..."', said) if isinstance(error, psycopg.DataError) else said


def connect(url: str, busy: float = BUSY, longest: float | None = None, upgrading: bool = True) -> Connection:
    """Connect to the database that `url` names, check that there is a store of ours, and bring an older one up to date.

    :param busy: seconds to wait for a lock that another session holds, or for a server that doesn't answer.
    :param longest: seconds after which the server gives up a statement, or a transaction in which none comes; None:
        never.
    :param upgrading: False leaves an older store as it is.
    :raises StoreError: if there is none, or one of a later version, or the server can't be reached.
    """
    store = checked(_connect(url, busy, longest), upgrading)
    with sentences(store):
        row = store.execute("SELECT 'change'::regclass::oid::bigint").fetchone()
    store.identity = row or ()
    return store


def create(url: str) -> None:
    """Make the tables in the database that `url` names, unless it has them.

    :raises StoreError: if that can't be done.
    """
    store = _connect(url, BUSY, None)
    try:
        with sentences(store):
            exists = store.has_tables()
        if not exists:
            upgrade(store)
    finally:
        store.close()


def _connect(url: str, busy: float, longest: float | None) -> Connection:
    address = URL.fullmatch(url)
    if address is None:
        raise StoreError(
            "a store's URL is written postgresql://USER@HOST:PORT/DATABASE, with ?sslmode=verify-full if you like;"
            " a password belongs in ~/.pgpass or PGPASSWORD"
        )
    name = f"postgresql://{address['place']}"
    limits = {
        "lock_timeout": busy,
        "statement_timeout": longest or 0,
        "idle_in_transaction_session_timeout": longest or 0,  # who is frozen while it writes keeps others from it
    }
    try:
        store = Connection.connect(
            url,
            client_encoding="UTF8",  # else the server's, or the environment's; in SQL_ASCII, texts would be bytes
            autocommit=True,  # transactions begin and end where the code says so
            connect_timeout=CONNECT_TIMEOUT,
            tcp_user_timeout=int(busy * 1000),
            keepalives_idle=KEEPALIVE,
            keepalives_interval=KEEPALIVE,
            keepalives_count=2,
            options=" ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items()),
        )
    except psycopg.Error as error:
        raise StoreError(f"{name}: {Connection.explain(error)}") from None
    store.name = name
    return store
