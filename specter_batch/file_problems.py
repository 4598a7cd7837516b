"""Plain sentences about files whose content does not fit the model that reads them."""

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from specter_batch.setting_problems import known_path, problem_of


def file_problem(error: ValidationError, kind: type[BaseModel]) -> str:
    """Say where in a file the first wrong value is, what was expected there and what was found.

    Args:
        error: The error that reading the file raised.
        kind: The model that the content should fit.
    """
    return value_problem(error.errors(include_url=False)[0], kind)


def value_problem(first: ErrorDetails, kind: type[BaseModel]) -> str:
    """Say what `file_problem` says, of one error of a validation."""
    if first["type"] == "json_invalid":
        return f"it is not valid JSON: {first['ctx']['error']}"
    where = ".".join(map(str, known_path(kind, first["loc"])))
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "extra_forbidden":
        return f"{where} is unknown"
    problem = problem_of(first, kind)
    if first["type"].startswith(("model", "dict")):
        problem = problem.replace("expected a section", "expected an object in braces")
    return f"{where}: {problem}" if where else problem
