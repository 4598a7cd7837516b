r"""Text from outside, made safe to show and to store: names, labels, paths, URLs and error details.

A label, a file name or a path can hold anything: terminal control sequences, characters that reverse the reading
direction, markup, line breaks, credentials, or bytes that are not UTF-8. All text from data goes through one of these
functions before it is shown:

* `terminal_text` for standard output, standard error and logs,
* `markdown_text` for `.md` files,
* `specter_batch.report.page` for HTML and SVG, whose environment applies `visible_text` to every value.

The result can always be encoded as UTF-8. In the output, `\x1b` is the character with that code, and `\xe9` is a byte
of a file name that is not UTF-8.

Before a name is stored in JSON, parquet or a log, it goes through `stored_name`, which can be reversed. A file name on
Linux is a sequence of bytes that need not be UTF-8. Python keeps invalid bytes as lone surrogates, which neither JSON
nor parquet can hold. In a stored name such a byte is written as `\xe9`, and a backslash in the name as `\\`. Two files
therefore never get the same stored name. All other names are stored unchanged.

`without_credentials` removes credentials from the URLs in all text that is shown or stored.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

# How many entries a message names. Reports list all entries.
SHOWN_ENTRIES = 3
# The reason for entries that users expect to be ignored. They are not mentioned in notices.
HIDDEN = "no data, because its name begins with _ or ."
# Joiners are invisible, but Persian, Hindi and emoji are spelled with them.
_JOINERS = "\u200c\u200d"
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# Categories of Unicode: control characters, invisible format characters (which include those that reverse the reading
# direction), surrogates, line separators and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Bytes of a file name that are not UTF-8, as `os.fsdecode` keeps them.
_FIRST_LOST_BYTE, _LAST_LOST_BYTE = 0xDC80, 0xDCFF

_MARKUP = re.compile(r"[\\`*<>\[\]|~&$]|(?<![^\W_])_|_(?![^\W_])")
# Markup that only has a meaning at the start of a line: headings, quotes, list items, underlines of headings.
_BLOCK_START = re.compile(r"^(?:[#=:]|[-+](?=[\s-]|$)|\d{1,9}(?P<dot>[.)])(?=\s|$))")
# GitHub turns plain URLs and @names into links.
_LINK = re.compile(r":(?=//)|(?<=www)\.|@", flags=re.IGNORECASE)

_SURROGATE = re.compile("[\ud800-\udfff]")
_STORED = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")

# Schemes that are recognised with one slash or none, because `pathlib.Path` and typing errors turn s3://bucket into
# s3:/bucket. For any other scheme only `scheme://` counts as a URL, because file names may hold a colon.
_SCHEMES = (
    "abfss?|adl|azure?|box|davs?|dropbox|file|ftps?|gcs|gdrive|gh|git|github|gs|hdfs|hf|https?|jdbc|local|memory|minio|"
    "mongodb|mysql|oci|oss|postgres|postgresql|r2|ray|redis|s3|s3a|s3n|scp|sftp|smb|ssh|swift|tos|wasbs?|webdavs?|"
    "webhdfs|wss?"
)
_COLON, _SLASH = "(?::|%3a)", r"(?:[/\\]|%2f)"
# Clients of stores ignore spaces and control characters before a URL.
_URL = re.compile(
    rf"[\x00-\x20]*(?:[a-z][a-z0-9+.-]{{0,30}}{_COLON}{_SLASH}{{2}}|(?:{_SCHEMES}){_COLON}{_SLASH}|//[^/\s]*@)",
    re.IGNORECASE,
)
# user:password@ or token@ before a host. A secret key may hold slashes. So after a colon, unless a port number follows,
# everything up to the last @ is removed.
_USER_INFO = re.compile(
    rf"(?P<start>\b[a-z][a-z0-9+.-]{{0,30}}{_COLON}{_SLASH}{{2,}}|\b(?:{_SCHEMES}){_COLON}{_SLASH}?|(?<![\w:/\\])//)"
    r"(?:[^/\\]*@|[^/@:\[]*:(?!\d+(?:[/\\]|$)).*@)",
    re.IGNORECASE | re.DOTALL,
)
# user:password@host:path as for scp, and user:password@host/path, a URL without a scheme. If the host is followed by a
# colon, the password may hold slashes and @.
_SCP = re.compile(r"^[^/@:]+:(?:.+@(?=[\w.-]+:)|[^/@]+@(?=[\w.-]+/|[\w-]+\.[\w.-]+$))", re.DOTALL)
# A URL ends at a space or a quote.
_WORD = re.compile(r"[^\s'\"]+")
# In Azure's container@account the container is in the place of a user name, but is not secret.
_CONTAINER = re.compile(r"(?P<scheme>\b(?:abfss?|az|wasbs?)://)(?P<container>[a-z0-9-]+@)(?=[^/\s@:]+(?:/|\s|$))")
# In hf://owner/name@revision no part is a user name either.
_REVISION = re.compile(r"(?P<scheme>\bhf://)(?P<container>(?:(?:datasets|spaces)/)?[\w.-]+/[\w.-]+@)(?=[\w.%/-]+:?$)")
# Signatures and tokens: ?name=value or #name=value. A ? without = is a wildcard, except in HTTP (no wildcards there).
_PATH_START = re.compile(rf"(?P<http>https?:/)|[a-z]://|\b(?:{_SCHEMES}):/", re.IGNORECASE)
_PARAMETER = re.compile(r"[?#][^?#=/]*=")
_HTTP_PARAMETER = re.compile(r"\?|#[^#=/]*=")
_KEPT = "\x00"


def visible_text(value: object, *, keep: str = "") -> str:
    """Return the text of a value with every invisible character and control character escaped.

    Args:
        value: The value; `str` gives its text.
        keep: Characters that are not escaped, for example the line breaks of a text that has several lines.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def terminal_text(value: object) -> str:
    """Return the text of a value as one line that is safe to print; credentials in URLs are removed.

    Rich's markup (`[red]`) stays: print with `markup=False`.
    """
    return visible_text(without_credentials(str(value)))


