"""Settings from TOML and flags: one validated, frozen object; unknown keys are refused."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.errors import ConfigError


class Settings(BaseModel):
    """Base of every settings class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def load(cls, file: Path | None, flags: Mapping[str, Any]) -> Self:
        """Read a TOML file, if any; a flag that is not None wins over the file.

        Raises:
            ConfigError: The file is missing or no TOML, or a key or value is not one of the settings.
        """
        values: dict[str, Any] = {}
        if file is not None:
            try:
                values = tomllib.loads(file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                raise ConfigError(f"{file}: no such configuration file") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{file}: not valid TOML: {error}") from error
        values |= {name: value for name, value in flags.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            known = f"; known settings: {', '.join(cls.model_fields)}" if first["type"] == "extra_forbidden" else ""
            raise ConfigError(f"{file or 'settings'}: {key}: {first['msg']}{known}") from error
