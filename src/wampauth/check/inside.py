"""What goes between the processes of a node, or from one node to another: can anybody else be there?"""

from collections.abc import Iterator

from wampauth.check.finding import Finding
from wampauth.check.layout import Layout, sections
from wampauth.check.transports import is_loopback
from wampauth.check.trial import Report
from wampauth.nodeconfig import Section, walk

IN_CLEAR = "it connects to {host} without TLS: who is on the way reads along, and can speak in its name"
UNANNOUNCED = (
    "the router doesn't announce who comes to a proxy over TLS, unless `wampauth start`, or its PYTHONPATH, starts the "
    "node: with another starter, give the role {role} an authorizer, or who is revoked stays"
)


def findings(workers: list[Section], reports: list[Report]) -> Iterator[Finding]:
    """What is to be done about connections that processes of a node make themselves."""
    yield from _of_connections(workers)
    yield from _of_proxied_roles(workers, Layout(workers, reports).own_realms())


def _of_connections(workers: list[Section]) -> Iterator[Finding]:
    """A proxy's to its routers, a container's to its realm, a router's to another one."""
    for number, worker in enumerate(workers):
        others = Section({name: value for name, value in worker.items() if name != "transports"})
        for place, section in walk(others, f"workers[{number}]"):
            endpoint = section.get("endpoint")
            host = endpoint.get("host") if isinstance(endpoint, Section) and "tls" not in endpoint else None
            if host is not None and not is_loopback(host):
                yield Finding(f"{place}.endpoint", IN_CLEAR.format(host=host))


def _of_proxied_roles(workers: list[Section], own: set[str]) -> Iterator[Finding]:
    """Roles of those who may come over TLS to a proxy, and whose actions nobody is asked about."""
    reached = {
        (str(realm), str(role))
        for worker in workers
        if worker.get("type") == "proxy" and any("tls" in one for _, one in walk(worker.get("transports")))
        for realm, roles in (worker.get("routes") or {}).items()
        if realm not in own
        for role in (roles if isinstance(roles, dict) else ())
    }
    for number, worker in enumerate(workers):
        for index, realm in enumerate(sections(worker.get("realms"))):
            for role_index, role in enumerate(sections(realm.get("roles"))):
                if (str(realm.get("name")), str(role.get("name"))) in reached and "authorizer" not in role:
                    place = f"workers[{number}].realms[{index}].roles[{role_index}]"
                    yield Finding(place, UNANNOUNCED.format(role=role.get("name")), "warning")
