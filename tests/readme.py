"""Is what README.md shows true? Runs its commands in order, in a fresh copy, and compares what comes out.

A comment before a code block says what to do with it:

    <!-- run -->               run each line that begins with ``$``, one after the other, and compare the output
    <!-- run: background -->   start the command, wait until its output is there, and leave it running
    <!-- then -->              wait until what was started last has ended, and compare the rest that it printed
    <!-- stop -->              stop what was started last (no block)
    <!-- show: FILE -->        the block stands in that file, line by line

In a transcript, a line of ``...`` stands for any number of lines. ``python tests/readme.py --write`` (`make readme`)
rewrites the transcripts from reality, where they have no such line.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent.parent
BLOCK = re.compile(r"<!-- (?P<what>\w+)(?:: (?P<argument>[^>]+?))? -->\n(?:```\w*\n(?P<text>.*?)^```$)?", re.S | re.M)
PATIENCE = 60.0  # seconds for one command
NOISE = re.compile(r"\S+ \[Controller +\d+\] ?")  # the blank line that Crossbar.io prints when it starts

# What differs from run to run, and what stands for it in the README.
SAMPLES = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:?00|Z)?", "2026-11-21T12:00:00+0000"),
    (r"\b\d{13,16}\b", "6553397104124258"),
    (r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", "545efb0a2192db8d43f118e9bf9aee081466e1ef36c708b96ee6f62dddad9122"),
    (r"\b[0-9a-f]{16}\b", "c4f1d2e3a5b69788"),
    (r"(?<=0x)[0-9a-f]{12}\b", "7faff0c6a130"),
    (r"(?<=tcp4:127\.0\.0\.1:)\d+", "38588"),
    (r"(?<='x_cb_node': ')[^']+", "mynode-28675"),
    (r"(?<='x_cb_pid': )\d+", "28685"),
    (r"(?<=\[Controller )[ \d]+(?=\])", "  28675"),
    (r"(?<=\"duration\": )[\d.]+", "0.0023"),
    (r"(?<=reference )[0-9a-f]{8}", "5ad1c0de"),
    (r"^[A-Za-z0-9_-]{43}$", "rV0cJ5mQd1kqXo2o6nVYvS3l8sW4yTzEbA7hGfPuC9I"),
)


@dataclass
class Block:
    """One checked place of the README."""

    line: int
    what: str
    argument: str | None
    text: str


def blocks(text: str) -> Iterator[Block]:
    """The checked places, in order."""
    for found in BLOCK.finditer(text):
        yield Block(text.count("\n", 0, found.start()) + 1, found["what"], found["argument"], found["text"] or "")


def transcript(text: str) -> list[tuple[str, list[str]]]:
    """A console block as (command, lines that it prints) pairs."""
    steps: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps and steps[-1][0].endswith("\\"):
            steps[-1] = (steps[-1][0][:-1] + line.strip(), [])
        elif steps:
            steps[-1][1].append(line)
    return steps


def sample(line: str) -> str:
    """A line with what differs from run to run replaced."""
    for pattern, stand_in in SAMPLES:
        line = re.sub(pattern, stand_in, line)
    return line.rstrip()


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether a transcript is what was printed; ``...`` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(sample(line)) + r"\n" for line in expected)
    return re.fullmatch(pattern, "".join(sample(line) + "\n" for line in printed)) is not None


class Shell:
    """A shell in a fresh copy of the project, that keeps its variables from command to command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {"8080": _free_port(), "8443": _free_port()}
        for name in subprocess.check_output(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=HERE, text=True
        ).split():
            if (HERE / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(HERE / name, folder / name)
        for file in (folder / "Makefile", folder / "client.py", *folder.glob(".crossbar/*.json")):
            file.write_text(self._to_here(file.read_text()))
        (folder / ".venv").symlink_to(HERE / ".venv")  # set-up as such isn't what is tested here
        subprocess.run(["make", "-s", ".crossbar/principals.db"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        path = f"{folder / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        self._state = folder / ".state"  # the variables that commands have exported
        self._environment = {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8"}
        self._background: list[subprocess.Popen[str]] = []

    def _to_here(self, text: str) -> str:
        """With free ports in place of those that the README names, which may be in use."""
        for told, free in self._ports.items():
            text = text.replace(told, free)
        return text

    def _told(self, output: str) -> list[str]:
        """What was printed, as the README would have it."""
        for told, free in self._ports.items():
            output = output.replace(free, told)
        return [line for line in output.splitlines() if not NOISE.fullmatch(line)]

    def run(self, command: str) -> list[str]:
        """Run a command and return the lines that it prints."""
        script = f"[ -f {self._state} ] && . {self._state}; {self._to_here(command)}\nexport -p > {self._state}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        return self._told(done.stdout)

    def start(self, command: str, expected: list[str]) -> list[str]:
        """Start a command that goes on, and return what it prints until the last expected line."""
        file = self._output()
        self._background.append(
            subprocess.Popen(
                ["bash", "-c", f"[ -f {self._state} ] && . {self._state}; {self._to_here(command)}"],
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
        printed: list[str] = []
        while not expected or sample(expected[-1]) not in map(sample, printed):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
            printed = self._told(file.read_text())
        return printed

    def rest(self) -> list[str]:
        """What the command that was started last has printed since, once it has ended."""
        file = self._output(0)
        self._background.pop().wait(PATIENCE)
        return self._told(file.read_text())[self._shown :]

    def _output(self, more: int = 1) -> Path:
        return self.folder / f".output{len(self._background) + more}"

    def stop(self) -> None:
        """End what was started last, as Ctrl-C would."""
        process = self._background.pop()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE)

    def close(self) -> None:
        """End all that still runs."""
        while self._background:
            self.stop()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def shown(block: Block) -> bool:
    """Whether a block stands in the file that it is said to be from."""
    lines = [line.rstrip() for line in (HERE / (block.argument or "")).read_text().splitlines()]
    wanted = [line.rstrip() for line in textwrap.dedent(block.text).splitlines()]
    for start in range(len(lines) - len(wanted) + 1):
        if textwrap.dedent("\n".join(lines[start : start + len(wanted)])).splitlines() == wanted:
            return True
    return False


def check(block: Block, shell: Shell) -> list[str]:
    """Do what the block says. Returns what is wrong with it, a sentence each, with the line of the README."""
    if block.what == "show":
        return [] if shown(block) else [f"README.md:{block.line}: this doesn't stand in {block.argument}"]
    if block.what == "stop":
        shell.stop()
        return []
    wrong = []
    if block.what == "then" and not matches(block.text.splitlines(), rest := shell.rest()):
        wrong.append(f"README.md:{block.line}: what was started goes on with\n" + "\n".join(map(sample, rest)))
    for command, expected in transcript(block.text):
        printed = shell.start(command, expected) if block.argument == "background" else shell.run(command)
        if not matches(expected, printed):
            wrong.append(f"README.md:{block.line}: `{command}` prints\n" + "\n".join(map(sample, printed)))
    return wrong


def rewrite(text: str, shell: Shell) -> str:
    """The README with its transcripts as they are today, but for those that leave lines out."""

    def replace(found: re.Match[str]) -> str:
        block = Block(0, found["what"], found["argument"], found["text"] or "")
        if block.what == "stop":
            shell.stop()
        if block.what == "then":
            return found[0].replace(block.text, "\n".join(map(sample, shell.rest())) + "\n")
        if block.what != "run":
            return found[0]
        lines = []
        for command, expected in transcript(block.text):
            printed = shell.start(command, expected) if block.argument == "background" else shell.run(command)
            keep = "..." in expected or block.argument == "background"
            lines += [f"$ {command}", *(expected if keep else map(sample, printed))]
        return found[0].replace(block.text, "\n".join(lines) + "\n")

    return BLOCK.sub(replace, text)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        copy = Shell(Path(name))
        try:
            readme = HERE / "README.md"
            readme.write_text(rewrite(readme.read_text(), copy))
        finally:
            copy.close()
    sys.exit()
