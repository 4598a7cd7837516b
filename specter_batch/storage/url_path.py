"""Files and folders of an object store, or of anything else that fsspec knows, under the names of `pathlib.Path`."""

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

from specter_batch.errors import ConfigError, StorageError, StorageRefusedError
from specter_batch.storage.redaction import without_credentials

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Fetched beyond what was asked for, so that small row groups do not cost a request for each of their columns.
READ_AHEAD_BYTES = 1 << 20

WILDCARD = re.compile(r"[*?\[]")
URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?]*)(?P<path>.*)", flags=re.DOTALL)


@dataclass(frozen=True, repr=False)
class UrlPath:
    """A file or folder in a store.

    It can be pickled. Its text is safe to show; the URL itself, which may hold credentials, stays inside.

    Every method raises `StorageError` when the store cannot be reached or refuses, and `FileNotFoundError` when
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
        """The last part."""
        return self.whole_path.rpartition("/")[2]

    @property
    def parent(self) -> "UrlPath":
        """The folder that holds it."""
        return UrlPath(self.whole_path.rpartition("/")[0])

    def resolve(self) -> "UrlPath":
        """Return itself: a store has no links and no working folder."""
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
        """Return what the store says of it, `type` and `size` among it; None when there is nothing."""
        try:
            with self._told():
                self._files.invalidate_cache()  # others write here too, and a listing of a minute ago is no answer
                return dict(self._files.info(self._key))
        except FileNotFoundError:
            return None

    def exists(self) -> bool:
        """Say whether there is a file or folder."""
        return self.info() is not None

    def is_file(self) -> bool:
        """Say whether it is a file."""
        info = self.info()
        return info is not None and info["type"] == "file"

    def is_dir(self) -> bool:
        """Say whether it is a folder: in an object store, whether any key begins with it."""
        info = self.info()
        return info is not None and info["type"] == "directory"

    def size(self) -> int:
        """Return its size in bytes; 0 when there is nothing."""
        return int((self.info() or {}).get("size") or 0)

    def below(self, *, recursive: bool) -> dict[str, int]:
        """Return the size of each file in the folder, by its path below it; empty when there is no folder."""
        try:
            with self._told():
                self._files.invalidate_cache()
                entries = self._files.find(self._key, maxdepth=None if recursive else 1, detail=True)
        except FileNotFoundError:
            return {}
        prefix = self._key.rstrip("/") + "/"
        names = {path.removeprefix(prefix): info for path, info in entries.items() if path.startswith(prefix)}
        # Not every store's find knows maxdepth, and a folder made by hand is an empty file that ends in a slash.
        files = [name for name in names if name and not name.endswith("/") and (recursive or "/" not in name)]
        return {name: int(names[name]["size"] or 0) for name in files}

    def names(self) -> set[str]:
        """Return the names of the files and folders directly in it."""
        try:
            with self._told():
                self._files.invalidate_cache()
                keys = self._files.ls(self._key, detail=False)
        except FileNotFoundError:
            return set()
        return {path.rstrip("/").rpartition("/")[2] for path in keys if path.rstrip("/") != self._key.rstrip("/")}

    def open(self, mode: str = "rb") -> "_Stream":
        """Open it for reading at any place; only what is read is fetched."""
        if mode != "rb":
            raise ValueError(f"a file in a store is put whole, not opened with {mode!r}")
        with self._told():
            self._files.invalidate_cache()
            cached = {"cache_type": "readahead", "block_size": READ_AHEAD_BYTES}
            return _Stream(self, self._files.open(self._key, "rb", **cached))

    def read_bytes(self) -> bytes:
        """Return all of it."""
        with self._told():
            return bytes(self._files.cat_file(self._key))

    def fetch(self, local: Path) -> None:
        """Copy it to a local file, in pieces."""
        with self._told():
            self._files.get_file(self._key, str(local))

    def put(self, local: Path) -> None:
        """Put a local file here in one step: readers see the old one, or none, until the new one is whole."""
        with self._told(writing=True):
            self._files.put_file(str(local), self._key)

    def put_new(self, content: bytes) -> bool:
        """Put these bytes if nothing is here, and say whether they were put.

        The store decides between two that come at once, where it can (S3, Google Cloud Storage, Azure); elsewhere the
        second may overwrite the first.
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
        """The URL without what follows the path: only HTTP has such, elsewhere ? is a character like others."""
        return self._url.partition("?")[0] if self._url.startswith("http") else self._url

    @property
    def _files(self) -> "AbstractFileSystem":
        return _filesystem("/".join(self._url.split("/")[:3]).partition("?")[0], os.getpid())

    @property
    def _key(self) -> str:
        return str(self._files._strip_protocol(self._url))

    @contextmanager
    def _told(self, *, writing: bool = False) -> Iterator[None]:
        """Turn whatever a store's library raises into our errors, without chaining what may hold credentials."""
        try:
            yield
        except FileNotFoundError as error:
            if writing:
                raise StorageRefusedError(f"{self}: cannot be written, its bucket or folder does not exist") from None
            # Without the URL of the original
            raise FileNotFoundError(error.errno or errno.ENOENT, "no such file or folder", str(self)) from None
        except (StorageError, ConfigError):
            raise
        except PermissionError as error:
            why = self._line(error)
            raise StorageRefusedError(f"{self}: the store refuses ({why}); check the credentials") from None
        except Exception as error:
            raise StorageError(f"{self}: the store cannot be used ({self._line(error)})") from None

    def _line(self, error: Exception) -> str:
        """Return an error's first line, without what this URL hides wherever it stands there."""
        text = without_credentials(str(error).replace(self._url, str(self))).strip()
        line = text.splitlines()[0] if text else ""
        user_info = self._url.partition("://")[2].partition("/")[0].rpartition("@")[0]
        parameters = self._url.partition("?")[2].split("&")
        for secret in (user_info.partition(":")[2], *(parameter.partition("=")[2] for parameter in parameters)):
            line = line.replace(secret, "…") if secret else line
        return f"{type(error).__name__}: {line}" if line else type(error).__name__


class _Stream(io.RawIOBase):
    """A file in a store, open for reading; a connection lost midway is a `StorageError`."""

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
    """Return the one filesystem of a store in a process: its threads share connections, a fork makes its own."""
    from fsspec.core import url_to_fs

    return url_to_fs(root)[0]
