"""Which principals are in the stores of the measured nodes, and with which credentials do they log in?"""

import hashlib
from collections.abc import Iterable

from nacl.signing import SigningKey
from wire import Credential

from wampauth.store import chosen_verifier, create, sqlite, ticket_digest

CHOSEN = "secret123"
SAMPLE = 2_000  # principals of a store that log in, at most, of each method


def fill(store: str, principals: int, chosen: int) -> dict[str, list[Credential]]:
    """Make a store: `chosen` principals have chosen tickets, of the others one half made tickets, one half keys.

    :returns: credentials to log in with, by kind; of a large store, those of a sample that is spread over it.
    """
    half = (principals - chosen) // 2
    step = max(1, half // SAMPLE)
    seeds = {number: hashlib.sha256(f"device{number}".encode()).hexdigest() for number in range(0, half, step)}
    create(store)
    connection = sqlite.connect(store)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    connection.execute("BEGIN")
    principal = "INSERT INTO principal (authid, realm, role, extra) VALUES (?, ?, ?, '{\"foo\": 23}')"
    connection.executemany(principal, rows_of_principals(half, chosen))
    credential = "INSERT INTO credential (id, authid, kind, verifier, label, created) VALUES (?, ?, ?, ?, '', 0)"
    connection.executemany(credential, rows_of_credentials(half, chosen, seeds))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    ticket = {"method": "ticket", "realm": "realm1"}
    return {
        "made": [{**ticket, "authid": f"user{n}", "ticket": f"ticket-{n}"} for n in range(0, half, step)],
        "chosen": [{**ticket, "authid": f"chosen{n}", "ticket": CHOSEN} for n in range(chosen)],
        "key": [
            {"method": "cryptosign", "realm": "devices", "authid": f"device{n}", "seed": seed}
            for n, seed in seeds.items()
        ],
    }


def rows_of_principals(half: int, chosen: int) -> Iterable[tuple[str, str, str]]:
    for number in range(chosen):
        yield f"chosen{number}", "realm1", "frontend"
    for number in range(half):
        yield f"user{number}", "realm1", "frontend"
        yield f"device{number}", "devices", "device"


def rows_of_credentials(half: int, chosen: int, seeds: dict[int, str]) -> Iterable[tuple[str, str, str, str]]:
    """Id, authid, kind and verifier. Keys outside the sample are only as long as keys: nobody will sign with them."""
    for number in range(chosen):
        yield digits(f"chosen{number}")[:16], f"chosen{number}", "chosen", chosen_verifier(CHOSEN)
    for number in range(half):
        user, device = f"user{number}", f"device{number}"
        yield digits(user)[:16], user, "ticket", ticket_digest(f"ticket-{number}")
        key = pubkey(seeds[number]) if number in seeds else digits(device + "key")
        yield digits(device)[:16], device, "key", key


def digits(text: str) -> str:
    """64 hexadecimal digits that are spread evenly."""
    return hashlib.sha256(text.encode()).hexdigest()


def pubkey(seed: str) -> str:
    return bytes(SigningKey(bytes.fromhex(seed)).verify_key).hex()
