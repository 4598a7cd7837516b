"""Plain sentences about files whose content does not fit the model that reads them."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from specter_batch.errors import SpecterBatchError
from specter_batch.settings.problems import known_path, problem_of
from specter_batch.storage.location import Location

Model = TypeVar("Model", bound=BaseModel)


def file_problem(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return a sentence about the first wrong value in a file: where it is, what was expected, what was found.

    Args:
        error: The error that reading the file raised.
        kind: The model that the content should fit.
    """
    return value_problem(error.errors(include_url=False)[0], kind)


def value_problem(first: ErrorDetails, kind: type[BaseModel]) -> str:
    """Return the sentence of `file_problem` for one validation error."""
    if first["type"] == "json_invalid":
        return f"it is not valid JSON: {first['ctx']['error']}"
    where = ".".join(map(str, known_path(kind, first["loc"])))
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "extra_forbidden":
        return f"{where} is unknown"
    problem = problem_of(first, kind)
    if first["type"].startswith(("model", "dict", "dataclass")):
        problem = problem.replace("expected a section", "expected an object in braces")
    return f"{where}: {problem}" if where else problem


def read_json_model(
    path: Location, kind: type[Model], *, what: str, advice: str = "", error: type[SpecterBatchError]
) -> Model:
    """Read a JSON file and check it against a model.

    Args:
        path: The file.
        kind: The model that the content must fit.
        what: The message after the file's name if the content does not fit, with what to do. Example: "is not the
            report of a night; give the OUT folder of one as --previous".
        advice: The end of the message, after what is wrong. Example: "; run the night again".
        error: The class of the error to raise if the content does not fit.

    Raises:
        SpecterBatchError: The content is not JSON, or does not fit the model. The class is `error`.
        FileNotFoundError: The file does not exist.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as problem:
        raise error(f"{path}: {what} ({file_problem(problem, kind)}){advice}") from problem
