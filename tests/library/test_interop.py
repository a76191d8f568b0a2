"""Do other people's client libraries get in, and only with good credentials? Runs the examples in examples/interop/."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import CHOSEN, HERE, WRONG, Bundle
from nacl.signing import SigningKey

INTEROP = HERE / "examples" / "interop"
PYTHON = INTEROP / ".venv" / "bin" / "python"
MODULES = INTEROP / "node_modules"

DEVICE = "client01@example.com"

Command = list[str | Path]
Run = subprocess.CompletedProcess[str]


def example(library: str, installed: Path, command: Command) -> object:
    """A parameter: the command that runs the example, skipped where the library isn't installed."""
    reason = f"{library} isn't installed: `make interop` does that (it needs npm, and Node.js 20 or newer)"
    return pytest.param(command, id=library, marks=pytest.mark.skipif(not installed.exists(), reason=reason))


EXAMPLES = [
    example("autobahn", MODULES / "autobahn", ["node", INTEROP / "autobahn.mjs"]),
    example("xconn", PYTHON, [PYTHON, INTEROP / "xconn_client.py"]),
    example("wampy", MODULES / "wampy", ["bash", INTEROP / "wampy.sh"]),
]


@pytest.fixture(scope="module", params=EXAMPLES)
def logins(request: pytest.FixtureRequest, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """What came of four logins with one library: good ticket, wrong ticket, good key, unknown key. Done at once."""
    stranger = tmp_path_factory.mktemp("interop") / "stranger.key"
    stranger.write_bytes(bytes(SigningKey.generate()))

    def run(ticket: str, *who: str | Path) -> Run:
        node = {"NODE_OPTIONS": "--experimental-websocket"}  # Node.js 20 needs it, newer ones accept it
        environment = {**os.environ, **node, "ROUTER": bundle.url, "MYTICKET": ticket}
        return subprocess.run(
            [*request.param, *who], check=False, capture_output=True, text=True, timeout=60, env=environment
        )

    with ThreadPoolExecutor() as pool:
        tickets = [pool.submit(run, ticket, "client1") for ticket in (CHOSEN, WRONG)]
        keys = [pool.submit(run, "", DEVICE, file) for file in (bundle.device_key_file(), stranger)]
        return [login.result() for login in tickets + keys]


def joined(login: Run, *names: str) -> bool:
    """Whether the example joined, and says as whom."""
    return login.returncode == 0 and all(name in login.stdout for name in names)


def refused(login: Run, uri: str) -> bool:
    """Whether the example was refused, shows no role, and says why."""
    return login.returncode == 1 and login.stdout == "" and uri in login.stderr


def test_good_ticket(logins: list[Run]) -> None:
    assert joined(logins[0], "realm1", "client1", "frontend")


def test_wrong_ticket(logins: list[Run]) -> None:
    assert refused(logins[1], "com.example.invalid_ticket")


def test_good_key(logins: list[Run]) -> None:
    assert joined(logins[2], "devices", DEVICE, "device")


def test_unknown_key(logins: list[Run]) -> None:
    assert refused(logins[3], "com.example.no_such_user")
