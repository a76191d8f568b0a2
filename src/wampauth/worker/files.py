"""How many files may this process have open? Each connection is one."""

import resource

SPARE = 100  # that a process has open beside its connections


def raise_limit() -> None:
    """Have as many as the system allows: shells and systemd give 1,024 to begin with, which is meant for programs of
    another time. Processes that are started from here have as many, too."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (OSError, ValueError):  # macOS says "unlimited", and allows less
            return


def most_connections() -> float:
    """How many connections a process can have, once the limit is raised."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if most == resource.RLIM_INFINITY else most - SPARE
