"""Who watches each realm, who may do what in it, and is there one for each principal?"""

import importlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from wampauth.check.finding import Finding
from wampauth.check.layout import Layout, Placed, meant, rules_of, sections
from wampauth.check.trial import methods
from wampauth.nodeconfig import Section, is_same

NO_WATCH = "no `Sessions` watches this realm: who is revoked stays in it until it leaves"
OTHER_STORE = "the authenticators ask another store: who is revoked there stays here"
NOT_WATCHED = "no `Sessions` of this Authenticator is in any realm: whom it lets in stays, revoked or not"


def dangerous_rules(realm: Section, asked: dict[str, Any]) -> list[str]:
    """What static rules of a realm give beyond what they say (``rules.py``, which loads the router's reading)."""
    found: list[str] = importlib.import_module("wampauth.rules").dangerous_rules(realm, asked)
    return found


def _store(component: Placed) -> str | None:
    """That it names."""
    extra = component.config.get("extra")
    named = extra.get("store") if isinstance(extra, dict) else None
    return named if isinstance(named, str) else None


class Belonging:
    """Looks at realms, roles, and stored principals."""

    def __init__(self, there: Layout) -> None:
        """:param there: all workers of the node."""
        self._there, self._realms = there, there.realms

    def findings(self) -> Iterator[Finding]:
        """What is wrong with them."""
        yield from self._of_realms()
        yield from self._of_roles()
        yield from self._of_static_rules()
        yield from self._of_principals()

    def _listed_realms(self) -> set[str]:
        """Those into which a transport lets somebody by a list of its own, without an authenticator."""
        static = [m for worker in self._there.workers for _, _, m in methods(worker) if m.get("type") == "static"]
        lists = [m["principals"].values() for m in static if isinstance(m.get("principals"), dict)]
        listed = [*static, *(one for principals in lists for one in principals if isinstance(one, dict))]
        return {str(one["realm"]) for one in listed if "realm" in one}

    def _of_realms(self) -> Iterator[Finding]:
        own = self._there.own_realms() - self._listed_realms()
        for one in self._there.watching:
            if one.realm in own:
                yield Finding(f"{one.place}.realm", f"{one.realm} is the authenticators' own: nobody is let in there")
        if self._there.ours or any(report.functions for report in self._there.reports):
            watched = {one.realm for one in self._there.watching}
            for realm, place in self._there.realm_places.items():
                if realm not in own | watched:
                    yield Finding(f"{place}.name", f"{realm}: {NO_WATCH}", "warning")
        prefixes = {one.known["prefix"] for one in self._there.watching}
        for one in self._there.ours:
            if prefixes and one.known["prefix"] not in prefixes:  # those of another one leave its sessions alone
                yield Finding(one.place, NOT_WATCHED, "warning")
        for one in self._there.watching:
            asked = {_store(other) for other in self._there.ours if other.known["prefix"] == one.known["prefix"]} - {
                None
            }
            here = _store(one)
            if here and asked and not any(is_same(str(other), here, Path()) for other in asked):
                yield Finding(f"{one.place}.extra.store", OTHER_STORE, "warning")

    def _of_roles(self) -> Iterator[Finding]:
        """Roles that ask the authorizer, and the rules that it has."""
        procedures = {f"{one.known['prefix']}authorize" for one in [*self._there.ours, *self._there.watching]}
        for realm, roles in self._realms.items():
            here = [one for one in self._there.watching if one.realm == realm]
            for name, role in roles.items():
                asked = role.get("authorizer")
                ruled = any(f"{one.known['prefix']}authorize" == asked and name in rules_of(one) for one in here)
                if asked in procedures and not ruled:
                    text = f"the role {name} asks {asked}, and no `Sessions` in {realm} has rules for it"
                    yield Finding(self._there.realm_places[realm], text)
            for one in here:
                for name in rules_of(one):
                    if "authorizer" not in roles.get(name, ()):
                        text = f"no role {name} of {realm} asks the authorizer"
                        yield Finding(f"{one.place}.extra.roles.{name}", text, "warning")

    def _of_static_rules(self) -> Iterator[Finding]:
        """Rules that the router applies itself, and that give more than they say."""
        for number, worker in enumerate(self._there.workers):
            for index, realm in enumerate(sections(worker.get("realms"))):
                watching = [one for one in self._there.watching if one.realm == realm.get("name")]
                asked = {name: one.config["extra"]["roles"][name] for one in watching for name in rules_of(one)}
                dangers: list[str] = []
                with suppress(Exception):  # the router will say what is wrong with the rules
                    dangers = dangerous_rules(realm, asked)
                for danger in dangers:
                    yield Finding(f"workers[{number}].realms[{index}]", danger, "warning")

    def _of_principals(self) -> Iterator[Finding]:
        if not self._realms:
            return  # the router is elsewhere
        own = self._there.own_realms()
        for number, report in enumerate(self._there.reports):
            for place, realm, role, count, authid in report.principals:
                others = f" and {count - 1} more" if count > 1 else ""
                if realm in own:
                    text = f"is stored for {realm}, the authenticators' own realm, and isn't let in"
                elif realm not in self._realms:
                    text = f"is stored for the realm {realm}, which isn't there{meant(realm, self._realms)}"
                elif role not in (roles := self._realms[realm]):
                    text = f"is stored for the role {role}, which {realm} doesn't have{meant(role, roles)}"
                else:
                    continue
                yield Finding(f"workers[{number}].{place}.store", f"{authid}{others} {text}", "warning")
