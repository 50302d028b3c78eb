"""A store that is a file in the project, with its artifacts beside it."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlparse
from urllib.request import url2pathname

ADDRESS = re.compile(r"sqlite(\+\w+)?:///(?P<path>[^?]+)")
ARTIFACTS = "mlartifacts"
"""The folder beside the file, where the artifacts lie."""
LOCATIONS = {
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
"""Columns of MLflow's tables that hold full paths of artifacts."""


def default_uri(root: Path) -> str:
    """Returns the address of the store embedded in the project at `root`."""
    return _address(root.resolve() / "mlflow.db")


def _address(file: Path) -> str:
    # Were it sqlite:///, MLflow would make a folder of the name that stands here: %20 for a blank.
    return f"sqlite+pysqlite:///{quote(str(file))}"


def database(uri: str) -> Path | None:
    """Returns the file that is the store; None where the address is a server's."""
    found = ADDRESS.match(uri)
    return Path(unquote(found["path"])).resolve() if found else None


def absolute(uri: str, root: Path) -> str:
    """Returns an address that holds wherever it is used, of one that may be relative to `root`."""
    found = ADDRESS.match(uri)
    if found is None or (path := Path(unquote(found["path"]))).is_absolute():
        return uri
    return _address(root.resolve() / path) + uri[found.end() :]


def artifact_location(uri: str, experiment: str) -> str | None:
    """Returns where an experiment's artifacts are to lie; None for a server, which has a place of
    its own."""
    file = database(uri)
    return (file.parent / ARTIFACTS / experiment).as_uri() if file else None


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Holds other processes off an embedded store: two first uses at once would collide.

    Where nothing can be written, a store that is there is read without.
    """
    from filelock import FileLock

    file = database(uri)
    with ExitStack() as held:
        if file is not None:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(f"{file}.lock"))
            except OSError:
                if not file.exists():
                    raise
        yield


def follow_artifacts(uri: str) -> None:
    """Has an embedded store know its artifacts again where the project was renamed, or is mounted
    elsewhere: MLflow keeps full paths, and would make the former folders anew.

    Raises sqlite3.Error where the file is no database, or can't be read or written.
    """
    file = database(uri)
    if file is None or not file.exists():
        return
    now = file.parent / ARTIFACTS
    with closing(sqlite3.connect(file)) as connection, connection:
        for was in _artifact_folders(connection):
            if was != now and (now.exists() or not was.exists()):
                _rename(connection, was, now)


def _artifact_folders(connection: sqlite3.Connection) -> set[Path]:
    """The folders that experiments have their artifacts in, of those called as this project's."""
    if not connection.execute("select 1 from sqlite_master where name = 'experiments'").fetchone():
        return set()
    found = connection.execute("select artifact_location from experiments").fetchall()
    paths = (Path(url2pathname(urlparse(of).path)) for (of,) in found if of.startswith("file:///"))
    return {path.parent for path in paths if path.parent.name == ARTIFACTS}


def _rename(connection: sqlite3.Connection, was: Path, now: Path) -> None:
    for old, new in ((was.as_uri(), now.as_uri()), (str(was), str(now))):
        for table, columns in LOCATIONS.items():
            for column in columns:
                connection.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) "
                    f"where substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
