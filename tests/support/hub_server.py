"""The part of the Hugging Face Hub's HTTP API that its client needs to create, upload, list and download repositories.

A server on this machine, with files in memory; the client is the real one. Large files go through the LFS protocol.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 1000
"""Bytes from which a file goes through LFS; the hub decides by type and from 10 MB on."""


class Hub:
    """Repositories by (kind, owner/name), and what was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}  # LFS, by SHA-256
        self.commits: dict[tuple[str, str], list[dict[str, bytes]]] = {}  # the files of each commit, oldest first
        self.tags: dict[tuple[str, str, str], int] = {}  # revision -> index of its commit
        self.private: dict[tuple[str, str], bool] = {}
        self.uploads = 0
        self.cut_after: int | None = None
        """Uploads of large files that are taken; from then on all are refused, as by a hub that is out of order."""
        self.url = ""
        self.lock = threading.Lock()

    def files(self, repository: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Content by path at a revision."""
        return self.commits[kind, repository][self.index(repository, kind, revision)]

    def index(self, repository: str, kind: str, revision: str) -> int:
        commits = self.commits[kind, repository]
        if revision == "main":
            return len(commits) - 1
        shas = [sha_of(kind, repository, number) for number in range(len(commits))]
        return shas.index(revision) if revision in shas else self.tags[kind, repository, revision]


def sha_of(kind: str, repository: str, number: int) -> str:
    return hashlib.sha1(f"{kind} {repository} {number}".encode()).hexdigest()


def oid_of(content: bytes) -> str:
    """Of a regular file, as git has it; the ETag."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/preupload/(.+)", path):
            return self._preupload(found[1], found[2], json.loads(body))
        if found := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._lfs_batch(json.loads(body))
        if found := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/commit/(.+)", path):
            return self._commit(found[1], found[2], body)
        return self._json({"error": f"no such call: {path}"}, 404)

    def do_PUT(self) -> None:
        content = self._body()
        oid = urlsplit(self.path).path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        with self.hub.lock:  # the client uploads several files at a time
            is_cut = self.hub.cut_after is not None and self.hub.uploads >= self.hub.cut_after
            if not is_cut:
                self.hub.objects[oid] = content
                self.hub.uploads += 1
        return self._json({"error": "out of order"}, 507) if is_cut else self._json({})

    def do_HEAD(self) -> None:
        self._resolve(with_content=False)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        found = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/.*)?)?", path)
        if found is None:
            return self._resolve(with_content=True)
        kind, repository, what, revision = found.groups()
        return self._of_revision(kind, repository, what, unquote(revision or "main"))

    def _of_revision(self, kind: str, repository: str, what: str | None, revision: str) -> None:
        if (kind, repository) not in self.hub.commits:
            return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        try:
            number = self.hub.index(repository, kind, revision)
        except KeyError:
            return self._json({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = self.hub.commits[kind, repository][number]
        if what == "tree":
            return self._json([_entry(path, content) for path, content in files.items()])
        siblings = [{"rfilename": path} for path in files]
        return self._json({"id": repository, "sha": sha_of(kind, repository, number), "siblings": siblings})

    def _create(self, asked: dict) -> None:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
        key = asked.get("type") or "model", name
        url = f"{self.hub.url}/{'datasets/' if key[0] == 'dataset' else ''}{name}"
        if key in self.hub.commits:
            return self._json({"error": "You already created this repo", "url": url}, 409)
        self.hub.commits[key] = [{}]
        self.hub.private[key] = asked.get("visibility") == "private" or bool(asked.get("private"))
        return self._json({"url": url})

    def _preupload(self, kind: str, repository: str, asked: dict) -> None:
        there = self.hub.files(repository, kind)
        answers = []
        for file in asked["files"]:
            mode = "lfs" if file["size"] >= LARGE else "regular"
            content = there.get(file["path"])
            oid = None if content is None else (_lfs_oid(content) if mode == "lfs" else oid_of(content))
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": answers})

    def _lfs_batch(self, asked: dict) -> None:
        objects = []
        for file in asked["objects"]:
            answer = {"oid": file["oid"], "size": file["size"]}
            if file["oid"] not in self.hub.objects:
                answer["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{file['oid']}"}}
            objects.append(answer)
        self._json({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")

    def _commit(self, kind: str, repository: str, body: bytes) -> None:
        files = dict(self.hub.files(repository, kind))
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        commits = self.hub.commits[kind, repository]
        commits.append(files)
        oid = sha_of(kind, repository, len(commits) - 1)
        self._json({"commitUrl": f"{self.hub.url}/{repository}/commit/{oid}", "commitOid": oid})

    def _resolve(self, *, with_content: bool) -> None:
        found = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", unquote(urlsplit(self.path).path))
        kind = "dataset" if found and found[1] else "model"
        if found is None or (kind, found[2]) not in self.hub.commits:
            return self._json({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        number = self.hub.index(found[2], kind, found[3])
        content = self.hub.commits[kind, found[2]][number].get(found[4])
        if content is None:
            return self._json({"error": "no such file"}, 404, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(content).hexdigest() if len(content) >= LARGE else oid_of(content)
        headers = {"X-Repo-Commit": sha_of(kind, found[2], number), "ETag": f'"{etag}"'}
        return self._answer(content, 200, headers, "application/octet-stream", with_content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(
        self, value: object, status: int = 200, headers: dict | None = None, kind: str = "application/json"
    ) -> None:
        self._answer(json.dumps(value).encode(), status, headers or {}, kind, self.command != "HEAD")

    def _answer(self, content: bytes, status: int, headers: dict, kind: str, with_content: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_content:
            self.wfile.write(content)


def _lfs_oid(content: bytes) -> str:
    """Of an LFS file: that of its pointer, which the repository holds."""
    sha, size = hashlib.sha256(content).hexdigest(), len(content)
    return oid_of(f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {size}\n".encode())


def _entry(path: str, content: bytes) -> dict:
    entry: dict = {"type": "file", "path": path, "size": len(content), "oid": oid_of(content)}
    if len(content) >= LARGE:
        sha = hashlib.sha256(content).hexdigest()
        entry |= {"oid": _lfs_oid(content), "lfs": {"oid": sha, "size": len(content), "pointerSize": 134}}
    return entry


class Server(ThreadingHTTPServer):
    request_queue_size = 64  # the client opens many connections at a time
    daemon_threads = True


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
