"""What do the components and factories of one worker say to their settings? They are really made here, one after the
other as the worker would, but nothing is started, and no audit is written.

``python -m wampauth.check.worker`` runs in the node directory, with the worker's path: job and report are JSON.
"""

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from wampauth import store as stores
from wampauth.authenticator import Authenticator
from wampauth.check.finding import Severity
from wampauth.sessions import RealmSessions
from wampauth.settings import SettingsError
from wampauth.store import StoreError, connect, open_store, showing
from wampauth.told import load, sentence, text, told

SENTENCES = (SettingsError, StoreError)  # what says enough by itself


class Trial:
    """One worker's."""

    def __init__(self, kind: str) -> None:
        """:param kind: of the worker: router, proxy or container."""
        self._kind = kind
        self._place = ""
        self._findings: list[tuple[str, str, Severity]] = []
        self._components: dict[int, dict[str, Any]] = {}
        self._functions: dict[str, dict[str, str]] = {}
        self._stores: dict[str, str] = {}  # and where each is named
        self._offered: dict[Authenticator, list[str]] = {}
        self._watching: list[tuple[str, Authenticator]] = []
        self._broken: set[Authenticator] = set()  # what only follows isn't complained of

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Try everything, in the worker's order, and tell what came of it."""
        globalLogPublisher.addObserver(self._logged)
        for number, component in job["components"]:
            self._attempt(f"components[{number}]", lambda c=component, n=number: self._component(n, c))
        for place, authenticator in self._watching:
            self._attempt(f"{place}.extra", lambda a=authenticator, p=place: self._sessions(p, a))
        for place, name, method in job["functions"]:
            self._attempt(place, lambda n=name, m=method: self._function(n, m))
        return {
            "findings": self._findings,
            "components": self._components,
            "functions": self._functions,
            "principals": [row for store, place in self._stores.items() for row in self._principals(place, store)],
        }

    def _attempt(self, place: str, step: Any) -> None:
        self._place = place
        try:
            step()
        except SENTENCES as error:
            self._find(str(error))
        except OSError as error:  # about a file of ours: what an author's code raises is `Stopped`
            self._find(": ".join(filter(None, (error.filename, text(error)))) or told(error))
        except (Exception, SystemExit) as error:
            self._find(sentence(error))

    def _find(self, text: str, severity: Severity = "error") -> None:
        if all(text != known for _, known, _ in self._findings):  # components of one Authenticator suffer together
            self._findings.append((self._place, text, severity))

    def _logged(self, event: Any) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            failure = event.get("log_failure")
            self._find(told(failure.value) if failure else formatEvent(event), "warning")

    def _component(self, number: int, component: dict[str, Any]) -> None:
        if "classname" not in component:
            raise SettingsError("classname is missing")
        kind = _load(component["classname"])
        authenticator = getattr(kind, "_authenticator", None)
        if not isinstance(authenticator, Authenticator):
            self._components[number] = {"kind": "foreign"}
            return
        watches = issubclass(kind, RealmSessions)
        known: dict[str, Any] = {
            "kind": "sessions" if watches else "component",
            "prefix": authenticator.prefix,
            "methods": [],
        }
        self._components[number] = known
        extra = component.get("extra") or {}
        self._place += ".extra"
        whole = authenticator not in self._broken
        self._broken.add(authenticator)
        _require_audit(extra)
        if watches:
            self._watching.append((self._place.removesuffix(".extra"), authenticator))
            kind.check_config(_personality(extra), extra)
        else:
            authenticator.configure(extra)
            known["methods"] = self._offered[authenticator] = authenticator.try_out()
            known["shared"] = authenticator.configuration()[1].shared
        if whole:
            self._broken.discard(authenticator)
        if isinstance(store := extra.get("store"), str):
            self._stores.setdefault(store, self._place)

    def _sessions(self, place: str, authenticator: Authenticator) -> None:
        """After all components: one of them may have brought the settings."""
        if authenticator in self._broken:
            return
        settings, _ = authenticator.configuration()
        authenticator.admissions()
        if "store" in settings:
            open_store(settings["store"])

    def _function(self, name: str, method: dict[str, Any]) -> None:
        factory = _load(method["create"])
        authenticator, asks = getattr(factory, "asks", (None, ""))
        if not isinstance(authenticator, Authenticator):
            return  # not one of ours
        self._functions[method["create"]] = {"prefix": authenticator.prefix, "method": asks}
        if asks != name:
            raise SettingsError(f"{method['create']} is for the method {asks}, not for {name}")
        config = method.get("config") or {}
        if config and self._kind != "proxy":
            raise SettingsError(
                'a factory takes no "config" in this worker: its settings stand in the extra of the component'
            )
        if config:
            self._place += ".config"
            _require_audit(config)
        authenticator.configure_function(config)
        if isinstance(store := config.get("store"), str):
            self._stores.setdefault(store, self._place)
        if authenticator in self._broken:
            return
        if authenticator not in self._offered:
            self._offered[authenticator] = authenticator.try_out()
        if name not in self._offered[authenticator]:
            raise SettingsError(f"the checks have no method {name}()")

    def _principals(self, place: str, store: str) -> list[tuple[Any, ...]]:
        """Realms and roles of those who are stored; what lies in a store of an author's own can't be seen."""
        try:
            with closing(connect(store, upgrading=False)) as connection:
                return [(place, *row) for row in showing.places(connection)]
        except StoreError:
            return []  # not one of ours, or it is reported already


def _load(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(load(module), attribute)
    except AttributeError:
        raise SettingsError(f"{module} has no {attribute}") from None
    except Exception as error:
        raise SettingsError(f"{name} can't be imported: {sentence(error)}") from None


def _personality(extra: dict[str, Any]) -> Any:
    """Crossbar.io's, which takes its time, where somebody asks for it."""
    if not extra.get("roles"):
        return None
    from crossbar.personality import Personality

    return Personality


def _require_audit(extra: dict[str, Any]) -> None:
    """See that the audit can be written, without writing it."""
    guard = extra.get("guard")
    file = Path(str(guard.get("audit", "audit.jsonl") if isinstance(guard, dict) else "audit.jsonl"))
    where = file if file.exists() else file.parent
    if file.is_dir() or not os.access(where, os.W_OK):
        advice = "check the owner and mode of file and folder" if file.parent.is_dir() else "make its folder first"
        raise SettingsError(f"the audit can't be written: {file}; {advice}")


def main() -> None:
    """Read the job, and write the report where nobody else writes."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    stores.MAY_UPGRADE = False
    job = json.load(sys.stdin)
    report = Trial(job["type"]).run(job)
    with told:
        json.dump(report, told)
    os._exit(0)  # whatever the author's modules have begun


if __name__ == "__main__":
    main()
