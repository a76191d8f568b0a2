"""How do the tests get a PostgreSQL server of their own? A module that wants it has ``pytest_plugins = ["postgres"]``.

It lives in a temporary folder, listens on a free port of the loopback interface, sorts as people do and not as SQLite
does, and wants a password: so that the tests see what these could break.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from wampauth.testing import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
NO_SERVER = "PostgreSQL isn't installed: `sudo apt-get install postgresql` does it; its own server needn't run"
NO_CLIENT = "psycopg isn't installed: `make postgresql` does it"
OWNER = "owner"
PASSWORD = "never-to-be-seen"
# The server won't run as root; Debian's package brings the user "postgres" for it.
AS_POSTGRES: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


class Server:
    """A PostgreSQL server that can be stopped and started again."""

    password = PASSWORD

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binaries = BINARIES[-1].parent
        self.port = free_port()
        password = folder / "password"
        password.write_text(PASSWORD)
        if AS_POSTGRES:
            for path in folder, password:
                shutil.chown(path, "postgres", "postgres")
        options = ["--username", OWNER, "--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        options += ["--locale-provider", "icu", "--icu-locale", "en-US", "--no-sync"]
        self._run("initdb", *options)

    def _run(self, program: str, *options: str) -> None:
        command = [str(self._binaries / program), "-D", str(self._folder / "data"), *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=self._folder, **AS_POSTGRES)
        assert done.returncode == 0, f"{program}: {done.stdout} {done.stderr}"

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        settings = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--silent", "--log", str(self._folder / "log"), "-o", settings)

    def stop(self) -> None:
        """Stop the server at once: connections are closed."""
        self._run("pg_ctl", "stop", "--mode", "fast", "--wait", "--silent")

    def processes(self) -> list[psutil.Process]:
        """The server's processes, the one that starts the others first."""
        main = psutil.Process(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))
        return [main, *main.children()]

    def url(self, database: str) -> str:
        """Where a database is, for somebody who has the password in PGPASSWORD."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        """A new and empty database: where it is."""
        name = f"store_{secrets.token_hex(4)}"
        self._do("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever uses it."""
        self._do("postgres", f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def empty(self, url: str) -> None:
        """Make a database as good as new, whoever uses it; sooner done than with another one."""
        self.disconnect(url)
        self._do(url.rpartition("/")[2], "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")

    def disconnect(self, url: str) -> None:
        """End the connections of all who use a database, and wait for that, up to ten seconds."""
        others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
        self._do(url.rpartition("/")[2], f"{others} AND pid != pg_backend_pid()")

    def _do(self, database: str, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.url(database), password=PASSWORD, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server for all tests. Who stops it starts it again."""
    if not BINARIES:
        pytest.skip(NO_SERVER)
    pytest.importorskip("psycopg", reason=NO_CLIENT)
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)  # for us, and for the nodes and commands that are started from here
        server = Server(Path(folder))
        server.start()
        yield server
        with suppress(AssertionError):
            server.stop()


@pytest.fixture(scope="session")
def reused(postgresql: Server) -> str:
    """A database that one test after the other may use."""
    return postgresql.create()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store may be made, with each engine in turn. ``wampauth.store.create`` makes it."""
    if request.param == "sqlite":
        yield str(tmp_path / "principals.db")
        return
    server: Server = request.getfixturevalue("postgresql")
    url: str = request.getfixturevalue("reused")
    yield url
    server.empty(url)
