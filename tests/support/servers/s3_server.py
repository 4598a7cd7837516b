"""An S3 server, used by the tests of nights in an object store."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from specter_batch.storage.url_path import UrlPath

ACCESS_KEY, SECRET_KEY = "AKIATESTSACCESSKEYID", "tests/secret+key that nobody may see"
CODE = """
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
input()
"""
_buckets = count(1)


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server and a bucket on it."""

    endpoint: str
    bucket: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with the server's address and the credentials, for any S3 client."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def with_new_bucket(self) -> "S3Server":
        """Return the server with a new, empty bucket."""
        server = replace(self, bucket=f"tests-{next(_buckets)}")
        self._ask("PUT", f"/{server.bucket}")
        return server

    def check_credentials(self, wanted: bool) -> None:
        """Refuse every request, because the server has no accounts, or accept every request again."""
        self._ask("POST", "/moto-api/reset-auth", b"0" if wanted else b"inf")

    def path(self, *parts: str) -> UrlPath:
        """Return a place in the bucket."""
        return UrlPath("/".join([f"s3://{self.bucket}", *parts]))

    def upload(self, folder: Path, name: str) -> UrlPath:
        """Copy a folder into the bucket."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.path(name, file.relative_to(folder).as_posix()).put(file)
        return self.path(name)

    def files(self, name: str) -> dict[str, bytes]:
        """Return every file below a folder of the bucket."""
        folder = self.path(name)
        return {file: (folder / file).read_bytes() for file in sorted(folder.below(recursive=True))}

    def _ask(self, method: str, path: str, data: bytes | None = None) -> None:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(self.endpoint + path, method=method, data=data, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            answer.read()


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """Run a server until the block ends."""
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = next(line.split()[1].decode() for line in process.stdout if line.startswith(b"port "))
            yield S3Server(endpoint=f"http://127.0.0.1:{port}")
        finally:
            process.kill()
