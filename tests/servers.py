"""Servers on loopback that tests start: MLflow's, and the PostgreSQL below a group's."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.waiting import wait_for

AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
"""It refuses to be run by root."""


class MLflowServer:
    """`mlflow server` with a store in a folder of its own, unless options name another."""

    def __init__(
        self, folder: Path, options: Sequence[str] = (), variables: Mapping[str, str] = {}
    ) -> None:
        self.folder, self.port, self.process = folder, free_port(), None
        self.uri = f"http://127.0.0.1:{self.port}"
        self.options = options or (
            *("--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        )
        self.variables = variables

    def start(self) -> None:
        """Returns once it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), *self.options]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=os.environ | quiet | self.variables,
                cwd=self.folder,
                start_new_session=True,
            )
        wait_for(self.answers, 120)

    def answers(self) -> bool:
        """Whether it is up."""
        assert self.process is None or self.process.poll() is None, (
            self.folder / "log"
        ).read_text()
        try:
            with urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def signal(self, number: int) -> None:
        """To it and its workers."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """At once."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest; Debian keeps them out of the path."""
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: file.parts[4])
    found = shutil.which("initdb")
    return kept[-1].parent if kept else Path(found).parent if found else None


@contextmanager
def postgres(*databases: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yields the addresses of empty databases of a new PostgreSQL, and the variable by which its
    clients are told the password."""
    programs, port, password = postgres_programs(), free_port(), secrets.token_hex(16)
    variable = {"PGPASSWORD": password}
    assert programs is not None
    user = AS_POSTGRES if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(prefix="world-models-postgres-") as folder:
        secret, data = Path(folder, "password"), Path(folder, "data")
        secret.write_text(password)
        if user:
            for path in (folder, secret):
                shutil.chown(path, "postgres", "postgres")
        run = [*user, f"{programs}/initdb", "--no-sync", "--encoding=UTF8", "--locale=C"]
        run += ["--auth=scram-sha-256", "--username=mlflow", f"--pwfile={secret}"]
        subprocess.run([*run, f"--pgdata={data}"], check=True, capture_output=True, cwd=folder)
        quick = ("-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "shared_buffers=16MB")
        server = subprocess.Popen(
            [*user, f"{programs}/postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), *quick],
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
        try:
            at = ["--host=127.0.0.1", f"--port={port}", "--username=mlflow"]
            ready = [f"{programs}/pg_isready", "--quiet", *at]
            wait_for(lambda: subprocess.run(ready, check=False).returncode == 0)
            for name in databases:
                make = [f"{programs}/createdb", *at, "--no-password", name]
                subprocess.run(make, check=True, env=os.environ | variable)
            yield [f"postgresql://mlflow@127.0.0.1:{port}/{name}" for name in databases], variable
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait()
