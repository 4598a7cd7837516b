"""Unpack compressed files, which are recognised by their first bytes, and convert text files to UTF-8.

UTF-16 and UTF-32 are recognised, and the user names other encodings. For a file that cannot be unpacked, the error says
what to do.
"""

import codecs
import gzip
import io
import lzma
import re
import shlex
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from specter_batch.errors import PaperSchemaError, UsageError, WrongFormatError

READ_BYTES = 1 << 20
# A tar archive names itself this far into the file.
_TAR_OFFSET = 257
HEAD_BYTES = 512

# Codecs by a file's first bytes, not by its name, because some servers unpack a .gz file while they send it.
_CODECS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
}
# A text may begin with BZh, but not with the bytes after it: the first ones start a block, the others an empty file.
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
# pzstd starts its files with a skippable frame, which has 16 possible signatures, one for each of these first bytes.
_SKIPPABLE_FRAME, _SKIPPABLE_FIRST = b"\x2a\x4d\x18", range(0x50, 0x60)

# File name endings of the supported compressions, with the first bytes of such a file.
COMPRESSED = {
    ".gz": b"\x1f\x8b",
    ".gzip": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".zstd": b"\x28\xb5\x2f\xfd",
    ".xz": b"\xfd7zXZ\x00",
    ".lzma": b"\x5d\x00\x00",
    ".lz4": b"\x04\x22\x4d\x18",
}
# File name endings of archives that are not supported: what they are, and the command that unpacks them.
REFUSED = {
    ".br": ("packed with brotli", "brotli -d {name}"),
    ".sz": ("packed with Snappy", "snzip -d {name}"),
    ".snappy": ("packed with Snappy", "snzip -d {name}"),
    ".z": ("packed with compress", "uncompress {name}"),
    ".lzo": ("packed with lzop", "lzop -d {name}"),
    ".zip": ("a zip archive", "unzip {name}"),
    ".7z": ("a 7-Zip archive", "7z x {name}"),
    ".rar": ("a RAR archive", "unrar x {name}"),
    ".tar": ("a tar archive", "tar -xf {name}"),
    ".tgz": ("a tar archive", "tar -xf {name}"),
}
_REFUSED_MAGIC = {
    b"PK\x03\x04": ".zip",
    b"PK\x05\x06": ".zip",
    b"7z\xbc\xaf\x27\x1c": ".7z",
    b"Rar!\x1a\x07": ".rar",
    b"\x1f\x9d": ".z",
    b"\xff\x06\x00\x00sNaPpY": ".snappy",
    b"\x89LZO\x00": ".lzo",
}
# First bytes of table files that are not text. A text can begin with the same letters, but has no control characters.
_TABLES = {
    b"PAR1": "a parquet file; give it to `specter-batch classify` without --format",
    b"ORC": "an ORC file; write it as parquet, which `specter-batch classify` reads",
    b"Obj\x01": "an Avro file; write it as parquet, which `specter-batch classify` reads",
    b"ARROW1\x00\x00": "an Arrow file; write it as parquet, which `specter-batch classify` reads",
    b"SQLite format 3\x00": "a SQLite database; export its table as CSV and add `--format csv`",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook; save it as CSV (UTF-8)",
}

TEXT_READ_BYTES = 1 << 18
# Byte order marks, longer ones first, because the mark of UTF-32 begins with the mark of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Number of first bytes to look at if a file has no byte order mark. A header or a JSON key is ASCII.
_SAMPLE_BYTES = 32


def codec_of(head: bytes) -> str | None:
    """Return the codec of a file with these first bytes, or None if it is not compressed."""
    if head[1:4] == _SKIPPABLE_FRAME and head[0] in _SKIPPABLE_FIRST:
        return "zstd"
    if _BZIP2.match(head):
        return "bz2"
    return next((codec for magic, codec in _CODECS.items() if head.startswith(magic)), None)


def check_readable(path: Path, head: bytes) -> None:
    """Raise an error if a file's first bytes show that it is not text, compressed or not.

    Args:
        path: Path of the file, to name in the error message.
        head: First `HEAD_BYTES` bytes of the file or of its decompressed content.

    Raises:
        WrongFormatError: The file is an archive, has an unsupported compression, or is a table in another format.
    """
    kind = next((ending for magic, ending in _REFUSED_MAGIC.items() if head.startswith(magic)), None)
    if head[_TAR_OFFSET : _TAR_OFFSET + 5] == b"ustar":
        kind = ".tar"
    if kind is None and path.suffix.lower() in (".br", ".sz", ".snappy", ".z", ".lzo") and not _is_text(head):
        kind = path.suffix.lower()  # brotli has no signature
    if kind is not None:
        what, command = REFUSED[kind]
        raise WrongFormatError(f"is {what}; unpack it first: {command.format(name=shlex.quote(path.name))}")
    table = next((advice for magic, advice in _TABLES.items() if head.startswith(magic)), None)
    if table is not None and not _is_text(head):
        raise WrongFormatError(f"is {table}")


def check_not_cut(path: Path, head: bytes) -> None:
    """Raise an error if a file with the name of a compressed file ends within its signature.

    Raises:
        OSError: The file is empty or cut off.
    """
    magic = COMPRESSED.get(path.suffix.lower())
    if magic and len(head) < 4 and magic.startswith(head[: len(magic)]):
        raise OSError("the file is empty or cut off; fetch it again")


