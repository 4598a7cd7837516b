"""Files that are whole or absent: written under a temporary name, synced, renamed; in a store, put in one step."""

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

from specter_batch.storage.location import Location
from specter_batch.storage.stored_names import storable, storable_json
from specter_batch.storage.url_path import UrlPath


@contextmanager
def written_whole(path: Location) -> Iterator[Path]:
    """Yield a temporary name beside `path`; when the block ends well it is synced and becomes `path`.

    A crash at any instant leaves the old file, or none, and never half of the new one. For a URL the temporary file is
    a local one, and put when the block ends well.
    """
    if isinstance(path, UrlPath):
        with tempfile.TemporaryDirectory(prefix="specter-batch.") as scratch:
            whole = Path(scratch) / path.name
            yield whole
            path.put(whole)
        return
    if path.exists() and not path.is_file():
        # Renaming onto it would put a file in the place of /dev/null for the whole machine.
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
            # A full disk does not say where, and a rename names the temporary file, which nobody knows.
            error.filename, error.filename2 = str(path), None
        raise


def write_text(path: Location, text: str) -> None:
    r"""Write a text file whole; what is not UTF-8 in it, as in the name of a file, becomes `\xe9`."""
    with written_whole(path) as partial:
        partial.write_text(storable(text), encoding="utf-8")


def write_json(path: Location, value: Any) -> None:
    """Write readable JSON whole; NaN is an error, so that every reader takes it."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(path, storable_json(text) + "\n")


def apply_umask(folder: Path) -> None:
    """Give the files in a folder the mode that the umask gives to new files there.

    `safetensors` makes its files readable by their owner alone, whatever the umask, so that a colleague or a service
    user could read every file of a model except its weights.
    """
    usual = _usual_mode(folder)
    for file in folder.iterdir():
        mode = file.lstat().st_mode
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) | usual != stat.S_IMODE(mode):
            with contextlib.suppress(PermissionError):  # a file of another user, or a file system without modes
                file.chmod(stat.S_IMODE(mode) | usual)


def _usual_mode(folder: Path) -> int:
    """Return the mode that a new file gets in a folder; a kill leaves nothing behind where unnamed files exist."""
    probe = folder / f".mode-{os.getpid()}.partial"
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (AttributeError, OSError):  # not on Linux, or a file system without unnamed files
        descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Write a folder's names to disk."""
    if os.name == "posix":  # a rename is only on disk when its folder is
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_hash(values: dict[str, Any]) -> str:
    """Return a hash of values that JSON can hold: equal for equal values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
