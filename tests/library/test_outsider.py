"""Is the library of use to a stranger? Its wheel is built and installed into a fresh environment, where the project in
``outsider`` knows nothing of this repository: it has its own prefix, realms, checks and store, and its own tests."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import HERE
from test_package import build

PATIENCE = 300.0  # seconds
PASSED = re.compile(r"^(\d+) passed", re.MULTILINE)


@dataclass
class Outside:
    """An environment with the wheel in it, and a project."""

    environment: Path
    project: Path

    def run(self, program: str, *args: str) -> str:
        """What a program of the environment has to say, in the project's folder. It must succeed."""
        command = [str(self.environment / "bin" / program), *args]
        return run(command, self.project, PATH=f"{self.environment / 'bin'}{os.pathsep}{os.defpath}")


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What a command writes; it must succeed. Nothing that is set for this run of the tests reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "MYPY"))}
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=PATIENCE,
        env={**kept, "PYTHONWARNINGS": "ignore", **environment},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("outside")
    made = Outside(folder / "environment", folder / "acme")
    (source := folder / "source").mkdir()
    install(build(source), made.environment)
    unused = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(__file__).with_name("outsider"), made.project, ignore=unused)
    shutil.copy(HERE / "examples" / "own_store.py", made.project)
    yield made
    shutil.rmtree(made.project)


def install(wheel: Path, environment: Path) -> None:
    """Make an environment with nothing but the wheel. What that depends on is lent from ours, since nothing can be
    fetched here: in a folder that a .pth file names, Python doesn't look for further .pth files, such as the one that
    leads to our own sources."""
    run([sys.executable, "-m", "venv", "--without-pip", str(environment)], wheel.parent)
    python = environment / "bin" / "python"
    run([*pip(), "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], wheel.parent)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    script = Path(sys.executable).with_name("crossbar").read_text()
    crossbar = environment / "bin" / "crossbar"
    crossbar.write_text(f"#!{python}\n" + script.partition("\n")[2])
    crossbar.chmod(0o755)


def pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def test_the_library_is_the_one_of_the_wheel(outside: Outside) -> None:
    code = "import sys, wampauth, wampauth.testing; print(wampauth.__file__, wampauth.testing.__file__, *sys.path)"
    ours, testing, *paths = outside.run("python", "-c", code).split()
    for file in ours, testing:
        assert Path(file).is_relative_to(outside.environment)
    assert not [path for path in paths if Path(path).is_relative_to(HERE) and "site-packages" not in path]


def test_the_projects_own_store_keeps_the_contract(outside: Outside) -> None:
    assert passed(outside, "try_store.py") >= 20


def test_logins_and_what_ends_a_session(outside: Outside) -> None:
    assert passed(outside, "try_logins.py") >= 25


def passed(outside: Outside, file: str) -> int:
    """How many of the project's tests have passed; none may fail or be skipped."""
    output = outside.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", file)
    found = PASSED.search(output)
    assert found, output
    assert "skipped" not in output
    return int(found[1])


def test_the_projects_checks_are_well_typed(outside: Outside) -> None:
    python = f"--python-executable={outside.environment / 'bin' / 'python'}"
    files = sorted(str(file.name) for file in outside.project.glob("*.py"))
    assert outside.run("python", "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", python, *files) == ""


@pytest.mark.parametrize("program", [("wampauth",), ("python", "-m", "wampauth")], ids=" ".join)
def test_the_command_line_is_there(outside: Outside, program: tuple[str, ...]) -> None:
    store = f"{program[0]}.db"
    outside.run(*program, "--store", store, "add", "alice", "--realm", "office", "--role", "member")
    assert "alice" in outside.run(*program, "--store", store, "list")
    assert re.search(r"\b2\.\d+\.\d+", outside.run(*program, "--version"))
