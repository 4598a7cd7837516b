"""Which values no setting can have, and plain sentences about wrong settings instead of the messages of pydantic.

Which values a setting refuses depends on its type (`wrong_values`):

* `LocalPath` is a path on this machine. A URL or an empty text is an error.
* `PathOrUrl` is a path or a URL; `specter_batch.storage.location.located` checks it further.
* Any other text must be valid Unicode and must not contain credentials in a URL.
* Numbers must be finite and small enough to be stored.

The messages of `number_problem`, `place_problem` and `text_problem` never repeat the value, because it may contain a
secret.
"""

import difflib
import errno
import math
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from specter_batch.display import has_credentials, is_url
from specter_batch.settings.declaration import kinds_of
from specter_batch.storage.url_path import UrlPath

MAX_SHOWN = 60
# The start of an error's type -> the value that was expected.
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "a text in quotes",
    "date": "a date as YYYY-MM-DD",
    "path": "a path in quotes",
    "tuple": 'a list in brackets, such as ["a", "b"]',
    "list": 'a list in brackets, such as ["a", "b"]',
    "dict": "a section",
    "model": "a section",
    "dataclass": "a section",
}
_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_NUMBERS = re.compile(r"\d+")

# The largest signed 64-bit integer, the largest number that parquet, duckdb and numpy can store.
MAX_WHOLE_NUMBER = 2**63 - 1


def known_path(settings: type[BaseModel], location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the keys and list positions of an error's location, without the parts that pydantic adds."""
    kept: list[int | str] = []
    for part in location:
        if isinstance(part, str) and kept and part not in section_at(settings, tuple(kept)).model_fields:
            if len(kept) == len(location) - 1 and _is_section(settings, tuple(kept)):
                kept.append(part)  # an unknown key
            break
        kept.append(part)
    return tuple(kept)


def section_at(settings: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the settings class of the innermost section on a path of keys."""
    for part in path:
        field = settings.model_fields.get(str(part))
        section = _section_of(field.annotation) if field else None
        settings = section or settings
    return settings


def problem_of(error: ErrorDetails, settings: type[BaseModel]) -> str:
    """Return a sentence about a wrong setting: what was expected and what was found.

    Args:
        error: The first error of a validation.
        settings: The class that was validated.
    """
    kind, context = error["type"], error.get("ctx", {})
    path = known_path(settings, error["loc"])
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), settings, path[:-1])
    if kind == "value_error":
        return str(context["error"])
    value = _shown(error["input"])
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        limit = context[name]
        return f"expected {words} {f'{limit:g}' if isinstance(limit, float) else limit}, got {value}"
    if kind in ("literal_error", "enum"):
        allowed = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"expected {_any_of(allowed)}, got {value}{_suggestion(str(error['input']), allowed)}"
    if kind == "int_parsing_size":
        return "the number is too large"
    if kind.startswith("date"):
        return f"expected {_EXPECTED['date']}, got {value}{_date_suggestion(str(error['input']))}"
    if kind == "string_pattern_mismatch":
        return f"expected a text of the form {context['pattern']}, got {value}"
    if kind in ("too_short", "too_long"):
        words, limit = (
            ("at least", context["min_length"]) if kind == "too_short" else ("at most", context["max_length"])
        )
        return f"expected {words} {limit} values, got {context['actual_length']}"
    first = kind.partition("_")[0]
    expected = _EXPECTED.get(kind, _EXPECTED.get(first))
    if expected is None:
        message = error["msg"]
        return f"{message[:1].lower()}{message[1:]}, got {value}"
    return f"expected {expected}, got {value}"


def wrong_values(
    settings: type[BaseModel], values: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the keys whose values no setting can have, such as a URL with a password, each with the problem."""
    for name, value in values.items():
        field = settings.model_fields.get(name)
        section = _section_of(field.annotation) if field else None
        if isinstance(value, Mapping):
            yield from wrong_values(section or settings, value, (*path, name))
            continue
        kinds = set(kinds_of(field.annotation)) if field else set()
        for item in value if isinstance(value, (list, tuple)) else (value,):
            problem = _wrong_value(item, kinds)
            if problem:
                yield (*path, name), problem


def _wrong_value(value: object, kinds: set[object]) -> str | None:
    if isinstance(value, int):
        return number_problem(value)
    if not isinstance(value, (str, Path)):
        return None
    if Path in kinds or UrlPath in kinds:
        return place_problem(value, takes_urls=UrlPath in kinds)
    return text_problem(str(value))


def option_problem(error: ValidationError) -> str:
    """Return a sentence about an option's value that Typer could not convert: what was expected and what was found."""
    first = error.errors(include_url=False)[0]
    allowed = re.findall(r"'([^']*)'", first["msg"].partition(" is not one of ")[2])
    if not allowed:
        return problem_of(first, BaseModel)
    given = str(first["input"])
    return f"expected {_any_of(allowed)}, got {_shown(given)}{_suggestion(given, allowed)}"


def _unknown_key(key: str, settings: type[BaseModel], path: tuple[int | str, ...]) -> str:
    known = list(section_at(settings, path).model_fields)
    elsewhere = [
        name
        for name, field in settings.model_fields.items()
        if (section := _section_of(field.annotation)) and key in section.model_fields and name not in path
    ]
    if elsewhere:
        return f"this setting belongs in the section [{elsewhere[0]}]"
    if path and key in settings.model_fields:
        return f"this setting belongs above the section [{path[-1]}], at the top of the file"
    plain = key.strip("-").replace("-", "_").lower()
    return f"no such setting{_suggestion(plain, known)}; known settings: {', '.join(known)}"


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _date_suggestion(text: str) -> str:
    """Return a question that suggests the dates that a text in another order may mean."""
    numbers = _NUMBERS.findall(text)
    if len(numbers) == 1 and len(numbers[0]) == 8:
        numbers = [numbers[0][:4], numbers[0][4:6], numbers[0][6:]]
    if len(numbers) != 3:
        return ""
    orders = [(0, 1, 2)] if len(numbers[0]) == 4 else [(2, 1, 0), (2, 0, 1)] if len(numbers[2]) == 4 else []
    meant = []
    for year, month, day in orders:
        try:
            meant.append(date(int(numbers[year]), int(numbers[month]), int(numbers[day])).isoformat())
        except ValueError:
            continue
    return f"; did you mean {' or '.join(dict.fromkeys(meant))}?" if meant else ""


def _any_of(allowed: list[str]) -> str:
    return f"one of {', '.join(allowed)}" if len(allowed) > 1 else ", ".join(allowed)


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]  # as TOML and JSON write it
    try:
        text = repr(value) if isinstance(value, str) else f"{value}"
    except (ValueError, RecursionError):  # Python does not print numbers with thousands of digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _section_of(annotation: object) -> type[BaseModel] | None:
    """Return the settings class of a section, which may be optional; None for any other kind of setting."""
    kinds = [kind for kind in kinds_of(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return kinds[0] if kinds else None


def _is_section(settings: type[BaseModel], path: tuple[int | str, ...]) -> bool:
    *above, last = path
    field = section_at(settings, tuple(above)).model_fields.get(str(last))
    return field is not None and _section_of(field.annotation) is not None


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
