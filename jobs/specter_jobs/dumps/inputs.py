"""Find and order the input files of a dump, and read them decompressed while their bytes are counted and hashed.

The order decides which files replace and delete papers of other files.
"""

import hashlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from specter_batch.errors import WrongFormatError
from specter_batch.inputs.kinds import InputKind
from specter_jobs.dumps.decoding import (
    COMPRESSED,
    HEAD_BYTES,
    READ_BYTES,
    REFUSED,
    check_not_cut,
    check_readable,
    codec_of,
    encoding_of,
    transcoded,
    unpacked,
    unpacking_error,
)
from specter_jobs.dumps.records import DumpReader

Advance = Callable[[int], None]

NamedFile = tuple[str, Path]


def dump_kind(suffixes: tuple[str, ...], *, what: str) -> InputKind:
    """Return the rule that selects the files of a dump.

    Args:
        suffixes: File name endings before the compression's ending. An empty ending matches names such as
            `part_000.gz`.
        what: Name of the format, for messages.
    """
    endings = " or ".join(f"*{suffix}" for suffix in suffixes if suffix)
    texts = {".xml": "XML", ".json": "JSON", ".jsonl": "JSON"}
    return InputKind(
        what=f"{what} files",
        looked_for=f"{endings}, plain or {', '.join(COMPRESSED)}",
        wanted=lambda name: _has_suffix(name, suffixes),
        text=next((texts[suffix] for suffix in suffixes if suffix in texts), None),
    )


def _has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    name = name.lower()
    # Files that cannot be unpacked are selected too, so that they fail with advice and are not silently skipped.
    stem = next((name.removesuffix(end) for end in (*COMPRESSED, *REFUSED) if name.endswith(end)), name)
    return any(stem.endswith(suffix) if suffix else stem != name and "." not in stem for suffix in suffixes)


@dataclass
class InputCount:
    """Size and hash of a file, filled in while it is read.

    Attributes:
        disk_bytes: Number of bytes on disk.
        text_bytes: Number of decompressed bytes.
        content: Hash of the bytes on disk; set when the file was read to its end.
    """

    disk_bytes: int = 0
    text_bytes: int = 0
    content: str = ""


@contextmanager
def opened(path: Path, count: InputCount, advance: Advance, *, encoding: str | None = None) -> Iterator[BinaryIO]:
    """Yield a stream of the file's decompressed bytes; `count` is complete when the block ends without an error.

    Text in UTF-16 or UTF-32 is yielded as UTF-8. XML is not changed, because an XML file names its encoding.

    Args:
        path: Path of the file.
        count: Size and hash of the file, filled in while it is read.
        advance: Callback that receives the number of bytes read from disk since its last call.
        encoding: Encoding of the text if it is not UTF-8; None to recognise UTF-16 and UTF-32.

    Raises:
        OSError: The file cannot be read, is truncated or does not match its checksum.
        WrongFormatError: The file is an archive of files, or has an unsupported compression.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        check_readable(path, head)
        check_not_cut(path, head)
        raw = _Hashed(file, count, advance)
        codec = codec_of(head)
        counted = _Counted(raw if codec is None else unpacked(raw, codec), count, path)
        stream = io.BufferedReader(counted, READ_BYTES)
        text_head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
        if codec is not None:
            check_readable(path, text_head)
            if (twice := codec_of(text_head)) is not None:
                raise WrongFormatError(f"is compressed twice ({codec}, then {twice}); unpack it once")
        encoding = encoding or encoding_of(text_head)
        yield stream if encoding is None else transcoded(stream, encoding)
        # A reader may stop before the last byte. The rest is read too, for the checksum at the end and for the hash.
        rest = bytearray(READ_BYTES)
        while counted.readinto(rest) or raw.readinto(rest):
            pass
        count.content = raw.digest.hexdigest()


def content_of(path: Path, advance: Advance) -> str:
    """Return the hash of a file's bytes on disk, as `opened` computes it, without decompressing."""
    with path.open("rb", buffering=0) as file:
        raw = _Hashed(file, InputCount(), advance)
        while raw.read(READ_BYTES):
            pass
        return str(raw.digest.hexdigest())


def joined_content(contents: Sequence[str]) -> str:
    """Combine the hashes of all files of a join into one."""
    return hashlib.blake2b(":".join(contents).encode(), digest_size=16).hexdigest()


def silent(size: int) -> None:
    """Ignore progress: a callback for readers whose progress is not shown."""
    del size


class _Hashed(io.RawIOBase):
    """A stream of the bytes on disk that hashes and counts what is read."""

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
    """A stream of the decompressed bytes that counts what is read."""

    def __init__(self, inner: Any, count: InputCount, path: Path) -> None:
        self._inner, self._count, self._path = inner, count, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            read = int(self._inner.readinto(buffer))
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise unpacking_error(self._path, error) from error
        self._count.text_bytes += read
        return read


def in_order(files: Sequence[NamedFile], reader: DumpReader) -> tuple[list[NamedFile], list[str]]:
    """Return the files from the oldest to the newest, and the names of the files that have no number.

    A format without numbered files keeps the order of the names. Files without a number come last.
    """
    number_of = getattr(reader, "file_order", None)
    if number_of is None:
        return list(files), []
    numbers = {name: number_of(name) for name, _ in files}
    numbered = sorted((file for file in files if numbers[file[0]] is not None), key=lambda file: numbers[file[0]])
    others = [file for file in files if numbers[file[0]] is None]
    return [*numbered, *others], [name for name, _ in others]
