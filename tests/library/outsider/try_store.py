"""Does our own store keep the contract?"""

import hashlib
import json
import secrets
from pathlib import Path

from own_store import Store

from wampauth import Principal
from wampauth.testing import StoreContract


class TestOwnStore(StoreContract):
    def make(self, tmp_path: Path) -> Store:
        self.file = tmp_path / "principals.json"
        self.file.write_text("[]")
        return Store(str(self.file))

    def add(self, store: Store, *, principal: Principal, ticket: str | None, pubkey: str | None) -> str:
        credential = secrets.token_hex(8)
        known = {"id": credential, "authid": principal.authid, "realm": principal.realm, "role": principal.role}
        verifier = {"pubkey": pubkey} if ticket is None else {"ticket": hashlib.sha256(ticket.encode()).hexdigest()}
        principals = [*json.loads(self.file.read_text()), {**known, "extra": dict(principal.extra), **verifier}]
        self.file.write_text(json.dumps(principals))
        return credential

    def revoke(self, store: Store, credential: str) -> None:
        principals = [known for known in json.loads(self.file.read_text()) if known["id"] != credential]
        self.file.write_text(json.dumps(principals))
