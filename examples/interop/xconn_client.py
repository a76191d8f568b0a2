"""How does a client prove who it is with xconn, for Python?

MYTICKET="secret123" python examples/interop/xconn_client.py client1             # WAMP-ticket
python examples/interop/xconn_client.py client01@example.com .keys/client01.key  # WAMP-cryptosign
"""
# mypy: disable-error-code="import-not-found"

import os
import sys
from pathlib import Path

from wampproto.exception import ApplicationError
from xconn.client import connect_cryptosign, connect_ticket

authid, *key = sys.argv[1:]
url = os.environ.get("ROUTER", "ws://localhost:8080/ws")

try:
    if key:
        session = connect_cryptosign(url, "devices", authid, Path(key[0]).read_bytes().hex())
    else:
        session = connect_ticket(url, "realm1", authid, os.environ["MYTICKET"])
except ApplicationError as refused:
    sys.exit(refused.message)  # the URI; xconn drops the text that came with it

details = session._base_session  # xconn has no public name for what the router made of us
print(details.realm, details.authid, details.authrole)
session.leave()  # without this, its thread keeps the program alive
