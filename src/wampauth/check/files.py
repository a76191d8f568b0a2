"""Can a worker have as many files open as it may have connections?"""

from collections.abc import Iterator
from typing import Any

from wampauth.check.finding import Finding
from wampauth.nodeconfig import Section
from wampauth.worker import files

TOO_FEW = (
    "{number} connections may be open in this worker, but it can't have more than {most}, since each is an open file: "
    "raise the hard limit of open files (`ulimit -Hn`, in systemd LimitNOFILE=), or lower max_connections"
)


def findings(workers: list[Section]) -> Iterator[Finding]:
    """Warn of each worker whose transports may have more connections than it can have."""
    for number, worker in enumerate(workers):
        allowed = sum(map(_most, worker.get("transports") or ()))
        if allowed > (most := files.most_connections()):
            text = TOO_FEW.format(number=f"{allowed:,}", most=f"{most:,.0f}")
            yield Finding(f"workers[{number}].transports", text, "warning")


def _most(transport: Any) -> int:
    """As far as that is a number: otherwise the router complains."""
    most = transport.get("max_connections") if isinstance(transport, dict) else None
    return most if isinstance(most, int) else 0
