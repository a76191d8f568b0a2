"""Whose request does a trusted proxy forward?

Proxies tell it in ``X-Forwarded-For``, in ``Forwarded`` (RFC 7239) or in ``X-Real-IP``, each in several forms. They add
on the right, so that what stands left of it may be the client's own word. A header that our proxy doesn't write comes
from the client as a whole: where two of them contradict each other, neither is believed.

What can't be read is told in the log, and counted apart from the proxy's own address: if it were counted there, one
guesser would lock out all the others.
"""

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from twisted.logger import Logger

HEADERS = ("x-forwarded-for", "forwarded", "x-real-ip")
PORT = r"(:\w{1,5})?"
V4 = re.compile(rf"(\d+\.\d+\.\d+\.\d+){PORT}")
V6 = re.compile(rf"\[([^\]]+)\]{PORT}")
HIDDEN = re.compile(rf"(_[\w.-]{{1,64}}|unknown){PORT}", re.ASCII | re.IGNORECASE)  # RFC 7239, section 6
FOR = re.compile(r"(?:^|;)\s*for\s*=\s*([^;]*)", re.IGNORECASE)
UNREADABLE, CONTRADICTORY = "unreadable", "contradictory"
NOTHING = "the trusted proxy {proxy} doesn't say whose connection it forwards: all count as one; have it set {headers}"
WRONG = (
    "the trusted proxy {proxy} tells the address of a client in a way that is {what}: such clients are counted "
    "together; have it overwrite {headers}, and drop the others"
)

log = Logger()
_told: set[tuple[str, str]] = set()  # by proxy and what was wrong: few of either


def client_behind(proxy: str, headers: Mapping[str, Any], trusted: Collection[str]) -> str:
    """The address of the client; if it can't be read, something else than an address, which names the proxy.

    :param proxy: one of `trusted`, from which the connection comes.
    :param headers: of the HTTP request, their names in lower case.
    """
    told = [_nearest(name, str(headers[name]), proxy, trusted) for name in HEADERS if headers.get(name)]
    found = set(told) - set(trusted) or set(told[:1])
    if not found:
        _tell(NOTHING, proxy, "nothing")
        return proxy
    client = found.pop() if len(found) == 1 else f"{CONTRADICTORY} behind {proxy}"
    what = client.partition(" behind ")[0]
    if what in (UNREADABLE, CONTRADICTORY):
        _tell(WRONG, proxy, what)
    return client


def plain(text: str) -> str | None:
    """An IP address in its usual form; None if it isn't one. An IPv4 address within IPv6 is the IPv4 address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else str(address)


def _nearest(header: str, value: str, proxy: str, trusted: Collection[str]) -> str:
    """The nearest hop that isn't itself a trusted proxy."""
    nearest = proxy
    for hop in reversed(value.split(",")):
        if nearest not in trusted:
            break
        nearest = _read(_of_element(hop) if header == "forwarded" else hop) or f"{UNREADABLE} behind {nearest}"
        if nearest.startswith(("_", "unknown")):
            nearest = f"{nearest} behind {proxy}"
    return nearest


def _of_element(element: str) -> str:
    found = FOR.search(element)
    return found[1] if found else ""


def _read(hop: str) -> str | None:
    """An address with or without port, brackets and quotes; or what a proxy writes that keeps it to itself."""
    text = hop.strip().strip('"').strip()
    if hidden := HIDDEN.fullmatch(text):
        return hidden[1].lower()
    within = V4.fullmatch(text) or V6.fullmatch(text)
    return plain(within[1] if within else text)


def _tell(text: str, proxy: str, what: str) -> None:
    """Once for each proxy: a client could fill the log."""
    if (proxy, what) not in _told:
        _told.add((proxy, what))
        log.error(text, proxy=proxy, what=what, headers=" or ".join(HEADERS))
