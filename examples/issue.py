"""A stand-in for an identity provider, to try examples/jwt_checks.py with: prints a token for alice.

    python examples/issue.py 60                                                # it lasts for 60 seconds
    python -m http.server 8090 --bind 127.0.0.1 --directory shown              # shows the keys that it is signed with

Its private key is the file ``issuer.pem`` in the current folder. Both are made when they are needed.
"""

import json
import os
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEY, SHOWN = Path("issuer.pem"), Path("shown", "jwks.json")


def make_key() -> None:
    os.umask(0o077)
    key = generate_private_key(65537, 2048)
    KEY.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    SHOWN.parent.mkdir(exist_ok=True)
    SHOWN.write_text(json.dumps({"keys": [{**public, "kid": "1"}]}))


if not KEY.exists():
    make_key()
claims: dict[str, object] = {"iss": "https://id.example.com/", "aud": "wamp", "sub": "alice", "groups": ["staff"]}
claims["exp"] = time.time() + float(sys.argv[1])
print(jwt.encode(claims, KEY.read_text(), "RS256", headers={"kid": "1"}))
