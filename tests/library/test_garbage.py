"""What does the garbage collector of a worker look at?"""

import subprocess
import sys

import pytest

BEGIN = "import gc; {before}; from wampauth import worker; worker.begin(); "
COUNT = "frozen = gc.get_freeze_count(); worker.begin(); print(frozen, gc.get_freeze_count(), *gc.get_threshold())"


def counts(*arguments: str, before: str = "pass") -> list[int]:
    """Of a process that begins twice: objects that are passed over, after either; then the thresholds."""
    command = [sys.executable, "-c", (BEGIN + COUNT).format(before=before), *arguments]
    return list(map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))


def test_a_worker_passes_over_what_was_there_at_the_start() -> None:
    first, second, newest, *_ = counts("crossbar.worker.main")
    assert first == second > 10_000
    assert newest == 5_000


@pytest.mark.parametrize("threshold", [0, 50_000])
def test_what_somebody_else_has_set_is_left_alone(threshold: int) -> None:
    assert counts("crossbar.worker.main", before=f"gc.set_threshold({threshold})")[2] == threshold


def test_elsewhere_nothing_is_changed() -> None:
    assert counts(before="gc.set_threshold(321)")[:3] == [0, 0, 321]
