r"""A reversible form of file names for JSON, parquet and logs that is always valid UTF-8.

A file name on Linux is a sequence of bytes that need not be UTF-8. Python keeps invalid bytes as lone surrogates, which
neither JSON nor parquet can hold. In a stored name such a byte is written as `\xe9`, and a backslash in the name as
`\\`. Two files therefore never get the same stored name. All other names are stored unchanged.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator

_SURROGATE = re.compile("[\ud800-\udfff]")
_STORED = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")


def stored_name(name: str) -> str:
    """Return the stored form of a name or path; `original_name` reverses it."""
    return storable(name.replace("\\", "\\\\")) if "\\" in name or _SURROGATE.search(name) else name


def original_name(stored: str) -> str:
    """Return the original name or path of a stored name."""
    return _STORED.sub(lambda match: chr(0xDC00 + int(match[1], 16)) if match[1] else "\\", stored)


def storable(text: str) -> str:
    r"""Return a text with each byte that is not UTF-8 written as `\xe9`. This cannot be reversed."""
    return _SURROGATE.sub(_escaped, text)


def storable_json(text: str) -> str:
    r"""Return JSON in which each byte that is not UTF-8 is written as `\xe9`."""
    return _SURROGATE.sub(lambda match: "\\" + _escaped(match), text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


# A text field of a model that is written as JSON. The keys of a mapping must be made storable before; values need not.
StorableText = Annotated[str, BeforeValidator(lambda value: storable(value) if isinstance(value, str) else value)]
