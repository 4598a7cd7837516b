"""What is refused of every option and argument of every command, whatever the command is.

The checks go by the type that a command declares, so a new option has them without a line of its own:

* `Path` is a place on this machine: a URL is refused, and so is an empty text.
* `Annotated[str, UrlOrPath()]` is a path or a URL; `specter_batch.storage.location.located` checks it further.
* Any other text may hold no credentials of a URL and must be valid Unicode.
* Numbers are finite and of a size that can be stored.

A refusal never repeats the value, which may hold a secret.
"""

import errno
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from specter_batch.storage.redaction import has_credentials, is_url

# Of a signed number of 64 bits, which is what parquet, duckdb and numpy store.
MAX_WHOLE_NUMBER = 2**63 - 1


class UrlOrPath:
    """Marks, in `Annotated[str, UrlOrPath(), …]`, an option that takes the URL of a store as well as a path."""


def with_checked_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that refuses wrong values before its body runs."""

    @functools.wraps(command)
    def checked(**values: Any) -> Any:
        hints = get_type_hints(command, include_extras=True)
        for name, value in values.items():
            hint = hints.get(name)
            for item in value if isinstance(value, (list, tuple)) else (value,):
                problem = value_problem(item, takes_urls=_is_marked(hint))
                if problem:
                    raise typer.BadParameter(problem, param_hint=_shown_name(name, hint))
        return command(**values)

    return checked


def value_problem(value: object, *, takes_urls: bool = False) -> str | None:
    """Say what is wrong with a value of the command line; None when it can be used.

    Args:
        value: The value as its type.
        takes_urls: It may be the URL of a store.
    """
    if isinstance(value, Path) or takes_urls:
        return place_problem(value, takes_urls=takes_urls)
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, (int, float)):
        return number_problem(value)
    return None


def number_problem(value: float) -> str | None:
    """Say what is wrong with a number; None when it can be used."""
    if isinstance(value, int):
        return f"the number is too large; the most is {MAX_WHOLE_NUMBER}" if abs(value) > MAX_WHOLE_NUMBER else None
    return None if math.isfinite(value) else "expected a finite number"


def place_problem(value: object, *, takes_urls: bool) -> str | None:
    """Say what is wrong with a path or URL; None when it can be one."""
    text = str(value)
    if not text.strip() or (isinstance(value, Path) and not value.parts and _is_empty_argument_given()):
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
    """Say why the system can never open a path; None when it can, or when something else will say why not."""
    try:
        os.stat(text)  # noqa: PTH116 - a text, which may be a glob
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "the path is a link that leads back to itself"
        if error.errno == errno.ENAMETOOLONG:
            return f"the path is too long for this system: {len(text):,} characters"
    return None


def text_problem(value: str) -> str | None:
    """Say what is wrong with a text that is no place; None when it can be used."""
    if has_credentials(value):
        return "a URL with a user, a password, a token or a signature cannot be used here"
    if "\0" in value:
        return "a text cannot hold a NUL character"
    if any("\ud800" <= char <= "\udfff" for char in value):
        return "the text is not valid UTF-8"
    return None


def _is_empty_argument_given() -> bool:
    """Say whether an argument is "": as a `Path` it cannot be told from `.` any more."""
    return any(not argument or (argument.startswith("--") and argument.endswith("=")) for argument in sys.argv[1:])


def _is_marked(hint: object) -> bool:
    return any(isinstance(part, UrlOrPath) for part in _metadata(hint))


def _shown_name(name: str, hint: object) -> str:
    """Return the name that the user typed: `--label-column`, or `DUMP` of an argument."""
    for part in _metadata(hint):
        if isinstance(part, typer.models.ArgumentInfo):
            return str(part.metavar or name.upper())
        if isinstance(part, typer.models.OptionInfo) and part.param_decls:
            return next(text for text in part.param_decls if text.startswith("--"))
    return f"--{name.replace('_', '-')}"


def _metadata(hint: object) -> Iterator[object]:
    """Yield what a type is annotated with, also inside `list[…]` and `… | None`."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__  # type: ignore[attr-defined]
    for part in get_args(hint):
        yield from _metadata(part)
