"""What does the attacker that we ship find at each stage of the lesson? Six minutes for all of them.

``python tests/library/probing.py`` probes them and writes ``stages/probed.json``, which README.md's table is made of.
Numbers of stages probe only these.
"""

import json
import sys
from collections.abc import Iterable

from readme import HERE, Shell, shell

from wampauth.probe.report import CANT_TELL

STAGES = ("1", "2", "3", "4", "5")
PROBED = HERE / "stages" / "probed.json"
LONGEST = 150.0  # seconds that a node and the probe of it may take
# What may come out where a machine is busy: with a chosen ticket in the store, guesses at many authids are as slow as
# Argon2id is on it.
MAY_BE = {"guesses-authids": {CANT_TELL}, "known-time": {CANT_TELL}}
Verdicts = dict[str, dict[str, str]]  # by the row's name, by stage


def probe(stage: str, copy: Shell) -> dict[str, str]:
    """What ``make probe-N`` finds, by the row's name."""
    command = f"$(make -s -n probe-{stage} | grep -o 'wampauth start.*') --json 2>/dev/null"
    printed = "\n".join(copy.run(command, LONGEST))
    report = json.loads(printed[printed.index("{") :])
    return {row["name"]: row["verdict"] for row in report["rows"]}


def known() -> Verdicts:
    """What was found when the stages were last probed."""
    verdicts: Verdicts = json.loads(PROBED.read_text())
    return verdicts


def write(stages: Iterable[str]) -> None:
    """Probe these stages, and keep what is found."""
    verdicts = known() if PROBED.exists() else {}
    for stage in stages:
        with shell() as copy:
            copy.run("export MYTICKET=secret123; make -s keys .crossbar/certs/server.pem")
            for name, verdict in probe(stage, copy).items():
                verdicts.setdefault(name, {})[stage] = verdict
    lines = (f"  {json.dumps(name)}: {json.dumps(row, sort_keys=True)}" for name, row in verdicts.items())
    PROBED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write(sys.argv[1:] or STAGES)
