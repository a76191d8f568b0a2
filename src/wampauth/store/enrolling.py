"""How does a device come to its key? The operator makes a one-time token; the node spends it, and registers the key.

Both happen in one statement, since the token's row becomes the key's: it keeps its id. Writers take turns, so that of
two who come with one token the second finds none.
"""

from collections.abc import Iterable
from typing import Any

from wampauth import names
from wampauth.store.engine import Connection, sentences, transaction
from wampauth.store.reading import ACTIVE, LOOKUP, Credential
from wampauth.store.showing import Record, Refused, require
from wampauth.store.tickets import ticket_digest
from wampauth.store.writing import insert, insert_credential, note

FIND = LOOKUP + "c.authid IN (?, ?, ?) AND c.verifier = ? AND c.kind = 'token'"
FIND_KEY = LOOKUP + "c.id = ? AND c.kind = 'key'"
TAKEN = "SELECT 1 FROM credential WHERE verifier = ?"
SPEND = """UPDATE credential SET kind = 'key', verifier = ?, created = store_now(), not_before = NULL, expires = NULL,
           overlap = NULL WHERE id = ? AND kind = 'token'"""
OTHERS_END = """UPDATE credential SET expires = store_now() + ? WHERE authid = ? AND kind = 'key' AND id <> ?
                AND revoked IS NULL AND (expires IS NULL OR expires > store_now() + ?)"""
NEVER_COUNT = """UPDATE credential SET revoked = store_now() WHERE authid = ? AND kind = 'key' AND id <> ?
                 AND revoked IS NULL AND not_before >= store_now() + ?"""

Enrolled = tuple[Credential | None, str]  # the key, or None and why not


def invite(connection: Connection, principals: Iterable[Record], tokens: Iterable[str], terms: Record) -> list[str]:
    """Give each of the principals, who may be new, a token; one that wasn't spent counts no more.

    :param principals: authid, realm, role and extra. Of somebody who is known, realm and role may be left out.
    :param terms: of the tokens: label, not_before, expires and overlap, if there are any.
    :returns: the ids of the tokens, which the keys will have.
    :raises Refused: if somebody is known otherwise, or isn't and lacks realm or role; then nobody has one.
    """
    made = []
    with transaction(connection):
        for principal, token in zip(principals, tokens, strict=True):
            authid = _admit(connection, principal)
            connection.execute("DELETE FROM credential WHERE authid = ? AND kind = 'token'", (authid,))
            credential = {"kind": "token", "verifier": ticket_digest(token), **terms}
            made.append(insert_credential(connection, authid, credential))
    return made


def enrol(connection: Connection, authid: str, realm: str, token: str, pubkey: str) -> Enrolled:
    """Spend the token and register the key, or neither. Nobody makes us wait for other writers without a token."""
    about = (*names.spellings(authid), ticket_digest(token))
    with sentences(connection):
        found, reason = _find(connection, about, realm, pubkey)
    if found is None or reason:
        return found, reason
    with transaction(connection):
        found, reason = _find(connection, about, realm, pubkey)
        return (found, reason) if found is None or reason else (_register(connection, found, pubkey), "")


def _find(connection: Connection, about: tuple[str, ...], realm: str, pubkey: str) -> Enrolled:
    """The token, and what stands against spending it now."""
    rows = connection.execute(FIND, about).fetchall()
    if not rows:
        return None, "no such token"
    found = Credential.from_row(rows[0])
    if found.state != ACTIVE:
        return found, found.state
    if found.principal.realm != realm:
        return found, "claims another realm"
    return found, "the key is registered already" if connection.execute(TAKEN, (pubkey,)).fetchall() else ""


def _register(connection: Connection, token: Credential, pubkey: str) -> Credential:
    identifier, authid = token.principal.credential, token.principal.authid
    (overlap,) = connection.execute("SELECT overlap FROM credential WHERE id = ?", (identifier,)).fetchone()
    connection.execute(SPEND, (pubkey, identifier))
    if overlap is not None:
        connection.execute(NEVER_COUNT, (authid, identifier, overlap))  # what would begin after its end
        connection.execute(OTHERS_END, (overlap, authid, identifier, overlap))
        note(connection, authid, None)
    return Credential.from_row(connection.execute(FIND_KEY, (identifier,)).fetchone())


def _admit(connection: Connection, principal: Record) -> str:
    """See that there is such a principal."""
    authid = names.authid(principal["authid"])
    if not connection.execute("SELECT 1 FROM principal WHERE authid IN (?, ?, ?)", names.spellings(authid)).fetchall():
        if None in (principal.get("realm"), principal.get("role")):
            raise Refused(f"there is no principal {authid}: --realm and --role make one")
        insert(connection, principal)
        return authid
    known: dict[str, Any] = require(connection, authid)
    authid = known["authid"]
    for name in "realm", "role":
        if principal.get(name) not in (None, known[name]):
            raise Refused(f"{authid} has the {name} {known[name]}, and isn't given another one by a token")
    return authid
