r"""Text from outside, made safe to show: names, labels, paths and error details on a terminal, in Markdown and in HTML.

A label, a file name or a path can hold anything: terminal control sequences, characters that reverse the reading
direction, markup, line breaks, or bytes that are not UTF-8. All text from data goes through one of these functions
before it is shown:

* `terminal_text` for standard output, standard error and logs,
* `markdown_text` for `.md` files,
* `specter_batch.report.page` for HTML and SVG, whose environment applies `visible_text` to every value.

The result can always be encoded as UTF-8. In the output, `\x1b` is the character with that code, and `\xe9` is a byte
of a file name that is not UTF-8.
"""

import re
import unicodedata
from collections.abc import Mapping

from specter_batch.storage.redaction import without_credentials

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
