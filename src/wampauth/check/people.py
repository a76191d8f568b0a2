"""Who is in the stores of a node, and shouldn't be any more when strangers may come?"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from wampauth import names, scram
from wampauth.check.finding import Finding
from wampauth.nodeconfig import Section, walk
from wampauth.store import OWN, StoreError, connect
from wampauth.store.engine import Connection, sentences, version
from wampauth.store.reading import ACTIVE, STATE
from wampauth.store.schema import VERSION
from wampauth.store.tickets import verify_chosen

DEMO = ("client1", "client01@example.com")  # of the lesson
PUBLISHED = "secret123"  # in its README
TRIED = 100  # chosen tickets, and passwords; each takes some 80 or 150 ms
COUNTING = f"FROM credential c JOIN principal p ON p.authid = c.authid WHERE {STATE} = '{ACTIVE}'"


def findings(directory: Path, workers: list[Section], told: list[str]) -> Iterator[Finding]:
    """What is to be done about the stores that the configuration names, each once.

    :param told: what was found already: perhaps that one of them can't be opened.
    """
    seen: set[str] = set()
    for number, worker in enumerate(workers):
        for place, section in walk(worker, f"workers[{number}]"):
            where = section.get("store")
            if isinstance(where, str) and where not in seen:
                seen.add(where)
                is_known = any(where in text for text in told)
                found = () if is_known else _of_store(f"{place}.store", directory, where)
                yield from (one for one in found if one.text not in told)


def _of_store(place: str, directory: Path, where: str) -> Iterator[Finding]:
    if OWN.fullmatch(where):
        text = "this store is your own: see yourself that the demo's principals aren't in it"
        yield Finding(place, text, "warning")
        return
    try:
        with closing(connect(where if "://" in where else str(directory / where), upgrading=False)) as store:
            yield from _of_version(place, store)
            yield from _of_principals(place, store)
    except StoreError as error:
        yield Finding(place, str(error))


def _of_version(place: str, store: Connection) -> Iterator[Finding]:
    if version(store) < VERSION:
        text = f"{store.name} has version {version(store)}: `wampauth backup` it, the start upgrades it to {VERSION}"
        yield Finding(place, text, "warning")


def _of_principals(place: str, store: Connection) -> Iterator[Finding]:
    with sentences(store):
        authids = ", ".join("?" * len(DEMO))
        demo = store.execute(f"SELECT authid FROM principal WHERE authid IN ({authids}) ORDER BY authid", DEMO)
        for (authid,) in demo.fetchall():
            yield Finding(place, f"the demo's {authid} is in {store.name}: `wampauth remove {authid}`")
        chosen = store.execute(
            f"SELECT p.authid, c.kind, c.verifier {COUNTING} AND c.kind IN ('chosen', 'scram') ORDER BY p.authid, c.id"
        ).fetchall()
        ((unlimited,),) = store.execute(
            f"SELECT COUNT(*) {COUNTING} AND c.expires IS NULL AND c.kind = 'ticket'"
        ).fetchall()
    for authid, kind, verifier in chosen[:TRIED]:
        if _is_published(kind, verifier):
            yield Finding(place, f"{authid} in {store.name} logs in with {PUBLISHED!r}, which everybody can read")
    if chosen:
        tried = f"; of these, {TRIED} were tried with {PUBLISHED!r}" if len(chosen) > TRIED else ""
        were = f"{len(chosen)} tickets and passwords in {store.name} were chosen by people"
        text = f"{were}, who choose what can be guessed{tried}"
        yield Finding(place, text, "warning")
    if unlimited:
        text = f"{unlimited} tickets in {store.name} never run out: make them with --expires"
        yield Finding(place, text, "warning")


def _is_published(kind: str, verifier: str) -> bool:
    """Whether what anybody can read opens it."""
    if kind == "chosen":
        return verify_chosen(verifier, PUBLISHED)
    try:
        stored = scram.read(verifier)
    except names.Malformed:
        return False  # then nobody logs in with it
    return scram.derive(PUBLISHED, stored.salt, stored.iterations, stored.memory) == stored
