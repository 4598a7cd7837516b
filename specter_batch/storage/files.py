"""Atomic writes: a file is written under a temporary name, synced and renamed. In a store it is put in one step."""

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from specter_batch.display import storable, storable_json
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath


@contextmanager
def written_whole(path: Location) -> Iterator[Path]:
    """Yield a temporary path next to `path`. If the block succeeds, the file is synced and renamed to `path`.

    A crash at any time leaves the old file, or none, and never half of the new one. For a URL the temporary file is on
    the local disk and is uploaded if the block succeeds.
    """
    if isinstance(path, UrlPath):
        with tempfile.TemporaryDirectory(prefix="specter-batch.") as scratch:
            whole = Path(scratch) / path.name
            yield whole
            path.put(whole)
        return
    if path.exists() and not path.is_file():
        # Renaming onto a device such as /dev/null would replace it by a file for the whole machine.
        raise OSError(errno.EINVAL, "is a folder, device or pipe and is not replaced; give a file", str(path))
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(partial)):
            # The error of a full disk has no path, and the error of a rename has the path of the temporary file.
            error.filename, error.filename2 = str(path), None
        raise


def write_text(path: Location, text: str) -> None:
    r"""Write a text file atomically. Bytes that are not UTF-8, as in some file names, are written as `\xe9`."""
    with written_whole(path) as partial:
        partial.write_text(storable(text), encoding="utf-8")


def write_json(path: Location, value: Any) -> None:
    """Write indented JSON atomically. NaN is an error, because many JSON readers do not accept it."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(path, storable_json(text) + "\n")


def apply_umask(folder: Path) -> None:
    """Set the mode of the files in a folder to the mode that the umask gives to new files.

    `safetensors` makes its files readable by their owner only, whatever the umask. Without this function, other users
    could read every file of a model except its weights.
    """
    usual = _usual_mode(folder)
    for file in folder.iterdir():
        mode = file.lstat().st_mode
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) | usual != stat.S_IMODE(mode):
            with contextlib.suppress(PermissionError):  # a file of another user, or a file system without modes
                file.chmod(stat.S_IMODE(mode) | usual)


def _usual_mode(folder: Path) -> int:
    """Return the mode that a new file gets in a folder. It is found with an unnamed file, if the system has them."""
    probe = folder / f".mode-{os.getpid()}.partial"
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (AttributeError, OSError):  # not Linux, or a file system without unnamed files
        descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync a folder's list of names to disk."""
    if os.name == "posix":  # a rename is only safe on disk after its folder is synced
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_sha256(path: Path, *, piece_bytes: int = 1 << 18) -> str:
    """Return the hex SHA-256 of a file.

    Args:
        path: The file.
        piece_bytes: How much of it is in memory. After each piece a thread may wait for Python's lock, so that a large
            file takes many times as long in small pieces while another thread imports modules.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        piece = memoryview(bytearray(min(os.fstat(stream.fileno()).st_size or piece_bytes, piece_bytes)))
        while read := stream.readinto(piece):
            digest.update(piece[:read])
    return digest.hexdigest()


def json_hash(values: dict[str, Any]) -> str:
    """Return a hash of values that JSON can hold. It does not depend on the order of the keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
