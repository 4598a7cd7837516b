r"""Names of files as they are stored in JSON, parquet and logs: always UTF-8, and reversible.

A file name on Linux is bytes, and not always UTF-8. Python keeps the other bytes as lone surrogates, which neither JSON
nor parquet can hold. In a stored name such a byte is `\xe9`, and a backslash of the name itself is `\\`, so that two
files never get the same stored name. Every other name is stored as it is.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator

_SURROGATE = re.compile("[\ud800-\udfff]")
_STORED = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")


def stored_name(name: str) -> str:
    """Return the stored form of a name or path, from which `original_name` makes the name again."""
    return storable(name.replace("\\", "\\\\")) if "\\" in name or _SURROGATE.search(name) else name


def original_name(stored: str) -> str:
    """Return the name or path that `stored_name` was given."""
    return _STORED.sub(lambda match: chr(0xDC00 + int(match[1], 16)) if match[1] else "\\", stored)


def storable(text: str) -> str:
    r"""Return a text, such as an error message, with `\xe9` for each byte that is not UTF-8; this is not reversible."""
    return _SURROGATE.sub(_escaped, text)


def storable_json(text: str) -> str:
    r"""Return JSON that can be stored: its strings hold `\xe9` for each byte that is not UTF-8."""
    return _SURROGATE.sub(lambda match: "\\" + _escaped(match), text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


# A text of a model that becomes JSON. Keys of a mapping have to be storable before they are written; values do not.
StorableText = Annotated[str, BeforeValidator(lambda value: storable(value) if isinstance(value, str) else value)]
