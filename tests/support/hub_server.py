"""A local stand-in of the Hugging Face Hub: as much of its HTTP interface as pushing and loading
need. Repositories live in memory; a token is needed to write, and to read what is private."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_stand_in"

_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(.*))?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)")
_LFS = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class Repository:
    """Attributes: private, files by path, those that went through Git LFS, messages of commits."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        listed = [(name, hashlib.sha1(data).hexdigest()) for name, data in self.files.items()]
        return hashlib.sha1(repr(sorted(listed)).encode()).hexdigest()

    def entries(self) -> list[dict[str, Any]]:
        """Folders and files, as the Hub lists them."""
        folders = {
            parent.as_posix() for path in self.files for parent in PurePosixPath(path).parents
        } - {"."}
        return [
            *({"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)),
            *(
                {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
                for path, data in sorted(self.files.items())
            ),
        ]


@dataclass
class Hub:
    """The server's state: `repositories` by (kind, USER/NAME), uploaded objects, requests."""

    address: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Runs the stand-in on a free port of this machine."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._note()
        path = unquote(urlsplit(self.path).path)
        if found := _API.fullmatch(path):
            self._about(*found.groups())
        elif found := _FILE.fullmatch(path):
            self._file("datasets" if found[1] else "models", found[2], found[3])
        else:
            self._fail(404)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self._note()
        content = self._body()
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            self._fail(400)
            return
        self.hub.objects[oid] = content
        self._send(200, b"")

    def do_POST(self) -> None:
        self._note()
        path, body = urlsplit(self.path).path, self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._fail(401)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif found := _LFS.fullmatch(path):
            self._batch(json.loads(body))
        elif found := _API.fullmatch(path):
            kind, name, action = found.groups()
            repository = self.hub.repositories.get((kind, name))
            if repository is None:
                self._fail(404, "RepoNotFound")
            elif action.startswith("paths-info/"):
                wanted = parse_qs(body.decode()).get("paths", []) or json.loads(body)["paths"]
                self._json([each for each in repository.entries() if each["path"] in wanted])
            elif action.startswith("preupload/"):
                self._preupload(json.loads(body))
            elif action.startswith("commit/"):
                self._commit(repository, body.decode())
        else:
            self._fail(404)

    def _create(self, wanted: dict[str, Any]) -> None:
        kind = f"{wanted.get('type', 'model')}s"
        name = f"{wanted.get('organization') or 'somebody'}/{wanted['name']}"
        url = f"{self.hub.address}/{'datasets/' if kind == 'datasets' else ''}{name}"
        if (kind, name) in self.hub.repositories:
            self._json({"url": url, "error": "You already created this repo"}, 409)
            return
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.repositories[kind, name] = Repository(private)
        self._json({"url": url, "name": name})

    def _preupload(self, wanted: dict[str, Any]) -> None:
        large = (".parquet", ".safetensors", ".png", ".webp")
        answers = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(large) else "regular",
                "shouldIgnore": False,
            }
            for file in wanted["files"]
        ]
        self._json({"files": answers})

    def _batch(self, wanted: dict[str, Any]) -> None:
        answers = []
        for each in wanted["objects"]:
            answer = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.objects:
                href = f"{self.hub.address}/objects/{each['oid']}"
                answer["actions"] = {"upload": {"href": href, "header": {}}}
            answers.append(answer)
        self._json({"transfer": "basic", "objects": answers})

    def _commit(self, repository: Repository, lines: str) -> None:
        for line in map(json.loads, lines.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.objects[value["oid"]]
                repository.large.add(value["path"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
        self._json(
            {
                "success": True,
                "commitUrl": f"{self.hub.address}/somebody/x/commit/{repository.commit}",
                "commitOid": repository.commit,
                "hookOutput": "",
            }
        )

    def _readable(self, kind: str, name: str) -> Repository | None:
        repository = self.hub.repositories.get((kind, name))
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not allowed):
            self._fail(401 if repository else 404, "RepoNotFound")
            return None
        return repository

    def _about(self, kind: str, name: str, action: str | None) -> None:
        repository = self._readable(kind, name)
        if repository is None:
            return
        if action and action.startswith("tree/"):
            _, _, below = action.partition("/")[2].partition("/")
            recursive = "recursive=true" in urlsplit(self.path).query.lower()
            start = f"{below}/" if below else ""
            entries = [
                each
                for each in repository.entries()
                if each["path"].startswith(start)
                and (recursive or "/" not in each["path"].removeprefix(start))
            ]
            if not entries:
                self._fail(404, "EntryNotFound")
                return
            self._json(entries)
            return
        self._json(
            {
                "_id": "0",
                "id": name,
                "sha": repository.commit,
                "private": repository.private,
                "siblings": [{"rfilename": path} for path in sorted(repository.files)],
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
        )

    def _file(self, kind: str, name: str, path: str) -> None:
        repository = self._readable(kind, name)
        if repository is None:
            return
        if path not in repository.files:
            self._fail(404, "EntryNotFound", commit=repository.commit)
            return
        content = repository.files[path]
        status, sent = 200, content
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{_oid(content)}"'}
        if ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(ranged[1]), int(ranged[2] or len(content) - 1)
            status, sent = 206, content[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(status, sent, **headers)

    def _note(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, content: Any, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), **{"Content-Type": "application/json"})

    def _fail(self, status: int, code: str = "", commit: str = "") -> None:
        headers = {"X-Error-Code": code} if code else {}
        if commit:
            headers["X-Repo-Commit"] = commit
        self._send(status, b'{"error": "refused"}', **headers)

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