def unpacked(raw: io.RawIOBase, codec: str) -> Any:
    """Return a stream with the unpacked bytes of a compressed stream; it has `readinto`.

    Zeros after the last piece of a gzip or xz file are padding, as in `gzip` and `xz` themselves. Tapes and some copy
    programs fill the last block of a file with zeros. Anything else there is an error.
    """
    if codec == "gzip":
        return gzip.GzipFile(fileobj=cast(BinaryIO, raw))  # pyarrow would read padding as a next piece
    if codec in ("xz", "lzma"):
        return _Xz(raw)
    return pa.CompressedInputStream(pa.PythonFile(cast(BinaryIO, raw), mode="r"), codec)


def unpacking_error(path: Path, error: Exception) -> OSError:
    """Return the error to raise after unpacking a file failed, with the cause and what to do."""
    if "requires too much memory" in str(error):
        return OSError(
            "the file was packed with a window of more than 128 MB (zstd --long=28 or more), the most that pyarrow "
            f"reads; unpack it first: zstd -d --long=31 {shlex.quote(path.name)}"
        )
    return OSError(f"the file is cut off or damaged ({error}); fetch it again")


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # its last character may be cut
    except UnicodeDecodeError:
        return False
    return not any(byte < 9 for byte in head)


class _Xz(io.RawIOBase):
    """The unpacked bytes of all streams in an .xz or .lzma file; other bytes after the last stream are an error."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._stream = lzma.LZMADecompressor()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while True:
            if self._stream.eof and not self._next_stream():
                return 0
            if self._stream.needs_input and not self._waiting:
                self._waiting = self._raw.read(READ_BYTES) or b""
                if not self._waiting:
                    raise EOFError("the data ends before the end of the stream")
            data = self._stream.decompress(self._waiting, max_length=len(buffer))
            self._waiting = b""
            if data:
                buffer[: len(data)] = data
                return len(data)

    def _next_stream(self) -> bool:
        """Start the next stream and return whether there is one; zeros between streams are padding."""
        rest = self._stream.unused_data
        while not (rest := rest.lstrip(b"\0")):
            rest = self._raw.read(READ_BYTES) or b""
            if not rest:
                return False
        self._stream, self._waiting = lzma.LZMADecompressor(), rest
        return True


def checked_encoding(name: str) -> str:
    """Return the name of a text encoding as Python writes it.

    Raises:
        UsageError: There is no such encoding.
    """
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        info = None
    # Python also has codecs that are not text encodings, such as base64, or not for whole files, such as idna.
    if info is None or not info._is_text_encoding or not _decodes(info):
        raise UsageError(f"--encoding {name}: no such encoding; for example utf-8, cp1252 (Windows), latin-1, utf-16")
    return info.name


def _decodes(info: codecs.CodecInfo) -> bool:
    """Return whether a codec can read a file piece by piece and pass on bytes that it cannot decode."""
    try:
        return info.incrementaldecoder("surrogateescape").decode(b"", final=True) == ""
    except (TypeError, ValueError):
        return False


def encoding_of(head: bytes) -> str | None:
    """Return utf-16 or utf-32 if a text begins like one of these encodings, else None.

    XML always gives None, because an XML file names its encoding and the XML parser reads that.
    """
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    encoding = marked or _without_mark(head[:_SAMPLE_BYTES])
    if encoding is None or head[: len(head) // 4 * 4].decode(encoding, "ignore").lstrip().startswith("<"):
        return None
    return encoding


def _without_mark(sample: bytes) -> str | None:
    """Recognise ASCII characters in UTF-16, where every other byte is zero."""
    if len(sample) < 4 or len(sample) % 2:
        return None
    even, odd = sample[::2], sample[1::2]
    if not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if not any(even) and all(odd) else None


def transcoded(stream: BinaryIO, encoding: str) -> BinaryIO:
    """Return the text of a stream as UTF-8.

    A byte that the encoding cannot decode is passed on unchanged, so that only its record is rejected, not the file.
    """
    return io.BufferedReader(_Transcoded(stream, encoding), TEXT_READ_BYTES)


class _Transcoded(io.RawIOBase):
    """The bytes of a stream, decoded and encoded again as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        wide = encoding.replace("_", "-").startswith(("utf-16", "utf-32"))
        self._errors = "surrogatepass" if wide else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)
        self._stream, self._encoding = stream, encoding
        self._waiting = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._waiting and not self._ended:
            data = self._stream.read(TEXT_READ_BYTES)
            self._ended = not data
            try:
                text = self._decoder.decode(data, final=self._ended)
            except UnicodeError as error:
                reason = error.reason if isinstance(error, UnicodeDecodeError) else error
                raise PaperSchemaError(
                    f"not valid {self._encoding} ({reason}); the file is cut off or damaged, or of another "
                    "encoding: name it with --encoding"
                ) from error
            self._waiting = memoryview(text.encode(errors=self._errors))
        size = min(len(buffer), len(self._waiting))
        buffer[:size] = self._waiting[:size]
        self._waiting = self._waiting[size:]
        return size
