"""Is what README.md and docs/ show true? Runs the commands of each page in order, in a fresh copy, and compares.

A comment before a code block says what to do with it:

    <!-- run -->               run each line that begins with ``$``, one after the other, and compare the output
    <!-- run: background -->   start the command, wait until its output is there, and leave it running
    <!-- start: COMMAND -->   start the node with this command, and leave it running (no block)
    <!-- then -->              wait until what was started last has ended, and compare the rest that it printed
    <!-- stop -->              stop what was started last (no block)
    <!-- show: FILE -->        the block stands in that file, line by line
    <!-- file: FILE -->        put the block there, for the commands that follow
    <!-- diff: OLD NEW -->     the block is what differs between the two files, with ``@@`` between the places
    <!-- probes -->            the table is what ``stages/probed.json`` says, which ``probing.py`` writes (no block)
    <!-- probes: each -->      the same with a row for each probe

In a transcript, a line of ``...`` stands for any number of lines. ``python tests/library/readme.py`` (`make readme`)
rewrites the transcripts from reality, where they have no such line. Names of pages rewrite only these.

What differs from run to run is replaced: unlike values by unlike stand-ins, so that a reader can tell them apart.
"""

import atexit
import difflib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path

from wampauth.probe.catalogue import ROWS
from wampauth.probe.report import FALLS
from wampauth.testing import free_port

HERE = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (HERE / "docs").glob("*.md")))
BLOCK = re.compile(
    r"<!-- (?P<what>run|start|then|stop|show|file|diff|probes)(?:: (?P<argument>[^>]+?))? -->\n"
    r"(?:```\w*\n(?P<text>.*?)^```$|\n(?P<table>(?:\|[^\n]*\n)*))?",
    re.S | re.M,
)
STAGES = "stages/*/.crossbar/*.yaml"
READY = "The node is ready. Ctrl-C stops it."
PATIENCE = 60.0  # seconds for one command
NOISE = re.compile(r"\S+ \[Controller +\d+\] ?")  # the blank line that Crossbar.io prints when it starts
TODAY = datetime(2026, 11, 21, 12, tzinfo=UTC)  # in the transcripts
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # of a ticket

# What differs from run to run, the more special first. Where the stand-in is None, each value gets one of its own.
KINDS: dict[str, tuple[str, str | None]] = {
    "moment": (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?", None),
    "seconds": (r"(?<=['\"]expires['\"]: )\d{10}(?:\.\d+)?", None),
    "object": (r"(?<=0x)[0-9a-f]{12}\b", "7faff0c6a130"),
    "port": (r"(?<=tcp4:127\.0\.0\.1:)\d+", "38588"),
    "node": (r"(?<='x_cb_node': ')[^']+", "mynode-28675"),
    "pid": (r"(?<='x_cb_pid': )\d+", "28685"),
    "duration": (r"(?<=\"duration\": )[\d.]+", "0.0023"),
    "took": (r"(?<= in )\d+\.\d\ds", "0.40s"),
    "mark": (r"(?<='wampauth': ')[0-9a-f]+", None),
    "key": (r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", None),
    "session": (r"\b\d{13,16}\b", None),
    "credential": (r"\b[0-9a-f]{16}\b", None),
    "reference": (r"(?<=reference )[0-9a-f]{8}", None),
    "ticket": (r"^[A-Za-z0-9_-]{43}$", None),
}
VARIABLE = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, (pattern, _) in KINDS.items()))


@dataclass
class Block:
    """One checked place of a page."""

    page: str
    line: int
    what: str
    argument: str | None
    text: str

    def is_wrong(self, sentence: str) -> str:
        """A sentence, with the place that it is about."""
        return f"{self.page}:{self.line}: {sentence}"


