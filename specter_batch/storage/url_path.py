"""Files and folders in an object store or any other fsspec file system, with the method names of `pathlib.Path`."""

import errno
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specter_batch.display import without_credentials
from specter_batch.errors import ConfigError, StorageError, StorageRefusedError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Bytes to read ahead, so that small row groups do not need one request per column.
READ_AHEAD_BYTES = 1 << 20

WILDCARD = re.compile(r"[*?\[]")
URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?]*)(?P<path>.*)", flags=re.DOTALL)


@dataclass(frozen=True, repr=False)
class UrlPath:
    """A file or folder in a store.

    It can be pickled. `str` gives a text that is safe to show, without the credentials that the URL may hold.

    Every method raises `StorageError` if the store cannot be reached or denies access, and `FileNotFoundError` if
    there is no such file.
    """

    _url: str

    def __str__(self) -> str:
        return without_credentials(self._url)

    def __repr__(self) -> str:
        return f"UrlPath({str(self)!r})"

    def __truediv__(self, name: str) -> "UrlPath":
        return UrlPath(f"{self._url.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.whole_path.rpartition("/")[2]

    @property
    def parent(self) -> "UrlPath":
        """The folder that contains this file or folder."""
        return UrlPath(self.whole_path.rpartition("/")[0])

    def resolve(self) -> "UrlPath":
        """Return this path unchanged: a store has no links and no working folder."""
        return self

    def parted_at_wildcard(self) -> tuple["UrlPath", list[str]]:
        """Return the folder before the first part with a wildcard, and the parts from there on."""
        match = URL.fullmatch(self._url)
        parts = match["path"].strip("/").split("/") if match and self.whole_path == self._url else []
        magic = next((i for i, part in enumerate(parts) if WILDCARD.search(part)), None)
        if match is None or magic is None:
            return self, []
        root = "/".join([f"{match['scheme']}://{match['host']}", *parts[:magic]])
        return UrlPath(root), parts[magic:]

    def info(self) -> dict[str, Any] | None:
        """Return the store's information, including `type` and `size`; None if there is no such file or folder."""
        try:
            with self._told():
                self._files.invalidate_cache()  # other processes write here too, so a cached listing may be outdated
                return dict(self._files.info(self._key))
        except FileNotFoundError:
            return None

    def exists(self) -> bool:
        """Return whether there is a file or folder at this path."""
        return self.info() is not None

    def is_file(self) -> bool:
        """Return whether this path is a file."""
        info = self.info()
        return info is not None and info["type"] == "file"

    def is_dir(self) -> bool:
        """Return whether this path is a folder. In an object store it is one if any key begins with it."""
        info = self.info()
        return info is not None and info["type"] == "directory"

    def size(self) -> int:
        """Return the size of the file in bytes; 0 if it does not exist."""
        return int((self.info() or {}).get("size") or 0)

    def below(self, *, recursive: bool) -> dict[str, int]:
        """Return the size in bytes of each file, by its path below this folder; empty if there is no folder."""
        try:
            with self._told():
                self._files.invalidate_cache()
                entries = self._files.find(self._key, maxdepth=None if recursive else 1, detail=True)
        except FileNotFoundError:
            return {}
        prefix = self._key.rstrip("/") + "/"
        names = {path.removeprefix(prefix): info for path, info in entries.items() if path.startswith(prefix)}
        # Some stores ignore `maxdepth`. A folder made by hand is an empty file whose name ends in a slash.
        files = [name for name in names if name and not name.endswith("/") and (recursive or "/" not in name)]
        return {name: int(names[name]["size"] or 0) for name in files}

    def names(self) -> set[str]:
        """Return the names of the files and folders directly in this folder."""
        try:
            with self._told():
                self._files.invalidate_cache()
                keys = self._files.ls(self._key, detail=False)
        except FileNotFoundError:
            return set()
        return {path.rstrip("/").rpartition("/")[2] for path in keys if path.rstrip("/") != self._key.rstrip("/")}

    def open(self, mode: str = "rb") -> "_Stream":
        """Open the file for reading at any position. Only the parts that are read are downloaded."""
        if mode != "rb":
            raise ValueError(f"a file in a store can only be written completely, not opened with mode {mode!r}")
        with self._told():
            self._files.invalidate_cache()
            cached = {"cache_type": "readahead", "block_size": READ_AHEAD_BYTES}
            return _Stream(self, self._files.open(self._key, "rb", **cached))

    def read_bytes(self) -> bytes:
        """Return the whole content of the file."""
        with self._told():
            return bytes(self._files.cat_file(self._key))

    def fetch(self, local: Path) -> None:
        """Download the file to a local file, in pieces."""
        with self._told():
            self._files.get_file(self._key, str(local))

    def put(self, local: Path) -> None:
        """Upload a local file in one step. Readers see the old file, or none, until the new one is complete."""
        with self._told(writing=True):
            self._files.put_file(str(local), self._key)

    def put_new(self, content: bytes) -> bool:
        """Write these bytes if the file does not exist, and return whether they were written.

        S3, Google Cloud Storage and Azure let only one of two simultaneous writers succeed. In other stores the second
        may overwrite the first.
        """
        with self._told(writing=True):
            try:
                self._files.pipe_file(self._key, content, mode="create")
                return True
            except FileExistsError:
                return False
            except (NotImplementedError, TypeError, ValueError):
                if self._files.exists(self._key):
                    return False
                self._files.pipe_file(self._key, content)
                return True

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            with self._told():
                self._files.rm_file(self._key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    @property
    def whole_path(self) -> str:
        """The URL without the query string. Only HTTP has one; elsewhere `?` is part of the path."""
        return self._url.partition("?")[0] if self._url.startswith("http") else self._url

    @property
    def _files(self) -> "AbstractFileSystem":
        return _filesystem("/".join(self._url.split("/")[:3]).partition("?")[0], os.getpid())

    @property
    def _key(self) -> str:
        return str(self._files._strip_protocol(self._url))

    @contextmanager
    def _told(self, *, writing: bool = False) -> Iterator[None]:
        """Turn the errors of a store's library into ours. The originals may hold credentials and are not chained."""
        try:
            yield
        except FileNotFoundError as error:
            if writing:
                raise StorageRefusedError(f"{self}: cannot be written, its bucket or folder does not exist") from None
            # The message of the original error may hold the URL
            raise FileNotFoundError(error.errno or errno.ENOENT, "no such file or folder", str(self)) from None
        except (StorageError, ConfigError):
            raise
        except PermissionError as error:
            why = self._line(error)
            raise StorageRefusedError(f"{self}: the store refuses ({why}); check the credentials") from None
        except Exception as error:
            raise StorageError(f"{self}: the store cannot be used ({self._line(error)})") from None

    def _line(self, error: Exception) -> str:
        """Return the first line of an error, without the credentials of this URL."""
        text = without_credentials(str(error).replace(self._url, str(self))).strip()
        line = text.splitlines()[0] if text else ""
        user_info = self._url.partition("://")[2].partition("/")[0].rpartition("@")[0]
        parameters = self._url.partition("?")[2].split("&")
        for secret in (user_info.partition(":")[2], *(parameter.partition("=")[2] for parameter in parameters)):
            line = line.replace(secret, "…") if secret else line
        return f"{type(error).__name__}: {line}" if line else type(error).__name__


class _Stream(io.RawIOBase):
    """A file in a store, open for reading. A lost connection raises a `StorageError`."""

    def __init__(self, path: UrlPath, stream: Any) -> None:
        self._path = path
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        with self._path._told():
            content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


@cache
def _filesystem(root: str, process: int) -> "AbstractFileSystem":  # noqa: ARG001 - the process is part of the key
    """Return the file system of a store, one per process. Its threads share connections; a fork makes a new one."""
    from fsspec.core import url_to_fs

    return url_to_fs(root)[0]
