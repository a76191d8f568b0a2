"""Where does the store lie, and how is it opened? Here, and only here, the engines meet."""

import functools
import re
from typing import Any

from twisted.logger import Logger

from wampauth.settings import SettingsError, require_private
from wampauth.store import reserve, sqlite
from wampauth.store.engine import BUSY, Connection, StoreError
from wampauth.store.opened import OpenStore
from wampauth.store.principals import Principals
from wampauth.store.protocol import Certificates, Changes, Enrols, Reaching, Scram, Store
from wampauth.store.schema import VERSION
from wampauth.store.tickets import chosen_verifier, ticket_digest
from wampauth.told import load, sentence

__all__ = [
    "Certificates",
    "Changes",
    "Connection",
    "Enrols",
    "OpenStore",
    "Reaching",
    "Scram",
    "Store",
    "StoreError",
    "chosen_verifier",
    "connect",
    "create",
    "make_room",
    "open_store",
    "ticket_digest",
    "upgraded",
]

MAY_UPGRADE = True  # False in a process that only looks: a store that is opened stays as old as it is
SERVER_THREADS = 4  # queries at once in a database server; a file has one thread
OWN = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")  # module:name


def open_store(where: str) -> OpenStore:
    """The one store at `where` in this process.

    :param where: a path (SQLite; only for its owner to read), a URL that begins with ``postgresql://``, or
        ``module:name`` of your own: what is named there is called without arguments, and returns the store.
    :raises StoreError: if it can't be opened; better now than at the first login.
    :raises SettingsError: if others can read the file, or if your own can't be loaded or lacks a method.
    """
    if not isinstance(where, str) or not where:
        raise SettingsError("setting 'store' must be a path, a URL that begins with postgresql://, or module:name")
    return _open_store(where)


@functools.cache
def _open_store(where: str) -> OpenStore:
    if OWN.fullmatch(where):
        made = _load(where)
        return made if isinstance(made, OpenStore) else OpenStore(made)  # it may have called open_store() itself
    opened = connect(where, upgrading=MAY_UPGRADE)
    opened.close()
    if opened.upgraded is not None:
        Logger().error("{sentence}", sentence=upgraded(opened))  # no other level is shown by itself
    if not _is_url(where):
        require_private(where)
    return OpenStore(_principals(where))


def connect(where: str, busy: float = BUSY, upgrading: bool = True) -> Connection:
    """Open the store, which must exist, check that it is one of ours, and bring an older one up to date.

    :param where: a path, or a URL that begins with ``postgresql://``.
    :param busy: seconds to wait for a lock that another process holds.
    :param upgrading: False leaves an older store as it is.
    :raises StoreError: if it is missing, not a principals database, of a later version, or can't be opened.
    """
    store: Connection = _engine(where).connect(where, busy, upgrading=upgrading)
    return store


def upgraded(store: Connection) -> str:
    """What to tell about a store that was upgraded at opening."""
    return f"{store.name} was upgraded from version {store.upgraded} to {VERSION}, which no older wampauth can use."


def create(where: str) -> None:
    """Make an empty store, whole or not at all. Leaves one that exists alone.

    :raises StoreError: if it can't be made.
    """
    _engine(where).create(where)


def make_room(where: str) -> None:
    """What a command does first that takes something away from somebody, and must work when the disk is full."""
    if not _is_url(where):
        reserve.free_if_full(where)


def _principals(where: str, reactor: Any = None) -> Principals:
    return Principals(_engine(where).__name__, where, SERVER_THREADS if _is_url(where) else 1, reactor)


def _is_url(where: str) -> bool:
    return "://" in where


def _engine(where: str) -> Any:
    """The module that knows how to connect to what lies at `where`."""
    if OWN.fullmatch(where):
        raise StoreError(f"{where} is a store of your own: only files and postgresql:// are looked after here")
    if not _is_url(where):
        return sqlite
    if not where.startswith("postgresql://"):
        raise StoreError(
            f"{where.partition('://')[0]} isn't an engine that is known here: give a path or postgresql://"
        )
    try:
        from wampauth.store import postgresql
    except ImportError:
        raise StoreError(
            "for PostgreSQL, psycopg is needed: `pip install wampauth[postgresql]` (here: `make postgresql`)"
        ) from None
    return postgresql


def _load(where: str) -> Any:
    """Call what is named by ``module:name``.

    :raises SettingsError: if it can't be imported, isn't there, or fails.
    """
    module, _, name = where.partition(":")
    try:
        make = getattr(load(module), name, None)
        if not callable(make):
            raise SettingsError(f"the store {where} can't be loaded: {module} has no {name} that can be called")
        return make()
    except (SettingsError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SettingsError(f"the store {where} can't be loaded: {sentence(error)}") from None
