from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from specter_batch.errors import ConfigError
from specter_batch.settings import Settings


class Head(Settings):
    sizes: tuple[int, ...] = ()
    dropout: float = 0.1


class Example(Settings):
    epochs: int = Field(default=3, ge=1)
    pooling: Literal["cls", "mean"] = "cls"
    encoder: str = "allenai/specter"
    shuffle: bool = True
    head: Head = Head()


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    file = tmp_path / "example.toml"
    file.write_text('epochs = 5\nencoder = "Ångström"\n[head]\nsizes = [8, 4]\n', encoding="utf-8")
    return file


def test_without_file_and_flags_the_defaults_stand() -> None:
    assert Example.load(None, {}) == Example()


def test_a_file_wins_over_the_defaults(toml: Path) -> None:
    expected = Example(epochs=5, encoder="Ångström", head=Head(sizes=(8, 4)))
    assert Example.load(toml, {}) == expected


def test_a_flag_wins_over_the_file(toml: Path) -> None:
    assert Example.load(toml, {"epochs": 7, "pooling": "mean"}).model_dump() == {
        "epochs": 7,
        "pooling": "mean",
        "encoder": "Ångström",
        "shuffle": True,
        "head": {"sizes": (8, 4), "dropout": 0.1},
    }


def test_a_flag_that_was_not_given_leaves_the_file_alone(toml: Path) -> None:
    assert Example.load(toml, {"epochs": None}).epochs == 5


def test_a_flag_that_is_false_was_given(tmp_path: Path) -> None:
    assert Example.load(None, {"shuffle": False}).shuffle is False


def test_an_unknown_key_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("epoch = 5\n")
    with pytest.raises(ConfigError) as caught:
        Example.load(file, {})
    message = str(caught.value)
    assert message.startswith(f"{file}: epoch: ")
    assert message.endswith("known settings: epochs, pooling, encoder, shuffle, head")


def test_an_unknown_key_in_a_table_is_named_with_its_table_and_the_keys_known_there(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[head]\nwidth = 5\n")
    with pytest.raises(ConfigError, match=r"a\.toml: head\.width: .*known settings: sizes, dropout$"):
        Example.load(file, {})


def test_flags_of_a_table_win_key_by_key(toml: Path) -> None:
    assert Example.load(toml, {"head": {"sizes": None, "dropout": 0.3}}).head == Head(sizes=(8, 4), dropout=0.3)
    assert Example.load(toml, {"head": {"sizes": (2,), "dropout": None}}).head == Head(sizes=(2,))
    assert Example.load(None, {"head": {"sizes": None, "dropout": 0.3}}).head == Head(dropout=0.3)


def test_a_table_that_is_none_is_refused_whatever_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("head = 5\n")
    with pytest.raises(ConfigError, match=r"a\.toml: head: "):
        Example.load(file, {"head": {"dropout": 0.3}})


@pytest.mark.parametrize(
    ("line", "key"), [("epochs = 0", "epochs"), ("epochs = 'many'", "epochs"), ("pooling = 'max'", "pooling")]
)
def test_a_wrong_value_is_refused_with_file_and_key(tmp_path: Path, line: str, key: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(line)
    with pytest.raises(ConfigError, match=rf"a\.toml: {key}: Input should be"):
        Example.load(file, {})


def test_a_wrong_flag_without_a_file_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"^settings: epochs: Input should be greater than or equal to 1$"):
        Example.load(None, {"epochs": 0})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: no such configuration file"):
        Example.load(tmp_path / "gone.toml", {})


@pytest.mark.parametrize("content", [b"epochs: 5", b"epochs = ", b'encoder = "caf\xe9"', b"\x93NUMPY\x00\xff"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.toml: not valid TOML"):
        Example.load(file, {})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().epochs = 5


def test_a_missing_setting_names_its_flag() -> None:
    class Needy(Settings):
        model_bundle: str

    with pytest.raises(
        ConfigError, match=r"model_bundle is missing; give --model-bundle, or model_bundle in a --config"
    ):
        Needy.load(None, {})


def test_a_mark_at_the_start_of_a_file_is_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfepochs = 5\n")
    assert Example.load(file, {}).epochs == 5


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_file_that_is_not_utf8_says_so(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes('encoder = "Ångström"\n'.encode(encoding))
    with pytest.raises(ConfigError, match=r"not valid TOML: it is not UTF-8 .* save it as UTF-8"):
        Example.load(file, {})
