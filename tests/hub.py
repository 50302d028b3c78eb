"""Hugging Face's hub, as far as its client asks for it, on loopback; and a user of the client."""

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from re import fullmatch
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_thetokenofthetests"
"""Whose owner may read and write everything."""


@dataclass
class Repository:
    """Commits, each the contents of its files by their names."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        """Puts files over those that the ref has, and returns the commit's name."""
        files = self.commits.get(self.refs.get(ref, ""), {}) | files
        name = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[name] = files
        self.refs[ref] = name
        return name


class Hub:
    """A server of repositories."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        """Large files that are in no commit yet, by their sha256."""
        self.asked: list[str] = []
        """Each request's method and path."""
        self.status: int | None = None
        """What it answers to whatever it is asked, while this is set."""
        self._server = self._start(0)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def _start(self, port: int) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Answer,), {"hub": self}))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def stop(self) -> None:
        """From now on nobody listens."""
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Nobody listens for as long as the block."""
        self.stop()
        try:
            yield
        finally:
            self._server = self._start(int(self.uri.rpartition(":")[2]))


class Refused(Exception):
    """An answer that is not 200, with the code that the hub gives it, and what it says beside."""

    def __init__(self, status: int, code: str = "", **said: str) -> None:
        self.status, self.code, self.said = status, code, said


class Answer(BaseHTTPRequestHandler):
    """One request's."""

    hub: Hub

    def do_GET(self) -> None:
        self.answer(self.read)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.answer(self.write)

    def do_PUT(self) -> None:
        self.answer(self.keep)

    def log_message(self, *_: Any) -> None:
        """Keeps quiet."""

    def answer(self, handle: Any) -> None:
        """Sends what a method makes of the path and the body."""
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self.chunks()
        try:
            if self.hub.status is not None:
                raise Refused(self.hub.status)
            status, (content, headers) = 200, handle(path, body)
        except Refused as refused:
            status, (content, headers) = refused.status, as_json(refused.said)
            headers["X-Error-Code"] = refused.code
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def chunks(self) -> bytes:
        """A body whose length was not said."""
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def repository(self, name: str) -> Repository:
        """A missing one and one that is not for this user are the same to the hub."""
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.known):
            raise Refused(404 if self.known else 401, "RepoNotFound" if self.known else "")
        return found

    def revision(self, repository: Repository, revision: str) -> str:
        name = repository.refs.get(revision, revision)
        if name not in repository.commits:
            raise Refused(404, "RevisionNotFound")
        return name

    def read(self, path: str, _: bytes) -> tuple[bytes, dict[str, str]]:
        """What a repository is, which files it has, and a file."""
        if found := fullmatch(r"/api/models/(?P<name>[^/]+/[^/]+)(/revision/(?P<ref>.+))?", path):
            repository = self.repository(found["name"])
            commit = self.revision(repository, found["ref"] or "main")
            return as_json({"id": found["name"], "sha": commit, "private": repository.private})
        if found := fullmatch(r"/api/models/(?P<name>[^/]+/[^/]+)/tree/(?P<ref>[^/]+)", path):
            repository = self.repository(found["name"])
            files = repository.commits[self.revision(repository, found["ref"])]
            return as_json([entry(name, content) for name, content in files.items()])
        if found := fullmatch(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<ref>[^/]+)/(?P<file>.+)", path):
            repository = self.repository(found["name"])
            commit = self.revision(repository, found["ref"])
            if found["file"] not in repository.commits[commit]:
                raise Refused(404, "EntryNotFound")
            content = repository.commits[commit][found["file"]]
            return content, {"X-Repo-Commit": commit, "ETag": f'"{sha256(content)}"'}
        raise Refused(404)

    def write(self, path: str, body: bytes) -> tuple[bytes, dict[str, str]]:
        """The steps by which the client makes a repository and a commit in it."""
        if path == "/api/validate-yaml":
            return as_json({"errors": [], "warnings": []})
        if not self.known:
            raise Refused(401)
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if found := fullmatch(r"/api/models/(?P<name>[^/]+/[^/]+)/preupload/(?P<ref>.+)", path):
            self.repository(found["name"])
            files = [file["path"] for file in json.loads(body)["files"]]
            return as_json({"files": [upload_mode(file) for file in files]})
        if fullmatch(r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.hub.uri}/objects/{one['oid']}"}}
            return as_json({"objects": objects, "transfer": "basic"})
        if found := fullmatch(r"/api/models/(?P<name>[^/]+/[^/]+)/commit/(?P<ref>.+)", path):
            lines = [json.loads(line) for line in body.splitlines()]
            files = dict(self.committed(**line) for line in lines if line["key"] != "header")
            commit = self.repository(found["name"]).commit(files, found["ref"])
            address = f"{self.hub.uri}/{found['name']}/commit/{commit}"
            return as_json({"commitUrl": address, "commitOid": commit})
        raise Refused(404)

    def create(self, asked: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] == "another":
            raise Refused(403)
        if name in self.hub.repositories:
            raise Refused(409, url=f"{self.hub.uri}/{name}")
        made = self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
        made.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        return as_json({"url": f"{self.hub.uri}/{name}"})

    def committed(self, key: str, value: dict[str, str]) -> tuple[str, bytes]:
        if key == "lfsFile":
            return value["path"], self.hub.objects[value["oid"]]
        return value["path"], base64.b64decode(value["content"])

    def keep(self, path: str, body: bytes) -> tuple[bytes, dict[str, str]]:
        """A large file."""
        oid = path.removeprefix("/objects/")
        if sha256(body) != oid:
            raise Refused(400)
        self.hub.objects[oid] = body
        return b"", {}


def as_json(contents: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(contents).encode(), {"Content-Type": "application/json"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": blob}


def upload_mode(name: str) -> dict[str, Any]:
    mode = "lfs" if name.endswith(".safetensors") else "regular"
    return {"path": name, "uploadMode": mode, "shouldIgnore": False}


def settings(hub: Hub, home: Path) -> dict[str, str]:
    """Variables under which the client knows no other hub, no token and no cache of the user's."""
    yes = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS")
    return {"HF_ENDPOINT": hub.uri, "HF_HOME": str(home), "HF_TOKEN": "", **dict.fromkeys(yes, "1")}


def prepare(variables: dict[str, str]) -> None:
    """Sets variables before the client is imported, which reads them once."""
    os.environ.update(variables)


def find(source: str, token: str = "") -> list[Path]:
    """Returns where an agent's files are, for the owner of a token or for nobody."""
    from world_models.pretrained import located

    os.environ["HF_TOKEN"] = token
    with located(source) as files:
        return list(files)


def push(source: Path, repo: str, private: bool = False, token: str = TOKEN) -> str:
    """Uploads an agent."""
    from world_models.pretrained import push_to_hub

    os.environ["HF_TOKEN"] = token
    return push_to_hub(source, repo, private)
