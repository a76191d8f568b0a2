"""A store of your own: the principals stand in a JSON file, and what you change there holds from the next login on.

To put it in, write ``"store": "own_store:Store"`` in the node's configuration, and have this folder in the worker's
``pythonpath``. The file lies in the node directory, and is a list with an object for each credential::

    {"id": "laptop-1", "authid": "alice", "realm": "realm1", "role": "frontend", "ticket": "<SHA-256, in hex>"}
    {"id": "device-7", "authid": "pump", "realm": "devices", "role": "device", "pubkey": "<64 hex digits>"}

Hexadecimal digits are in lower case. Delete an object, and those who came in on it are sent away. Tickets must be long
and random (``openssl rand -hex 32``): the SHA-256 of a password could be guessed.
"""

import json
from collections.abc import Collection, Iterator
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any

from wampauth import Changes, KeyClaim, Principal, TicketClaim


class Store:
    def __init__(self, file: str = "principals.json") -> None:
        self._file = Path(file)

    async def by_ticket(self, claim: TicketClaim) -> Principal | None:
        digest = sha256(claim.ticket.encode()).hexdigest()
        for one, principal in self._all():
            if principal.authid == claim.authid and compare_digest(one.get("ticket", ""), digest):
                return principal
        return None

    async def by_key(self, claim: KeyClaim) -> Principal | None:
        for one, principal in self._all():
            if one.get("pubkey") == claim.pubkey:
                return principal
        return None

    async def by_ids(self, credentials: Collection[str]) -> dict[str, Principal]:
        return {one["id"]: principal for one, principal in self._all() if one["id"] in credentials}

    async def changes(self, since: str | None) -> Changes:
        now = sha256(self._file.read_bytes()).hexdigest()
        return now, set() if now == since else None  # None: look at everybody

    def _all(self) -> Iterator[tuple[dict[str, Any], Principal]]:
        for one in json.loads(self._file.read_bytes()):
            yield one, Principal(one["authid"], one["realm"], one["role"], one.get("extra", {}), credential=one["id"])
