"""Does what stands in one place of a configuration fit what stands in another?"""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from wampauth.check.finding import Finding
from wampauth.check.trial import Report, methods
from wampauth.nodeconfig import OWN, Section

OWN_ROLE = "authenticator-role"
KEYS = {
    "dynamic": ("type", "authenticator", OWN, OWN_ROLE),
    "function": ("type", "create", "config", "expose_controller"),
}
NO_WATCH = "no `Sessions` watches this realm: who is revoked stays in it until it leaves"


def load() -> Any:
    """The router's own reading of permissions, which takes its time to load."""
    return importlib.import_module("crossbar.router.role")


def dangerous_rules(realm: Section, asked: dict[str, Any]) -> list[str]:
    """What static rules of a realm give beyond what they say (``rules.py``, which loads the router's reading)."""
    found: list[str] = importlib.import_module("wampauth.rules").dangerous_rules(realm, asked)
    return found


@dataclass
class Placed:
    """A component, and what is known of it."""

    place: str
    worker: str  # its type
    config: Section
    known: dict[str, Any]

    @property
    def realm(self) -> str:
        return str(self.config.get("realm"))

    @property
    def procedures(self) -> list[str]:
        return [f"{self.known['prefix']}authenticate.{method}" for method in self.known.get("methods", ())]


