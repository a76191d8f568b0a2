"""A client that doesn't hear GOODBYE: it goes on calling until it is let no more, and says what it gets.

MYTICKET="..." python examples/mallory.py AUTHID URL CA
"""

import os
import sys
import time
from pathlib import Path

from wampauth.probe.turns import trust
from wampauth.testing.wamp import ABORT, CALL, RESULT, RawClient


def main(authid: str, url: str, ca: str) -> None:
    """Join, and call until the router says no."""
    with RawClient(url, ssl=trust(Path(ca))) as client:
        if client.login_ticket(authid, os.environ["MYTICKET"])[0] == ABORT:
            sys.exit("mallory isn't let in")
        calls = 0
        while (answer := client.request(CALL, {}, "com.example.add2", [2, 3]))[0] == RESULT:
            calls += 1
            if calls == 1:
                print("call result:", answer[3][0], flush=True)
            time.sleep(0.01)
        print("and then:", answer[4])


if __name__ == "__main__":
    main(*sys.argv[1:])
