"""Is what others install whole? Builds the wheel, without a network, from a copy of what is committed."""

import email
import email.message
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import HERE

import wampauth

BUILD = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--no-cache-dir"]
INFO = f"wampauth-{wampauth.__version__}.dist-info"
TEMPLATES = {f"wampauth/project/{name}" for name in ("authenticator.template", "config.yaml", "gitignore")}
SCHEMA = {f"wampauth/store/schema/{file.name}" for file in (HERE / "src/wampauth/store/schema").glob("*.sql")}
DATA = {"wampauth/py.typed"} | SCHEMA | TEMPLATES
ABOUT = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}


def build(folder: Path) -> Path:
    """The wheel, as pip builds it out of a copy: what setuptools leaves behind stays there."""
    for name in "pyproject.toml", "README.md", "LICENSE", "authenticator.py":
        shutil.copy(HERE / name, folder)
    for name in "src", "tools":
        shutil.copytree(HERE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / "tests").mkdir()
    (folder / "tests" / "test_something.py").touch()
    command = [sys.executable, *BUILD, "--wheel-dir", str(folder / "dist"), str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (file,) = (folder / "dist").iterdir()
    assert file.name == f"wampauth-{wampauth.__version__}-py3-none-any.whl"
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build(tmp_path_factory.mktemp("package")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.message_from_bytes(wheel.read(f"{INFO}/METADATA"))


def test_the_wheel_holds_the_library_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Every module, the schema, the templates, and the mark that there are types; no tests, no tools, no lesson."""
    modules = {str(file.relative_to(HERE / "src")) for file in (HERE / "src").rglob("*.py")}
    assert set(wheel.namelist()) == modules | DATA | {f"{INFO}/{name}" for name in ABOUT}


def test_what_it_says_of_itself(metadata: email.message.Message, wheel: zipfile.ZipFile) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("wampauth", wampauth.__version__)
    assert (metadata["License-Expression"], metadata["License-File"]) == ("MIT", "LICENSE")
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_all("Provides-Extra") == ["postgresql", "http", "jwt", "metrics"]
    assert wheel.read(f"{INFO}/licenses/LICENSE") == (HERE / "LICENSE").read_bytes()
    assert wheel.read(f"{INFO}/entry_points.txt").decode().split() == [
        "[console_scripts]",
        "wampauth",
        "=",
        "wampauth.cli:main",
    ]


def test_it_asks_for_ranges(metadata: email.message.Message) -> None:
    """No version is pinned, and neither the demo nor the tests ask for anything."""
    needed = metadata.get_all("Requires-Dist")
    assert needed
    needed = [requirement for requirement in needed if not requirement.startswith("bjdata!=")]  # one that is broken
    assert all(re.fullmatch(r"[\w.\[\],-]+>=[\d.]+(; extra == .*)?", requirement) for requirement in needed)
    names = {re.split(r"[\[>]", requirement)[0] for requirement in needed if "extra" not in requirement}
    assert {"crossbar", "autobahn", "twisted", "pynacl", "click"} <= names
    assert not names & {"trustme", "pytest", "psycopg", "setuptools", "numpy", "bjdata"}
    assert [requirement for requirement in needed if "extra ==" in requirement] == [
        'psycopg[binary]>=3.2; extra == "postgresql"',
        'treq>=24; extra == "http"',
        'treq>=24; extra == "jwt"',
        'pyjwt[crypto]>=2.15; extra == "jwt"',
        'prometheus_client>=0.21; extra == "metrics"',
    ]


def test_the_version_stands_in_one_place() -> None:
    """In the library; the change log has it, too, since it says what is in it."""
    version = re.escape(wampauth.__version__)
    sources = [HERE / "pyproject.toml", *HERE.glob("*.py"), *(HERE / "src").rglob("*.py")]
    assert [file.name for file in sources if re.search(rf"[\"']{version}[\"']", file.read_text())] == ["__init__.py"]
    first = re.search(r"(?m)^## (\S+)", (HERE / "CHANGELOG.md").read_text())
    assert first
    assert first[1] == wampauth.__version__
