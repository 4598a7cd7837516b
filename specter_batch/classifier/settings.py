"""Settings of a classifier: where the model runs and which papers it labels."""

from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from specter_batch.errors import ConfigError
from specter_batch.options import MAX_WORKERS
from specter_batch.options.model import BundleDevice, Graph
from specter_batch.options.screening import ScreeningRules
from specter_batch.settings.declaration import Option
from specter_batch.settings.problems import problem_of


class ClassifierSettings(ScreeningRules, BundleDevice):
    """Where a bundle runs and which papers are labelled. The defaults are those of the nightly job."""

    graph: Graph = None
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
