"""How many cores may this process use? A container's limit isn't what the machine has.

Linux says so in two ways: the set of cores that the process may run on, and the share of time that its control group
(cgroup) gets, in version 1 or 2.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OURS = Path("/proc/self/cgroup")  # lines of hierarchy:controllers:path


def usable_cores(cgroups: Path = CGROUPS, ours: Path = OURS) -> int:
    """The number of cores, rounded up; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(cgroups, ours))]))


def _quotas(cgroups: Path, ours: Path) -> Iterator[float]:
    """The limits of our group and of those it lies in, in cores. One that can't be read is none."""
    try:
        lines = ours.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _of_version_2(cgroups, path)
        elif "cpu" in controllers.split(","):
            for root in cgroups / "cpu", cgroups / controllers:
                yield from _of_version_1(root, path)


def _of_version_2(root: Path, path: str) -> Iterator[float]:
    for folder in _upwards(root, path):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        yield from _cores(quota, period)


def _of_version_1(root: Path, path: str) -> Iterator[float]:
    for folder in _upwards(root, path):
        yield from _cores(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """The folder of a group, and those above it. In a container the path may be the host's, so that it isn't there."""
    inside = PurePosixPath(path).relative_to("/")
    for part in inside, *inside.parents:
        yield root / part


def _cores(quota: str, period: str) -> Iterator[float]:
    """No limit is written as max or -1."""
    if quota.isdigit() and period.isdigit() and int(quota) and int(period):
        yield int(quota) / int(period)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
