"""How many cores may we use, where a control group has less than the machine?"""

import os
from pathlib import Path

import pytest

from wampauth.store.cores import usable_cores


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


V1 = "4:memory:/a\n3:cpu,cpuacct:/docker/x\n0::/"
CASES = {
    "no group": (None, {}, 16),
    "version 2, no limit": ("0::/a/b", {"a/b/cpu.max": "max 100000"}, 16),
    "version 2": ("0::/a/b", {"a/b/cpu.max": "200000 100000"}, 2),
    "less than a core": ("0::/a", {"a/cpu.max": "20000 100000"}, 1),
    "one and a half": ("0::/a", {"a/cpu.max": "150000 100000"}, 2),
    "the group above has less": ("0::/a/b", {"a/b/cpu.max": "800000 100000", "a/cpu.max": "300000 100000"}, 3),
    "in a container": ("0::/", {"cpu.max": "400000 100000"}, 4),
    "the host's path in a container": ("0::/host/x", {"cpu.max": "400000 100000"}, 4),
    "version 1": (
        V1,
        {"cpu,cpuacct/docker/x/cpu.cfs_quota_us": "300000", "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000"},
        3,
    ),
    "version 1, no limit": (
        V1,
        {"cpu/docker/x/cpu.cfs_quota_us": "-1", "cpu/docker/x/cpu.cfs_period_us": "100000"},
        16,
    ),
    "version 1 in a container": (V1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    "nonsense": ("0::/a", {"a/cpu.max": "lots"}, 16),
    "another machine's limit": ("0::/a", {"a/cpu.max": "6400000 100000"}, 16),
}


@pytest.mark.parametrize(("ours", "files", "cores"), CASES.values(), ids=CASES)
def test_usable_cores(tmp_path: Path, ours: str | None, files: dict[str, str], cores: int) -> None:
    write(tmp_path / "cgroup", files)
    if ours is not None:
        (tmp_path / "ours").write_text(ours)
    assert usable_cores(tmp_path / "cgroup", tmp_path / "ours") == cores


def test_a_process_that_is_kept_to_some_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cores(tmp_path, tmp_path / "nothing") == 2
