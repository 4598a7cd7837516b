"""Input files of a dump: finding them, and reading them decompressed while their bytes are counted and hashed."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from specter_batch.errors import PaperSchemaError
from specter_batch.papers import find_files

READ_BYTES = 1 << 20
# By their first bytes, not by their name: a server may have unpacked a .gz on the way.
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
COMPRESSED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".zst": b"\x28\xb5\x2f\xfd"}

Advance = Callable[[int], None]


def find_dump(source: str | Path, suffixes: tuple[str, ...], *, what: str) -> tuple[Path, list[Path]]:
    """List the files of a dump: one file, a folder (recursively) or a glob, in a fixed order.

    Args:
        source: Where to look.
        suffixes: Endings before the compression's; an empty one stands for a bare `part_000.gz`.
        what: The format, for the message.

    Returns:
        The folder that the files are named relative to, and the sorted files.

    Raises:
        PaperSchemaError: Nothing is there.
    """
    endings = " or ".join(f"*{suffix}" for suffix in suffixes if suffix)
    return find_files(
        source,
        wanted=lambda name: _has_suffix(name, suffixes),
        what=f"{what} files",
        looked_for=f"{endings}, plain or .gz, .bz2, .zst",
    )


def _has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    name = name.lower()
    stem = next((name.removesuffix(ending) for ending in COMPRESSED if name.endswith(ending)), name)
    return any(stem.endswith(suffix) if suffix else stem != name and "." not in stem for suffix in suffixes)


@dataclass
class InputCount:
    """What reading a file has shown of it.

    Attributes:
        disk_bytes: On disk.
        text_bytes: Decompressed.
        content: Hash of the bytes on disk; set when the file was read to its end.
    """

    disk_bytes: int = 0
    text_bytes: int = 0
    content: str = ""


@contextmanager
def opened(path: Path, count: InputCount, advance: Advance) -> Iterator[BinaryIO]:
    """Yield the file's decompressed bytes, streaming; when the block ends well, `count` is complete.

    Raises:
        OSError: It cannot be read, is truncated or does not match its checksum.
        PaperSchemaError: It is an archive of files.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(4)
        file.seek(0)
        _check_head(path, head)
        raw = _Hashed(file, count, advance)
        codec = next((codec for magic, codec in MAGIC.items() if head.startswith(magic)), None)
        inner = raw if codec is None else pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec)
        yield cast(BinaryIO, io.BufferedReader(_Counted(inner, count), READ_BYTES))
        while raw.read(READ_BYTES):
            pass  # a reader may stop before the last byte; the hash is of all
        count.content = raw.digest.hexdigest()


def content_of(path: Path, advance: Advance) -> str:
    """Return the hash that `opened` finds, without decompressing."""
    with path.open("rb", buffering=0) as file:
        raw = _Hashed(file, InputCount(), advance)
        while raw.read(READ_BYTES):
            pass
        return str(raw.digest.hexdigest())


def silent(size: int) -> None:
    """Tell nobody of the bytes that were read."""
    del size


def _check_head(path: Path, head: bytes) -> None:
    if head.startswith(b"PK\x03\x04"):
        raise PaperSchemaError(f"{path}: is a zip archive; unpack it first")
    magic = COMPRESSED.get(path.suffix.lower())
    if magic and len(head) < 4 and magic.startswith(head[: len(magic)]):
        raise OSError(f"{path}: is empty or cut off; fetch it again")


class _Hashed(io.RawIOBase):
    """The bytes on disk, hashed and counted on their way."""

    def __init__(self, file: io.FileIO, count: InputCount, advance: Advance) -> None:
        self.digest = hashlib.blake2b(digest_size=16)
        self._file, self._count, self._advance = file, count, advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        read = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:read])
        self._count.disk_bytes += read
        self._advance(read)
        return read


class _Counted(io.RawIOBase):
    """The decompressed bytes, counted."""

    def __init__(self, inner: Any, count: InputCount) -> None:
        self._inner, self._count = inner, count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            read = int(self._inner.readinto(buffer))
        except OSError as error:
            if error.errno is not None:
                raise
            raise OSError(f"the file is cut off or damaged ({error}); fetch it again") from error
        self._count.text_bytes += read
        return read