def markdown_text(value: object) -> str:
    """Return the text of a value, escaped so that Markdown shows it unchanged in a line or in a table cell."""
    text = terminal_text(value)
    text = _LINK.sub(_with_backslash, _MARKUP.sub(_with_backslash, text))
    text = _BLOCK_START.sub(_block_start_escaped, text)
    stripped = text.strip(" ")
    if text == stripped:
        return text
    before, _, after = text.partition(stripped) if stripped else (text, "", "")
    return f"{'&#32;' * len(before)}{stripped}{'&#32;' * len(after)}"


def shown_entries(entries: Mapping[str, str]) -> str:
    """Return a message part with the first few entries of a mapping of names to reasons."""
    shown = [f"{name}: {why}" for name, why in list(entries.items())[:SHOWN_ENTRIES]]
    more = len(entries) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def ignored_line(ignored: Mapping[str, str], *, entries: int | None = None) -> str:
    """Return a line that names the first ignored entries that a user may not expect.

    Names that begin with `_` or `.` are left out. If there are no others, the line is empty.

    Args:
        ignored: Name -> reason.
        entries: The number of all ignored entries, if `ignored` holds only some.
    """
    surprising = {name: reason for name, reason in ignored.items() if reason != HIDDEN}
    if not surprising:
        return ""
    left = (len(ignored) if entries is None else entries) - SHOWN_ENTRIES
    shown = [f"{name} ({reason})" for name, reason in list(surprising.items())[:SHOWN_ENTRIES]]
    return ", ".join(shown) + (f" and {left:,} more" if left > 0 else "")


def _escaped(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if char in _JOINERS or not (is_noncharacter or unicodedata.category(char) in _HIDDEN):
        return char  # a space of another width, a private-use character, or one newer than Python's Unicode tables
    if _FIRST_LOST_BYTE <= code <= _LAST_LOST_BYTE:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _with_backslash(match: re.Match[str]) -> str:
    return "\\" + match.group()


def _block_start_escaped(match: re.Match[str]) -> str:
    return match.group()[:-1] + "\\" + match.group()[-1]


def stored_name(name: str) -> str:
    """Return the stored form of a name or path; `original_name` reverses it."""
    return storable(name.replace("\\", "\\\\")) if "\\" in name or _SURROGATE.search(name) else name


def original_name(stored: str) -> str:
    """Return the original name or path of a stored name."""
    return _STORED.sub(lambda match: chr(0xDC00 + int(match[1], 16)) if match[1] else "\\", stored)


def storable(text: str) -> str:
    r"""Return a text with each byte that is not UTF-8 written as `\xe9`. This cannot be reversed."""
    return _SURROGATE.sub(_escaped_byte, text)


def storable_json(text: str) -> str:
    r"""Return JSON in which each byte that is not UTF-8 is written as `\xe9`."""
    return _SURROGATE.sub(lambda match: "\\" + _escaped_byte(match), text)


def _escaped_byte(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


# A text field of a model that is written as JSON. The keys of a mapping must be made storable before; values need not.
StorableText = Annotated[str, BeforeValidator(lambda value: storable(value) if isinstance(value, str) else value)]


def is_url(text: str) -> bool:
    """Return whether a text is a URL (a slash may be missing) and not a path on this machine."""
    return _URL.match(text) is not None


def has_credentials(text: str) -> bool:
    """Return whether a text holds a URL with a user, a password, a token or a signature."""
    return without_credentials(text) != text


def without_credentials(text: str) -> str:
    """Return a URL, or a text with URLs in it, without user names, passwords, tokens and query strings.

    Every URL that is shown, logged or stored goes through this function.
    """
    if ":" not in text and "//" not in text and "%" not in text:
        return text
    return _WORD.sub(lambda word: _word_without_credentials(word.group()), text)


def _word_without_credentials(word: str) -> str:
    containers: list[str] = []

    def keep(match: re.Match[str]) -> str:
        containers.append(match["container"])
        return match["scheme"] + _KEPT

    word = _REVISION.sub(keep, _CONTAINER.sub(keep, word))
    before, at, after = word.rpartition("@")
    if at:  # only the part before the last @ can match; this keeps the search linear
        word = _SCP.sub("", _USER_INFO.sub(r"\g<start>", before + at) + after)
    start = _PATH_START.search(word)
    if start:
        parameter = (_HTTP_PARAMETER if start["http"] else _PARAMETER).search(word, start.end())
        word = word[: parameter.start()] if parameter else word
    for container in containers:
        word = word.replace(_KEPT, container, 1)
    return word
