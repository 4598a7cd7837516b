"""Settings from TOML and flags: one validated, frozen object; unknown keys are refused."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.errors import ConfigError, UsageError


class Settings(BaseModel):
    """Base of every settings class.

    Attributes:
        arguments: Names of the settings that are positional arguments on the command line, not options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    arguments: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def load(cls, file: Path | None, flags: Mapping[str, Any]) -> Self:
        """Read a TOML file, if any; a flag that is not None wins over the file.

        Raises:
            ConfigError: The file is missing or no TOML, or a key or value is not one of the settings.
            UsageError: A setting that has no default is given nowhere.
        """
        values: dict[str, Any] = {}
        if file is not None:
            try:
                # Windows editors begin UTF-8 with a mark, which is no TOML.
                values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
            except FileNotFoundError:
                raise ConfigError(f"{file}: no such configuration file") from None
            except UnicodeDecodeError as error:
                raise ConfigError(
                    f"{file}: not valid TOML: it is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
                ) from error
            except tomllib.TOMLDecodeError as error:
                raise ConfigError(f"{file}: not valid TOML: {error}") from error
        values = _merge(values, flags)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            if first["type"] == "missing":
                option = key.upper() if key in cls.arguments else f"--{key.replace('_', '-')}"
                raise UsageError(f"{key} is missing; give {option}, or {key} in a --config") from error
            known = f"; known settings: {', '.join(_keys(cls, first['loc']))}"
            hint = known if first["type"] == "extra_forbidden" else ""
            raise ConfigError(f"{file or 'settings'}: {key}: {first['msg']}{hint}") from error


def _merge(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the flags that are set over the file's values; a section is merged key by key."""
    merged = dict(values)
    for name, flag in flags.items():
        if isinstance(flag, Mapping):
            section = values.get(name, {})
            if isinstance(section, Mapping):  # anything else is left for the validation to refuse
                merged[name] = _merge(section, flag)
        elif flag is not None:
            merged[name] = flag
    return merged


def _keys(settings: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section that a wrong key stands in."""
    for part in location[:-1]:
        field = settings.model_fields.get(str(part))
        kind = field.annotation if field else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            settings = kind
    return list(settings.model_fields)
