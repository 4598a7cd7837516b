"""Checks that apply to the values of all options, arguments and configuration keys.

The checks depend on the type of the setting (`specter_batch.settings.problems.wrong_values`):

* `LocalPath` is a path on this machine. A URL or an empty text is an error.
* `PathOrUrl` is a path or a URL; `specter_batch.storage.location.located` checks it further.
* Any other text must be valid Unicode and must not contain credentials in a URL.
* Numbers must be finite and small enough to be stored.

The messages never repeat the value, because it may contain a secret.
"""

import errno
import math
import os

from specter_batch.storage.redaction import has_credentials, is_url

# The largest signed 64-bit integer, the largest number that parquet, duckdb and numpy can store.
MAX_WHOLE_NUMBER = 2**63 - 1


def number_problem(value: float) -> str | None:
    """Return what is wrong with a number; None if it can be used."""
    if isinstance(value, int):
        return f"the number is too large; the most is {MAX_WHOLE_NUMBER}" if abs(value) > MAX_WHOLE_NUMBER else None
    return None if math.isfinite(value) else "expected a finite number"


def place_problem(value: object, *, takes_urls: bool) -> str | None:
    """Return what is wrong with a path or URL; None if it can be used."""
    text = str(value)
    if not text.strip():
        return "the path is empty; give a path, or . for the current folder"
    if "\0" in text:
        return "a path cannot hold a NUL character"
    if not (is_url(text) or has_credentials(text)):
        return _local_problem(text)
    if takes_urls:
        return None
    if text.lower().startswith("file:"):
        return "a URL cannot be used here; give the path without file://"
    return "a URL cannot be used here; give a path on this machine"


def _local_problem(text: str) -> str | None:
    """Return why a path can never be opened; None if it can, or if opening it will give a clear error."""
    try:
        os.stat(text)  # noqa: PTH116 - a text, which may be a glob
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "the path is a link that leads back to itself"
        if error.errno == errno.ENAMETOOLONG:
            return f"the path is too long for this system: {len(text):,} characters"
    return None


def text_problem(value: str) -> str | None:
    """Return what is wrong with a text that is not a path or URL; None if it can be used."""
    if has_credentials(value):
        return "a URL with a user, a password, a token or a signature cannot be used here"
    if "\0" in value:
        return "a text cannot hold a NUL character"
    if any("\ud800" <= char <= "\udfff" for char in value):
        return "the text is not valid UTF-8"
    return None
