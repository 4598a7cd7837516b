"""Settings from TOML files and flags: one validated, frozen object. Unknown keys are an error."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.errors import ConfigError, UsageError
from specter_batch.settings.declaration import declared_options, spelled
from specter_batch.settings.problems import known_path, problem_of, wrong_values
from specter_batch.terminal import warn

# Which of several errors is reported: the one with the lowest number. Errors that are not listed have 1.
_ORDER = {"extra_forbidden": 0, "missing": 2}


class Settings(BaseModel):
    """Base of every settings class; each field is an option of the commands that use the class.

    Attributes:
        panel: Heading in `--help` for the options that the class declares.
        may_be_in_a_file: True if the settings may also be given in a TOML file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    panel: ClassVar[str] = "Options"
    may_be_in_a_file: ClassVar[bool] = False

    @classmethod
    def load(cls, file: Path | None, flags: Mapping[str, Any]) -> Self:
        """Return the settings from a TOML file, if any, and flags. A flag that is not None overrides the file.

        Raises:
            ConfigError: The file is missing or is not TOML, or a key or value in it is wrong.
            UsageError: A flag is wrong, or a required setting is given neither as a flag nor in the file.
        """
        flags = cls._renamed(flags, where="", show=spelled)
        in_file = {} if file is None else cls._renamed(_read(file), where=f"{file}: ", show=str)
        values = _merge(in_file, flags)
        for key, problem in wrong_values(cls, values):
            raise cls._error(key, problem, file, flags)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            # Report a misspelled key first, because it is often the reason why another key is missing.
            first = min(error.errors(), key=lambda one: _ORDER.get(one["type"], 1))
            path = known_path(cls, first["loc"])
            if first["type"] != "missing":
                problem = problem_of(first, cls)
            elif len(path) == 1:
                name = path[0]
                raise UsageError(f"{name} is missing; give {cls.spelling(*path)}, or {name} in a --config") from None
            else:
                path, problem = path[:-1], f"{path[-1]} is missing"
            raise cls._error(path, problem, file, flags) from None

    @classmethod
    def spelling(cls, *path: int | str) -> str:
        """Return the spelling of a setting on the command line, such as `--batch-size`."""
        keys = tuple(part for part in path if isinstance(part, str))
        declared = (option.spelling for option in declared_options(cls) if keys[: len(option.path)] == option.path)
        return next(declared, spelled(keys[-1]))

    @classmethod
    def _renamed(cls, values: Mapping[str, Any], *, where: str, show: Callable[[str], str]) -> dict[str, Any]:
        """Rename settings that are given by an old name, and print a warning for each.

        Args:
            values: The values from a file or from the command line.
            where: The start of the warning.
            show: Returns a name as the user writes it.
        """
        renamed = dict(values)
        for declared in declared_options(cls):
            old = declared.former_name
            if old in renamed and renamed.get(declared.name) is None:
                value = renamed.pop(old)
                if value is not None:
                    renamed[declared.name] = value
                    new = show(declared.name)
                    warn(f"{where}{show(old)} is now called {new}; the next version refuses the old name")
        return renamed

    @classmethod
    def _error(
        cls, path: tuple[int | str, ...], problem: str, file: Path | None, flags: Mapping[str, Any]
    ) -> ConfigError:
        """Return the error for a setting. It names the option, or the file and key, where the value was given."""
        given: Any = flags
        for part in path:
            given = given.get(part) if isinstance(given, Mapping) else given
        if given is not None and not isinstance(given, Mapping):
            return UsageError(f"{cls.spelling(*path)}: {problem}")
        return ConfigError(f"{file or 'settings'}: {_dotted(path)}: {problem}")


def _read(file: Path) -> dict[str, Any]:
    try:
        # Editors on Windows begin a UTF-8 file with a byte order mark, which TOML does not allow.
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{file}: the configuration file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not valid TOML: it is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: its values are nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except ValueError:  # Python does not parse numbers of more than 4,300 digits
        raise ConfigError(f"{file}: not valid TOML: it holds a number of too many digits") from None


def _dotted(path: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in path)


def _merge(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file's values with the given flags in their place; a section is merged key by key."""
    merged = dict(values)
    for name, flag in flags.items():
        if isinstance(flag, Mapping):
            section = values.get(name, {})
            if isinstance(section, Mapping):  # the validation reports anything else
                merged[name] = _merge(section, flag)
        elif flag is not None:
            merged[name] = flag
    return merged