class Wiring:
    """The workers of one configuration, and what was found in each."""

    def __init__(self, workers: list[Section], reports: list[Report]) -> None:
        self._workers = workers
        self._reports = reports
        self._realms: dict[str, dict[str, Section]] = {}  # their roles
        self._realm_places: dict[str, str] = {}
        for number, worker in enumerate(workers):
            for index, realm in enumerate(_sections(worker.get("realms"))):
                roles = {str(role.get("name")): role for role in _sections(realm.get("roles"))}
                self._realms.setdefault(str(realm.get("name")), {}).update(roles)
                self._realm_places[str(realm.get("name"))] = f"workers[{number}].realms[{index}]"
        self._components = [
            Placed(f"workers[{number}].components[{index}]", str(worker.get("type")), component, known)
            for number, (worker, report) in enumerate(zip(workers, reports, strict=True))
            for index, component in enumerate(_sections(worker.get("components")))
            if (known := report.components.get(index))
        ]
        self._ours = [one for one in self._components if one.known["kind"] == "component"]
        self._watching = [one for one in self._components if one.known["kind"] == "sessions"]

    def findings(self) -> Iterator[Finding]:
        yield from self._of_components()
        for number, worker in enumerate(self._workers):
            for place, name, method in methods(worker):
                yield from self._of_method(worker, f"workers[{number}].{place}", name, method)
        yield from self._of_realms()
        yield from self._of_roles()
        yield from self._of_static_rules()
        yield from self._of_principals()

    # -- components

    def _of_components(self) -> Iterator[Finding]:
        for one in self._components:
            role = str(one.config.get("role"))
            if one in self._ours:
                yield from self._of_decoys(one)
            if one.worker != "router":
                continue  # where it joins is for the transport to say
            if one.realm not in self._realms:
                yield Finding(f"{one.place}.realm", f"there is no realm {one.realm}{_meant(one.realm, self._realms)}")
            elif role != "trusted" and role not in self._realms[one.realm]:
                known = self._realms[one.realm]
                yield Finding(f"{one.place}.role", f"the realm {one.realm} has no role {role}{_meant(role, known)}")
            elif one in self._ours:
                yield from self._may_register(one, role)

    def _may_register(self, one: Placed, role: str) -> Iterator[Finding]:
        for procedure in one.procedures:
            if not self._may(one.realm, role, procedure, "register"):
                yield Finding(f"{one.place}.role", f"the role {role} may not register {procedure} in {one.realm}")

    def _of_decoys(self, one: Placed) -> Iterator[Finding]:
        """Who isn't known must be challenged like everybody else; the router refuses those without a place at once."""
        extra = one.config.get("extra")
        guard = extra.get("guard") if isinstance(extra, dict) else None
        decoy = guard.get("decoy") if isinstance(guard, dict) else None
        if isinstance(decoy, list) and len(decoy) == 2 and decoy[1] not in self._realms.get(decoy[0], {}):
            text = f"there is no role {decoy[1]} in a realm {decoy[0]}: everybody could see who isn't known"
            yield Finding(f"{one.place}.extra.guard.decoy", text)

    def _may(self, realm: str, role: str, procedure: str, action: str) -> bool:
        rules = self._realms[realm].get(role, Section()).get("permissions")
        if role == "trusted" or not isinstance(rules, list):
            return True  # for all we can tell
        try:
            return bool(load().RouterRoleStaticAuth(None, role, rules).authorize(None, procedure, action, {})["allow"])
        except Exception:
            return True  # the router will say what is wrong with the rules

    # -- ways to log in

    def _of_method(self, worker: Section, place: str, name: str, method: Section) -> Iterator[Finding]:
        kind = str(method.get("type"))
        for key in method:
            if kind in KEYS and key not in KEYS[kind]:
                yield Finding(f"{place}.{key}", f"the router doesn't know {key!r} here{_meant(str(key), KEYS[kind])}")
        if kind == "function" and worker.get("type") not in ("router", "proxy"):
            yield Finding(place, "only routers and proxies have transports: a container asks nobody")
        if kind == "dynamic" and isinstance(method.get("authenticator"), str):
            yield from self._of_procedure(place, name, method)
            yield from self._of_caller(worker, place, method)

    def _of_procedure(self, place: str, name: str, method: Section) -> Iterator[Finding]:
        procedure, realm = method["authenticator"], method.get(OWN)
        ours = {uri: one for one in self._ours for uri in one.procedures}
        if realm is not None and realm not in self._realms:
            yield Finding(f"{place}.{OWN}", f"there is no realm {realm}{_meant(str(realm), self._realms)}")
        elif procedure in ours and realm is None:
            text = f"{OWN} is missing: the router asks in whichever realm the client names"
            yield Finding(place, f"{text}. The component is in {ours[procedure].realm}", "warning")
        elif procedure in ours and procedure.rpartition(".")[2] != name:
            yield Finding(f"{place}.authenticator", f"{procedure} is for another method than {name}")
        elif procedure in ours and not any(procedure in one.procedures and one.realm == realm for one in self._ours):
            yield Finding(f"{place}.{OWN}", f"{procedure} is registered in {ours[procedure].realm}, not in {realm}")
        elif procedure not in ours and self._is_whole():
            foreign = any(one.known["kind"] == "foreign" and one.realm == realm for one in self._components)
            text = f"no component registers {procedure}{_meant(procedure, ours)}"
            yield Finding(f"{place}.authenticator", text, "warning" if foreign or not self._ours else "error")

    def _is_whole(self) -> bool:
        """Whether each component could be looked at: or we would complain of what is only a consequence."""
        classes = (
            c for worker in self._workers for c in _sections(worker.get("components")) if c.get("type") == "class"
        )
        broken = any(one.known["kind"] == "component" and not one.known["methods"] for one in self._components)
        return len(list(classes)) == len(self._components) and not broken

    def _of_caller(self, worker: Section, place: str, method: Section) -> Iterator[Finding]:
        """Who asks the authenticator: the router itself, or a proxy under a role."""
        role, realm = method.get(OWN_ROLE), str(method.get(OWN))
        if worker.get("type") == "router" and role is not None:
            yield Finding(f"{place}.{OWN_ROLE}", "with a role, each client hangs here: leave it out in a router worker")
        if worker.get("type") != "proxy":
            return
        routes = worker.get("routes") or {}
        roles = routes.get(realm) if isinstance(routes, dict) else None
        if role is None:
            yield Finding(place, f"{OWN_ROLE} is missing, which a proxy needs")
        elif not isinstance(roles, dict) or role not in roles:
            yield Finding(f"{place}.{OWN_ROLE}", f"the proxy has no route for the role {role} in {realm}")
        elif realm in self._realms and role not in self._realms[realm]:
            known = self._realms[realm]
            yield Finding(f"{place}.{OWN_ROLE}", f"the realm {realm} has no role {role}{_meant(role, known)}")
        elif realm in self._realms and not self._may(realm, role, method["authenticator"], "call"):
            yield Finding(f"{place}.{OWN_ROLE}", f"the role {role} may not call {method['authenticator']} in {realm}")

    # -- realms, roles, and who belongs to them

    def _own_realms(self) -> set[str]:
        named = {str(m[OWN]) for worker in self._workers for _, _, m in methods(worker) if OWN in m}
        return named | {one.realm for one in self._ours}

    def _listed_realms(self) -> set[str]:
        """Those into which a transport lets somebody by a list of its own, without an authenticator."""
        static = [m for worker in self._workers for _, _, m in methods(worker) if m.get("type") == "static"]
        lists = [m["principals"].values() for m in static if isinstance(m.get("principals"), dict)]
        listed = [*static, *(one for principals in lists for one in principals if isinstance(one, dict))]
        return {str(one["realm"]) for one in listed if "realm" in one}

    def _of_realms(self) -> Iterator[Finding]:
        own = self._own_realms() - self._listed_realms()
        for one in self._watching:
            if one.realm in own:
                yield Finding(f"{one.place}.realm", f"{one.realm} is the authenticators' own: nobody is let in there")
        if self._ours or any(report.functions for report in self._reports):
            watched = {one.realm for one in self._watching}
            for realm, place in self._realm_places.items():
                if realm not in own | watched:
                    yield Finding(f"{place}.name", f"{realm}: {NO_WATCH}", "warning")

    def _of_roles(self) -> Iterator[Finding]:
        """Roles that ask the authorizer, and the rules that it has."""
        procedures = {f"{one.known['prefix']}authorize" for one in [*self._ours, *self._watching]}
        for realm, roles in self._realms.items():
            here = [one for one in self._watching if one.realm == realm]
            for name, role in roles.items():
                asked = role.get("authorizer")
                ruled = any(f"{one.known['prefix']}authorize" == asked and name in _rules(one) for one in here)
                if asked in procedures and not ruled:
                    text = f"the role {name} asks {asked}, and no `Sessions` in {realm} has rules for it"
                    yield Finding(self._realm_places[realm], text)
            for one in here:
                for name in _rules(one):
                    if "authorizer" not in roles.get(name, ()):
                        text = f"no role {name} of {realm} asks the authorizer"
                        yield Finding(f"{one.place}.extra.roles.{name}", text, "warning")

    def _of_static_rules(self) -> Iterator[Finding]:
        """Rules that the router applies itself, and that give more than they say."""
        for number, worker in enumerate(self._workers):
            for index, realm in enumerate(_sections(worker.get("realms"))):
                watching = [one for one in self._watching if one.realm == realm.get("name")]
                asked = {name: one.config["extra"]["roles"][name] for one in watching for name in _rules(one)}
                dangers: list[str] = []
                with suppress(Exception):  # the router will say what is wrong with the rules
                    dangers = dangerous_rules(realm, asked)
                for danger in dangers:
                    yield Finding(f"workers[{number}].realms[{index}]", danger, "warning")

    def _of_principals(self) -> Iterator[Finding]:
        if not self._realms:
            return  # the router is elsewhere
        own = self._own_realms()
        for number, report in enumerate(self._reports):
            for place, realm, role, count, authid in report.principals:
                others = f" and {count - 1} more" if count > 1 else ""
                if realm in own:
                    text = f"is stored for {realm}, the authenticators' own realm, and isn't let in"
                elif realm not in self._realms:
                    text = f"is stored for the realm {realm}, which isn't there{_meant(realm, self._realms)}"
                elif role not in self._realms[realm]:
                    text = (
                        f"is stored for the role {role}, which {realm} doesn't have{_meant(role, self._realms[realm])}"
                    )
                else:
                    continue
                yield Finding(f"workers[{number}].{place}.store", f"{authid}{others} {text}", "warning")


def _sections(value: Any) -> list[Section]:
    """The objects in a list, each at its number."""
    return [one if isinstance(one, Section) else Section() for one in value] if isinstance(value, list) else []


def _rules(one: Placed) -> Iterable[str]:
    extra = one.config.get("extra") or {}
    rules = extra.get("roles") if isinstance(extra, dict) else None
    return rules if isinstance(rules, dict) else ()


def _meant(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": is {found[0]} meant?" if found else f" (there is {', '.join(sorted(known)) or 'none'})"
