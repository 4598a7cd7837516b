"""Values of a JSON record, checked: an id, a text, a year, a label."""

from typing import Any


class FieldError(ValueError):
    """A field holds what it should not; the record becomes a reject with this message."""


def require_keys(record: Any, keys: tuple[str, ...], *, hint: str = "") -> dict[str, Any]:
    """Return the record if it is a JSON object with these keys.

    Keys, not values: a null is a value. A record of another format is told by the keys that it lacks.

    Raises:
        FieldError: It is not.
    """
    if not isinstance(record, dict):
        raise FieldError(f"expected a JSON object, got {_kind(record)}")
    missing = [key for key in keys if key not in record]
    if missing:
        raise FieldError(f"no field {' or '.join(missing)}; its fields are {_listing(record)}{hint}")
    return record


def as_id(value: Any, field: str) -> str | None:
    """Return an identifier as text; numbers are written out, an empty one is None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = as_text(value, field)
    return (text.strip() or None) if text else None


def as_text(value: Any, field: str) -> str | None:
    """Return a text or None.

    Raises:
        FieldError: It is something else, or holds half of a surrogate pair, which no UTF-8 file can.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldError(f"{field} should be text, got {_kind(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FieldError(f"{field} is not valid Unicode") from None
    return value


def as_line(value: Any, field: str) -> str | None:
    """Return a text on one line: every run of white space becomes one blank."""
    text = as_text(value, field)
    return None if text is None else " ".join(text.split())


def as_year(value: Any) -> int | None:
    """Return a year, or None where it is not one: an odd year must not cost a paper."""
    if isinstance(value, str):
        value = value.strip()
        value = int(value) if value.isascii() and value.isdecimal() and len(value) <= 4 else None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 < value < 10_000 else None


def single(value: Any, field: str) -> str | None:
    """Return a label from a text, a number or a list of exactly one; None where there is none or a choice."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return as_id(value, field)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _listing(record: dict[str, Any]) -> str:
    names = [str(name)[:40] for name in list(record)[:8]]
    return ", ".join(names) + (", …" if len(record) > 8 else "") if names else "none"
