"""Real PostgreSQL, MLflow and Redis for tests: own ports and folders, loopback, nothing left.

What they are told is what `docker/` tells them: the same scripts, commands and settings.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.deploy_files import ROOT, compose_services
from tests.ray_head import end_family

DOCKER = ROOT / "docker"
HOST = "127.0.0.1"
START_TIMEOUT_S = 120
Row = tuple[Any, ...]


def free_port(host: str = HOST) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def program(name: str, package: str, *places: str) -> Path:
    """A program of the system; skips the test that asks where its package is missing."""
    found = [path for place in places for path in sorted(Path("/").glob(place))]
    found += [Path(path)] if (path := shutil.which(name)) else []
    if not found:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {package})")
    return found[-1]


def wait_until(is_there: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_there():
        told = f"{process.args!r}: {log.read_text(errors='replace')[-3000:]}"
        assert process.poll() is None, f"ended with {process.returncode}: {told}"
        assert time.monotonic() < deadline, f"no answer: {told}"
        time.sleep(0.1)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@dataclass
class Server:
    """One server's process group and its log; `restart` gives it the same data again."""

    folder: Path
    port: int
    command: list[str]
    is_there: Callable[[], bool]
    options: Mapping[str, Any] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.options,
            )
        wait_until(self.is_there, self.process, self.log)

    def kill(self) -> None:
        """With all below it: what is left of PostgreSQL would hold its shared memory."""
        if self.process is not None:
            end_family(self.process)
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def private_folder(name: str, **owner: str) -> Iterator[Path]:
    """Below /tmp, and not below pytest's folder: that one lets no other user in."""
    folder = Path(tempfile.mkdtemp(prefix=f"apt-{name}-", dir="/tmp"))
    try:
        if owner:
            shutil.chown(folder, **owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged() -> dict[str, str]:
    """PostgreSQL refuses to run as root; anybody else starts it as themselves."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    return {"user": user}


def query(server: Server, password: str, statement: str, database: str) -> list[Row]:
    """What PostgreSQL answers to the account of the compose file."""
    import psycopg2

    user = compose_services()["postgres"]["environment"]["POSTGRES_USER"]
    connection = psycopg2.connect(
        host=HOST, port=server.port, user=user, password=password, dbname=database
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return [] if cursor.description is None else list(cursor.fetchall())
    finally:
        connection.close()


def takes_queries(server: Server, password: str) -> bool:
    """After a kill it listens first and recovers then."""
    import psycopg2

    try:
        return query(server, password, "select 1", "postgres") == [(1,)]
    except psycopg2.OperationalError:
        return False


@contextmanager
def postgres(password: str) -> Iterator[Server]:
    """PostgreSQL with the accounts and databases of the compose file."""
    initdb = program("initdb", "postgresql", "usr/lib/postgresql/*/bin/initdb")
    environment = compose_services()["postgres"]["environment"]
    user = unprivileged()
    with private_folder("pg", **user) as folder:
        options: dict[str, Any] = {
            **user,
            "cwd": folder,
            "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        }
        name = environment["POSTGRES_USER"]
        (folder / "password").write_text(password)
        shutil.chown(folder / "password", user.get("user", os.getuid()))
        how = [f"--username={name}", "--pwfile=password", "--auth=scram-sha-256", "--no-sync"]
        made = subprocess.run(
            [initdb, "--pgdata=data", *how],
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        port = free_port()
        where = ["-D", "data", "-p", str(port), "-h", HOST, "-k", str(folder), "-c", "fsync=off"]
        command = [str(initdb.resolve().with_name("postgres")), *where]
        server = Server(folder, port, command, lambda: takes_queries(server, password), options)
        with running(server):
            statements = (DOCKER / "databases.sql").read_text()
            query(server, password, f"CREATE DATABASE {environment['POSTGRES_DB']}", "postgres")
            query(server, password, statements, "postgres")
            yield server


@dataclass(frozen=True)
class Tracking:
    """How to run the tracking server of the compose file against a PostgreSQL of ours."""

    folder: Path
    """Holds the artifacts, the accounts' settings and the log."""
    environment: Mapping[str, str]

    def run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._with_secrets(command),
            capture_output=True,
            text=True,
            check=False,
            env=dict(self.environment),
            cwd=self.folder,
        )

    def prepare(self) -> "subprocess.CompletedProcess[str]":
        return self.run([str(DOCKER / "prepare-tracking.sh")])

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of the running server."""
        port = free_port()
        told = compose_services()["tracking"]["command"]
        changed = ("--host", "--port", "--allowed", "--workers")  # a second worker is slow to start
        kept = [part for part in told if not part.startswith(changed)]
        server = Server(
            self.folder,
            port,
            self._with_secrets([*kept, "--workers=1", f"--host={HOST}", f"--port={port}"]),
            lambda: answers(f"http://{HOST}:{port}/health"),
            {"env": dict(self.environment), "cwd": self.folder},
        )
        with running(server):
            yield f"http://{HOST}:{port}"

    def _with_secrets(self, command: list[str]) -> list[str]:
        return [str(DOCKER / "with-secrets.sh"), *command]


def tracking(folder: Path, database: Server, secrets: Path) -> Tracking:
    """The compose file's environment, with our addresses in the place of its names."""
    given = compose_services()["tracking"]["environment"]
    there = f"{HOST}:{database.port}"
    settings = folder / "basic_auth.ini"
    settings.write_text((DOCKER / "basic_auth.ini").read_text().replace("postgres:5432", there))
    changed = {
        "MLFLOW_BACKEND_STORE_URI": given["MLFLOW_BACKEND_STORE_URI"].replace(
            "postgres:5432", there
        ),
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
    }
    kept = {name: value.replace("/run/secrets", str(secrets)) for name, value in given.items()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Tracking(folder, {"PATH": path, "HOME": str(folder), **kept, **changed})


@contextmanager
def redis(password: str) -> Iterator[Server]:
    """Redis with the settings of the compose file."""
    binary = program("redis-server", "redis-server")
    with private_folder("redis") as folder:
        port = free_port()
        settings = (DOCKER / "redis.conf").read_text().replace("dir /data", f"dir {folder}")
        ours = f"port {port}\nbind {HOST}\nrequirepass {password}\n"
        (folder / "redis.conf").write_text(settings + ours)
        command = [str(binary), str(folder / "redis.conf")]
        server = Server(folder, port, command, lambda: accepts(port))
        with running(server):
            yield server
