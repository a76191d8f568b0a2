"""What stands in a node's configuration? Read as the router reads it, but nothing passes in silence.

``config.json`` and ``config.yaml`` are read alike. Where a key stands twice in one object, the router takes the last
and says nothing; here it is remembered (:attr:`Section.doubled`).
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

DEFAULTS = ("config.yaml", "config.json")  # in the order in which Crossbar.io looks for them
ENDINGS = (".json", ".yaml")
OWN = "authenticator-realm"
AUDIT = "audit.jsonl"  # if the settings name none
HERE = (Path(".crossbar"), Path())  # where a node directory may lie, from here

Config = Mapping[str, Any]


class NodeError(Exception):
    """The node can't be started. The text says why, and what to do."""


class Section(dict[Any, Any]):
    """An object of a configuration.

    :ivar doubled: the keys that stand in it more than once.
    """

    doubled: tuple[str, ...] = ()


def choose(directory: Path, config: str | None) -> str:
    """The name of the configuration: `config`, or else the one that Crossbar.io takes.

    :raises NodeError: if there is none.
    """
    for name in (config,) if config else DEFAULTS:
        if directory.is_dir() and (directory / name).is_file():  # a whole path would be found without it
            return name
    raise NodeError(f"There is no {config or ' or '.join(DEFAULTS)} in {directory}: `wampauth init` writes one.")