class StandIns:
    """What is shown of values that differ from run to run: the first key is always shown as the same one, and so on."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}

    def __call__(self, line: str) -> str:
        """The line as a page would have it."""
        return VARIABLE.sub(self._replace, line).rstrip()

    def _replace(self, found: re.Match[str]) -> str:
        kind, value = str(found.lastgroup), found[0]
        if kind == "moment":
            return _moved(datetime.fromisoformat(value).replace(tzinfo=UTC)).isoformat()[: len("2026-11-21T12:00:00")]
        if kind == "seconds":
            return str(_moved(datetime.fromtimestamp(float(value), UTC)).timestamp())
        fixed = KINDS[kind][1]
        return self._given.setdefault((kind, value), self._next(kind, len(value))) if fixed is None else fixed

    def _next(self, kind: str, length: int) -> str:
        number = sum(known == kind for known, _ in self._given)
        digest = hashlib.sha512(f"{kind} {number}".encode())
        if kind == "session":
            return str(10**15 + int(digest.hexdigest(), 16) % (8 * 10**15))
        if kind == "ticket":
            return "".join(LETTERS[byte % 64] for byte in digest.digest())[:length]
        return digest.hexdigest()[:length]


def _moved(moment: datetime) -> datetime:
    """As far from the day of the transcripts as it is from now, in days."""
    return TODAY + timedelta(days=round((moment - datetime.now(UTC)) / timedelta(days=1)))


def blocks(page: str) -> Iterator[Block]:
    """The checked places of a page, in order."""
    text = (HERE / page).read_text()
    for found in BLOCK.finditer(text):
        yield _block(page, text, found)


def _block(page: str, text: str, found: re.Match[str]) -> Block:
    line = text.count("\n", 0, found.start()) + 1
    return Block(page, line, found["what"], found["argument"], found["text"] or found["table"] or "")


def transcript(text: str) -> list[tuple[str, list[str]]]:
    """A console block as (command, lines that it prints) pairs."""
    steps: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps and steps[-1][0].endswith("\\"):
            steps[-1] = (steps[-1][0] + "\n" + line, [])
        elif steps:
            steps[-1][1].append(line)
    return steps


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether a transcript is what was printed; ``...`` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line.rstrip()) + r"\n" for line in expected)
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


class Shell:
    """A shell in a fresh copy of the project, that keeps its variables from command to command.

    The copy is made when the first command is run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {told: str(free_port()) for told in ("8080", "8443", "8090")}
        self._state = folder / ".state"  # the variables that commands have exported
        self._environment = environment(folder)
        self._background: list[subprocess.Popen[str]] = []
        self._stand_in = StandIns()

    @cached_property
    def folder(self) -> Path:
        """The copy."""
        shutil.copytree(set_up(), self._folder, symlinks=True, dirs_exist_ok=True)
        for pattern in (
            "Makefile",
            "client.py",
            "examples/*.py",
            "examples/*/*.py",
            "examples/*/.crossbar/*.yaml",
            ".crossbar/*.json",
            ".crossbar/*.yaml",
            STAGES,
        ):
            for file in self._folder.glob(pattern):
                file.write_text(self._to_here(file.read_text()))
        return self._folder

    def _to_here(self, text: str) -> str:
        """With free ports in place of those that the pages name, which may be in use."""
        for told, free in self._ports.items():
            text = text.replace(told, free)
        return text

    def _told(self, output: str) -> list[str]:
        """What was printed, as a page would have it."""
        for told, free in self._ports.items():
            output = re.sub(rf"\b{free}\b", told, output)
        return [self._stand_in(line) for line in output.splitlines() if not NOISE.fullmatch(line)]

    def _script(self, command: str) -> list[str]:
        return ["bash", "-c", f"[ -f {self._state} ] && . {self._state}; {self._to_here(command)}"]

    def put(self, name: str, text: str) -> None:
        """Make a file."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(self._to_here(text))

    def run(self, command: str, patience: float = PATIENCE) -> list[str]:
        """Run a command and return the lines that it prints."""
        done = subprocess.run(
            self._script(f"{command}\nexport -p > {self._state}"),
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=patience,
            check=False,
        )
        return self._told(done.stdout)

    def start(self, command: str, expected: list[str]) -> list[str]:
        """Start a command that goes on, and return what it prints until the last expected line."""
        file = self._output(len(self._background))
        self._background.append(
            subprocess.Popen(
                self._script(command),
                cwd=self.folder,
                env=self._environment,
                text=True,
                stdout=file.open("w"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        self._shown = len(expected)
        deadline = time.monotonic() + PATIENCE
        while True:
            is_over = self._background[-1].poll() is not None or time.monotonic() > deadline
            printed = self._told(file.read_text())
            if is_over or not expected or expected[-1] in printed:
                return printed
            time.sleep(0.05)

    def rest(self) -> list[str]:
        """What the command that was started last has printed since, once it has ended."""
        file = self._output(len(self._background) - 1)
        self._background.pop().wait(PATIENCE)
        return self._told(file.read_text())[self._shown :]

    def _output(self, number: int) -> Path:
        return self.folder / f".output{number}"

    def stop(self) -> None:
        """End what was started last, as Ctrl-C would."""
        process = self._background.pop()
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE)

    def close(self) -> None:
        """End all that still runs."""
        while self._background:
            self.stop()


@cache
def set_up() -> Path:
    """The project with the demo's keys and principals, in a folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listing = ["git", "ls-files", "-coz", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=HERE, text=True).split("\0"):
        if name and (HERE / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / name, folder / name)
    add_environment(folder)
    made = ["make", "-s", ".crossbar/principals.db"]
    subprocess.run(made, cwd=folder, env=environment(folder), check=True, capture_output=True)
    return folder


def add_environment(folder: Path) -> None:
    """A .venv that counts as set up, and is the one that the tests run in."""
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name not in ("run", "dev"):
            (folder / ".venv" / part.name).symlink_to(part)
    for mark in "run", "dev":
        (folder / ".venv" / mark).touch()


def environment(folder: Path) -> dict[str, str]:
    """The variables of a user who works in the copy at `folder`."""
    path = f"{folder / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONWARNINGS": "ignore"}


