"""The settings that decide which papers can be labelled, for the nightly job and the Python API."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from specter_batch.options import Language
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option


class ScreeningRules(Settings):
    """Which papers are labelled; the others are rejected with a reason."""

    panel: ClassVar[str] = "Labels"

    language: Language = "en"
    missing_abstract: Literal["reject", "title_only"] = Field(
        default="reject",
        description="What happens to a paper without an abstract. `title_only` labels it by its title, which is less "
        "certain.",
    )
    min_characters: Annotated[int, Option(unit="characters")] = Field(
        default=0,
        ge=0,
        # Characters, because not every language puts spaces between words.
        description="Reject papers whose title and abstract together are shorter than this.",
    )