def load(file: Path) -> Any:
    """The configuration in `file`, whose objects are :class:`Section`.

    :raises NodeError: if it can't be read, or is neither JSON nor YAML.
    """
    try:
        if file.suffix not in ENDINGS:
            raise ValueError("its name must end in .json or .yaml")
        text = file.read_text()
        if file.suffix == ".json":
            return json.loads(text, object_pairs_hook=_section)
        found = yaml.load(text, _Loader)  # noqa: S506 - it makes what safe_load makes
        for _ in walk(found):  # an anchor may lie within what it marks, and then nobody comes to an end
            pass
        return found
    except OSError as error:
        raise NodeError(f"{file}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise NodeError(f"{file} isn't YAML: {' '.join(str(error).split())}.") from None
    except (ValueError, RecursionError) as error:
        raise NodeError(f"{file} isn't a node's configuration: {error}.") from None


def walk(value: Any, place: str = "") -> Iterator[tuple[str, Section]]:
    """All objects in `value`, each with its place, such as ``workers[0].options``."""
    if isinstance(value, Section):
        yield place, value
        for name, inner in value.items():
            yield from walk(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{place}[{number}]")


@dataclass
class Places:
    """Where principals can belong, by the configurations that lie beside a store.

    :ivar files: their names.
    :ivar roles: of each realm.
    :ivar own: the authenticators' realms.
    :ivar watched: the realms in which there is a component called ``Sessions``.
    :ivar named: any of their settings as files, as seen from here: checks may call theirs as they like.
    :ivar stores: where principals are looked up: files as seen from here, URLs without a password, or module:name.
    :ivar grace: seconds that a client may take to join, at the one where that is the longest.
    :ivar changed: when one of the files was written last, in seconds since 1970.
    """

    files: list[str] = field(default_factory=list)
    roles: dict[str, set[str]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    watched: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    stores: set[str] = field(default_factory=set)
    grace: float = 10.0  # as in connections/limits.py
    changed: float = 0.0

    def add(self, config: Any, folder: Path) -> None:
        """Take in what one configuration has that lies in `folder`."""
        for _, section in walk(config):
            self.named |= {os.path.relpath(folder / one) for one in section.values() if isinstance(one, str)}
            if isinstance(store := section.get("store"), str):
                self.stores.add(_to_be_shown(store) if ":" in store else os.path.relpath(folder / store))
            if isinstance(grace := section.get("login_grace"), int | float):
                self.grace = max(self.grace, grace)
            name = section.get("name")
            if isinstance(name, str) and isinstance(section.get("roles"), list):
                roles = self.roles.setdefault(name, set())
                roles |= {str(role.get("name")) for role in section["roles"] if isinstance(role, Section)}
            if isinstance(section.get(OWN), str):
                self.own.add(section[OWN])
            kind, realm = str(section.get("classname", "")), section.get("realm")
            if isinstance(realm, str) and kind.endswith("Sessions"):
                self.watched.add(realm)
            elif isinstance(realm, str) and kind.endswith("AuthenticatorSession"):
                self.own.add(realm)


def beside(store: str) -> Places:
    """What the configurations in the folder of `store` have, all together. Beside a database server there is none;
    a store of an author's own lies in the node directory."""
    places = Places()
    if "://" in store:
        return places
    is_own = ":" in store and not Path(store).exists()
    folder = (node_of(store) or Path()).absolute() if is_own else Path(store).absolute().parent
    for file, config in _configurations(folder):
        places.files.append(file.name)
        places.changed = max(places.changed, file.stat().st_mtime)
        places.add(config, file.parent)
    return places


def audits(store: str, directory: Path | None = None) -> list[Path]:
    """The audits of the nodes that work with `store`, by the configurations beside it. If these name none, it is
    ``audit.jsonl`` beside the store.

    :param directory: where configurations lie if the store is a database server. Without: the node directory near here.
    """
    if ":" in store and not Path(store).exists():  # a database server, or a store of an author's own
        folder = directory or node_of(store)
        return _audits(folder, _naming(store, folder)) if folder else []
    folder = Path(store).absolute().parent
    return _audits(folder, _naming(store, folder)) or [folder / AUDIT]


def node_of(store: str) -> Path | None:
    """The node directory near here in which a configuration names `store`, if there is one."""
    return next((folder for folder in HERE if _audits(folder, _naming(store, folder))), None)


def _naming(store: str, folder: Path) -> Callable[[Section], bool]:
    """Says of a section of a configuration in `folder` whether it names `store`."""

    def is_meant(extra: Section) -> bool:
        named = extra.get("store")
        return isinstance(named, str) and is_same(named, store, folder)

    return is_meant


def audits_in(directory: Path) -> list[Path]:
    """The audits of a node, by the configurations in its `directory`, whatever store it works with. No configuration:
    there is none."""
    named = _audits(directory, lambda extra: "store" in extra or "guard" in extra)
    return named or [directory / AUDIT for _ in islice(_configurations(directory), 1)]


def _audits(folder: Path, is_meant: Callable[[Section], bool]) -> list[Path]:
    """Those that the settings name which are meant, in order, each once."""
    found: dict[Path, None] = {}
    for _, config in _configurations(folder):
        for _, section in walk(config):
            if is_meant(section):
                guard = section.get("guard")
                audit = guard.get("audit") if isinstance(guard, Section) else None
                found[folder / (audit if isinstance(audit, str) else AUDIT)] = None
    return list(found)


def _configurations(folder: Path) -> Iterator[tuple[Path, Section]]:
    """The node configurations in `folder`."""
    for file in sorted(folder.glob("*")):
        if file.suffix not in ENDINGS or not file.is_file():
            continue
        with suppress(NodeError):  # whatever it is then
            config = load(file)
            if isinstance(config, Section) and isinstance(config.get("workers"), list):
                yield file, config


def is_same(named: str, store: str, folder: Path) -> bool:
    """Whether a configuration in `folder` means this store. Who connects as whom makes no difference."""
    if named == store:
        return True
    if "://" in named or "://" in store:
        return _without_user(named) == _without_user(store)
    return Path(folder, named).resolve() == Path(store).resolve()


def _to_be_shown(url: str) -> str:
    """Without the place for a password, and the parameters, which may hold one."""
    user = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return (_without_user(url) if ":" in user else url).partition("?")[0]


def _without_user(url: str) -> str:
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _section(pairs: list[tuple[Any, Any]]) -> Section:
    section = Section(pairs)
    if len(section) < len(pairs):
        names = [name for name, _ in pairs]
        section.doubled = tuple(str(name) for name in section if names.count(name) > 1)
    return section


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Makes sections. What ``<<`` takes in may be said again, as YAML means it."""

    def flatten_mapping(self, node: Any) -> None:
        if not hasattr(node, "names"):  # before it holds also what it takes in
            node.names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        super().flatten_mapping(node)

    def section(self, node: Any) -> Iterator[Section]:
        section = Section()
        yield section  # before it is filled: an anchor may lie in what it marks
        section.update(self.construct_mapping(node))
        names = node.names
        section.doubled = tuple(name for name in dict.fromkeys(names) if name != "<<" and names.count(name) > 1)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.section)
