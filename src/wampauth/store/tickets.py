"""What is stored of a ticket, and how is one checked against it?"""

import functools
import hashlib
import os
from collections.abc import Sequence

import nacl.exceptions
import nacl.pwhash

MAX_CHOSEN = 2  # chosen tickets that a principal may have, so that one can follow the other


def ticket_digest(ticket: str) -> str:
    """What is stored of a ticket that ``wampauth ticket`` made: with 256 random bits, a plain SHA-256 can't be
    guessed."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def chosen_verifier(ticket: str) -> str:
    """What is stored of a ticket that a person chose: Argon2id at libsodium's interactive setting. Takes some 80 ms."""
    return nacl.pwhash.argon2id.str(
        ticket.encode(), nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE, nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE
    ).decode()


@functools.cache
def decoy() -> str:
    """A verifier of a chosen ticket, opened by none: to check it costs as much as to check a real one."""
    return chosen_verifier(os.urandom(32).hex())


def find_chosen(verifiers: Sequence[str], ticket: str) -> int | None:
    """Which of the `verifiers` the `ticket` opens. A yes is given when it is found; every no takes the time of
    :data:`MAX_CHOSEN`, so that it doesn't tell how many there are."""
    for number, verifier in enumerate(verifiers):
        if verify_chosen(verifier, ticket):
            return number
    for _ in range(MAX_CHOSEN - len(verifiers)):
        verify_chosen(decoy(), ticket)
    return None


def verify_chosen(verifier: str, ticket: str) -> bool:
    """Whether `ticket` is the chosen one that `verifier` was made of. Takes some 80 ms and 64 MiB."""
    try:
        return bool(nacl.pwhash.verify(verifier.encode(), ticket.encode()))
    except nacl.exceptions.InvalidkeyError:
        return False
