"""Is each thing in a configuration of the kind that it must be? Asked first: whoever looks further relies on it."""

import re
from collections.abc import Iterator
from typing import Any

from wampauth.check.finding import Finding
from wampauth.check.trial import methods
from wampauth.nodeconfig import OWN, Section, walk

NUMBER = re.compile(r"\[\d+\]")
Kind = tuple[type[Any], str]
LISTS: Kind = (list, "a list")
OBJECTS: Kind = (dict, "an object")
TEXTS: Kind = (str, "a string")
SHAPES: dict[str, dict[str, Kind]] = {  # of what is there: the router says what is missing
    "workers[]": {
        **dict.fromkeys(("realms", "components", "transports"), LISTS),
        **dict.fromkeys(("options", "routes"), OBJECTS),
    },
    "workers[].options": {"python": TEXTS, "pythonpath": LISTS, "env": OBJECTS},
    "workers[].options.env": {"vars": OBJECTS},
    "workers[].realms[]": {"name": TEXTS, "roles": LISTS},
    "workers[].realms[].roles[]": {"name": TEXTS, "authorizer": TEXTS, "permissions": LISTS},
    "workers[].components[]": {"classname": TEXTS, "realm": TEXTS, "role": TEXTS, "extra": OBJECTS},
}
METHOD = dict.fromkeys(("authenticator", OWN, "authenticator-role", "create"), TEXTS)


def findings(config: Section) -> Iterator[Finding]:
    """What is of another kind."""
    for place, section in walk(config):
        yield from _of(place, section, SHAPES.get(NUMBER.sub("[]", place), {}))
    for number, worker in enumerate(config["workers"]):
        for place, _, method in methods(worker) if isinstance(worker, Section) else ():
            yield from _of(f"workers[{number}].{place}", method, METHOD)
        for path in _paths(worker):
            if not isinstance(path, str) or "\0" in path:
                yield Finding(f"workers[{number}].options.pythonpath", "it must be a list of folders")


def _of(place: str, section: Section, shapes: dict[str, Kind]) -> Iterator[Finding]:
    for name, (kind, said) in shapes.items():
        if section.get(name) is not None and not isinstance(section[name], kind):
            yield Finding(f"{place}.{name}", f"it must be {said}")


def _paths(worker: Any) -> list[Any]:
    options = worker.get("options") if isinstance(worker, Section) else None
    paths = options.get("pythonpath") if isinstance(options, Section) else None
    return paths if isinstance(paths, list) else []
