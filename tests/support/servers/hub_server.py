"""A server that speaks the protocol of the Hugging Face hub, as far as its real client needs it for bundles.

It has repositories with branches and commits, regular files and LFS files, tokens, and refusals. It has no Xet, no
datasets, and no limits of size.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

READ_TOKEN, WRITE_TOKEN = "hf_tests_may_only_read", "hf_tests_secret_may_write"
# Files of at least this many bytes are LFS files.
LFS_BYTES = 5000
_API = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)(?P<rest>/.*)?")
_FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server answers to a request. With `close` it ends the connection without an answer."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Answer":
        return cls(status=status, content=json.dumps(value).encode(), headers={"Content-Type": "application/json"})

    @classmethod
    def error(cls, status: int, message: str, *, code: str = "") -> "Answer":
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        return cls(status=status, content=json.dumps({"error": message}).encode(), headers=headers)


@dataclass(kw_only=True)
class HubRepository:
    """A repository: commits with their files, and the commit of each branch."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], *, branch: str = "main", message: str = "") -> str:
        """Add a commit to a branch and return it."""
        described = [message, len(self.commits), *((name, content.hex()) for name, content in sorted(files.items()))]
        commit = hashlib.sha1(repr(described).encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        self.messages.append(message)
        return commit

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Return the files of a branch or commit."""
        return self.commits[self.branches.get(revision, revision)]


@dataclass(kw_only=True)
class HubServer:
    """The state of a running server.

    Attributes:
        endpoint: Address of the server.
        repositories: Owner and name -> repository.
        requests: Method and path of each request, in order.
        refusal: Function that may answer a request, from method and path, before the server does.
    """

    endpoint: str = ""
    repositories: dict[str, HubRepository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refusal: Callable[[str, str], Answer | None] = lambda _method, _path: None
    _uploads: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, folder: Path, *, private: bool = False) -> HubRepository:
        """Make a repository with the files of a folder in its main branch."""
        repository = self.repositories[name] = HubRepository(private=private)
        repository.commit({file.name: file.read_bytes() for file in folder.iterdir()})
        return repository

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Answer a request."""
        path = urlsplit(target).path
        self.requests.append((method, path))
        refused = self.refusal(method, path)
        if refused is not None:
            return refused
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in ("", READ_TOKEN, WRITE_TOKEN):
            return Answer.error(401, "Invalid credentials in Authorization header")
        if path.startswith("/upload/"):  # a signed address, which needs no token
            if hashlib.sha256(body).hexdigest() != path.removeprefix("/upload/"):
                return Answer.error(400, "wrong content")
            self._uploads[path.removeprefix("/upload/")] = body
            return Answer()
        if method == "POST" and not path.endswith("/validate-yaml") and token != WRITE_TOKEN:
            return Answer.error(403 if token else 401, "You need a token with write access")
        if path == "/api/validate-yaml":
            return Answer.of({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        found = _API.fullmatch(path) or _FILE.fullmatch(path)
        repository = self.repositories.get(found["name"]) if found else None
        if found is None or repository is None or (repository.private and not token):
            return Answer.error(404 if token else 401, "Repository not found", code="RepoNotFound")
        if found.re is _FILE:
            return _file(repository, unquote(found["revision"]), unquote(found["path"]), headers.get("Range"))
        return self._api(found["name"], repository, method, unquote(found["rest"] or ""), body)

    def _create(self, asked: dict[str, Any]) -> Answer:
        name = f"{asked['organization']}/{asked['name']}"
        self.repositories[name] = HubRepository(private=asked.get("private") or False)
        self.repositories[name].commit({".gitattributes": b"*.onnx filter=lfs\n"}, message="initial commit")
        return Answer.of({"url": f"{self.endpoint}/{name}", "name": name})

    def _batch(self, asked: dict[str, Any]) -> Answer:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.endpoint}/upload/{one['oid']}"}}} for one in asked["objects"]
        ]
        return Answer.of({"objects": objects, "transfer": "basic"})

    def _api(self, name: str, repository: HubRepository, method: str, rest: str, body: bytes) -> Answer:
        action, _, revision = rest.removeprefix("/").partition("/")
        if method == "GET":
            commit = repository.branches.get(revision or "main", revision)
            if commit not in repository.commits:
                return Answer.error(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
            siblings = [{"rfilename": file} for file in repository.commits[commit]]
            return Answer.of(
                {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings}
            )
        if action == "branch":
            repository.branches[revision] = json.loads(body or b"{}").get("startingPoint", repository.branches["main"])
            return Answer.of({})
        if action == "preupload":
            held = repository.files(revision)
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] >= LFS_BYTES else "regular",
                    "shouldIgnore": False,
                    "oid": _git_oid(held[file["path"]]) if file["path"] in held else None,
                }
                for file in json.loads(body)["files"]
            ]
            return Answer.of({"files": modes})
        return self._commit(name, repository, revision, body)

    def _commit(self, name: str, repository: HubRepository, branch: str, body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit", repository.branches[branch]) != repository.branches[branch]:
            return Answer.error(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.files(branch))
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self._uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = repository.commit(files, branch=branch, message=header["summary"])
        return Answer.of({"commitUrl": f"{self.endpoint}/{name}/commit/{commit}", "commitOid": commit})


def _git_oid(content: bytes) -> str:
    if len(content) >= LFS_BYTES:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\x00%s" % (len(content), content), usedforsecurity=False).hexdigest()


def _file(repository: HubRepository, revision: str, path: str, wanted: str | None) -> Answer:
    commit = repository.branches.get(revision, revision)
    if commit not in repository.commits:
        return Answer.error(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
    content = repository.commits[commit].get(path)
    if content is None:
        return Answer.error(404, f"Entry not found: {path}", code="EntryNotFound")
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if len(content) >= LFS_BYTES:
        headers |= {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
    headers["ETag"] = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
    if wanted:
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Answer(status=206, content=content[start:], headers=headers)
    return Answer(content=content, headers=headers)


def _handler(server: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = server.answer(self.command, self.path, self.headers, body)
            if answer.close:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.content))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.content)
            if answer.headers.get("Content-Length", str(len(answer.content))) != str(len(answer.content)):
                self.close_connection = True  # a truncated file

        do_GET = do_HEAD = do_POST = do_PUT = _do  # noqa: N815 - http.server's names

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's name
            """Log nothing."""

    return Handler


@contextmanager
def running_hub_server() -> Iterator[HubServer]:
    """Run a server in threads of this process."""
    state = HubServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) as server:
        state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
