"""How does the router come to know of a client that came to a proxy over TLS?

The proxy of Crossbar.io 26.10.1 tells the router of the client's connection, with the TLS channel's id as bytes. The
router wants hexadecimal digits there, fails over it when the session has joined already, and never announces it: nobody
would end that session. Here the id has its digits.
"""

from typing import Any


def announce() -> None:
    """Change the proxy's side of a session at the router: that module has just been loaded."""
    from crossbar.worker.proxy import ProxyBackendSession

    join = ProxyBackendSession.join

    def joining(self: Any, *args: Any, authextra: Any = None, **more: Any) -> Any:
        transport = ((authextra or {}).get("proxy_authextra") or {}).get("transport") or {}
        ids = transport.get("channel_id") or {}
        transport["channel_id"] = {name: one.hex() if isinstance(one, bytes) else one for name, one in ids.items()}
        return join(self, *args, authextra=authextra, **more)

    ProxyBackendSession.join = joining
