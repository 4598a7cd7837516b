"""What is said about files that do not fit the model that reads them, for every model of the project."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import specter_batch
import specter_export
import specter_jobs
from specter_batch.file_problems import file_problem, value_problem
from specter_jobs.output.progress_file import Progress

# Words of pydantic's own messages.
FOREIGN = (
    "input should",
    "field required",
    "value error",
    "after validation",
    "pydantic",
    "dictionary",
    "instance of",
    "inputs",
)
WRONG: tuple[Any, ...] = (
    None, True, -1, 3.5, 10**400, float("nan"), "", "x", "2026-13-01", [], [1], ["x"], [[1]], {}, {"x": "y"},
    {"x": None},
)  # fmt: skip


def models() -> list[type[BaseModel]]:
    """Return every model that a module of the three packages defines."""
    for package in (specter_batch, specter_export, specter_jobs):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return sorted(set(subclasses(BaseModel)), key=lambda kind: kind.__qualname__)


def subclasses(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("specter_") and child.model_fields:
            yield child
        yield from subclasses(child)


def nested(kind: type[BaseModel], wrong: Any) -> Iterator[dict[str, Any]]:
    """Yield contents in which every key, or every key of every section, has a wrong value."""
    yield dict.fromkeys(kind.model_fields, wrong)
    yield {name: {"x": wrong, **dict.fromkeys(kind.model_fields, wrong)} for name in kind.model_fields}
    yield {name: [wrong, {"file": wrong, "path": wrong}] for name in kind.model_fields}


@pytest.mark.parametrize("kind", models(), ids=lambda kind: kind.__qualname__)
def test_no_word_of_the_validation_library_reaches_a_message(kind: type[BaseModel]) -> None:
    contents: list[Any] = [{}, [], "x", None, 3]
    contents += [content for wrong in WRONG for content in nested(kind, wrong)]
    names = re.compile(rf"\b({'|'.join(kind.model_fields)})\b")
    found = 0
    for content in contents:
        try:
            kind.model_validate(content)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                problem = value_problem(one, kind)
                said = names.sub("", problem).lower()
                assert not [word for word in FOREIGN if word in said], problem
                found += 1
    assert found


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        (Progress, "{", "it is not valid JSON: EOF while parsing an object at line 1 column 1"),
        (Progress, "[]", "expected an object in braces, got []"),
        (Progress, "{}", "process is missing"),
        (Progress, "null", "expected an object in braces, got null"),
        (Progress, '{"process": true}', "process: expected a text in quotes, got true"),
    ],
)
def test_a_problem_is_one_plain_sentence(kind: type[BaseModel], content: str, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate_json(content)
    assert file_problem(caught.value, kind) == problem
