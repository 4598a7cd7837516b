"""Settings of a classifier: where the model runs and which papers it labels."""

from operator import index
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from specter_batch.errors import ConfigError
from specter_batch.options import MAX_WORKERS
from specter_batch.options.model import BundleDevice, Graph, TokenizerOption
from specter_batch.options.screening import ScreeningRules
from specter_batch.settings.declaration import Option
from specter_batch.settings.problems import place_problem, problem_of
from specter_batch.storage.location import is_remote


class ClassifierSettings(ScreeningRules, BundleDevice):
    """Where a bundle runs and which papers are labelled. The defaults are those of the nightly job."""

    graph: Graph = None
    tokenizer: TokenizerOption = "auto"
    threads: Annotated[int | None, Option(unit="papers", default="the usable cores")] = Field(
        default=None, ge=1, le=MAX_WORKERS, description="Number of papers that are labelled at once on a CPU."
    )

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Return the settings with these values.

        Raises:
            ConfigError: A value is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{first['loc'][0]}: {problem_of(first, cls)}") from None


def check_bundle(bundle: object) -> None:
    """Check that the place of a bundle is a path or URL.

    Raises:
        TypeError: It is something else.
        ConfigError: It is empty, or it can never be opened.
    """
    if not (isinstance(bundle, str | Path) or is_remote(bundle)):
        raise TypeError(f"bundle should be a path or URL, as text or pathlib.Path, got {type(bundle).__name__}")
    problem = place_problem(bundle, takes_urls=True)
    if problem is not None:
        raise ConfigError(f"bundle: {problem}")


def checked_top_k(top_k: Any, *, n_labels: int) -> int:
    """Return how many labels of each paper to add; 0 for None.

    Raises:
        ConfigError: It is no whole number from 1 to the number of labels.
    """
    if top_k is None:
        return 0
    try:
        number = index(top_k)
    except TypeError:
        number = None
    if number is None or isinstance(top_k, bool):
        raise ConfigError(f"top_k: expected a whole number, got {top_k!r}")
    if number < 1:
        raise ConfigError(f"top_k: expected at least 1, got {number}")
    if number > n_labels:
        raise ConfigError(f"top_k={number}: the bundle has only {n_labels} labels; give top_k={n_labels} or less")
    return number


def check_names(*, prefix: object, **columns: object) -> None:
    """Check the names that `predict` takes.

    Args:
        prefix: Beginning of the names of the new columns.
        columns: Names of columns of the papers, by argument.

    Raises:
        TypeError: `prefix` is not text.
        ConfigError: The name of a column is empty.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"prefix should be text, got {type(prefix).__name__}; leave it out for names without a prefix")
    for argument, name in columns.items():
        if name == "":
            raise ConfigError(f"{argument}: the name is empty; give the name of a column, or leave {argument} out")
