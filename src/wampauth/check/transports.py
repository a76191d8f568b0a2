"""Who may come in at a worker's transports, and how much may they do before they have joined?

Routers and proxies have the same ones. Those in a node, at which its own processes meet, are looked at in
``inside.py``.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from wampauth.check import machine
from wampauth.check.finding import Finding
from wampauth.check.layout import sections
from wampauth.check.people import PUBLISHED
from wampauth.nodeconfig import Section, walk

ANYBODY = {  # ways in that ask no authenticator
    "anonymous": "lets in everybody",
    "anonymous-proxy": "lets in everybody",
    "cookie": "asks nobody: who was revoked comes in again",
}
BRIDGES = ("publisher", "caller", "webhook")  # for whoever can speak HTTP
SECRETS = ("secret", "github_secret")  # with which such a one signs
INSIDE = ("anonymous", "anonymous-proxy")  # ways in for the node's own processes, where nobody else can reach them
UNREAD = "it listens as its server_string says, which isn't looked into: write it with the type tcp, or unix"
LIMITS = ("max_message_size", "open_handshake_timeout", "auto_ping_interval", "auto_ping_timeout")


def findings(directory: Path, workers: list[Section]) -> Iterator[Finding]:
    """What is to be done about the transports, of whatever worker."""
    for number, worker in enumerate(workers):
        for index, transport in enumerate(sections(worker.get("transports"))):
            if not is_inside(transport):
                yield from _of_transport(directory, f"workers[{number}].transports[{index}]", transport)
    yield from _of_reach(workers)


def is_inside(transport: Section) -> bool:
    """Whether it is a Unix domain socket at which nobody has to prove anything: for the node's own processes."""
    auth, endpoint = transport.get("auth"), transport.get("endpoint")
    is_unix = isinstance(endpoint, Section) and endpoint.get("type") == "unix"
    return is_unix and isinstance(auth, Section) and bool(auth) and all(name in INSIDE for name in auth)


def _of_transport(directory: Path, place: str, transport: Section) -> Iterator[Finding]:
    endpoint = transport.get("endpoint")
    if not isinstance(endpoint, Section) or endpoint.get("type") != "tcp":
        described = endpoint.get("server_string") if isinstance(endpoint, Section) else None
        if described is not None and not str(described).startswith("unix:"):
            yield Finding(f"{place}.endpoint", UNREAD)
        yield from _of_limits(place, transport)
        return
    tls = endpoint.get("tls")
    if isinstance(tls, Section):
        yield from machine.certificate(directory, f"{place}.endpoint.tls", tls)
    elif not is_loopback(endpoint.get("interface")):
        where = endpoint.get("interface") or "all interfaces, since none is named"
        yield Finding(f"{place}.endpoint", f"it listens on {where} without TLS: tickets can be read on the way")
    else:
        text = "it takes clients without TLS: leave it out, unless a front on this machine is before it"
        yield Finding(f"{place}.endpoint", text, "warning")
    yield from _of_limits(place, transport)


def _of_limits(place: str, transport: Section) -> Iterator[Finding]:
    if not transport.get("max_connections"):
        yield Finding(place, "max_connections is missing: strangers can take all file descriptors")
    if transport.get("type") == "web" and not _options(transport).get("client_timeout"):
        yield Finding(place, "options.client_timeout is missing: connections that say nothing stay")
    for inner, service in walk(transport, place):
        kind = service.get("type") or _kind_within(transport, service)
        if kind in ("websocket", "rawsocket"):
            yield from _of_service(inner, str(kind), service)
        elif kind in BRIDGES and not any(_options(service).get(name) for name in SECRETS):
            yield Finding(inner, f"options.secret is missing: everybody acts here as {service.get('role')}")
        elif kind == "mqtt":
            yield from _of_ways(inner, _options(service).get("auth"))
        elif kind == "longpoll":
            yield Finding(inner, "it can have no auth, and lets in everybody: leave it out")


def _kind_within(transport: Section, service: Section) -> str | None:
    """Of what stands in a universal transport under its kind, and needn't say it."""
    if transport.get("type") != "universal":
        return None
    sockets = transport.get("websocket")
    if isinstance(sockets, Section) and any(service is one for one in sockets.values()):
        return "websocket"
    return next((kind for kind in ("rawsocket", "mqtt") if service is transport.get(kind)), None)


def _of_service(place: str, kind: str, service: Section) -> Iterator[Finding]:
    """A WebSocket or RawSocket, whether in a web transport or by itself."""
    options = _options(service)
    limits = LIMITS if kind == "websocket" else LIMITS[:1]
    if missing := [name for name in limits if not options.get(name)]:
        yield Finding(f"{place}.options", f"{', '.join(missing)} missing: one client can keep or send too much")
    origins = options.get("allowed_origins", ["*"])
    if kind == "websocket" and isinstance(origins, list) and "*" in origins:
        yield Finding(f"{place}.options", "allowed_origins are all: each page in a browser may connect", "warning")
    yield from _of_ways(place, service.get("auth"))


def _of_ways(place: str, auth: Any) -> Iterator[Finding]:
    """The ways to log in. Where there is none, the router asks nobody."""
    if not isinstance(auth, Section) or not auth:
        yield Finding(place, "auth is missing: it lets in everybody")
        return
    for name, method in auth.items():
        if name in ANYBODY:
            yield Finding(f"{place}.auth.{name}", f"it {ANYBODY[name]}")
        elif isinstance(method, Section) and method.get("type") == "static":
            text = "who is written down here can't be revoked without a restart"
            yield Finding(f"{place}.auth.{name}", text, "warning")
            yield from _of_listed(f"{place}.auth.{name}", method)


def _of_listed(place: str, method: Section) -> Iterator[Finding]:
    """Those who are written down in a way to log in."""
    for inner, listed in walk(method, place):
        if PUBLISHED in listed.values():
            yield Finding(inner, f"{PUBLISHED!r} is what it takes to log in here, which everybody can read")
        if listed.get("role") == "trusted":
            yield Finding(inner, "its role is trusted: who logs in here may do everything, without any rule")


def _of_reach(workers: list[Section]) -> Iterator[Finding]:
    endpoints = [s for worker in workers for _, s in walk(worker.get("transports")) if s.get("type") == "tcp"]
    if endpoints and all(is_loopback(one.get("interface")) for one in endpoints):
        text = "no transport can be reached from other machines: change an interface, unless a front is on this one"
        yield Finding("", text, "warning")


def is_loopback(host: object) -> bool:
    """Whether an interface or a host, by address or by name, is reached from this machine alone."""
    try:
        return ip_address(str(host)).is_loopback
    except ValueError:
        return host == "localhost"


def _options(section: Section) -> Mapping[str, Any]:
    options = section.get("options")
    return options if isinstance(options, Mapping) else {}
