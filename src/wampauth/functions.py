"""Can the functions work that this worker's transports name?

By itself the router loads them when the first client logs in, and what is wrong with their settings would be in the log
no sooner. Here it is when their transport starts.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from twisted.logger import Logger

from wampauth.told import load, sentence

TRANSPORT = "crossbar.worker.transport"  # which is there in a router worker, before components are
CANNOT = "the function authenticator {create} can't work: {why}"
log = Logger()


def look_at_start() -> None:
    """From now on, look at the functions of each transport that this process starts. Safe to call again."""
    kind: Any = getattr(sys.modules.get(TRANSPORT), "RouterTransport", None)
    if kind is None or hasattr(kind, "looks_at_functions"):
        return
    start = kind.start

    def started(self: Any, *args: Any, **options: Any) -> Any:
        look(self.config)
        return start(self, *args, **options)

    kind.start, kind.looks_at_functions = started, True


def look(transport: Mapping[str, Any]) -> None:
    """Tell the log of each function in a transport's configuration that can't work."""
    for section in _sections(transport):
        match section:
            case {"type": "function", "create": str() as create}:
                _look_at(create, section.get("config") or {})


def _sections(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from _sections(inner)


def _look_at(create: str, config: Mapping[str, Any]) -> None:
    module, _, name = create.rpartition(".")
    try:
        authenticator, method = getattr(getattr(load(module), name), "asks", (None, ""))
        if authenticator is not None:
            authenticator.configure_function(config)
            authenticator.service().procedure(method)
    except Exception as error:  # whose text may quote an author's secrets
        log.error(CANNOT, create=create, why=sentence(error))
