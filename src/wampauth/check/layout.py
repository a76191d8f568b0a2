"""What is there in a node's configuration? Its realms with their roles, and the components that were found in it."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from wampauth.check.trial import Report, methods
from wampauth.nodeconfig import OWN, Section


def load() -> Any:
    """The router's own reading of permissions, which takes its time to load."""
    return importlib.import_module("crossbar.router.role")


@dataclass
class Placed:
    """A component, and what is known of it."""

    place: str
    worker: str  # its type
    config: Section
    known: dict[str, Any]

    @property
    def realm(self) -> str:
        """Into which it joins."""
        return str(self.config.get("realm"))

    @property
    def procedures(self) -> list[str]:
        """That it registers, if it is an authenticator's."""
        return [f"{self.known['prefix']}authenticate.{method}" for method in self.known.get("methods", ())]


class Layout:
    """The workers of one configuration, and what was found in each.

    :ivar realms: their roles, by name.
    :ivar realm_places: where each stands.
    :ivar ours: components of authenticators.
    :ivar watching: those that are `Sessions`.
    """

    def __init__(self, workers: list[Section], reports: list[Report]) -> None:
        """:param reports: of the workers, in the same order."""
        self.workers = workers
        self.reports = reports
        self.realms: dict[str, dict[str, Section]] = {}  # their roles
        self.realm_places: dict[str, str] = {}
        for number, worker in enumerate(workers):
            for index, realm in enumerate(sections(worker.get("realms"))):
                roles = {str(role.get("name")): role for role in sections(realm.get("roles"))}
                self.realms.setdefault(str(realm.get("name")), {}).update(roles)
                self.realm_places[str(realm.get("name"))] = f"workers[{number}].realms[{index}]"
        self.components = [
            Placed(f"workers[{number}].components[{index}]", str(worker.get("type")), component, known)
            for number, (worker, report) in enumerate(zip(workers, reports, strict=True))
            for index, component in enumerate(sections(worker.get("components")))
            if (known := report.components.get(index))
        ]
        self.ours = [one for one in self.components if one.known["kind"] == "component"]
        self.watching = [one for one in self.components if one.known["kind"] == "sessions"]

    def own_realms(self) -> set[str]:
        """The authenticators' own."""
        named = {str(m[OWN]) for worker in self.workers for _, _, m in methods(worker) if OWN in m}
        return named | {one.realm for one in self.ours}

    def may(self, realm: str, role: str, procedure: str, action: str) -> bool:
        """Whether the router would allow that by its static rules, for all we can tell."""
        rules = self.realms[realm].get(role, Section()).get("permissions")
        if role == "trusted" or not isinstance(rules, list):
            return True  # for all we can tell
        try:
            return bool(load().RouterRoleStaticAuth(None, role, rules).authorize(None, procedure, action, {})["allow"])
        except Exception:
            return True  # the router will say what is wrong with the rules


def sections(value: Any) -> list[Section]:
    """The objects in a list, each at its number."""
    return [one if isinstance(one, Section) else Section() for one in value] if isinstance(value, list) else []


def rules_of(one: Placed) -> Iterable[str]:
    """The roles for which a `Sessions` component has rules."""
    extra = one.config.get("extra") or {}
    rules = extra.get("roles") if isinstance(extra, dict) else None
    return rules if isinstance(rules, dict) else ()


def meant(name: str, known: Iterable[str]) -> str:
    """What to say after a name that is unknown."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": is {found[0]} meant?" if found else f" (there is {', '.join(sorted(known)) or 'none'})"
