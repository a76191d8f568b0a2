"""Does any node ask the store that a command works on? Its verdicts would be false otherwise."""

import os

import click

from wampauth.nodeconfig import Places, beside
from wampauth.store import OWN

IS_DEFAULT = "wampauth.is_default"  # in the context: the operator has named no store


def instead(path: str, makes: bool = False) -> str | None:
    """Why the store at `path` isn't the one to work on, and what is; None: it is. Whoever names one which is there
    means it, wherever else nodes look.

    :param makes: one is made where there is none.
    """
    places = beside(path)
    if ":" in path or not places.files or os.path.relpath(path) in places.named:
        return None
    if not makes and not os.path.lexists(path):
        none = "" if places.stores else f", and none is named in {' and '.join(places.files)}"
        return f"there is no store at {path}{none}. {_what_tells(places)}"
    if click.get_current_context().find_root().meta.get(IS_DEFAULT):
        meant = f"`wampauth --store {path} ...` means it all the same"
        return f"no configuration names {path}, so no node asks it. {_what_tells(places)} ({meant})"
    return None


def is_unknowable(path: str) -> bool:
    """Whether nodes work without any store that a command can look into: then only the audit tells of principals."""
    if OWN.fullmatch(path):
        return True
    stores = beside(path).stores
    return instead(path) is not None and all(map(OWN.fullmatch, stores))


def of_others(path: str) -> str | None:
    """What to say when somebody is added to a store that no node asks, and that isn't made to take the place of one,
    as ``principals.db.new``."""
    places, relative = beside(path), os.path.relpath(path)
    successors = tuple(f"{store}." for store in places.stores)
    if not places.files or relative in places.named or relative.startswith(successors):
        return None
    files, stores = " and ".join(places.files), sorted(places.stores)
    named = f"In {files} the store is {stores[0]}" if stores else f"No store is named in {files}"
    return f"{named}, so no node asks this one ({path})."


def _what_tells(places: Places) -> str:
    stores = sorted(places.stores)
    if not stores:
        return "Where checks of your own do without, `wampauth log` and `wampauth why --last` tell of logins"
    told = f"In {' and '.join(places.files)} it is {stores[0]}"
    if OWN.fullmatch(stores[0]):
        return (
            f"{told}, one of your own: `wampauth log` and `wampauth why --last` tell of logins, and"
            f" `wampauth --store {stores[0]} sessions` of who is in, if it can"
        )
    return f"{told}: say `--store {stores[0]}`"
