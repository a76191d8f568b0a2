"""May this node face the internet? What README's "Before the internet" asks for, as far as a node directory shows it.

What it doesn't show is for other commands: `wampauth probe` attacks a node that runs, and backups are elsewhere.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from wampauth.check import machine, people
from wampauth.check.finding import Finding
from wampauth.check.trial import Report
from wampauth.nodeconfig import OWN, Section, walk

META = "wamp.session.kill"  # one of the router's own procedures
ANYBODY = {  # ways in that ask no authenticator
    "anonymous": "lets in everybody",
    "anonymous-proxy": "lets in everybody",
    "cookie": "asks nobody: who was revoked comes in again",
}
LIMITS = ("max_message_size", "open_handshake_timeout", "auto_ping_interval", "auto_ping_timeout")
RESERVED = "example"  # a domain that is nobody's (RFC 2606), and the lesson's


def findings(directory: Path, workers: list[Section], reports: list[Report]) -> Iterator[Finding]:
    """What is to be done before strangers may come."""
    for number, worker in enumerate(workers):
        place = f"workers[{number}]"
        for index, transport in enumerate(_sections(worker.get("transports"))):
            yield from _of_transport(directory, f"{place}.transports[{index}]", transport)
        for index, component in enumerate(_sections(worker.get("components"))):
            known = reports[number].components.get(index, {})
            yield from _of_component(f"{place}.components[{index}]", component, known)
    yield from _of_reach(workers)
    yield from _of_rules(workers)
    told = [finding.text for report in reports for finding in report.findings]
    yield from people.findings(directory, workers, told)
    yield from machine.findings(directory, workers)


# -- transports


def _of_transport(directory: Path, place: str, transport: Section) -> Iterator[Finding]:
    endpoint = transport.get("endpoint")
    if not isinstance(endpoint, Section) or endpoint.get("type") != "tcp":
        yield from _of_limits(place, transport)
        return
    tls = endpoint.get("tls")
    if isinstance(tls, Section):
        yield from machine.certificate(directory, f"{place}.endpoint.tls", tls)
    elif not _is_loopback(endpoint):
        where = endpoint.get("interface", "all interfaces, since none is named")
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
        if service.get("type") in ("websocket", "rawsocket"):
            yield from _of_service(inner, service)


def _of_service(place: str, service: Section) -> Iterator[Finding]:
    """A WebSocket or RawSocket, whether in a web transport or by itself."""
    options, auth = _options(service), service.get("auth")
    limits = LIMITS if service.get("type") == "websocket" else LIMITS[:1]
    if missing := [name for name in limits if not options.get(name)]:
        yield Finding(f"{place}.options", f"{', '.join(missing)} missing: one client can keep or send too much")
    if service.get("type") == "websocket" and "*" in options.get("allowed_origins", ["*"]):
        yield Finding(f"{place}.options", "allowed_origins are all: each page in a browser may connect", "warning")
    if not isinstance(auth, Section):
        yield Finding(place, "auth is missing: it lets in everybody")
        return
    for name, method in auth.items():
        if name in ANYBODY:
            yield Finding(f"{place}.auth.{name}", f"it {ANYBODY[name]}")
        elif isinstance(method, Section) and method.get("type") == "static":
            text = "who is written down here can't be revoked without a restart"
            yield Finding(f"{place}.auth.{name}", text, "warning")


def _of_reach(workers: list[Section]) -> Iterator[Finding]:
    endpoints = [s for worker in workers for _, s in walk(worker.get("transports")) if s.get("type") == "tcp"]
    if endpoints and all(map(_is_loopback, endpoints)):
        text = "no transport can be reached from other machines: change an interface, unless a front is on this one"
        yield Finding("", text, "warning")


def _is_loopback(endpoint: Section) -> bool:
    try:
        return ip_address(str(endpoint.get("interface", ""))).is_loopback
    except ValueError:
        return endpoint.get("interface") == "localhost"


# -- components


def _of_component(place: str, component: Section, known: Mapping[str, Any]) -> Iterator[Finding]:
    if known.get("kind") != "component":  # Sessions have the same settings
        return
    guard = (component.get("extra") or {}).get("guard")
    guard = guard if isinstance(guard, Mapping) else {}
    if RESERVED in known["prefix"].split("."):
        yield Finding(place, f"its prefix is {known['prefix']!r}: take your own domain's", "warning")
    if guard.get("require_tls") is not True:
        yield Finding(f"{place}.extra.guard", "require_tls isn't true: tickets are taken without TLS, too")
    if guard.get("require_channel_binding") is not True and "cryptosign" in known.get("methods", ()):
        text = "require_channel_binding isn't true: who stands between client and node could use its signature"
        yield Finding(f"{place}.extra.guard", text, "warning")


# -- rules


def _of_rules(workers: list[Section]) -> Iterator[Finding]:
    own = {s[OWN] for worker in workers for _, s in walk(worker.get("transports")) if isinstance(s.get(OWN), str)}
    for number, worker in enumerate(workers):
        for index, realm in enumerate(_sections(worker.get("realms"))):
            for role_index, role in enumerate(_sections(realm.get("roles"))):
                if realm.get("name") not in own:
                    place = f"workers[{number}].realms[{index}].roles[{role_index}]"
                    yield from _opening(f"{place}.permissions", str(role.get("name")), role.get("permissions"))
        for index, component in enumerate(_sections(worker.get("components"))):
            roles = (component.get("extra") or {}).get("roles")
            for name, rules in roles.items() if isinstance(roles, Mapping) else ():
                yield from _opening(f"workers[{number}].components[{index}].extra.roles.{name}", str(name), rules)


def _opening(place: str, role: str, rules: Any) -> Iterator[Finding]:
    """Rules that take in the router's own procedures, by which others' sessions can be read and ended."""
    for number, rule in enumerate(_sections(rules)):
        allow = rule.get("allow")
        uri, match = str(rule.get("uri", "")), rule.get("match", "exact")
        is_allowed = isinstance(allow, Mapping) and (allow.get("call") or allow.get("subscribe"))
        if is_allowed and _takes_in(uri, str(match)):
            text = f"{uri!r} takes in the router's own wamp.session.*: {role} can see and end others' sessions"
            yield Finding(f"{place}[{number}]", text)


def _takes_in(uri: str, match: str) -> bool:
    if uri.startswith("wamp."):
        return True
    if match == "prefix":
        return META.startswith(uri)
    pattern = r"\.".join(re.escape(part) or r"[^.]+" for part in uri.split("."))
    return match == "wildcard" and re.match(pattern, META) is not None


def _options(section: Section) -> Mapping[str, Any]:
    options = section.get("options")
    return options if isinstance(options, Mapping) else {}


def _sections(value: Any) -> list[Section]:
    """In their places: what is none counts, but is empty."""
    return [one if isinstance(one, Section) else Section() for one in value] if isinstance(value, list) else []
