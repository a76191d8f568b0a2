"""Do components and ways to log in fit each other?"""

from collections.abc import Iterator

from wampauth.check.finding import Finding
from wampauth.check.layout import Layout, Placed, meant, rules_of, sections
from wampauth.check.trial import methods
from wampauth.methods import METHODS
from wampauth.nodeconfig import OWN, Section, walk

OWN_ROLE = "authenticator-role"
KEYS = {
    "dynamic": ("type", "authenticator", OWN, OWN_ROLE),
    "function": ("type", "create", "config", "expose_controller"),
}


class Wiring:
    """Looks at components, and at whom transports ask."""

    def __init__(self, there: Layout) -> None:
        """:param there: all workers of the node."""
        self._there, self._realms, self._ours = there, there.realms, there.ours

    def findings(self) -> Iterator[Finding]:
        """What is wrong with them."""
        yield from self._of_components()
        yield from self._of_namesakes()
        for number, worker in enumerate(self._there.workers):
            for place, name, method in methods(worker):
                yield from self._of_method(worker, f"workers[{number}].{place}", name, method)
            for index, transport in enumerate(sections(worker.get("transports"))):
                yield from _of_certificates(f"workers[{number}].transports[{index}]", transport)

    # -- components

    def _of_components(self) -> Iterator[Finding]:
        for one in self._there.components:
            role = str(one.config.get("role"))
            if one in self._ours:
                yield from self._of_decoys(one)
            if one.worker != "router":
                continue  # where it joins is for the transport to say
            if one.realm not in self._realms:
                yield Finding(f"{one.place}.realm", f"there is no realm {one.realm}{meant(one.realm, self._realms)}")
            elif role != "trusted" and role not in self._realms[one.realm]:
                known = self._realms[one.realm]
                yield Finding(f"{one.place}.role", f"the realm {one.realm} has no role {role}{meant(role, known)}")
            elif one in self._ours:
                yield from self._may_register(one, role)

    def _may_register(self, one: Placed, role: str) -> Iterator[Finding]:
        for procedure in one.procedures:
            if not self._there.may(one.realm, role, procedure, "register"):
                yield Finding(f"{one.place}.role", f"the role {role} may not register {procedure} in {one.realm}")

    def _of_namesakes(self) -> Iterator[Finding]:
        """In a realm each procedure is registered once, or the node doesn't start; unless they take turns."""
        first: dict[tuple[str, str, str], Placed] = {}
        for one in [*self._ours, *self._there.watching]:
            authorizes = one in self._there.watching and any(rules_of(one))
            for procedure in [f"{one.known['prefix']}authorize"] if authorizes else one.procedures:
                other = first.setdefault((one.place.partition(".")[0], one.realm, procedure), one)
                if other is not one and one.worker == "router" and not one.known.get("shared"):
                    text = f"{other.place} registers {procedure} in {one.realm}, too: leave one of them out, or give"
                    yield Finding(one.place, f"{text} each Authenticator a prefix of its own")

    def _of_decoys(self, one: Placed) -> Iterator[Finding]:
        """Who isn't known must be challenged like everybody else; the router refuses those without a place at once."""
        extra = one.config.get("extra")
        guard = extra.get("guard") if isinstance(extra, dict) else None
        decoy = guard.get("decoy") if isinstance(guard, dict) else None
        if isinstance(decoy, list) and len(decoy) == 2 and decoy[1] not in self._realms.get(decoy[0], {}):
            text = f"there is no role {decoy[1]} in a realm {decoy[0]}: everybody could see who isn't known"
            yield Finding(f"{one.place}.extra.guard.decoy", text)

    # -- ways to log in

    def _of_method(self, worker: Section, place: str, name: str, method: Section) -> Iterator[Finding]:
        kind = str(method.get("type"))
        for key in method:
            if kind in KEYS and key not in KEYS[kind]:
                yield Finding(f"{place}.{key}", f"the router doesn't know {key!r} here{meant(str(key), KEYS[kind])}")
        if kind == "function" and worker.get("type") not in ("router", "proxy"):
            yield Finding(place, "only routers and proxies have transports: a container asks nobody")
        if kind == "function" and name in METHODS and not METHODS[name].is_function:
            yield Finding(f"{place}.type", f'the router knows no function for {name}: write "dynamic"')
        if kind == "dynamic" and isinstance(method.get("authenticator"), str):
            yield from self._of_procedure(place, name, method)
            yield from self._of_caller(worker, place, name, method)

    def _of_procedure(self, place: str, name: str, method: Section) -> Iterator[Finding]:
        procedure, realm = method["authenticator"], method.get(OWN)
        ours = {uri: one for one in self._ours for uri in one.procedures}
        if realm is not None and realm not in self._realms:
            yield Finding(f"{place}.{OWN}", f"there is no realm {realm}{meant(str(realm), self._realms)}")
        elif procedure in ours and realm is None:
            text = f"{OWN} is missing: the router asks in whichever realm the client names"
            yield Finding(place, f"{text}. The component is in {ours[procedure].realm}", "warning")
        elif procedure in ours and procedure.rpartition(".")[2] != name:
            yield Finding(f"{place}.authenticator", f"{procedure} is for another method than {name}")
        elif procedure in ours and not any(procedure in one.procedures and one.realm == realm for one in self._ours):
            yield Finding(f"{place}.{OWN}", f"{procedure} is registered in {ours[procedure].realm}, not in {realm}")
        elif procedure not in ours and self._is_whole() and not self._may_be_foreign(realm):
            text = f"no component registers {procedure}{meant(procedure, ours)}"
            yield Finding(f"{place}.authenticator", text, "error" if self._ours else "warning")

    def _may_be_foreign(self, realm: object) -> bool:
        """Whether a component that we know nothing of is where the procedure is asked for: it may register it."""
        return any(one.known["kind"] == "foreign" and one.realm == realm for one in self._there.components)

    def _is_whole(self) -> bool:
        """Whether each component could be looked at: or we would complain of what is only a consequence."""
        classes = (
            c for worker in self._there.workers for c in sections(worker.get("components")) if c.get("type") == "class"
        )
        broken = any(one.known["kind"] == "component" and not one.known["methods"] for one in self._there.components)
        return len(list(classes)) == len(self._there.components) and not broken

    def _of_caller(self, worker: Section, place: str, name: str, method: Section) -> Iterator[Finding]:
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
            yield Finding(f"{place}.{OWN_ROLE}", f"the realm {realm} has no role {role}{meant(role, known)}")
        elif realm in self._realms and not self._there.may(realm, role, method["authenticator"], "call"):
            yield Finding(f"{place}.{OWN_ROLE}", f"the role {role} may not call {method['authenticator']} in {realm}")
        elif realm in self._realms and name in METHODS and not METHODS[name].is_proven:
            yield from self._may_tell(place, realm, role, method["authenticator"])

    def _may_tell(self, place: str, realm: str, role: str, procedure: str) -> Iterator[Finding]:
        """Whether a proxy can tell our authenticator of a proof that was right."""
        told = f"{procedure.rpartition('.')[0]}.proven."
        if any(procedure in one.procedures for one in self._ours) and not self._there.may(realm, role, told, "call"):
            text = f"the role {role} may not call what begins with {told} in {realm}: what a login costs the throttle"
            yield Finding(f"{place}.{OWN_ROLE}", f"{text} comes back with time alone", "warning")


def _of_certificates(place: str, transport: Section) -> Iterator[Finding]:
    """Who is to show a certificate must be asked for one, in the handshake of TLS."""
    endpoint = transport.get("endpoint")
    tls = endpoint.get("tls") if isinstance(endpoint, Section) else None
    is_asked = isinstance(tls, Section) and bool(tls.get("ca_certificates"))
    for inner, service in walk(transport, place) if not is_asked else ():
        if isinstance(service.get("auth"), Section) and "tls" in service["auth"]:
            text = "nobody is asked for a certificate here: name ca_certificates under tls of the transport's endpoint"
            yield Finding(f"{inner}.auth.tls", text)
