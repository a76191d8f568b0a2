"""May this node face the internet? What README's "Before the internet" asks for, as far as a node directory shows it.

What it doesn't show is for other commands: `wampauth probe` attacks a node that runs, and backups are elsewhere.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from autobahn.wamp.uri import convert_starred_uri

from wampauth.check import inside, machine, people, transports
from wampauth.check.finding import Finding
from wampauth.check.layout import sections
from wampauth.check.trial import Report, methods
from wampauth.nodeconfig import OWN, Section, walk

META = [  # of the router's own procedures and topics
    *(f"wamp.session.{name}" for name in ("kill", "kill_all", "kill_by_authid", "kill_by_authrole")),
    *(f"wamp.session.{name}" for name in ("count", "list", "get", "on_join", "on_leave")),
]
RESERVED = "example"  # a domain that is nobody's (RFC 2606), and the lesson's


def findings(directory: Path, workers: list[Section], reports: list[Report]) -> Iterator[Finding]:
    """What is to be done before strangers may come."""
    yield from transports.findings(directory, workers)
    yield from inside.findings(workers, reports)
    for number, (worker, report) in enumerate(zip(workers, reports, strict=True)):
        yield from _of_components(f"workers[{number}]", worker, report)
        yield from _of_factories(f"workers[{number}]", worker, report)
    yield from _of_rules(workers)
    told = [finding.text for report in reports for finding in report.findings]
    yield from people.findings(directory, workers, told)
    yield from machine.findings(directory, workers)


# -- components


def _of_components(place: str, worker: Section, report: Report) -> Iterator[Finding]:
    for index, component in enumerate(sections(worker.get("components"))):
        known, here = report.components.get(index, {}), f"{place}.components[{index}]"
        if known.get("kind") == "sessions":
            yield from _of_connections(f"{here}.extra.connections", component.get("extra"))
        if known.get("kind") == "component":  # Sessions have the same guard
            yield from _of_prefix(here, known["prefix"])
            yield from _of_guard(f"{here}.extra", component.get("extra"), known.get("methods", ()))


def _of_factories(place: str, worker: Section, report: Report) -> Iterator[Finding]:
    """In a proxy, which has no components, each brings its settings; in a router, a component has them."""
    for inner, name, method in methods(worker) if worker.get("type") == "proxy" else ():
        known = report.functions.get(str(method.get("create")))
        if known and method.get("type") == "function":
            yield from _of_prefix(f"{place}.{inner}", known["prefix"])
            yield from _of_guard(f"{place}.{inner}.config", method.get("config"), [name])


def _of_connections(place: str, settings: Any) -> Iterator[Finding]:
    limits = settings.get("connections") if isinstance(settings, Mapping) else None
    if isinstance(limits, Mapping) and limits.get("watch") is False:
        yield Finding(place, "watch is false: who hasn't joined keeps as many connections as he likes, and for ever")


def _of_prefix(place: str, prefix: str) -> Iterator[Finding]:
    if RESERVED in prefix.split("."):
        yield Finding(place, f"its prefix is {prefix!r}: take your own domain's", "warning")


def _of_guard(place: str, settings: Any, offered: Collection[str]) -> Iterator[Finding]:
    guard = settings.get("guard") if isinstance(settings, Mapping) else None
    guard = guard if isinstance(guard, Mapping) else {}
    if guard.get("require_tls") is not True and not guard.get("trusted_proxies"):
        yield Finding(f"{place}.guard", "require_tls isn't true: tickets are taken without TLS, too")
    elif guard.get("require_tls") is not True:  # which would refuse all that come through a front that ends TLS
        text = "require_tls isn't true: it is for those in trusted_proxies to insist on TLS"
        yield Finding(f"{place}.guard", text, "warning")
    if guard.get("require_channel_binding") is not True and "cryptosign" in offered:
        text = "require_channel_binding isn't true: who stands between client and node could use its signature"
        yield Finding(f"{place}.guard", text, "warning")


# -- rules


def _of_rules(workers: list[Section]) -> Iterator[Finding]:
    own = {s[OWN] for worker in workers for _, s in walk(worker.get("transports")) if isinstance(s.get(OWN), str)}
    for number, worker in enumerate(workers):
        for index, realm in enumerate(sections(worker.get("realms"))):
            for role_index, role in enumerate(sections(realm.get("roles"))):
                if realm.get("name") not in own:
                    place = f"workers[{number}].realms[{index}].roles[{role_index}]"
                    yield from _opening(f"{place}.permissions", str(role.get("name")), role.get("permissions"))
        for index, component in enumerate(sections(worker.get("components"))):
            roles = (component.get("extra") or {}).get("roles")
            for name, rules in roles.items() if isinstance(roles, Mapping) else ():
                yield from _opening(f"workers[{number}].components[{index}].extra.roles.{name}", str(name), rules)


def _opening(place: str, role: str, rules: Any) -> Iterator[Finding]:
    """Rules that take in the router's own procedures, by which others' sessions can be read and ended."""
    for number, rule in enumerate(sections(rules)):
        allow, named = rule.get("allow"), str(rule.get("uri", ""))
        uri, match = (named, rule["match"]) if "match" in rule else convert_starred_uri(named)
        if not isinstance(allow, Mapping) or not (allow.get("call") or allow.get("subscribe")):
            continue
        # Whatever a rule says, who may subscribe to a URI hears with match=prefix what is longer, too.
        is_prefix = match == "prefix" or bool(allow.get("subscribe"))
        if uri.startswith("wamp.") or any(_takes_in(uri, is_prefix, own) for own in META):
            text = f"{named!r} takes in the router's own wamp.session.*: {role} can see and end others' sessions"
            yield Finding(f"{place}[{number}]", text)


def _takes_in(uri: str, is_prefix: bool, own: str) -> bool:
    """Whether a rule is for one of the router's own, too. Empty parts of it stand for any, whatever its ``match``."""
    pattern = r"\.".join(re.escape(part) or r"[^.]+" for part in uri.split("."))
    return (is_prefix and own.startswith(uri)) or re.fullmatch(pattern, own) is not None
