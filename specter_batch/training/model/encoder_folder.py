"""Where an encoder's files are and how it pools: plain transformers folders, hub names, and sentence-transformers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from specter_batch.errors import ConfigError
from specter_batch.model.manifest import MANIFEST_FILE
from specter_batch.training.model.head_config import Pooling

CONFIG_FILE = "config.json"
# What sentence-transformers writes: the list of a model's parts, and how its encoder pools.
MODULES_FILE = "modules.json"
POOLING_FOLDER = "1_Pooling"
_POOLING_PREFIX = "pooling_mode_"
_POOLINGS: Mapping[str, Pooling] = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean"}


@dataclass(frozen=True, kw_only=True)
class EncoderFolder:
    """An encoder as the user named it, and where its parts are.

    Attributes:
        name: What the user gave: a hub name or a folder.
        model: What transformers loads. In folders of old sentence-transformers it is a folder below `name`.
        root: Folder with sentence-transformers' files, or the hub name.
        pooling_folder: Name of the folder with the pooling's settings, below `root`.
    """

    name: str
    model: str
    root: str
    pooling_folder: str = POOLING_FOLDER

    @classmethod
    def find(cls, name: str) -> "EncoderFolder":
        """Find the parts of an encoder.

        Raises:
            ConfigError: The name is a file, a bundle, or a folder without an encoder.
        """
        path = Path(name)
        if path.is_file():
            raise ConfigError(f"--encoder {name}: is a file; give the folder that holds its {CONFIG_FILE}")
        if not path.is_dir():
            return cls(name=name, model=name, root=name)
        if (path / MANIFEST_FILE).is_file():
            raise ConfigError(
                f"--encoder {name}: is a bundle, and a bundle holds no weights to train; give the run that it was "
                "exported from"
            )
        parts = _parts(path)
        if not (path / CONFIG_FILE).is_file() and parts.get("Transformer"):
            return cls._below(path, parts, name=name)
        above = {} if (path / MODULES_FILE).is_file() else _parts(path.resolve().parent)
        if above.get("Transformer") == path.resolve().name:
            return cls(name=name, model=name, root=str(path.resolve().parent), pooling_folder=_pooling_folder(above))
        return cls(name=name, model=name, root=name, pooling_folder=_pooling_folder(parts))

    @classmethod
    def _below(cls, path: Path, parts: Mapping[str, str], *, name: str) -> "EncoderFolder":
        model = path / parts["Transformer"]
        if not (model / CONFIG_FILE).is_file():
            raise ConfigError(f"--encoder {name}: {MODULES_FILE} names {model}, and no {CONFIG_FILE} is there")
        return cls(name=name, model=str(model), root=str(path), pooling_folder=_pooling_folder(parts))

    def own_pooling(self) -> Pooling:
        """Return the pooling that the encoder was made for: its sentence-transformers one, else `cls`, SPECTER's own.

        Raises:
            ConfigError: It pools in another way, or its settings cannot be read.
        """
        file = cached_file(
            self.root, f"{self.pooling_folder}/{CONFIG_FILE}", _raise_exceptions_for_missing_entries=False
        )
        if file is None:
            return "cls"
        settings = _read_json(Path(file), dict)
        named = [settings["pooling_mode"]] if isinstance(settings.get("pooling_mode"), str) else []
        switched = [
            key.removeprefix(_POOLING_PREFIX) for key in settings if key.startswith(_POOLING_PREFIX) and settings[key]
        ]
        modes = switched or named or ["cls"]
        if len(modes) > 1 or modes[0] not in _POOLINGS:
            raise ConfigError(
                f"--encoder {self.name}: pools by {' and '.join(modes)}, and only cls, pooler and mean can be trained "
                "here; choose one with --pooling mean"
            )
        return _POOLINGS[modes[0]]


def _pooling_folder(parts: Mapping[str, str]) -> str:
    return parts.get("Pooling") or POOLING_FOLDER


def _parts(folder: Path) -> dict[str, str]:
    """Return the folders of sentence-transformers' parts by kind, `{"Transformer": "0_Transformer"}`; empty if none."""
    file = folder / MODULES_FILE
    if not file.is_file():
        return {}
    parts: dict[str, str] = {}
    for part in _read_json(file, list):
        if isinstance(part, dict) and isinstance(part.get("type"), str) and isinstance(part.get("path"), str):
            parts.setdefault(part["type"].rpartition(".")[2], part["path"])
    return parts


def _read_json(file: Path, kind: type) -> Any:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not readable JSON ({error}); fetch the encoder again") from error
    if not isinstance(value, kind):
        raise ConfigError(f"{file}: expected a JSON {'object' if kind is dict else 'list'}; fetch the encoder again")
    return value
