"""Who has done it, and when? What operators did to a principal, as the audit has it."""

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from wampauth.history import History
from wampauth.history import Record as Line

ALREADY = "was so already"  # what the audit has of an act that changed nothing
FOLLOWS = "follows"


class Acts:
    """The acts on one principal. If the audit can't be read, none is known."""

    def __init__(self, audits: list[Path], authid: str) -> None:
        """:param audits: their files, without those to which they were rotated."""
        self._audits, self._authid = audits, authid

    def by_revoker(self, credential: str | None) -> str:
        """`` by`` whoever has revoked a credential, or with None the principal; empty: nobody knows."""
        line = self._newest("revoke", lambda line: line.get("credential") == credential and not _is_vain(line))
        return f" by {line.get('operator')}" if line else ""

    def place(self) -> str:
        """A sentence on who has given it its realm and role."""
        line = self._newest("set", _is_of_place) or self._newest("add", lambda _: True)
        if line is None:
            return ""
        return f" {line.get('operator')} gave it that at {line['time']} ({line['act']}: {line.get('change')})."

    def former(self, name: str) -> str | None:
        """The realm or role that it had before."""
        line = self._newest("set", _is_of_place)
        for part in str(line.get("change") if line else "").split(", "):
            if part.startswith(f"{name} ") and " -> " in part:
                return part.removeprefix(f"{name} ").partition(" -> ")[0]
        return None

    def successor(self, old: dict[str, Any]) -> Line | None:
        """The act that gave a credential its successor."""
        named = tuple(f"{FOLLOWS} {name}," for name in (old["id"], old["label"]) if name)
        return self._newest("rotate", lambda line: f"{line.get('change')},".startswith(named))

    def _newest(self, act: str, wanted: Callable[[Line], bool]) -> Line | None:
        def is_it(line: Line) -> bool:
            found = (line["outcome"], line.get("act"), line.get("authid"))
            return found == ("acted", act, self._authid) and wanted(line)

        with suppress(OSError), closing(History(self._audits)) as history:
            return history.newest(is_it, self._authid)
        return None


def _is_vain(line: Line) -> bool:
    return line.get("change") == ALREADY


def _is_of_place(line: Line) -> bool:
    return not _is_vain(line) and any(
        part.startswith(("role ", "realm ")) for part in str(line.get("change")).split(", ")
    )
