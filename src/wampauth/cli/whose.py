"""Which records of the audit are about a principal? Those with its authid, and those of clients that show a key or a
certificate of its and say no name.
"""

from collections.abc import Callable
from contextlib import closing, suppress

import click

from wampauth import names, pubkeys
from wampauth.cli.asked import instead
from wampauth.history import Record
from wampauth.store import StoreError, connect, showing

WHOM = ("authid", "claimed", "claimed_authid")  # the fields that tell of whom it is
KINDS = ("key", "cert")


def about(authid: str) -> Callable[[Record], bool]:
    """Says of a record whether it is about this principal, or about who has claimed to be it.

    :param authid: or a public key, in any of the forms in which it may be pasted.
    """
    shown = _shown(authid)

    def is_about(record: Record) -> bool:
        whom = [str(record[name]) for name in WHOM if name in record]
        return any(names.look_alike(authid, one) or one in shown for one in whom)

    return is_about


def _shown(authid: str) -> set[str]:
    """The public keys and certificates that are meant, if the store is at hand."""
    shown = set()
    with suppress(names.Malformed):
        shown.add(pubkeys.public(authid))
    path = click.get_current_context().find_root().obj
    if instead(path):
        return shown
    with suppress(StoreError, showing.Refused), closing(connect(path, upgrading=False)) as store:
        shown |= {one["verifier"] for one in showing.show(store, authid)["credentials"] if one["kind"] in KINDS}
    return shown
