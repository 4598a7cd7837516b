"""Check the values of a record (id, text, year, label) by the same rules for JSON and for tables."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from specter_batch.storage.json_stream import UnreadableValue, parse_value

DETAIL_CHARACTERS = 200
# A number in JSON or from pandas is exact below this limit. Above it, the last digits are wrong.
EXACT_FLOATS = 1 << 53
_WHOLE_FLOAT = re.compile(r"([+-]?[0-9]+)\.0+")
_MONTH, _DAY = r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12][0-9]|3[01])"
_DATE = re.compile(rf"([0-9]{{4}})(?:([-/]){_MONTH}(?:\2{_DAY}(?:[T ].*)?)?|(?=[0-9]{{4}}\Z){_MONTH}{_DAY})", re.DOTALL)


NOT_UNICODE = "is not valid Unicode"
# A parsed JSON object. The type of a field is checked when the field is read.
JsonObject = dict[str, object]


class FieldError(ValueError):
    """A field has an unusable value; the record becomes a reject with this message."""


def loads(line: bytes) -> Any:
    """Parse a JSON value with orjson; some invalid JSON that programs write (NaN, raw tabs) is accepted too.

    Bytes that are not UTF-8 become lone surrogates, so a record is rejected only if they are in a field that is read.

    Raises:
        FieldError: The line is not JSON, or is nested too deeply.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        text = line.decode("utf-8", errors="surrogateescape").strip(" \t\r\n")
        try:
            value, end = parse_value(text)
        except ValueError:
            end = -1
        if end != len(text):
            reason = str(error).removeprefix("unexpected character, ")
            detail = f"not valid JSON ({reason}): {line[:80].decode('utf-8', errors='replace').strip()}"
            raise FieldError(" ".join(detail.split())[:DETAIL_CHARACTERS]) from None
        if isinstance(value, UnreadableValue):
            raise FieldError(value.detail) from None
        return value


def require_keys(record: Any, keys: tuple[str, ...], *, hint: str = "") -> JsonObject:
    """Return the record if it is a JSON object with these keys.

    A key with a null value is accepted. Missing keys show that the record is of another format.

    Raises:
        FieldError: The record is not an object, or a key is missing.
    """
    if not isinstance(record, dict):
        raise FieldError(f"expected a JSON object, got {_kind(record)}")
    missing = [key for key in keys if key not in record]
    if missing:
        raise FieldError(f"no field {' or '.join(missing)}; its fields are {_listing(record)}{hint}")
    return record


def as_id(value: Any, field: str) -> str | None:
    """Return an identifier as text: "12345" for pandas' `12345.0`, and None for an empty one.

    Raises:
        FieldError: The value is neither text nor a whole number, or it is a number whose last digits are lost.
    """
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= EXACT_FLOATS:
            raise FieldError(f"{field} is a number of too many digits to be exact; write it as text")
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = as_text(value, field)
    return (text.strip() or None) if text else None


def id_of_table(text: str | None) -> str | None:
    """Return an identifier from a text table: "12345" for pandas' "12345.0", and None for an empty one."""
    text = (text or "").strip()
    whole = _WHOLE_FLOAT.fullmatch(text)
    return (whole[1] if whole else text) or None


def as_text(value: Any, field: str) -> str | None:
    """Return a text or None.

    Raises:
        FieldError: The value is not text, or it has half of a surrogate pair, which UTF-8 cannot encode.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldError(f"{field} should be text, got {_kind(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FieldError(f"{field} {NOT_UNICODE}") from None
    return value


def as_year(value: Any) -> int | None:
    """Return the year of a number, a text such as "2020" or pandas' "2020.0", or a date ("2020-05-17T08:00:00Z").

    Any other value gives None, so that a paper is not rejected because of its year.
    """
    if isinstance(value, date):  # also true for a datetime
        return value.year
    if isinstance(value, str):
        value = value.strip()
        match = _DATE.fullmatch(value) or _WHOLE_FLOAT.fullmatch(value)
        value = match[1] if match else value
        value = int(value) if value.isascii() and value.isdecimal() and len(value) <= 4 else None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 < value < 10_000 else None


def as_version(value: Any) -> int:
    """Return a number that is greater for a later date and time; 1 if the value is not a readable date."""
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        return 1
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return 1 + (moment - datetime.min.replace(tzinfo=UTC)) // timedelta(microseconds=1)


def single(value: Any, field: str) -> str | None:
    """Return the label from a text, a number or a list of exactly one item; None if there are no or several labels."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return as_id(value, field)


def optional_label(value: Any) -> tuple[str | None, bool]:
    """Return a record's label as `single` reads it, and whether the record has a value that is not a usable label.

    A paper is not rejected because of its label, because only scores need true labels.
    """
    try:
        return single(value, "label"), False
    except FieldError:
        return None, True


def _kind(value: Any) -> str:
    if isinstance(value, UnreadableValue):
        return f"something {value.detail}"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _listing(record: JsonObject) -> str:
    names = [str(name)[:40] for name in list(record)[:8]]
    return ", ".join(names) + (", …" if len(record) > 8 else "") if names else "none"
