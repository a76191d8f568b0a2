"""What is stored of a ticket, and how is one checked against it?"""

import functools
import hashlib
import os
import unicodedata
from collections.abc import Sequence

import nacl.exceptions
import nacl.pwhash

from wampauth import names

MAX_CHOSEN = 2  # chosen tickets that a principal may have, so that one can follow the other


def meant(ticket: str) -> str:
    """The ticket that somebody means who types or pastes it: without the line end of a file, and with its accents
    composed (Unicode's NFC), as not every system writes them. What is too long for a ticket of ours stays as it is."""
    return unicodedata.normalize("NFC", names.without_line_end(ticket)) if len(ticket) <= names.MAX_TICKET else ticket


def ticket_digest(ticket: str) -> str:
    """What is stored of a ticket that ``wampauth ticket`` made: with 256 random bits, a plain SHA-256 can't be
    guessed."""
    return hashlib.sha256(meant(ticket).encode()).hexdigest()


def chosen_verifier(ticket: str) -> str:
    """What is stored of a ticket that a person chose: Argon2id at libsodium's interactive setting. Takes some 80 ms."""
    return nacl.pwhash.argon2id.str(
        meant(ticket).encode(), nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE, nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE
    ).decode()


@functools.cache
def decoy() -> str:
    """A verifier of a chosen ticket, opened by none: to check it costs as much as to check a real one."""
    return chosen_verifier(os.urandom(32).hex())


def find_chosen(verifiers: Sequence[str], ticket: str) -> int | None:
    """Which of the `verifiers` the `ticket` opens. A yes is given when it is found; every no takes the time of
    :data:`MAX_CHOSEN`, so that it doesn't tell how many there are.

    A ticket that isn't in the form in which we keep it is tried as it is, too: a verifier that an older program made
    may stand for just that. So its no takes twice as long, whoever is meant.
    """
    for form in dict.fromkeys((meant(ticket), ticket)):
        for number, verifier in enumerate(verifiers):
            if verify_chosen(verifier, form):
                return number
        for _ in range(MAX_CHOSEN - len(verifiers)):
            verify_chosen(decoy(), form)
    return None


def verify_chosen(verifier: str, ticket: str) -> bool:
    """Whether `ticket`, just as it is, is the chosen one that `verifier` was made of. Takes some 80 ms and 64 MiB."""
    try:
        return bool(nacl.pwhash.verify(verifier.encode(), ticket.encode()))
    except nacl.exceptions.InvalidkeyError:
        return False
