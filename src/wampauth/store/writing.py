"""Who is let in, and who no longer? The writing half of the store, as the operator's command line uses it.

Each function is one transaction: done, or refused with a sentence and nothing changed. The node reads what is written
here at the next login (``reading.py``), and looks twice a second for what was taken back (the table ``change``).
"""

import json
import secrets
from collections.abc import Callable
from typing import Any

from wampauth import names, scram
from wampauth.claims import ScramVerifier
from wampauth.pubkeys import public
from wampauth.store.engine import Connection, transaction
from wampauth.store.moments import seconds
from wampauth.store.reading import ACTIVE
from wampauth.store.showing import TIMES, Record, Refused, now, require, require_credential
from wampauth.store.tickets import MAX_CHOSEN

VERIFIERS: dict[str, Callable[[Any], str]] = {  # what is stored of each kind of credential
    "key": public,
    "ticket": names.sha256,
    "token": names.sha256,
    "chosen": names.argon2id,
    "scram": scram.checked,
    "cert": names.fingerprint,
}
ADD_CHANGE = "INSERT INTO change (seq, authid, credential) SELECT COALESCE(MAX(seq), 0) + 1, ?, ? FROM change"
ADD_CREDENTIAL = """INSERT INTO credential
                    (id, authid, kind, verifier, label, created, not_before, expires, revoked, overlap)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
PRUNE = "DELETE FROM change WHERE seq <= (SELECT MAX(seq) FROM change) - ?"
KEPT = 10_000  # changes; who was away for longer looks at everybody


def add(connection: Connection, principal: Record) -> None:
    """Add a principal: authid, realm, role and extra.

    :raises names.Malformed: if one of them can't be stored.
    :raises Refused: if there is such a principal.
    """
    with transaction(connection):
        insert(connection, principal)


def remove(connection: Connection, authid: str) -> None:
    """Forget a principal and all its credentials.

    :raises Refused: here and below, if there is no such principal or credential.
    """
    with transaction(connection):
        authid = require(connection, authid)["authid"]
        connection.execute("DELETE FROM principal WHERE authid = ?", (authid,))
        note(connection, authid, None)


def change(connection: Connection, authid: str, changed: Record) -> None:
    """Give a principal another realm, role, extra or max_sessions, from now on.

    :param changed: the fields that change.
    :raises names.Malformed: if one of them can't be stored.
    """
    with transaction(connection):
        known = require(connection, authid)
        authid, new = known["authid"], {**known, **changed}
        row = (names.realm(new["realm"]), names.role(new["role"]), json.dumps(names.extra(new["extra"])))
        values = (*row, names.max_sessions(new["max_sessions"]), authid)
        connection.execute(
            "UPDATE principal SET realm = ?, role = ?, extra = ?, max_sessions = ? WHERE authid = ?", values
        )
        note(connection, authid, None)


def add_credential(connection: Connection, authid: str, credential: Record) -> str:
    """Give a principal a credential: kind and verifier, and if there are any label, not_before and expires.

    :returns: its id.
    :raises names.Malformed: if the verifier or the label can't be stored.
    :raises Refused: for a key that somebody has, an expiry that is past, or a third chosen ticket.
    """
    with transaction(connection):
        authid = require(connection, authid)["authid"]
        return insert_credential(connection, authid, credential)


def set_password(connection: Connection, authid: str, verifier: ScramVerifier, terms: Record) -> str:
    """Give a principal a password, for WAMP-SCRAM. One that it has is forgotten.

    :param verifier: with the salt that ``reading.scram_salt`` says.
    :param terms: label, not_before and expires, if there are any.
    :returns: its id.
    """
    names.ascii_authid(authid)
    with transaction(connection):
        require(connection, authid)
        forgotten = connection.execute("DELETE FROM credential WHERE authid = ? AND kind = 'scram'", (authid,))
        if forgotten.rowcount:
            note(connection, authid, None)
        return insert_credential(connection, authid, {"kind": "scram", "verifier": scram.written(verifier), **terms})


def rotate(connection: Connection, authid: str, old: str, successor: Record, overlap: float) -> str:
    """Add a successor to the credential `old` (id or label), which runs out `overlap` seconds from now.

    :returns: the successor's id.
    """
    with transaction(connection):
        authid = require(connection, authid)["authid"]
        known = require_credential(connection, authid, old)
        if known["state"] != ACTIVE:
            raise Refused(f"credential {old} is {known['state']}: add a new one instead")
        added = insert_credential(connection, authid, {"label": known["label"], **successor})
        ends = now(connection) + overlap
        later = "UPDATE credential SET expires = ? WHERE id = ? AND (expires IS NULL OR expires > ?)"
        connection.execute(later, (ends, known["id"], ends))
        note(connection, authid, known["id"])
        return added


def revoke(connection: Connection, authid: str, credential: str | None = None) -> None:
    """Withdraw a credential (id or label), or with None the principal, from now on."""
    with transaction(connection):
        authid = require(connection, authid)["authid"]
        if credential is None:
            connection.execute(
                "UPDATE principal SET revoked = store_now() WHERE authid = ? AND revoked IS NULL", (authid,)
            )
        else:
            credential = str(require_credential(connection, authid, credential)["id"])
            connection.execute(
                "UPDATE credential SET revoked = store_now() WHERE id = ? AND revoked IS NULL", (credential,)
            )
        note(connection, authid, credential)


def restore(connection: Connection, authid: str) -> None:
    """Take the revocation of a principal back. Credentials that were withdrawn one by one stay withdrawn."""
    with transaction(connection):
        principal = require(connection, authid)
        authid = principal["authid"]
        if principal["state"] == ACTIVE:
            raise Refused(f"{authid} isn't revoked: `wampauth show {authid}` has what else it may be")
        connection.execute("UPDATE principal SET revoked = NULL WHERE authid = ?", (authid,))


def note(connection: Connection, authid: str, credential: str | None) -> None:
    """Tell those who follow the changes."""
    connection.execute(ADD_CHANGE, (authid, credential))
    connection.execute(PRUNE, (KEPT,))


def insert(connection: Connection, principal: Record) -> str:
    """Add a principal within a transaction, and return its authid as it is stored. Raises as :func:`add`."""
    authid = names.authid(principal["authid"])
    row = (authid, names.realm(principal["realm"]), names.role(principal["role"]))
    extra = json.dumps(names.extra(principal.get("extra", {})))
    known = "SELECT authid FROM principal WHERE authid IN (?, ?, ?)"
    if known_as := connection.execute(known, names.spellings(authid)).fetchone():
        raise Refused(f"there is a principal {known_as[0]} already: `wampauth set {known_as[0]}` changes it")
    values = (*row, extra, seconds(principal.get("revoked")), names.max_sessions(principal.get("max_sessions")))
    columns = "authid, realm, role, extra, revoked, max_sessions"
    connection.execute(f"INSERT INTO principal ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)
    return authid


def insert_credential(connection: Connection, authid: str, credential: Record, past: bool = False) -> str:
    """Add a credential to a principal that exists, within a transaction. With `past`, as in an import, it may have run
    out already."""
    kind = credential["kind"]
    verifier = VERIFIERS[kind](credential["verifier"])
    created, not_before, expires, revoked = (seconds(credential.get(name)) for name in TIMES)
    if expires is not None and not past and expires <= now(connection):
        raise Refused("the expiry is in the past: give a later one, such as --expires 30d")
    if expires is not None and not_before is not None and expires <= not_before:
        raise Refused("the credential would run out before it begins to count: give a later --expires")
    if owner := connection.execute("SELECT authid FROM credential WHERE verifier = ?", (verifier,)).fetchone():
        raise Refused(f"this {kind} is registered already, for {owner[0]} (`wampauth show {owner[0]}`)")
    if kind == "chosen":
        _make_room(connection, authid, keep=past)
    given = credential.get("id")
    identifier = names.credential(given or secrets.token_hex(8))
    if given and connection.execute("SELECT 1 FROM credential WHERE id = ?", (identifier,)).fetchone():
        raise Refused(f"there is a credential {identifier} already: leave its id out to get another one")
    label = names.label(credential.get("label", ""))
    times = (created if created is not None else now(connection), not_before, expires, revoked)
    overlap = names.overlap(credential.get("overlap"))
    connection.execute(ADD_CREDENTIAL, (identifier, authid, kind, verifier, label, *times, overlap))
    return identifier


def _make_room(connection: Connection, authid: str, keep: bool) -> None:
    """Drop chosen tickets that will never count again: each one costs every wrong guess another Argon2id check. With
    `keep`, as in an import, drop none."""
    if not keep:
        over = "authid = ? AND kind = 'chosen' AND (revoked IS NOT NULL OR expires <= store_now())"
        connection.execute(f"DELETE FROM credential WHERE {over}", (authid,))
    chosen = connection.execute("SELECT 1 FROM credential WHERE authid = ? AND kind = 'chosen'", (authid,)).fetchall()
    if len(chosen) >= MAX_CHOSEN:
        raise Refused(
            f"{authid} has {MAX_CHOSEN} chosen tickets already: `wampauth revoke {authid} --credential ID` first"
        )