@contextmanager
def shell() -> Iterator[Shell]:
    """A shell in a folder that is gone afterwards, with all that was started in it."""
    with tempfile.TemporaryDirectory() as name:
        made = Shell(Path(name))
        try:
            yield made
        finally:
            made.close()


def shown(block: Block) -> bool:
    """Whether a block stands in the file that it is said to be from."""
    file = HERE / (block.argument or "")
    lines = [line.rstrip() for line in file.read_text().splitlines()] if file.is_file() else []
    wanted = [line.rstrip() for line in textwrap.dedent(block.text).splitlines()]
    for start in range(len(lines) - len(wanted) + 1):
        if textwrap.dedent("\n".join(lines[start : start + len(wanted)])).splitlines() == wanted:
            return True
    return False


def difference(old: str, new: str) -> str:
    """What differs between two files, as a page would have it: no names, and no numbers of lines."""
    before, after = ((HERE / name).read_text().splitlines() for name in (old, new))
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[3:]
    return "".join(("@@" if line.startswith("@@") else line) + "\n" for line in lines)


def probes(each: bool) -> str:
    """What is found at the stages of the lesson, as a table: a row for each probe, or for those that fall alike."""
    verdicts: dict[str, dict[str, str]] = json.loads((HERE / "stages" / "probed.json").read_text())
    stages = sorted(next(iter(verdicts.values())))
    found = {name: [_emphasized(row[stage]) for stage in stages] for name, row in verdicts.items()}
    rows = [[f"`{name}`: {ROWS[name].tried}", *cells] for name, cells in found.items()] if each else _alike(found)
    return "".join("| " + " | ".join(row) + " |\n" for row in [["probe", *stages], ["---"] * (1 + len(stages)), *rows])


def _emphasized(verdict: str) -> str:
    return f"**{verdict}**" if verdict == FALLS else verdict


def _alike(found: dict[str, list[str]]) -> list[list[str]]:
    falling = {name: cells for name, cells in found.items() if _emphasized(FALLS) in cells}
    rows = []
    for cells in dict.fromkeys(map(tuple, falling.values())):
        names = [f"`{name}`" for name in falling if tuple(falling[name]) == cells]
        rows.append([", ".join(names), *cells])
    return [*rows, [f"the other {len(found) - len(falling)} never fall", *[""] * len(rows[0][1:])]]


def check(block: Block, shell: Shell) -> list[str]:
    """Do what the block says. Returns what is wrong with it, a sentence each, with its place."""
    match block.what:
        case "show":
            return [] if shown(block) else [block.is_wrong(f"this doesn't stand in {block.argument}")]
        case "diff":
            right = difference(*(block.argument or "").split())
            return [] if block.text == right else [block.is_wrong(f"the two files differ in\n{right}")]
        case "probes":
            return (
                []
                if block.text == (right := probes(block.argument == "each"))
                else [block.is_wrong(f"the table is\n{right}")]
            )
        case "file":
            shell.put(block.argument or "", block.text)
        case "start":
            if READY not in (printed := shell.start(block.argument or "", [READY])):
                return [block.is_wrong("\n".join(printed))]
        case "stop":
            shell.stop()
        case "then":
            if not matches(block.text.splitlines(), rest := shell.rest()):
                return [block.is_wrong("what was started goes on with\n" + "\n".join(rest))]
        case "run":
            return list(_check_transcript(block, shell))
    return []


def _check_transcript(block: Block, shell: Shell) -> Iterator[str]:
    for command, expected in transcript(block.text):
        printed = shell.start(command, expected) if block.argument == "background" else shell.run(command)
        if not matches(expected, printed):
            yield block.is_wrong(f"`{command}` prints\n" + "\n".join(printed))


def rewrite(page: str, shell: Shell) -> str:
    """The page with its transcripts as they are today, but for those that leave lines out."""
    text = (HERE / page).read_text()

    def replace(found: re.Match[str]) -> str:
        block = _block(page, text, found)
        if block.what == "then":
            return _with_text(found, shell.rest())
        if block.what == "diff":
            return _with_text(found, difference(*(block.argument or "").split()).splitlines())
        if block.what == "probes":
            return found[0].partition("\n")[0] + "\n\n" + probes(block.argument == "each")
        if block.what != "run":
            check(block, shell)
            return found[0]
        lines = []
        for command, expected in transcript(block.text):
            is_kept = "..." in expected or block.argument == "background"
            printed = shell.start(command, expected) if block.argument == "background" else shell.run(command)
            lines += [f"$ {command}", *(expected if is_kept else printed)]
        return _with_text(found, lines)

    return BLOCK.sub(replace, text)


def _with_text(found: re.Match[str], lines: list[str]) -> str:
    """A block with other lines."""
    start, end = found.start("text") - found.start(), found.end("text") - found.start()
    return found[0][:start] + "".join(line + "\n" for line in lines) + found[0][end:]


if __name__ == "__main__":
    for name in sys.argv[1:] or PAGES:
        with shell() as copy:
            (HERE / name).write_text(rewrite(name, copy))
