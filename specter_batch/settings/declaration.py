"""Makes options from the fields of a settings class: name, type, default, unit, panel and help text.

A field of a `Settings` class is an option. Most of it comes from the field's type, its default and
`Field(description=..., ge=...)`. The rest is in an `Option` in `Annotated`. A class that other settings classes inherit
from is a section: its `panel` is the heading of its options in `--help`.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from specter_batch.storage.url_path import UrlPath

# Width in characters. Longer lists of choices are written in the help text, not in the metavar.
MAX_CHOICES_WIDTH = 24
_SINGULAR = re.compile(r"(?<=ch)es$|(?<=ss)es$|s$")
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


@dataclass(frozen=True, kw_only=True)
class Option:
    """The properties of an option that the type and the `Field` of a setting do not give.

    Attributes:
        argument: Name of a positional argument in the usage line; None for an option such as `--name`.
        name: Name of the option, if it is not made from the name of the field.
        metavar: Placeholder of the value in the help page, in capitals.
        unit: Unit of a number, for example "papers" or "seconds".
        default: Description of the default, if the default is computed or None.
        choices: Values that can be given on the command line, if the type does not list them.
        separator: Character between several values in one text of the command line; None if a text is one value.
        negative: True if an option without a value also has a form that switches it off (`--no-…`).
    """

    argument: str | None = None
    name: str | None = None
    metavar: str | None = None
    unit: str | None = None
    default: str | None = None
    choices: tuple[str, ...] = ()
    separator: str | None = None
    negative: bool = True


@dataclass(frozen=True)
class FormerName:
    """A mark in `Annotated`: the setting had this name in the last version. The old name works, with a warning."""

    name: str


@dataclass(frozen=True, kw_only=True)
class DeclaredOption:
    """One option of a settings class.

    Attributes:
        path: The keys of the setting's sections in TOML, from the outermost, and then the setting's own key.
        field: The field of the settings class.
        option: The field's `Option`; an empty one if it has none.
        panel: Heading of the option in `--help`.
    """

    path: tuple[str, ...]
    field: FieldInfo
    option: Option
    panel: str

    @property
    def name(self) -> str:
        """The name of the field."""
        return self.path[-1]

    @property
    def former_name(self) -> str | None:
        """The name of the setting in the last version; None if it has not changed."""
        return next((one.name for one in self.field.metadata if isinstance(one, FormerName)), None)

    @property
    def spelling(self) -> str:
        """The spelling of the setting on the command line, such as `--batch-size`."""
        return self.option.argument or self.option.name or spelled(self.name)

    @property
    def value_type(self) -> Any:
        """The type to which the command line converts a value; values of all other types are read as text."""
        kinds = set(kinds_of(self.field.annotation))
        if self.choices:
            return Literal[self.choices]
        return kinds.pop() if len(kinds) == 1 and kinds <= {bool, int, float} else str

    @property
    def is_repeated(self) -> bool:
        """Whether the option may be given several times."""
        parts = (self.field.annotation, *get_args(self.field.annotation))
        return not self.is_pair and any(get_origin(part) in (tuple, list) for part in parts)

    @property
    def is_pair(self) -> bool:
        """Whether the option takes two texts, one after the other."""
        return tuple[str, str] in (self.field.annotation, *get_args(self.field.annotation))

    @property
    def is_flag(self) -> bool:
        """Whether the option takes no value."""
        return self.value_type is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that can be given; empty if any value of the type can."""
        kinds = list(kinds_of(self.field.annotation))
        listed = tuple(value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind))
        return self.option.choices or (listed if all(get_origin(kind) is Literal for kind in kinds) else ())

    @property
    def metavar(self) -> str:
        """The placeholder of the option's value in the help page."""
        if self.option.metavar:
            return self.option.metavar
        listed = "|".join(self.choices)
        if self.choices and len(listed) <= MAX_CHOICES_WIDTH:
            return f"[{listed}]"
        kinds = set(kinds_of(self.field.annotation))
        if UrlPath in kinds:
            return "PATH_OR_URL"
        return "PATH" if Path in kinds else {bool: "", int: "INTEGER", float: "NUMBER"}.get(self.value_type, "TEXT")

    @property
    def default(self) -> str | None:
        """The default in words; None if the setting is required."""
        if self.option.default is not None:
            return self.option.default
        if self.field.is_required():
            return None
        value = self.field.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, bool):
            return "yes" if value else "no"
        number = isinstance(value, (int, float))
        text = f"{value:g}" if isinstance(value, float) else f"{value}"
        unit = self.option.unit
        return f"{text} {_SINGULAR.sub('', unit) if value == 1 else unit}" if number and unit else text

    @property
    def range(self) -> str | None:
        """The limits of a number in words, such as "at least 1"."""
        limits = {name: getattr(one, name) for one in _metadata(self.field) for name in _LIMITS if hasattr(one, name)}
        if self.value_type not in (int, float) or not limits:
            return None
        if limits.keys() == {"ge", "le"}:
            return f"{limits['ge']} to {limits['le']}"
        return " and ".join(f"{words} {limits[name]}" for name, words in _LIMITS.items() if name in limits)

    @property
    def notes(self) -> str:
        """The end of the help text: choices, limits and default in brackets."""
        listed = self.choices and self.metavar != f"[{'|'.join(self.choices)}]"
        notes = [f"one of: {', '.join(self.choices)}"] if listed else []
        notes += [self.range] if self.range else []
        must_be_given = self.default is None and not self.option.argument
        notes += ["required"] if must_be_given else [] if self.default is None else [f"default: {self.default}"]
        notes += ["may be given several times"] if self.is_repeated else []
        return f"[{'; '.join(notes)}]" if notes else ""

    @property
    def help(self) -> str:
        """The complete help text: the description and the notes."""
        return f"{self.field.description} {self.notes}".strip()


def spelled(name: str) -> str:
    """Return the default spelling of a field on the command line."""
    return f"--{name.replace('_', '-')}"


def declared_options(settings: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[DeclaredOption]:
    """Yield the options of a settings class and of its nested sections, in the order of the fields."""
    for name, field in settings.model_fields.items():
        option = next((one for one in field.metadata if isinstance(one, Option)), None)
        kind = field.annotation
        if option is None and inspect.isclass(kind) and issubclass(kind, BaseModel):
            yield from declared_options(kind, (*path, name))
        else:
            panel = getattr(section_of(settings, name), "panel", "Options")
            yield DeclaredOption(path=(*path, name), field=field, option=option or Option(), panel=panel)


def section_of(settings: type[BaseModel], name: str) -> type[BaseModel]:
    """Return the section that a field of a settings class belongs to: the class in which it is declared."""
    return next(kind for kind in settings.__mro__ if name in inspect.get_annotations(kind))


def kinds_of(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value can have; for a list, the types of its items."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType, tuple, list):
        for part in get_args(annotation):
            yield from kinds_of(part)
    elif origin is Annotated:
        yield from kinds_of(get_args(annotation)[0])
    elif annotation not in (NoneType, Ellipsis):
        yield annotation


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield the annotations of a field or a type, at any depth."""
    if isinstance(annotation, FieldInfo):
        yield from annotation.metadata
        annotation = annotation.annotation
    for part in getattr(annotation, "__metadata__", ()):
        yield from _metadata(part) if isinstance(part, FieldInfo) else (part,)
    for part in get_args(annotation):
        yield from _metadata(part)
