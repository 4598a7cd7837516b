"""Convert text files to UTF-8: UTF-16 and UTF-32 are recognised, the user names other encodings."""

import codecs
import io
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError, UsageError

READ_BYTES = 1 << 18
# Byte order marks, longer ones first, because the mark of UTF-32 begins with the mark of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Number of first bytes to look at if a file has no byte order mark. A header or a JSON key is ASCII.
_SAMPLE_BYTES = 32


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
    return io.BufferedReader(_Transcoded(stream, encoding), READ_BYTES)


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
            data = self._stream.read(READ_BYTES)
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
