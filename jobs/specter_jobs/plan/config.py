"""All settings of a night, from TOML files and options, and the dates in its paths."""

import datetime
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ModelWrapValidatorHandler, PrivateAttr, ValidationInfo, field_validator, model_validator

from specter_batch.display import without_credentials
from specter_batch.errors import UsageError
from specter_batch.options import InputColumns
from specter_batch.settings import Settings
from specter_batch.settings.declaration import section_of
from specter_batch.storage.location import Location, absolute, located
from specter_jobs.plan.limits import PREVIOUS_DAYS, Gates, ReuseLimit
from specter_jobs.plan.sections import (
    Audit,
    Cluster,
    DumpFormat,
    LabelColumns,
    LabelRules,
    Model,
    NightDate,
    Output,
    Papers,
    Reading,
    ReusedNights,
)

SectionKind = TypeVar("SectionKind", bound=Settings)

# The settings in which placeholders are replaced; all of them are paths.
_PATHS = ("dump", "out", "bundle", "reuse", "previous", "metrics_file")


# Fields come in the reverse order of the bases. The date is first because the paths need it.
class NightConfig(
    Cluster,
    Output,
    Gates,
    ReuseLimit,
    ReusedNights,
    Audit,
    LabelColumns,
    LabelRules,
    Model,
    Reading,
    DumpFormat,
    InputColumns,
    Papers,
    NightDate,
):
    """Settings of a nightly run. Every setting is declared in its section, none of them here.

    In every path `{date}` is replaced by the night's date and `{yesterday}` by the day before. Other braces are
    refused, unless they are part of the name of an existing file or folder. If no date is given, it is taken from the
    name of `out` (`nights/2026-11-25`), or is today in UTC if `out` is not named by a date. The date is fixed at the
    start, so midnight does not change it.

    The input, output, bundle and earlier nights may be URLs of a store (`s3://`, `gs://`, `az://`, `hf://` …).
    """

    may_be_in_a_file: ClassVar[bool] = True

    # `previous` as it was given, with its placeholders.
    _previous_template: str | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _date_of_the_folder(cls, values: Any) -> Any:
        """Take the date from the name of OUT, unless a date is given."""
        if not isinstance(values, Mapping) or values.get("date") is not None:
            return values
        named = _date_named(str(values.get("out") or "").rstrip("/").rpartition("/")[2])
        return values if named is None else {**values, "date": named}

    @model_validator(mode="wrap")
    @classmethod
    def _keep_the_template(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        config = handler(values)
        if isinstance(values, Mapping) and isinstance(values.get("previous"), (str, Path)):
            config._previous_template = str(values["previous"])
        return config

    def previous_nights(self) -> list[Location]:
        """Return the places where `previous` may be, the nearest night first; one place if it has no `{yesterday}`."""
        if self.previous is None:
            return []
        template = self._previous_template
        if template is None or "{yesterday}" not in template:
            return [self.previous]
        dates = (self.date - datetime.timedelta(days=days) for days in range(PREVIOUS_DAYS))
        return [located(_dated(template, date, setting="previous")) for date in dates]

    @field_validator(*_PATHS, mode="before")
    @classmethod
    def _put_in_the_date(cls, value: Any, info: ValidationInfo) -> Any:
        date = info.data.get("date")
        return value if date is None else _dated(value, date, setting=str(info.field_name))

    def with_absolute_paths(self) -> Self:
        """Return the same settings for processes that run in another folder."""
        return self.model_copy(update={name: absolute(getattr(self, name)) for name in ("dump", "out", "bundle")})

    def section(self, kind: type[SectionKind]) -> SectionKind:
        """Return the settings of one section alone, for code that needs no others."""
        return kind.model_construct(**{name: getattr(self, name) for name in kind.model_fields})

    def values_of(self, section: type[Settings]) -> dict[str, Any]:
        """Return the settings of a section by name, and those that a class made from it declares."""
        kind = type(self)
        names = (n for n in kind.model_fields if n in section.model_fields or issubclass(section_of(kind, n), section))
        return {name: getattr(self, name) for name in names}


def _date_named(name: str) -> datetime.date | None:
    """Return the date in the name of a folder; None if the name is not a date of the form YYYY-MM-DD."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", name, flags=re.ASCII) is None:
        return None
    try:
        date = datetime.date.fromisoformat(name)
    except ValueError:
        return None
    return date if date.year >= 1970 else None


def _dated(value: Any, date: datetime.date, *, setting: str) -> Any:
    """Replace the placeholders in a path, or in each path of a list. Values of other types are left for validation.

    Raises:
        UsageError: The path has a placeholder that does not exist.
    """
    if isinstance(value, (list, tuple)):
        return [_dated(item, date, setting=setting) for item in value]
    if not isinstance(value, (str, Path)):
        return value
    text = str(value)
    yesterday = date - datetime.timedelta(days=1)
    dated = text.replace("{date}", date.isoformat()).replace("{yesterday}", yesterday.isoformat())
    unknown = re.search(r"\{[^{}]*\}?|\}", dated)
    if unknown and not _is_a_name(dated, is_output=setting in ("out", "metrics_file")):
        option = NightConfig.spelling(setting)
        raise UsageError(
            f"{option} {without_credentials(text)}: there is no placeholder {unknown.group()}; in a path only {{date}} "
            "and {yesterday} are replaced, as in nights/{date}, and other braces only name what is there already"
        )
    return dated


def _is_a_name(path: str, *, is_output: bool) -> bool:
    """Return whether the braces in a local path belong to the name of an existing file or folder."""
    last = max(path.rfind("{"), path.rfind("}"))
    named, _, below = path[last:].partition("/")
    return (bool(below) or not is_output) and os.path.lexists(path[:last] + named)
