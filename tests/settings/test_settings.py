import datetime
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from specter_batch.errors import ConfigError
from specter_batch.settings import Settings
from specter_batch.storage.location import LocalPath, PathOrUrl


class Head(Settings):
    sizes: tuple[int, ...] = ()
    dropout: float = 0.1


class Example(Settings):
    epochs: int = Field(default=3, ge=1)
    pooling: Literal["cls", "mean"] = "cls"
    encoder: str = "allenai/specter"
    shuffle: bool = True
    head: Head = Head()
    started: datetime.date | None = None
    folder: LocalPath | None = None
    place: PathOrUrl | None = None
    places: tuple[PathOrUrl, ...] = ()


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
        "started": None,
        "folder": None,
        "place": None,
        "places": (),
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
    assert message.endswith("known settings: epochs, pooling, encoder, shuffle, head, started, folder, place, places")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch = 5", "epoch: no such setting; did you mean epochs?; known settings: "),
        ("Pooling = 'cls'", "Pooling: no such setting; did you mean pooling?; known settings: "),
        ("dropout = 0.3", "dropout: this setting belongs in the section [head]"),
        ("[head]\nepochs = 2", "head.epochs: this setting belongs above the section [head], at the top of the file"),
        ("pooling = 'men'", "pooling: expected one of cls, mean, got 'men'; did you mean mean?"),
        ("epochs = 1.5", "epochs: expected a whole number, got 1.5"),
        ("epochs = 99999999999999999999", "epochs: the number is too large; the most is 9223372036854775807"),
        (f"epochs = {'9' * 5000}", "not valid TOML: it holds a number of too many digits"),
        ("shuffle = 'maybe'", "shuffle: expected true or false, got 'maybe'"),
        ("encoder = 1", "encoder: expected a text in quotes, got 1"),
        (f"encoder = [{'7, ' * 99}]", f"encoder: expected a text in quotes, got [{'7, ' * 19}7,…"),
        ("head = 5", "head: expected a section, got 5"),
        ("[head]\nsizes = 'x'", 'head.sizes: expected a list in brackets, such as ["a", "b"], got \'x\''),
        ("[head]\nsizes = [1, 'x']", "head.sizes.1: expected a whole number, got 'x'"),
        (
            "started = '26.11.2026'",
            "started: expected a date as YYYY-MM-DD, got '26.11.2026'; did you mean 2026-11-26?",
        ),
        (
            "started = '03/04/2026'",
            "started: expected a date as YYYY-MM-DD, got '03/04/2026'; did you mean 2026-04-03 or 2026-03-04?",
        ),
        ("started = 20261126", "started: expected a date as YYYY-MM-DD, got 20261126; did you mean 2026-11-26?"),
        (f"folder = '{'x' * 5000}'", "folder: the path is too long for this system: 5,000 characters"),
        ("encoder = 'ftp://me:hunter2@host/x'", "encoder: a URL with a user, a password, a token or a signature"),
        ("folder = 's3://me:hunter2@bucket/x'", "folder: a URL cannot be used here; give a path on this machine"),
        ("folder = ''", "folder: the path is empty; give a path, or . for the current folder"),
        ('place = "a\\u0000b"', "place: a path cannot hold a NUL character"),
        ('encoder = "a\\u0000b"', "encoder: a text cannot hold a NUL character"),
        ("place = 1", "place: expected a path or URL in quotes, got a value of type int"),
        ("places = ['a', [1]]", "places.1: expected a path or URL in quotes, got a value of type list"),
        (f"epochs = {'[' * 5000}{']' * 5000}", "not valid TOML: its values are nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_that_helps(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Example.load(file, {})
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "hunter2" not in str(caught.value)


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the configuration file cannot be read \(Is a directory\)"):
        Example.load(tmp_path, {})


def test_a_misspelled_key_is_named_before_the_key_that_is_missing_because_of_it(tmp_path: Path) -> None:
    class Needy(Settings):
        bundle: str

    file = tmp_path / "a.toml"
    file.write_text("bundel = 'x'")
    with pytest.raises(ConfigError, match=r"bundel: no such setting; did you mean bundle\?"):
        Needy.load(file, {})


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
    with pytest.raises(ConfigError, match=rf"a\.toml: {key}: expected "):
        Example.load(file, {})


def test_a_wrong_flag_is_named_as_the_user_typed_it() -> None:
    with pytest.raises(ConfigError, match=r"^--epochs: expected at least 1, got 0$"):
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
